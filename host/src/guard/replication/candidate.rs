//! Whether the promoted instance may take the role: other instances that answer as masters, its fitness, its
//! history, and the number of answering members. Must not judge the old master's end.

use super::emptied::is_emptied;
use super::evidence::{claimants, is_silent, process_end};
use crate::contract::{Action, Evidence, InDoubt, Promote, Promotion};
use crate::guard::scene::{Instance, Named, Scene};
use crate::guard::{Case, ensure};
use failover_core::facts::{History, Relation};

pub(in crate::guard) fn reachable_master(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for (promote, candidate) in candidates(case) {
        // Promoting an instance that is a master already displaces no master.
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
            return Err(format!("{} is to be promoted, but {} answers as a master", promote.id, master.id));
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
            format!("{} answers as a master, and is to follow {}, which does not", instance.id, master.id)
        })?;
    }
    Ok(())
}

pub(in crate::guard) fn bootstrap(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for (promote, candidate) in
        candidates(case).filter(|(promote, _)| promote.evidence == Evidence::Bootstrap)
    {
        for instance in scene.answering() {
            match &instance.names {
                Named::Nothing | Named::Itself => {}
                Named::Members(_) | Named::Outsider => {
                    return Err(format!(
                        "a first master is to be promoted, but {} names a master",
                        instance.id
                    ));
                }
            }
            let has_attached = scene.attached(instance).next().is_some();
            ensure(instance.id == promote.id || !instance.answers_as_master() || !has_attached, || {
                format!(
                    "a first master is to be promoted, but {} answers as a master with replicas",
                    instance.id
                )
            })?;
        }
        let recorded = scene.observation.published().and_then(|record| scene.instance(&record.master));
        if let Some(instance) = recorded.filter(|instance| instance.id != promote.id) {
            let is_accounted =
                instance.answers || process_end(scene, instance).is_some() || is_silent(scene, instance);
            ensure(is_accounted, || {
                format!(
                    "{} is the recorded master and does not answer, and is neither proven dead nor silent \
                     for the hang limit",
                    instance.id
                )
            })?;
        }
        holds_most(scene, candidate)?;
    }
    Ok(())
}

pub(in crate::guard) fn fit(case: &Case<'_>) -> Result<(), String> {
    for (promote, candidate) in candidates(case) {
        let bootstraps = promote.evidence == Evidence::Bootstrap && candidate.answers_as_master();
        // A copy of a master without data is promised and not read yet: the promotion saves the data.
        let is_saved = candidate.facts.is_syncing
            && !candidate.is_loading
            && candidate.has_keys()
            && case.scene.named_by(candidate).any(|master| case.scene.is_amnesic(master));
        if let Some(why) = unfit(candidate, is_saved).filter(|_| !bootstraps) {
            return Err(format!("{} {why}", candidate.id));
        }
    }
    Ok(())
}

pub(in crate::guard) fn lineage(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for (promote, candidate) in candidates(case) {
        let Some(own) = candidate.history() else {
            return Err(format!("the replication history of {} is unknown", candidate.id));
        };
        let record = scene.observation.published();
        // The newest histories of lost claimants. One that answers may have a new history of its own.
        let lost: Vec<History<'_>> = claimants(scene, promote)
            .iter()
            .filter(|claimant| !claimant.instance.answers)
            .filter_map(|claimant| claimant.instance.history())
            .collect();
        let is_heir = |history: History<'_>| {
            record.is_some_and(|record| history.knows(&record.replid))
                || lost.iter().any(|lost| history.relation(lost) != Relation::Unrelated)
        };
        // Where all data is gone, an empty heir that may not take over says nothing.
        let is_all_gone = candidate.keys == Some(0) && scene.answering().all(|other| other.keys == Some(0));
        let heirs = || {
            scene.answering().filter(|instance| {
                !is_all_gone && !scene.is_amnesic(instance) && instance.history().is_some_and(is_heir)
            })
        };
        // A full copy of an heir has its replication id, but no former one.
        let shares = |heir: &Instance<'_>| {
            heir.relation(candidate).is_some_and(|relation| relation != Relation::Unrelated)
        };
        if is_heir(own) || heirs().any(shares) {
            continue;
        }
        // Exception: the recorded master restarted from an append-only file, and has more keys than any copy
        // of its former history; than an unfit copy, at least as many.
        let has_less = |heir: &Instance<'_>| {
            let keys = heir.keys.zip(candidate.keys);
            keys.is_some_and(|(theirs, own)| theirs < own || theirs == own && unfit(heir, false).is_some())
        };
        let is_restarted_master =
            record.is_some_and(|record| record.master == candidate.id) && !scene.is_published(candidate);
        if let Some(heir) = heirs().next() {
            if is_restarted_master && heirs().all(has_less) {
                continue;
            }
            return Err(format!(
                "{} does not share the history of the master that it replaces, but {} does",
                candidate.id, heir.id
            ));
        }
        if let Some(copy) = recent_copy(scene, candidate) {
            return Err(format!(
                "{} is empty, and {}, which replied a moment ago, has the history on record",
                candidate.id, copy.id
            ));
        }
        // All histories are new, as after a restart from an append-only file: then the number of keys
        // decides. The rule `bootstrap` applies the same to a first master.
        if promote.evidence != Evidence::Bootstrap {
            holds_most(scene, candidate)?;
        }
    }
    Ok(())
}

