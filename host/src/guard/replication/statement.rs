//! Whether what a decision states of the group is what the replies show: its master, its health, the end of a
//! request. Must not judge a plan.
//!
//! Why a name needs a guard. The record follows the master that decisions name, so a decision without a plan
//! could move it:
//! 1. Redis-1 is master, on record, with 300 keys; redis-3 is a stale second master with one.
//! 2. A policy answers *wait*, and names redis-3. The record is redis-3's.
//! 3. Another policy decides next. By the record, redis-1 is the second master: it is demoted, and follows.

use super::evidence::{is_silent, process_end};
use crate::contract::{RequestState, Verdict};
use crate::guard::scene::{Instance, Scene};
use crate::guard::{Case, ensure};
use failover_core::facts::Relation;

pub(in crate::guard) fn named_master(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for id in case.decision.masters() {
        let Some(named) = scene.instance(id) else {
            return Err(format!("{id} is named master, and is no instance"));
        };
        ensure(named.answers_as_master(), || format!("{id} is named master, and does not answer as one"))?;
        ensure(!scene.is_amnesic(named), || format!("{id} is named master, and came back without its data"))?;
        // What a majority of the Sentinels decided is done, whatever the record says yet.
        if scene.is_appointed(named) {
            continue;
        }
        let other = scene.answering().find(|other| other.id != named.id && outranks(scene, other, named));
        if let Some(other) = other {
            return Err(format!("{id} is named master, and {} has the better claim", other.id));
        }
        if let Some(heir) = heir_of_other_data(scene, named) {
            return Err(format!("{id} is named master, and {} has the data of the group", heir.id));
        }
        check_record_is_over(scene, named)?;
    }
    Ok(())
}

/// A member that the record speaks for, where nothing speaks for the named one: neither the record nor any
/// replica names it, and no member has to do with its data. Of a stranger with more keys nothing follows.
fn heir_of_other_data<'s>(scene: &'s Scene<'_>, named: &Instance<'_>) -> Option<&'s Instance<'s>> {
    let is_related = |other: &Instance<'_>| {
        other.id != named.id && other.relation(named).is_some_and(|relation| relation != Relation::Unrelated)
    };
    let is_named = || scene.answering().any(|replica| replica.is_replica() && scene.names(replica, named.id));
    if is_on_record(scene, named) || is_named() || scene.instances.iter().any(is_related) {
        return None;
    }
    scene.answering().find(|heir| {
        heir.has_keys()
            && (scene.has_recorded_history(heir) || scene.is_published(heir))
            && scene.is_stray(named, heir)
            && !scene.is_amnesic(heir)
    })
}

/// While the recorded master is only out of sight, another one is named only if the replicas left the
/// recorded one for it.
fn check_record_is_over(scene: &Scene<'_>, named: &Instance<'_>) -> Result<(), String> {
    let recorded = scene.observation.published().and_then(|record| scene.instance(&record.master));
    let Some(recorded) = recorded.filter(|recorded| recorded.id != named.id && !recorded.answers) else {
        return Ok(());
    };
    let is_followed = |master: &Instance<'_>| {
        scene.answering().any(|replica| replica.is_replica() && scene.names(replica, master.id))
    };
    let is_left = is_followed(named) && !is_followed(recorded);
    let is_over = is_left
        || process_end(scene, recorded).is_some()
        || is_silent(scene, recorded)
        || recorded.is_replica();
    ensure(is_over, || {
        format!(
            "{} is named master, and the recorded master {} is neither proven dead nor silent for the hang \
             limit",
            named.id, recorded.id
        )
    })
}

/// True if `other` answers as a master and the record speaks for it, and not for `named`: it has all data of
/// the other and more, or it is the recorded process, or has the recorded history; or, where the two have
/// nothing in common, the recorded name.
pub(in crate::guard) fn outranks(scene: &Scene<'_>, other: &Instance<'_>, named: &Instance<'_>) -> bool {
    let claims =
        |instance: &Instance<'_>| (scene.is_published(instance), scene.has_recorded_history(instance));
    let is_named = |instance: &Instance<'_>| is_on_record(scene, instance);
    let is_claimant = other.id != named.id
        && other.answers_as_master()
        && !scene.is_amnesic(other)
        && !scene.is_stray(other, named)
        && !scene.is_former(other, named)
        && !scene.may_be_discarded(other);
    is_claimant
        && match named.relation(other) {
            Some(Relation::Behind(_)) => true,
            Some(Relation::Ahead(_)) => false,
            Some(Relation::Equal | Relation::Forked { .. }) => claims(other) > claims(named),
            Some(Relation::Unrelated) | None => {
                (claims(other), is_named(other)) > (claims(named), is_named(named))
            }
        }
}

fn is_on_record(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    scene.observation.published().is_some_and(|record| record.master == instance.id)
}

pub(in crate::guard) fn healthy(case: &Case<'_>) -> Result<(), String> {
    match case.decision.verdict {
        Verdict::Healthy => {}
        Verdict::Act | Verdict::Wait | Verdict::Refuse => return Ok(()),
    }
    // Whether the named one answers as a master is the rule before this one.
    ensure(case.decision.shards.iter().all(|shard| shard.master.is_some()), || {
        "the verdict is healthy, but no master is named".into()
    })?;
    let Some(master) = case.decision.master().and_then(|id| case.scene.instance(id)) else { return Ok(()) };
    let mut others = case.scene.answering().filter(|other| other.id != master.id);
    let follows = |other: &Instance<'_>| other.is_replica() && case.scene.names(other, master.id);
    match others.find(|other| !follows(other)) {
        Some(other) => Err(format!(
            "the verdict is healthy, but {} answers and is no replica of {}",
            other.id, master.id
        )),
        None => Ok(()),
    }
}

pub(in crate::guard) fn request_done(case: &Case<'_>) -> Result<(), String> {
    let is_done = |state: RequestState| match state {
        RequestState::Done => true,
        RequestState::Waiting | RequestState::Refused => false,
    };
    let answer = case.decision.request.as_ref().filter(|answer| is_done(answer.state));
    let Some(request) = case.scene.observation.switchover.as_ref().filter(|_| answer.is_some()) else {
        return Ok(());
    };
    let target = request.target.as_deref().and_then(|id| case.scene.instance(id));
    ensure(target.is_some_and(Instance::answers_as_master), || {
        format!(
            "the switchover to {} is called done, but that one does not answer as a master",
            request.target.as_deref().unwrap_or("any replica")
        )
    })
}
