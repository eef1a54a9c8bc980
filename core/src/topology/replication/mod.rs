//! One master and its replicas: the rules, read from top to bottom.

mod actions;
mod loss;
mod order;
pub mod proof;
mod requests;
mod sync;

pub use actions::role;
pub use order::FENCE_COMMAND;
pub use requests::answer;
pub use sync::{lacks, lag_bytes};

use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Rule, Ruling, STEADY_LOOK_US, Scene};

/// First what makes a judgement impossible, then a lost role, then a wrong shape, then what was asked for,
/// then patience.
pub const RULES: &[Rule] = &[
    Rule { reason: Reason::NotReplication, when: not_replication },
    Rule { reason: Reason::NobodyAnswers, when: nobody_answers },
    Rule { reason: Reason::ExternalMaster, when: loss::external_master },
    Rule { reason: Reason::UnrelatedMasters, when: loss::unrelated_masters },
    Rule { reason: Reason::FailoverInProgress, when: failover_in_progress },
    Rule { reason: Reason::MasterSuspect, when: |scene| loss::pending(scene, Reason::MasterSuspect) },
    Rule { reason: Reason::MasterOccupied, when: |scene| loss::pending(scene, Reason::MasterOccupied) },
    Rule { reason: Reason::MasterLocked, when: |scene| loss::pending(scene, Reason::MasterLocked) },
    Rule { reason: Reason::ConfirmingDeath, when: |scene| loss::pending(scene, Reason::ConfirmingDeath) },
    Rule { reason: Reason::MasterStillHeard, when: |scene| loss::pending(scene, Reason::MasterStillHeard) },
    Rule { reason: Reason::TooFewWitnesses, when: |scene| loss::pending(scene, Reason::TooFewWitnesses) },
    Rule { reason: Reason::CoolingDown, when: |scene| loss::pending(scene, Reason::CoolingDown) },
    Rule { reason: Reason::FleetDoubt, when: |scene| loss::pending(scene, Reason::FleetDoubt) },
    Rule { reason: Reason::FenceWaiting, when: |scene| loss::pending(scene, Reason::FenceWaiting) },
    Rule { reason: Reason::SilentUnfenced, when: |scene| loss::pending(scene, Reason::SilentUnfenced) },
    Rule {
        reason: Reason::ConfirmingAbdication,
        when: |scene| loss::pending(scene, Reason::ConfirmingAbdication),
    },
    Rule { reason: Reason::BelowMinimumSize, when: loss::below_minimum_size },
    Rule { reason: Reason::ActionInDoubt, when: loss::action_in_doubt },
    Rule { reason: Reason::NobodyEligible, when: loss::nobody_eligible },
    Rule { reason: Reason::RestartWaiting, when: loss::restart_waiting },
    Rule { reason: Reason::MasterDead, when: |scene| loss::takeover(scene, Reason::MasterDead) },
    Rule { reason: Reason::MasterAbdicated, when: |scene| loss::takeover(scene, Reason::MasterAbdicated) },
    Rule { reason: Reason::MasterAmnesic, when: |scene| loss::takeover(scene, Reason::MasterAmnesic) },
    Rule { reason: Reason::MasterSilent, when: |scene| loss::takeover(scene, Reason::MasterSilent) },
    Rule { reason: Reason::BootstrapWaiting, when: order::bootstrap_waiting },
    Rule { reason: Reason::Bootstrap, when: order::bootstrap },
    Rule { reason: Reason::SecondMaster, when: order::second_master },
    Rule { reason: Reason::ReplicaElsewhere, when: order::replica_elsewhere },
    Rule { reason: Reason::SelfFence, when: order::self_fence },
    Rule { reason: Reason::SwitchoverRefused, when: requests::switchover_refused },
    Rule { reason: Reason::SwitchoverWaiting, when: requests::switchover_waiting },
    Rule { reason: Reason::Switchover, when: requests::switchover },
    Rule { reason: Reason::MasterTerminating, when: requests::master_terminating },
    Rule { reason: Reason::PriorityHandover, when: requests::priority_handover },
    Rule { reason: Reason::UnrelatedData, when: order::unrelated_data },
    Rule { reason: Reason::ReplicaMissing, when: replica_missing },
    Rule { reason: Reason::ReplicaSyncing, when: replica_syncing },
    Rule { reason: Reason::Healthy, when: healthy },
];

fn not_replication(scene: &Scene) -> Option<Ruling> {
    let (index, mode) = scene.view.answering().find_map(|(index, member)| {
        member.server.mode.filter(|mode| *mode != "standalone").map(|mode| (index, mode))
    })?;
    Some(Ruling::refuse(format!(
        "{} runs in {mode} mode, so it is no member of a replication group: take it off the list",
        scene.id(index)
    )))
}

fn nobody_answers(scene: &Scene) -> Option<Ruling> {
    (scene.view.answering_count() == 0).then(|| {
        Ruling::wait(format!("none of {} members answers", scene.view.members.len()), CHANGING_LOOK_US)
    })
}

fn failover_in_progress(scene: &Scene) -> Option<Ruling> {
    let (index, _) = scene.view.answering().find(|(_, member)| member.replication.in_failover)?;
    Some(Ruling::wait(
        format!("{} carries out a FAILOVER command of its own", scene.id(index)),
        CHANGING_LOOK_US,
    ))
}

fn replica_missing(scene: &Scene) -> Option<Ruling> {
    let missing: Vec<&str> = scene
        .view
        .members
        .iter()
        .filter(|member| !member.answers)
        .map(|member| member.instance.id.as_str())
        .collect();
    let (known, desired) = (scene.view.members.len(), usize::from(scene.view.group().members_desired));
    if missing.is_empty() && known >= desired {
        return None;
    }
    let what = if missing.is_empty() {
        format!("{known} of {desired} members are there")
    } else {
        format!("no answer from {}", missing.join(", "))
    };
    Some(Ruling::wait(format!("{} is a working master; {what}", scene.id(scene.master()?)), STEADY_LOOK_US))
}

fn replica_syncing(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let (index, why) = scene
        .view
        .answering()
        .filter(|(index, _)| *index != master)
        .find_map(|(index, _)| Some((index, lacks(scene.view, index, master)?)))?;
    Some(Ruling::wait(
        format!("{} is a working master; {} is not in sync: {why}", scene.id(master), scene.id(index)),
        CHANGING_LOOK_US,
    ))
}

fn healthy(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let replicas = scene.view.members.len() - 1;
    Some(Ruling::healthy(format!(
        "{} is master of {replicas} in-sync {}",
        scene.id(master),
        if replicas == 1 { "replica" } else { "replicas" }
    )))
}