/// A copy of the history on record that does not answer just now, while the candidate has no data:
///
/// 1. The recorded master restarts empty, and is a replica of itself, as every Pod starts.
/// 2. It answers before its copy does, whose reply is late.
/// 3. Promoted for its name, it empties the copy, which follows it.
fn recent_copy<'s>(scene: &'s Scene<'_>, candidate: &Instance<'_>) -> Option<&'s Instance<'s>> {
    let record = scene.observation.published()?;
    scene.instances.iter().filter(|_| !candidate.has_keys()).find(|instance| {
        instance.id != candidate.id
            && !instance.answers
            && instance.last_keys != Some(0)
            && process_end(scene, instance).is_none()
            && instance.age_us.is_some_and(|age_us| age_us < RECENT_COPY_US)
            && instance.history().is_some_and(|history| history.knows(&record.replid))
    })
}

pub(in crate::guard) fn most_advanced(case: &Case<'_>) -> Result<(), String> {
    if case.scene.parameter("order").is_some_and(|order| order == "priority-first") {
        return Ok(());
    }
    for (promote, candidate) in candidates(case) {
        let claimants = claimants(case.scene, promote);
        let lost = || claimants.iter().map(|claimant| claimant.instance);
        let whole = || case.scene.answering().filter(|other| !other.is_loading && !other.facts.is_syncing);
        for other in
            case.scene.answering().filter(|other| other.id != candidate.id && unfit(other, false).is_none())
        {
            if let Some(Relation::Ahead(bytes)) = other.relation(candidate) {
                let is_emptied = whole().chain(lost()).any(|holder| is_emptied(holder, other));
                if is_emptied && candidate.keys != Some(0) {
                    continue;
                }
                if has_refused(case, other) {
                    reports_loss(case, other, bytes)?;
                    continue;
                }
                return Err(format!(
                    "{} is {bytes} bytes ahead of {} in the same history, and may be promoted",
                    other.id, candidate.id
                ));
            }
            let is_same = matches!(other.relation(candidate), Some(Relation::Equal));
            ensure(!is_same || candidate.keys != Some(0) || !other.has_keys(), || {
                format!(
                    "{} has no keys, and {}, which is as far in the same history, has",
                    candidate.id, other.id
                )
            })?;
        }
    }
    Ok(())
}

/// True if its present process refused its promotion within the last minute: it may be passed over.
fn has_refused(case: &Case<'_>, instance: &Instance<'_>) -> bool {
    case.scene.observation.refused.iter().any(|refused| {
        // For want of votes is no word of the member.
        matches!(&refused.action, Action::Promote(promote)
            if promote.id == instance.id
                && promote.how != Promotion::Votes
                && instance.run_id == Some(promote.expect.run_id.as_str()))
    })
}

/// What a passed-over copy has beyond the promoted one is lost, and the decision must say at least that.
fn reports_loss(case: &Case<'_>, passed_over: &Instance<'_>, surplus: u64) -> Result<(), String> {
    let loss = case.decision.loss();
    let is_reported = loss.is_some_and(|loss| loss.bytes.is_none_or(|bytes| bytes >= surplus));
    ensure(is_reported, || {
        format!(
            "{} refused its promotion and is {surplus} bytes ahead, but the plan reports a loss of {:?}",
            passed_over.id,
            loss.map(|loss| loss.bytes)
        )
    })
}

