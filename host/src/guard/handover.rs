//! Whether a living master may hand its role over: to its own attached replica, for a reason that is on
//! record.

use super::{Case, ensure};
use crate::contract::Handover;
use failover_core::facts::Relation;

pub(super) fn handover_in_sync(case: &Case<'_>) -> Result<(), String> {
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
            (source.answers_as_master(), "the old master does not answer as one"),
            (!case.scene.is_amnesic(source), "the old master lost its data"),
            (!source.facts.in_failover && !facts.in_failover, "one of the two takes part in a FAILOVER"),
            (
                target.answers_as_replica() && case.scene.names(target, source.id),
                "the target does not answer as its replica",
            ),
            (facts.link_up == Some(true), "the target's link is not up"),
            (!target.is_loading && !facts.is_syncing, "the target is still copying"),
            (shares_history, "the target does not share the history"),
            (
                is_asked_for || facts.priority.is_some_and(|priority| priority > 0),
                "the target has priority 0, or none that is known, and was not asked for",
            ),
            (
                has_reason(case, handover),
                "nobody asked for it, nobody is terminating, and no failover meant the target",
            ),
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
    let was_meant =
        case.scene.observation.last_failover().is_some_and(|last| last.meant_for == handover.target);
    is_terminating || was_meant || is_requested(case, handover, false)
}

/// A person asked for a switchover: to this very target, or (unless `by_name`) to whoever is best.
fn is_requested(case: &Case<'_>, handover: &Handover, by_name: bool) -> bool {
    case.scene.observation.switchover.as_ref().is_some_and(|switchover| match &switchover.target {
        Some(target) => *target == handover.target,
        None => !by_name,
    })
}
