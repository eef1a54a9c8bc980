//! Whether a member may drop what it has and copy another. The only irreversible thing that an operator does;
//! so here everything unknown forbids. Must not judge promotions.

use super::evidence::{is_silent, process_end};
use super::scene::{Instance, Named};
use super::{Case, ensure};
use crate::contract::{Action, Follow};
use failover_core::facts::Relation;

pub(super) fn no_destructive_follow(case: &Case<'_>) -> Result<(), String> {
    for (follow, instance, master) in pairs(case) {
        is_complete_copy(case, master)?;
        loses_nothing(case, follow, instance, master)?;
    }
    Ok(())
}

pub(super) fn amnesia(case: &Case<'_>) -> Result<(), String> {
    for (_, instance, master) in pairs(case) {
        ensure(!case.scene.is_amnesic(master), || {
            format!("{} lost its data, and {} is to follow it", master.id, instance.id)
        })?;
    }
    Ok(())
}

pub(super) fn two_masters(case: &Case<'_>) -> Result<(), String> {
    for (_, instance, master) in pairs(case) {
        still_has_another(case, instance, master)?;
        if !(instance.answers_as_master() && case.scene.is_published(instance))
            || case.scene.may_be_discarded(instance)
        {
            continue;
        }
        let is_contained = match instance.relation(master) {
            Some(Relation::Equal | Relation::Behind(_)) => true,
            Some(Relation::Ahead(_) | Relation::Forked { .. } | Relation::Unrelated) | None => false,
        };
        ensure(is_contained, || {
            format!(
                "{} is the master on record, {} has not all that it has, and is to be followed by it",
                instance.id, master.id
            )
        })?;
    }
    Ok(())
}

/// Whose master is out of sight leaves it for another only once that loss is proven.
fn still_has_another(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> Result<(), String> {
    let scene = &case.scene;
    let Named::Members(there) = &instance.names else { return Ok(()) };
    let is_on_record =
        |other: &Instance<'_>| scene.observation.published().is_some_and(|record| record.master == other.id);
    let may_be_heard = |other: &Instance<'_>| {
        instance.facts.link_up != Some(false) && !other.is_replica() || is_on_record(other)
    };
    let absent = there
        .iter()
        .map(|&index| &scene.instances[index])
        .filter(|other| other.id != master.id && !other.answers);
    match absent
        .into_iter()
        .find(|other| may_be_heard(other) && process_end(other).is_none() && !is_silent(scene, other))
    {
        Some(other) => Err(format!(
            "{} follows {}, which is out of sight and not proven lost, and is to follow {}",
            instance.id, other.id, master.id
        )),
        None => Ok(()),
    }
}

pub(super) fn safe_restart(case: &Case<'_>) -> Result<(), String> {
    for action in case.first() {
        let Action::Restart(restart) = action else { continue };
        let Some(instance) = case.scene.instance(&restart.id) else { continue };
        ensure(!instance.answers_as_master() || case.scene.is_amnesic(instance), || {
            format!("{} answers as a master, and is to be restarted", instance.id)
        })?;
        let is_elsewhere = case.scene.answering().any(|other| {
            other.id != instance.id && other.answers_as_master() && !case.scene.is_amnesic(other)
        });
        ensure(instance.keys == Some(0) || is_elsewhere, || {
            format!("{} may hold the only copy, and is to be restarted", instance.id)
        })?;
    }
    Ok(())
}

/// The followed one serves the whole data: a master, or one that becomes it in this very stage.
fn is_complete_copy(case: &Case<'_>, master: &Instance<'_>) -> Result<(), String> {
    let becomes_master = case.promotes().any(|promote| promote.id == master.id)
        || case.handovers().any(|handover| handover.target == master.id);
    let is_whole = master.answers && !master.is_loading && !master.facts.is_syncing;
    ensure(is_whole && (becomes_master || master.answers_as_master()), || {
        format!("{} is to be followed, and is no complete copy that answers", master.id)
    })
}