pub(in crate::guard) fn quorum(case: &Case<'_>) -> Result<(), String> {
    let group = &case.scene.observation.group;
    // A server in another mode at a member's address shows that the member is not merely out of sight.
    let replaced = case.scene.instances.iter().filter(|instance| instance.is_replaced).count();
    let desired = usize::from(group.members_desired).saturating_sub(replaced).max(1);
    let needed = group.members_min.map_or(desired.saturating_sub(1).clamp(1, 2), usize::from);
    let answering = case.scene.answering().count();
    let replaces_data = |id: &str| case.scene.instance(id).is_none_or(|instance| instance.keys != Some(0));
    let needs_it = case.promotes().next().is_some() || case.follows().any(|follow| replaces_data(&follow.id));
    ensure(!needs_it || answering >= needed, || {
        format!("{answering} members answer; a promotion needs {needed}")
    })?;
    // Of two members, one survivor is the most that there can be.
    let is_majority = answering * 2 > desired || (desired <= 2 && answering >= 1);
    let is_silent = case.promotes().any(|promote| promote.evidence == Evidence::Silent);
    ensure(!is_silent || is_majority, || {
        format!("{answering} of {desired} members answer; to replace a silent master takes a majority")
    })
}

pub(in crate::guard) fn in_doubt(case: &Case<'_>) -> Result<(), String> {
    for promote in case.promotes() {
        for doubt in &case.scene.observation.in_doubt {
            let Some(possible) = doubt.action.new_master() else { continue };
            let Some(instance) = case.scene.instance(possible).filter(|instance| instance.id != promote.id)
            else {
                continue;
            };
            ensure(is_settled(case.scene, instance, doubt), || {
                format!(
                    "{possible} may have become a master {} us ago, and has not answered since",
                    doubt.age_us
                )
            })?;
        }
    }
    Ok(())
}

/// True if a reply since shows the action's outcome, or its target is dead or silent.
fn is_settled(scene: &Scene<'_>, instance: &Instance<'_>, doubt: &InDoubt) -> bool {
    let was_seen = instance.answers && instance.age_us.is_some_and(|age_us| age_us < doubt.age_us);
    was_seen || process_end(scene, instance).is_some() || is_silent(scene, instance)
}

/// Why the instance cannot take the role. None: it can.
///
/// Its version does not count: a complete replica of an older Redis is better than no master.
fn unfit(instance: &Instance<'_>, may_sync: bool) -> Option<&'static str> {
    let facts = &instance.facts;
    let conditions = [
        (instance.answers_as_replica(), "does not answer as a replica"),
        (facts.priority.is_some_and(|priority| priority > 0), "has priority 0, or an unknown one"),
        (!instance.is_loading, "is loading"),
        (!facts.is_syncing || may_sync, "is in the middle of a full sync"),
        (facts.is_announced, "is not announced (replica-announced no)"),
        (!facts.in_failover, "takes part in a FAILOVER"),
        (instance.run_id.is_some(), "has no known run id"),
    ];
    conditions.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
}

/// Where histories cannot decide: the recorded master if it has data, else a member that the record saw reach
/// the last position of the stream, else the instance with the most keys. Members of one history are compared
/// by offset, not by keys.
fn holds_most(scene: &Scene<'_>, candidate: &Instance<'_>) -> Result<(), String> {
    // What a new process has that read no file, it took since its start.
    let has_its_data = scene.is_published(candidate) || !candidate.loaded_nothing();
    let is_on_record = scene.observation.published().is_some_and(|record| record.master == candidate.id);
    let is_recorded = is_on_record && has_its_data || scene.position_reached(candidate).is_some();
    let own = candidate.keys.unwrap_or(0);
    let is_richer = |other: &&Instance<'_>| {
        let is_foreign = matches!(other.relation(candidate), Some(Relation::Unrelated) | None);
        other.keys.unwrap_or(0) > own
            && is_foreign
            && !scene.may_be_discarded(other)
            && !scene.is_amnesic(other)
    };
    match scene.answering().find(is_richer) {
        Some(richer) if !(is_recorded && own > 0) => {
            Err(format!("{} has {own} keys, but {} has more", candidate.id, richer.id))
        }
        Some(_) | None => Ok(()),
    }
}

fn candidates<'c, 'a>(case: &'c Case<'a>) -> impl Iterator<Item = (&'a Promote, &'c Instance<'a>)> {
    case.promotes().filter_map(|promote| Some((promote, case.scene.instance(&promote.id)?)))
}

/// Several times what a busy host delays a reply by, and less than the default policy waits for the copies.
const RECENT_COPY_US: u64 = 5_000_000;
