//! The rules of replication, read from top to bottom: the first that applies decides.

mod loss;
mod refused;
mod requests;
mod shape;

pub use loss::unseen_loss;
pub use requests::answer;

use super::Replication;
use super::absence::{named, plight};
use super::claims::knows_recorded_history;
use super::fence;
use super::in_sync::not_in_sync;
use super::ineligible::unfit;
use super::reasons::*;
use super::role::Mastership;
use super::scene::Scene;
use super::silence::HEARTBEAT_MIN_US;
use super::view::Member;
use super::writes::scripts_pass_the_fence;
use crate::contract::Preference;
use crate::facts::Relation;
use crate::health::{Life, duration};
use crate::rules::{CHANGING_LOOK_US, Rule, Ruling, STEADY_LOOK_US, Table};

/// First what makes a judgement impossible, then a lost role, then a wrong shape, then what was asked for,
/// then patience.
pub const RULES: Table<Replication> = Table {
    sections: &[LOST, SHAPE, PLANNED, PATIENCE],
    otherwise: settled,
    otherwise_gives: &[FENCE_MISSING, SCRIPTS_UNFENCED, HEALTHY],
};

/// What makes a judgement impossible, then a role that is lost or not given yet.
pub const LOST: &[Rule<Replication>] = &[
    Rule { gives: &[NOT_REPLICATION, LOCKED_OUT, NOBODY_ANSWERS], when: nobody_answers },
    Rule { gives: &[EXTERNAL_MASTER], when: loss::external_master },
    Rule { gives: &[UNRELATED_MASTERS], when: loss::unrelated_masters },
    Rule { gives: &[FAILOVER_IN_PROGRESS], when: failover_in_progress },
    Rule {
        gives: &[
            MASTER_SUSPECT,
            MASTER_OCCUPIED,
            MASTER_BUSY,
            MASTER_LOCKED,
            CONFIRMING_DEATH,
            MASTER_STILL_HEARD,
            HEARTBEAT_WAITING,
            TOO_FEW_WITNESSES,
            SILENT_UNFENCED,
            COOLING_DOWN,
            FLEET_DOUBT,
            FENCE_WAITING,
            CONFIRMING_ABDICATION,
        ],
        when: loss::unproven_loss,
    },
    Rule { gives: &[EMPTY_MASTER], when: loss::empty_master },
    Rule { gives: &[BELOW_MINIMUM_SIZE], when: loss::below_minimum_size },
    Rule { gives: &[ACTION_IN_DOUBT], when: loss::action_in_doubt },
    Rule { gives: &[NOBODY_ELIGIBLE], when: loss::nobody_eligible },
    Rule { gives: &[PROMOTION_REFUSED], when: loss::promotion_refused },
    Rule { gives: &[RESTART_WAITING], when: loss::restart_waiting },
    Rule { gives: &[MASTER_DEAD, MASTER_ABDICATED, MASTER_AMNESIC, MASTER_SILENT], when: loss::proven_loss },
    Rule { gives: &[BOOTSTRAP_WAITING], when: shape::bootstrap_waiting },
    Rule { gives: &[BOOTSTRAP], when: shape::bootstrap },
];

/// A wrong shape around the master.
pub const SHAPE: &[Rule<Replication>] = &[
    Rule { gives: &[SECOND_MASTER], when: shape::second_master },
    Rule { gives: &[REPLICA_ELSEWHERE], when: shape::replica_elsewhere },
    Rule { gives: &[PAUSE_LEFT], when: shape::pause_left },
    Rule { gives: &[SELF_FENCE], when: shape::self_fence },
];

/// What was asked for.
pub const PLANNED: &[Rule<Replication>] = &[
    Rule { gives: &[MASTER_CANNOT_WRITE], when: requests::master_cannot_write },
    Rule { gives: &[SWITCHOVER_REFUSED], when: requests::switchover_refused },
    Rule { gives: &[SWITCHOVER], when: requests::switchover },
    Rule { gives: &[MASTER_TERMINATING], when: requests::master_terminating },
    // A target that is never ready must not cost the lossless handover of a master that is to stop.
    Rule { gives: &[SWITCHOVER_WAITING], when: requests::switchover_waiting },
    Rule { gives: &[PRIORITY_HANDOVER], when: requests::priority_handover },
];

