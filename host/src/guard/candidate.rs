//! Whether the promoted one may take the role: who answers as a master beside it, its fitness, its history,
//! and how many others were heard. Must not judge the old master's end.

use super::evidence::{claimants, is_silent, process_end};
use super::scene::{Instance, Named, Scene};
use super::{Case, ensure};
use crate::contract::{Evidence, InDoubt, Promote};
use failover_core::facts::{History, Relation};

pub(super) fn reachable_master(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    for (promote, candidate) in candidates(case) {
        // Promoting who is a master already displaces nobody.
        if candidate.answers_as_master() {
            continue;
        }
        let counts = |instance: &Instance<'_>| {
            !scene.is_amnesic(instance)
                && !scene.is_stray(instance, candidate)
                && !scene.is_former(instance, candidate)
        };
        let stays = |instance: &&Instance<'_>| {
            instance.id != promote.id && instance.answers_as_master() && counts(instance)
        };
        if let Some(master) = scene.answering().find(stays) {
            return Err(format!("{} answers as a master, and {} is to be promoted", master.id, promote.id));
        }
    }
    for follow in case.follows() {
        let (Some(instance), Some(master)) = (scene.instance(&follow.id), scene.instance(&follow.master))
        else {
            continue;
        };
        let is_master =
            instance.answers_as_master() && !scene.is_amnesic(instance) && !scene.is_stray(instance, master);
        ensure(!is_master || master.answers_as_master(), || {
            format!(
                "{} answers as a master, {} does not, and is to be followed by it",
                instance.id, master.id
            )
        })?;
    }
    Ok(())
}

pub(super) fn bootstrap(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    for (promote, candidate) in
        candidates(case).filter(|(promote, _)| promote.evidence == Evidence::Bootstrap)
    {
        for instance in scene.answering() {
            match &instance.names {
                Named::Nobody | Named::Itself => {}
                Named::Members(_) | Named::Stranger => {
                    return Err(format!("{} names a master, and a first one is to be promoted", instance.id));
                }
            }
            let has_attached = scene.attached(instance).next().is_some();
            ensure(instance.id == promote.id || !instance.answers_as_master() || !has_attached, || {
                format!("{} answers as a master with replicas", instance.id)
            })?;
        }
        let on_record = scene.observation.published().and_then(|record| scene.instance(&record.master));
        if let Some(instance) = on_record.filter(|instance| instance.id != promote.id) {
            let is_accounted =
                instance.answers || process_end(instance).is_some() || is_silent(scene, instance);
            ensure(is_accounted, || {
                format!(
                    "{} is the master on record, out of sight, neither proven dead nor silent",
                    instance.id
                )
            })?;
        }
        holds_most(scene, candidate)?;
    }
    Ok(())
}

pub(super) fn fit(case: &Case<'_>) -> Result<(), String> {
    for (promote, candidate) in candidates(case) {
        let bootstraps = promote.evidence == Evidence::Bootstrap && candidate.answers_as_master();
        if let Some(why) = unfit(candidate).filter(|_| !bootstraps) {
            return Err(format!("{} {why}", candidate.id));
        }
    }
    Ok(())
}

pub(super) fn lineage(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    for (promote, candidate) in candidates(case) {
        let Some(own) = candidate.history() else {
            return Err(format!("the history of {} is not known", candidate.id));
        };
        let record = scene.observation.published();
        // The last words of whoever was lost. One that answers has a history of its own, which may be new.
        let lost: Vec<History<'_>> = claimants(scene, promote)
            .iter()
            .filter(|claimant| !claimant.instance.answers)
            .filter_map(|claimant| claimant.instance.history())
            .collect();
        let is_heir = |history: History<'_>| {
            record.is_some_and(|record| history.knows(&record.replid))
                || lost.iter().any(|lost| history.relation(lost) != Relation::Unrelated)
        };
        let heirs = || {
            scene
                .answering()
                .filter(|instance| !scene.is_amnesic(instance) && instance.history().is_some_and(is_heir))
        };
        // A full copy of an heir has its id, and not the one before.
        let shares = |heir: &Instance<'_>| {
            heir.relation(candidate).is_some_and(|relation| relation != Relation::Unrelated)
        };
        if is_heir(own) || heirs().any(shares) {
            continue;
        }
        // The master on record, back from an append-only file with more than any copy of its former history
        // has. Of one that may not take over it is enough that it has no more.
        let has_more = |heir: &Instance<'_>| {
            let keys = heir.keys.zip(candidate.keys);
            keys.is_some_and(|(theirs, own)| theirs < own || theirs == own && unfit(heir).is_some())
        };
        let is_restarted_master =
            record.is_some_and(|record| record.master == candidate.id) && !scene.is_published(candidate);
        if let Some(heir) = heirs().next() {
            if is_restarted_master && heirs().all(has_more) {
                continue;
            }
            return Err(format!(
                "{} does not share the history of the master that it replaces, and {} does",
                candidate.id, heir.id
            ));
        }
        // All histories are new, as after a restart from an append-only file: then the data itself tells. It
        // does so for a first master, too, by a rule of its own.
        if promote.evidence != Evidence::Bootstrap {
            holds_most(scene, candidate)?;
        }
    }
    Ok(())
}