fn loses_nothing(
    case: &Case<'_>,
    follow: &Follow,
    instance: &Instance<'_>,
    master: &Instance<'_>,
) -> Result<(), String> {
    let would_lose =
        |what: String| Err(format!("{} would follow {} and lose {what}", instance.id, master.id));
    // While a file is loaded, the keyspace counts what has arrived so far.
    let is_empty = instance.keys == Some(0) && !instance.is_loading;
    if is_empty
        || is_attached_to(case, instance, master)
        || is_discarded(case, instance, master)
        || is_restarted_copy(case, instance, master)
    {
        return Ok(());
    }
    let (Some(own), Some(theirs)) = (instance.history(), master.history()) else {
        return would_lose("a history that is not known".into());
    };
    // A surplus is a provable fork if one of the two left the other's history, and the master has all up to
    // there.
    let master_left = theirs
        .former
        .is_some_and(|(id, _)| id == own.replid || own.former.is_some_and(|(former, _)| former == id));
    let member_left = own.former.is_some_and(|(id, end)| id == theirs.replid && end <= theirs.offset);
    match own.relation(&theirs) {
        Relation::Equal | Relation::Behind(_) => Ok(()),
        Relation::Forked { own: surplus, .. } => reports_surplus(follow, surplus),
        // Every promotion and every restart of a master makes a new id. So whoever has the id of a living
        // master has its bytes from there, and only the ages of the two samples differ.
        Relation::Ahead(_)
            if own.replid == theirs.replid && master.answers_as_master() && instance.is_replica() =>
        {
            Ok(())
        }
        Relation::Ahead(surplus) if own.replid != theirs.replid && (master_left || member_left) => {
            reports_surplus(follow, surplus)
        }
        Relation::Ahead(surplus) => would_lose(format!("{surplus} bytes that are no provable fork")),
        Relation::Unrelated => would_lose("a history of its own".into()),
    }
}

/// A loss is reported, not smaller than the facts show it.
fn reports_surplus(follow: &Follow, surplus: u64) -> Result<(), String> {
    let reported = follow.discards_bytes;
    ensure(reported.is_some_and(|reported| reported >= surplus), || {
        let reported = reported.map_or_else(|| "an unknown number".into(), |bytes| bytes.to_string());
        format!("{} gives up {surplus} bytes, and {reported} are reported", follow.id)
    })
}

/// It names this very master, so it copies it with or without a command; unless that would be a bad end for
/// its data.
fn is_attached_to(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let names_only_it = instance.is_replica()
        && matches!(&instance.names, Named::Members(there) if there.len() == 1)
        && case.scene.names(instance, master.id);
    let is_related = instance.relation(master).is_some_and(|relation| relation != Relation::Unrelated);
    names_only_it && (is_related || master.has_keys())
}

/// What it has is on record as given up: its role was taken, it came back as less than it was, or a person
/// says so.
fn is_discarded(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let observation = case.scene.observation;
    let was_replaced = observation
        .last_failover()
        .is_some_and(|last| last.source.as_deref() == Some(instance.id) && last.target != instance.id);
    let came_back_as_less = observation.published().is_some_and(|record| {
        record.master == instance.id
            && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
            && instance.keys.zip(master.keys).is_some_and(|(own, theirs)| own <= theirs)
    });
    was_replaced || came_back_as_less || case.scene.may_be_discarded(instance)
}

/// A restart with an append-only file gives all data back under a new history. What tells such a copy from a
/// stranger's: it says that it is nobody's but a member's replica, and copies nobody; or its Pod started
/// since the record was made. Nothing came to it since, or it is the master on record that restarted. And it
/// holds no more than the master, which is a complete copy then, as far as anybody can tell.
fn is_restarted_copy(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let is_orphan =
        instance.is_replica() && instance.facts.link_up == Some(false) && instance.names != Named::Stranger;
    let started_us = instance.uptime_s.map(|uptime_s| uptime_s.saturating_mul(1_000_000));
    let record = case.scene.observation.published();
    let is_restarted_pod = instance.pod.is_some()
        && started_us.zip(record).is_some_and(|(started_us, record)| started_us < record.age_us);
    let has_no_more = instance.keys.zip(master.keys).is_some_and(|(own, theirs)| own <= theirs);
    let is_untouched = instance.history().is_some_and(|history| history.offset <= 1);
    let is_on_record = record.is_some_and(|record| record.master == master.id);
    let is_restart = (is_orphan || is_restarted_pod) && (is_untouched || is_on_record);
    is_restart
        && instance.relation(master) == Some(Relation::Unrelated)
        && has_no_more
        && !instance.is_loading
}

fn pairs<'c, 'a>(
    case: &'c Case<'a>,
) -> impl Iterator<Item = (&'a Follow, &'c Instance<'a>, &'c Instance<'a>)> {
    case.follows().filter_map(|follow| {
        Some((follow, case.scene.instance(&follow.id)?, case.scene.instance(&follow.master)?))
    })
}