/// What needs time, or a person.
pub const PATIENCE: &[Rule<Replication>] = &[
    Rule { gives: &[WRITES_STOPPED], when: requests::writes_stopped },
    Rule { gives: &[COMMAND_REFUSED], when: refused::command_refused },
    Rule { gives: &[UNRELATED_DATA], when: shape::unrelated_data },
    Rule { gives: &[REPLICA_MISSING], when: replica_missing },
    Rule { gives: &[REPLICA_SYNCING], when: replica_syncing },
];

fn nobody_answers(scene: &Scene) -> Option<Ruling> {
    let view = &scene.view;
    if view.answering_count() != 0 {
        return None;
    }
    let members = 0..view.members.len();
    let is_locked = |index: &usize| view.life(*index) == Life::Locked;
    let locked: Vec<&str> = members.clone().filter(is_locked).map(|index| view.id(index)).collect();
    let none = format!("none of {} members answers", view.members.len());
    if !locked.is_empty() {
        let text = format!(
            "{none}; the operator's credentials are not accepted by {}: correct them",
            locked.join(", ")
        );
        return Some(Ruling::refuse(LOCKED_OUT, text));
    }
    let is_other_group = !view.members.is_empty() && members.clone().all(|index| view.is_replaced(index));
    if is_other_group {
        let text = format!("{none}; each runs in cluster or sentinel mode: correct the list");
        return Some(Ruling::refuse(NOT_REPLICATION, text));
    }
    let known: Vec<String> =
        members.filter(|&index| plight(view, index).is_some()).map(|index| named(view, index)).collect();
    let text = if known.is_empty() { none } else { format!("{none}; {}", known.join(", ")) };
    Some(Ruling::wait(NOBODY_ANSWERS, text, CHANGING_LOOK_US))
}

/// A FAILOVER of Redis' own, between its master and a replica. One of a server that has nothing to do with
/// the group's data holds up nothing; nor does that of a former master, once another member is master.
fn failover_in_progress(scene: &Scene) -> Option<Ruling> {
    let view = &scene.view;
    let is_the_groups = |index: usize| match (scene.master(), scene.lost().and_then(|lost| lost.index)) {
        (Some(master), _) => master == index,
        (None, Some(lost)) => {
            lost == index
                || knows_recorded_history(view, index)
                || view.members[index].relation(&view.members[lost]) != Relation::Unrelated
        }
        (None, None) => true,
    };
    let (index, _) =
        view.answering().find(|(index, member)| member.replication.in_failover && is_the_groups(*index))?;
    let text = format!("{} carries out a FAILOVER command of its own", scene.id(index));
    Some(Ruling::wait(FAILOVER_IN_PROGRESS, text, CHANGING_LOOK_US))
}

fn replica_missing(scene: &Scene) -> Option<Ruling> {
    let view = &scene.view;
    let missing: Vec<String> = (0..view.members.len())
        .filter(|&index| !view.members[index].answers)
        .map(|index| named(view, index))
        .collect();
    let (known, desired) = (view.members.len(), usize::from(view.group().members_desired));
    if missing.is_empty() && known >= desired {
        return None;
    }
    let what = if missing.is_empty() {
        format!("only {known} of {desired} members exist")
    } else {
        format!("no answer from {}", missing.join(", "))
    };
    let text = format!("{} is a working master; {what}", scene.id(scene.master()?));
    Some(Ruling::wait(REPLICA_MISSING, text, STEADY_LOOK_US))
}

