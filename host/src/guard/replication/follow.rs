//! Whether a member may drop its data and copy another member. This is the only irreversible action of an
//! operator, so every unknown fact forbids it. Must not judge promotions.

use super::emptied::is_emptied;
use super::evidence::{is_silent, process_end};
use crate::contract::{Action, Follow, Preference, Published};
use crate::guard::scene::{Instance, Named};
use crate::guard::{Case, ensure};
use failover_core::facts::{History, Relation};

pub(in crate::guard) fn no_destructive_follow(case: &Case<'_>) -> Result<(), String> {
    for (follow, instance, master) in pairs(case) {
        is_complete_copy(case, master)?;
        loses_nothing(case, follow, instance, master)?;
    }
    Ok(())
}

pub(in crate::guard) fn amnesia(case: &Case<'_>) -> Result<(), String> {
    for (_, instance, master) in pairs(case) {
        ensure(!case.scene.is_amnesic(master), || {
            format!("{} is to follow {}, which came back without its data", instance.id, master.id)
        })?;
    }
    Ok(())
}

pub(in crate::guard) fn two_masters(case: &Case<'_>) -> Result<(), String> {
    for (_, instance, master) in pairs(case).filter(|(_, _, master)| !case.scene.is_appointed(master)) {
        check_own_master_lost(case, instance, master)?;
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
                "{} is the published master, and is to follow {}, which has not all of its data",
                instance.id, master.id
            )
        })?;
    }
    Ok(())
}

/// While the loss of its own master is not proven, a replica must not follow another one.
fn check_own_master_lost(
    case: &Case<'_>,
    instance: &Instance<'_>,
    master: &Instance<'_>,
) -> Result<(), String> {
    let scene = case.scene;
    let Named::Members(there) = &instance.names else { return Ok(()) };
    let is_recorded =
        |other: &Instance<'_>| scene.observation.published().is_some_and(|record| record.master == other.id);
    let may_be_master = |other: &Instance<'_>| {
        instance.facts.link_up != Some(false) && !other.is_replica() || is_recorded(other)
    };
    let absent = there
        .iter()
        .map(|&index| &scene.instances[index])
        .filter(|other| other.id != master.id && !other.answers);
    match absent
        .into_iter()
        .find(|other| may_be_master(other) && process_end(scene, other).is_none() && !is_silent(scene, other))
    {
        Some(other) => Err(format!(
            "{} is to follow {}, but its master {} is not proven lost: it does not answer, and is neither \
             dead nor silent for the hang limit",
            instance.id, master.id, other.id
        )),
        None => Ok(()),
    }
}

pub(in crate::guard) fn safe_restart(case: &Case<'_>) -> Result<(), String> {
    for action in case.first() {
        let Action::Restart(restart) = action else { continue };
        let Some(instance) = case.scene.instance(&restart.id) else { continue };
        ensure(!instance.answers_as_master() || case.scene.is_amnesic(instance), || {
            format!("{} is to be restarted, but answers as a master", instance.id)
        })?;
        let is_elsewhere = case.scene.answering().any(|other| {
            other.id != instance.id && other.answers_as_master() && !case.scene.is_amnesic(other)
        });
        ensure(instance.keys == Some(0) || is_elsewhere, || {
            format!("{} is to be restarted, but may hold the only copy", instance.id)
        })?;
    }
    Ok(())
}

