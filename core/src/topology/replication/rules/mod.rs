//! The rules of replication, read from top to bottom: the first that applies decides.

mod loss;
mod refused;
mod requests;
mod shape;

pub use requests::answer;
pub use shape::FENCE_COMMAND;

use super::Replication;
use super::in_sync::not_in_sync;
use super::reasons::*;
use super::role::Mastership;
use super::scene::Scene;
use super::writes::scripts_pass_the_fence;
use crate::contract::Preference;
use crate::rules::{CHANGING_LOOK_US, Rule, Ruling, STEADY_LOOK_US, Table};

/// First what makes a judgement impossible, then a lost role, then a wrong shape, then what was asked for,
/// then patience.
pub const RULES: Table<Replication> = Table {
    rules: &[
        Rule { gives: &[NOT_REPLICATION], when: not_replication },
        Rule { gives: &[NOBODY_ANSWERS], when: nobody_answers },
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
                TOO_FEW_WITNESSES,
                SILENT_UNFENCED,
                COOLING_DOWN,
                FLEET_DOUBT,
                FENCE_WAITING,
                CONFIRMING_ABDICATION,
            ],
            when: loss::unproven_loss,
        },
        Rule { gives: &[BELOW_MINIMUM_SIZE], when: loss::below_minimum_size },
        Rule { gives: &[ACTION_IN_DOUBT], when: loss::action_in_doubt },
        Rule { gives: &[EMPTY_MASTER], when: loss::empty_master },
        Rule { gives: &[NOBODY_ELIGIBLE], when: loss::nobody_eligible },
        Rule { gives: &[PROMOTION_REFUSED], when: loss::promotion_refused },
        Rule { gives: &[RESTART_WAITING], when: loss::restart_waiting },
        Rule {
            gives: &[MASTER_DEAD, MASTER_ABDICATED, MASTER_AMNESIC, MASTER_SILENT],
            when: loss::proven_loss,
        },
        Rule { gives: &[BOOTSTRAP_WAITING], when: shape::bootstrap_waiting },
        Rule { gives: &[BOOTSTRAP], when: shape::bootstrap },
        Rule { gives: &[MASTER_CHANGED], when: loss::master_changed },
        Rule { gives: &[SECOND_MASTER], when: shape::second_master },
        Rule { gives: &[REPLICA_ELSEWHERE], when: shape::replica_elsewhere },
        Rule { gives: &[PAUSE_LEFT], when: shape::pause_left },
        Rule { gives: &[SELF_FENCE], when: shape::self_fence },
        Rule { gives: &[MASTER_CANNOT_WRITE], when: requests::master_cannot_write },
        Rule { gives: &[SWITCHOVER_REFUSED], when: requests::switchover_refused },
        Rule { gives: &[SWITCHOVER], when: requests::switchover },
        Rule { gives: &[MASTER_TERMINATING], when: requests::master_terminating },
        Rule { gives: &[SWITCHOVER_WAITING], when: requests::switchover_waiting },
        Rule { gives: &[PRIORITY_HANDOVER], when: requests::priority_handover },
        Rule { gives: &[WRITES_STOPPED], when: requests::writes_stopped },
        Rule { gives: &[COMMAND_REFUSED], when: refused::command_refused },
        Rule { gives: &[UNRELATED_DATA], when: shape::unrelated_data },
        Rule { gives: &[REPLICA_MISSING], when: replica_missing },
        Rule { gives: &[REPLICA_SYNCING], when: replica_syncing },
    ],
    otherwise: settled,
    otherwise_gives: &[SCRIPTS_UNFENCED, HEALTHY],
};

fn not_replication(scene: &Scene) -> Option<Ruling> {
    let (index, mode) = scene.view.answering().find_map(|(index, member)| {
        member.server.mode.filter(|mode| *mode != "standalone").map(|mode| (index, mode))
    })?;
    let text = format!(
        "{} runs in {mode} mode, so it is no member of a replication group: take it off the list",
        scene.id(index)
    );
    Some(Ruling::refuse(NOT_REPLICATION, text))
}

fn nobody_answers(scene: &Scene) -> Option<Ruling> {
    (scene.view.answering_count() == 0).then(|| {
        let text = format!("none of {} members answers", scene.view.members.len());
        Ruling::wait(NOBODY_ANSWERS, text, CHANGING_LOOK_US)
    })
}

fn failover_in_progress(scene: &Scene) -> Option<Ruling> {
    let (index, _) = scene.view.answering().find(|(_, member)| member.replication.in_failover)?;
    let text = format!("{} carries out a FAILOVER command of its own", scene.id(index));
    Some(Ruling::wait(FAILOVER_IN_PROGRESS, text, CHANGING_LOOK_US))
}

fn replica_missing(scene: &Scene) -> Option<Ruling> {
    let silent = scene.view.members.iter().filter(|member| !member.answers);
    let missing: Vec<&str> = silent.map(|member| member.instance.id.as_str()).collect();
    let (known, desired) = (scene.view.members.len(), usize::from(scene.view.group().members_desired));
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

fn settled(scene: &Scene) -> Ruling {
    match scene.mastership {
        Mastership::Held(master) => {
            let replicas = scene.view.members.len() - 1;
            let noun = if replicas == 1 { "replica" } else { "replicas" };
            let text = format!("{} is master of {replicas} in-sync {noun}", scene.id(master));
            match unfenced_scripts(scene) {
                Some(why) => Ruling::healthy(SCRIPTS_UNFENCED, format!("{text}; {why}")),
                None => Ruling::healthy(HEALTHY, text),
            }
        }
        // The rules above decide for each of these; if one did not, nothing would be done.
        Mastership::Contested(_) | Mastership::Lost(_) | Mastership::External { .. } | Mastership::Vacant => {
            Ruling::wait(MASTER_SUSPECT, "the master is not known yet".into(), CHANGING_LOOK_US)
        }
    }
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
            .rules
            .iter()
            .flat_map(|rule| rule.gives)
            .chain(RULES.otherwise_gives)
            .map(|reason| reason.name)
            .collect();
        let documented: Vec<_> = ALL.iter().map(|reason| reason.name).collect();
        assert_eq!(given, documented);
    }
}