fn replica_syncing(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let (index, why) = scene
        .view
        .answering()
        .filter(|(index, _)| *index != master)
        .find_map(|(index, _)| Some((index, not_in_sync(&scene.view, index, master)?)))?;
    let text = format!("{} is a working master; {} is not in sync: {why}", scene.id(master), scene.id(index));
    Some(Ruling::wait(REPLICA_SYNCING, text, CHANGING_LOOK_US))
}

/// What a heartbeat above the hang limit costs, and how to set it.
fn long_heartbeat(scene: &Scene, master: usize) -> Option<String> {
    let view = &scene.view;
    let heartbeat_us = view.heartbeat_us(master).filter(|us| *us > HEARTBEAT_MIN_US)?;
    let is_long = view.members.len() > 1 && heartbeat_us > view.hang_limit_us();
    is_long.then(|| {
        format!(
            "; if it hangs while no client writes, that shows only after {}, when its heartbeat is overdue: \
             CONFIG SET repl-ping-replica-period 1 on every member",
            duration(heartbeat_us)
        )
    })
}

/// Why no replica could take over, where that does not end by itself.
fn without_heir(scene: &Scene, master: usize) -> Option<String> {
    let lasting = |(index, member): (usize, &Member)| {
        let why = unfit(member).filter(|why| !why.is_passing())?;
        Some(format!("{} is {}", scene.id(index), why.name()))
    };
    let replicas = || scene.view.answering().filter(|(index, _)| *index != master);
    let unfit: Option<Vec<String>> = replicas().map(lasting).collect();
    let unfit = unfit.filter(|unfit| !unfit.is_empty())?;
    Some(format!("; no replica can take over: {}", unfit.join(", ")))
}

fn settled(scene: &Scene) -> Ruling {
    match scene.mastership {
        Mastership::Held(master) => {
            let replicas = scene.view.members.len() - 1;
            let noun = if replicas == 1 { "replica" } else { "replicas" };
            let text = format!("{} is master of {replicas} in-sync {noun}", scene.id(master));
            let text = text + &long_heartbeat(scene, master).unwrap_or_default();
            let text = text + &without_heir(scene, master).unwrap_or_default();
            match (unfenced(scene, master), unfenced_scripts(scene)) {
                (Some(why), _) => Ruling::healthy(FENCE_MISSING, format!("{text}; {why}")),
                (None, Some(why)) => Ruling::healthy(SCRIPTS_UNFENCED, format!("{text}; {why}")),
                (None, None) => Ruling::healthy(HEALTHY, text),
            }
        }
        // The rules above decide for each of these; if one did not, nothing would be done.
        Mastership::Contested(_) | Mastership::Lost(_) | Mastership::External { .. } | Mastership::Vacant => {
            Ruling::wait(MASTER_SUSPECT, "the master is not known yet".into(), CHANGING_LOOK_US)
        }
    }
}

/// Why the group would not replace a master that is cut off, said before it matters.
fn unfenced(scene: &Scene, master: usize) -> Option<String> {
    let why = fence::missing(&scene.view, master)
        .filter(|_| scene.view.group().prefer == Preference::Consistency)?;
    Some(format!("consistency is preferred, and {why}"))
}

/// What consistency does not cover here, said before it matters.
fn unfenced_scripts(scene: &Scene) -> Option<String> {
    let is_fenced = scene.view.group().prefer == Preference::Consistency;
    let (index, member) =
        scene.view.answering().find(|(_, member)| is_fenced && scripts_pass_the_fence(member))?;
    Some(format!(
        "consistency is preferred, and {} runs {}, where the writes of scripts pass the self-fence: upgrade \
         it to 7, or do not write by scripts",
        scene.id(index),
        member.server.version.unwrap_or("a version below 7")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_list_has_the_order_of_the_rules() {
        let given: Vec<_> = RULES
            .sections
            .iter()
            .copied()
            .flatten()
            .flat_map(|rule| rule.gives)
            .chain(RULES.otherwise_gives)
            .map(|reason| reason.name)
            .collect();
        let documented: Vec<_> = ALL.iter().map(|reason| reason.name).collect();
        assert_eq!(given, documented);
    }
}