/// Ok if the instance to follow has all data: a master, or one that becomes master in this stage.
fn is_complete_copy(case: &Case<'_>, master: &Instance<'_>) -> Result<(), String> {
    let becomes_master = case.promotes().any(|promote| promote.id == master.id)
        || case.handovers().any(|handover| handover.target == master.id);
    let is_whole = master.answers && !master.is_loading && !master.facts.is_syncing;
    ensure(is_whole && (becomes_master || master.answers_as_master()), || {
        format!("{} is to be followed, but is no answering master with a complete copy", master.id)
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
    // During loading, INFO keyspace counts only the keys that are loaded so far.
    let is_empty = instance.keys == Some(0) && !instance.is_loading;
    if is_empty || is_attached_to(case, instance, master) || case.scene.may_be_discarded(instance) {
        return Ok(());
    }
    let (Some(own), Some(theirs)) = (instance.history(), master.history()) else {
        return would_lose("data of an unknown history".into());
    };
    if is_emptied(instance, master) {
        return would_lose("keys that are gone there by no command of the stream".into());
    }
    // A surplus is a proven fork if one of the two left the other's history, and the master has all data up
    // to that position.
    let master_left = theirs
        .former
        .is_some_and(|(id, _)| id == own.replid || own.former.is_some_and(|(former, _)| former == id));
    let member_left = own.former.is_some_and(|(id, end)| id == theirs.replid && end <= theirs.offset);
    match own.relation(&theirs) {
        Relation::Equal | Relation::Behind(_) => Ok(()),
        Relation::Forked { own: surplus, .. } => reports_surplus(follow, surplus),
        // Every promotion and every restart of a master makes a new replication id. So a replica with the id
        // of a living master has received its bytes from that master; it is ahead only because its sample is
        // newer.
        Relation::Ahead(_)
            if own.replid == theirs.replid && master.answers_as_master() && instance.is_replica() =>
        {
            Ok(())
        }
        Relation::Ahead(surplus) if own.replid != theirs.replid && (master_left || member_left) => {
            reports_surplus(follow, surplus)
        }
        Relation::Ahead(surplus) => would_lose(format!("{surplus} bytes that are no proven fork")),
        Relation::Unrelated => {
            if let Some(surplus) = surplus_to_lineage(case, &own, &theirs) {
                return reports_surplus(follow, surplus);
            }
            let is_given_up =
                is_discarded(case, instance, master) || is_restarted_copy(case, instance, master);
            let asks = case.scene.observation.group.prefer == Preference::Consistency
                && !is_copy_of_living(case, instance, master);
            ensure(is_given_up && !asks, || {
                format!("{} would follow {} and lose data of an unrelated history", instance.id, master.id)
            })?;
            // A server counts no byte of its stream before its first replica.
            ensure(follow.discards_bytes.is_none(), || {
                format!("what {} would lose cannot be computed, but the plan gives a number", instance.id)
            })
        }
    }
}

/// True for a copy of the recorded process that restarted while that one was on record: it had nothing of its
/// own.
fn is_copy_of_living(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let record = case.scene.observation.published().filter(|_| case.scene.is_published(master));
    let is_younger = |(uptime_s, record): (u64, &Published)| {
        uptime_s.saturating_add(1).saturating_mul(1_000_000) < record.age_us
    };
    instance.uptime_s.zip(record).is_some_and(is_younger) && is_restarted_copy(case, instance, master)
}

/// What a history has beyond an earlier generation of the recorded lineage, which the instance to follow is
/// of. The record keeps, per generation, the offset at which the next one grew out of it.
fn surplus_to_lineage(case: &Case<'_>, own: &History<'_>, master: &History<'_>) -> Option<u64> {
    let lineage = &case.scene.observation.shard()?.lineage;
    let newest = lineage.iter().position(|generation| master.knows(&generation.replid))?;
    let end_of =
        |id: &str| lineage.get(newest + 1..)?.iter().find(|generation| generation.replid == id)?.end_offset;
    let shared = match (end_of(own.replid), own.former) {
        (Some(end), _) => end,
        // It read an old file, and continues that history under an id of its own.
        (None, Some((former, left_at))) => end_of(former)?.min(left_at),
        (None, None) => return None,
    };
    Some(own.offset.saturating_sub(shared))
}

/// Ok if the action reports at least the loss that the facts show.
fn reports_surplus(follow: &Follow, surplus: u64) -> Result<(), String> {
    let reported = follow.discards_bytes;
    ensure(reported.is_some_and(|reported| reported >= surplus), || {
        let reported = reported.map_or_else(|| "an unknown number".into(), |bytes| bytes.to_string());
        format!("{} would lose {surplus} bytes, but the plan reports {reported}", follow.id)
    })
}

/// True if the replica names this master already, so it copies it with or without the command; and if the
/// master has keys or a related history, so that the command does not make it copy an empty stranger.
fn is_attached_to(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let names_only_it = instance.is_replica()
        && matches!(&instance.names, Named::Members(there) if there.len() == 1)
        && case.scene.names(instance, master.id);
    let is_related = instance.relation(master).is_some_and(|relation| relation != Relation::Unrelated);
    names_only_it && (is_related || master.has_keys())
}

/// True if its data is known to be given up: the last failover replaced it, or it is the recorded master and
/// came back under another run id. Since an address may have got another server: only of a Pod of the group,
/// or of a server with no more keys, which writes an append-only file, as a restart with a new history needs,
/// or read no snapshot.
fn is_discarded(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    if is_anothers(case, instance) {
        return false;
    }
    let observation = case.scene.observation;
    let has_no_more = instance.keys.zip(master.keys).is_some_and(|(own, theirs)| own <= theirs);
    let was_replaced = observation
        .last_failover()
        .is_some_and(|last| last.source.as_deref() == Some(instance.id) && last.target != instance.id);
    let came_back_as_less = observation.published().is_some_and(|record| {
        record.master == instance.id
            && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
            && has_no_more
    });
    (was_replaced || came_back_as_less)
        && (instance.pod.is_some()
            || has_no_more && (instance.has_aof || instance.keys_loaded.unwrap_or(0) == 0))
}

/// True for a process that cannot be the member at whose address it is: replicas of others are attached to
/// it, or it was up while the member still was the master, or acknowledged. A Pod has an owner.
fn is_anothers(case: &Case<'_>, instance: &Instance<'_>) -> bool {
    if instance.pod.is_some() {
        return false;
    }
    let observation = case.scene.observation;
    let was_source = observation.last_failover().filter(|last| last.source.as_deref() == Some(instance.id));
    let position = observation.shard().and_then(|shard| shard.position.as_ref());
    let was_seen = position.filter(|position| {
        observation.published().is_some_and(|record| record.master == instance.id)
            || position.acknowledged_by.iter().any(|id| id == instance.id)
    });
    let bound_us = was_source
        .map(|last| last.age_us.saturating_add(DYING_US))
        .or_else(|| was_seen.map(|position| position.age_us.saturating_add(ROUNDING_US)));
    let up_us = instance.uptime_s.map(|uptime_s| uptime_s.saturating_mul(1_000_000));
    case.scene.strange_replicas(instance) > 0
        || bound_us.zip(up_us).is_some_and(|(bound_us, up_us)| up_us > bound_us)
}

/// True for a copy of this group that restarted from an append-only file: it has all its data back under a
/// new history. What distinguishes it from an instance of another group:
///
/// 1. It is a replica with its link down that names no outsider; or its Pod started after the record was
///    made.
/// 2. It has received no write since (offset 0 or 1), or the instance to follow is the recorded master.
/// 3. It writes an append-only file.
/// 4. It has no more keys than the instance to follow, which is a complete copy then, as far as keys can
///    show.
fn is_restarted_copy(case: &Case<'_>, instance: &Instance<'_>, master: &Instance<'_>) -> bool {
    let is_orphan =
        instance.is_replica() && instance.facts.link_up == Some(false) && instance.names != Named::Outsider;
    let started_us = instance.uptime_s.map(|uptime_s| uptime_s.saturating_mul(1_000_000));
    let record = case.scene.observation.published();
    let is_restarted_pod = instance.pod.is_some()
        && started_us.zip(record).is_some_and(|(started_us, record)| started_us < record.age_us);
    let has_no_more = instance.keys.zip(master.keys).is_some_and(|(own, theirs)| own <= theirs);
    let is_untouched = instance.history().is_some_and(|history| history.offset <= 1);
    let is_recorded = record.is_some_and(|record| record.master == master.id);
    let is_restart = (is_orphan || is_restarted_pod) && (is_untouched || is_recorded);
    is_restart
        && !is_anothers(case, instance)
        && (instance.has_aof || case.scene.has_recorded_history(instance))
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

/// From the death of a master to the failover, at most.
const DYING_US: u64 = 60_000_000;
/// Uptimes are whole seconds, and positions are as old as their sample.
const ROUNDING_US: u64 = 2_000_000;