pub(super) fn most_advanced(case: &Case<'_>) -> Result<(), String> {
    if case.scene.parameter("order").is_some_and(|order| order == "priority-first") {
        return Ok(());
    }
    for (_, candidate) in candidates(case) {
        for other in case.scene.answering().filter(|other| other.id != candidate.id && unfit(other).is_none())
        {
            if let Some(Relation::Ahead(bytes)) = other.relation(candidate) {
                return Err(format!(
                    "{} is {bytes} bytes ahead of {} in the same history, and fit",
                    other.id, candidate.id
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn quorum(case: &Case<'_>) -> Result<(), String> {
    let group = &case.scene.observation.group;
    let desired = usize::from(group.members_desired);
    let needed = group.members_min.map_or(desired.saturating_sub(1).clamp(1, 2), usize::from);
    let heard = case.scene.answering().count();
    let replaces_data = |id: &str| case.scene.instance(id).is_none_or(|instance| instance.keys != Some(0));
    let needs_it = case.promotes().next().is_some() || case.follows().any(|follow| replaces_data(&follow.id));
    ensure(!needs_it || heard >= needed, || format!("{heard} members answer, and {needed} must"))?;
    // Of two, the one that is left is all there can be.
    let is_majority = heard * 2 > desired || (desired <= 2 && heard >= 1);
    let is_silent = case.promotes().any(|promote| promote.evidence == Evidence::Silent);
    ensure(!is_silent || is_majority, || {
        format!("{heard} of {desired} members answer, and silence takes a majority")
    })
}

pub(super) fn in_doubt(case: &Case<'_>) -> Result<(), String> {
    for promote in case.promotes() {
        for doubt in &case.scene.observation.in_doubt {
            let Some(possible) = doubt.action.new_master() else { continue };
            let Some(instance) = case.scene.instance(possible).filter(|instance| instance.id != promote.id)
            else {
                continue;
            };
            ensure(is_settled(&case.scene, instance, doubt), || {
                format!("{possible} may have become a master {} us ago, and was not seen since", doubt.age_us)
            })?;
        }
    }
    Ok(())
}

/// Whether nothing can come of the doubtful action any more, or its outcome was seen.
fn is_settled(scene: &Scene<'_>, instance: &Instance<'_>, doubt: &InDoubt) -> bool {
    let was_seen = instance.answers && instance.age_us.is_some_and(|age_us| age_us < doubt.age_us);
    was_seen || process_end(instance).is_some() || is_silent(scene, instance)
}

/// Why this one cannot take the role. None: it can.
///
/// Its version is left out on purpose: a complete replica of an older Redis is better than no master.
fn unfit(instance: &Instance<'_>) -> Option<&'static str> {
    let facts = &instance.facts;
    let conditions = [
        (instance.answers_as_replica(), "does not answer as a replica"),
        (facts.priority.is_some_and(|priority| priority > 0), "has priority 0, or none that is known"),
        (!instance.is_loading, "is loading"),
        (!facts.is_syncing, "is in the middle of a full sync"),
        (facts.is_announced, "is not announced"),
        (!facts.in_failover, "takes part in a FAILOVER"),
        (instance.run_id.is_some(), "has no run id that is known"),
    ];
    conditions.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
}

/// Where no history tells: the master on record if it has data, else whoever has the most. Between members of
/// one history offsets tell, not keys.
fn holds_most(scene: &Scene<'_>, candidate: &Instance<'_>) -> Result<(), String> {
    let on_record = scene.observation.published().is_some_and(|record| record.master == candidate.id);
    let own = candidate.keys.unwrap_or(0);
    let is_richer = |other: &&Instance<'_>| {
        let is_foreign = matches!(other.relation(candidate), Some(Relation::Unrelated) | None);
        other.keys.unwrap_or(0) > own
            && is_foreign
            && !scene.may_be_discarded(other)
            && !scene.is_amnesic(other)
    };
    match scene.answering().find(is_richer) {
        Some(richer) if !(on_record && own > 0) => {
            Err(format!("{} holds {own} keys, and {} holds more", candidate.id, richer.id))
        }
        Some(_) | None => Ok(()),
    }
}

fn candidates<'c, 'a>(case: &'c Case<'a>) -> impl Iterator<Item = (&'a Promote, &'c Instance<'a>)> {
    case.promotes().filter_map(|promote| Some((promote, case.scene.instance(&promote.id)?)))
}
