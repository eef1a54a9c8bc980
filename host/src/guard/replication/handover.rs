//! Whether a living master may hand its role over: only to its own attached replica, and only for a reason
//! that the Observation shows. Must not judge an election.

use super::emptied::is_emptied;
use crate::contract::Handover;
use crate::guard::scene::Disk;
use crate::guard::{Case, ensure};
use failover_core::facts::Relation;

pub(in crate::guard) fn handover_in_sync(case: &Case<'_>) -> Result<(), String> {
    for handover in case.handovers() {
        let (Some(source), Some(target)) =
            (case.scene.instance(&handover.source), case.scene.instance(&handover.target))
        else {
            continue;
        };
        let facts = &target.facts;
        let shares_history = target.relation(source).is_some_and(|relation| relation != Relation::Unrelated);
        let is_asked_for = is_requested(case, handover, true);
        let conditions = [
            (source.answers_as_master(), "the source does not answer as a master"),
            (!case.scene.is_amnesic(source), "the source came back without its data"),
            (!source.facts.in_failover && !facts.in_failover, "one of the two takes part in a FAILOVER"),
            (
                target.answers_as_replica() && case.scene.names(target, source.id),
                "the target does not answer as a replica of the source",
            ),
            (facts.link_up == Some(true), "the target's link is not up"),
            (!target.is_loading && !facts.is_syncing, "the target is still copying"),
            (shares_history, "the target does not share the source's history"),
            (
                !is_emptied(source, target),
                "the target has no keys at a place of the stream where the source has",
            ),
            (
                is_asked_for || facts.priority.is_some_and(|priority| priority > 0),
                "the target's priority is 0 or unknown, and no request names it",
            ),
            (
                has_reason(case, handover),
                "no switchover is requested, the source is not terminating and takes writes, and the last \
                 failover was not meant for the target",
            ),
            // Else it would be the reason for the next one, back to the source.
            (handover.meant_for == handover.target, "it is meant for another instance than its target"),
        ];
        for (holds, why) in conditions {
            ensure(holds, || format!("{} would hand over to {}: {why}", handover.source, handover.target))?;
        }
    }
    Ok(())
}

fn has_reason(case: &Case<'_>, handover: &Handover) -> bool {
    let is_terminating = case
        .scene
        .instance(&handover.source)
        .and_then(|instance| instance.pod)
        .is_some_and(|pod| pod.terminating);
    let was_meant = case
        .scene
        .observation
        .last_failover()
        .is_some_and(|last| last.meant_for == handover.target && last.target == handover.source);
    is_terminating || was_meant || is_requested(case, handover, false) || brings_writes(case, handover)
}

/// True if the source refuses writes because of its disk, and the target, as far as it shows, does not.
fn brings_writes(case: &Case<'_>, handover: &Handover) -> bool {
    let disk = |id: &str| case.scene.instance(id).map(|instance| instance.disk);
    disk(&handover.source).is_some_and(|disk| disk != Disk::Works)
        && disk(&handover.target).is_some_and(|disk| disk != Disk::StopsWrites)
}

/// True if a switchover is requested: to this target, or (unless `by_name`) to the best replica.
fn is_requested(case: &Case<'_>, handover: &Handover, by_name: bool) -> bool {
    case.scene.observation.switchover.as_ref().is_some_and(|switchover| match &switchover.target {
        Some(target) => *target == handover.target,
        None => !by_name,
    })
}
