//! Schedules on Kubernetes: servers are Pods, of which operators learn late. They are deleted, restart, and
//! come back at other addresses.

use crate::schedule::{BootRule, Fault, Schedule, Step, Target};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, Pod as KubernetesPod,
    PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use redis_model::Dice;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How Kubernetes runs the servers of a schedule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PodPlan {
    /// Until a change of a Pod reaches the operators.
    pub seen_us: u64,
    /// From a new Pod's address to the start of its container.
    pub start_us: u64,
    /// `terminationGracePeriodSeconds`, in microseconds: for so long the preStop script of a master waits for
    /// its handover.
    pub grace_us: u64,
}

/// A Pod of a server, as the kubelet or the API has it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, as all Pods of its place have it.
    pub name: String,
    /// Numbers the Pods of its name: its uid.
    pub number: u64,
    /// It exists, and has its address.
    pub is_there: bool,
    /// Its deletion was requested.
    pub is_terminating: bool,
    /// When its container started. None: that does not run.
    pub started_us: Option<u64>,
    /// Its first container has not started yet.
    pub is_new: bool,
    /// How often its container was started again.
    pub restarts: u32,
    /// Its address.
    pub host: String,
}

impl Pod {
    /// As the API server has it.
    pub fn object(&self) -> Arc<KubernetesPod> {
        let state = match self.started_us {
            Some(started_us) => {
                // In whole seconds.
                let second = i64::try_from(started_us / 1_000_000).unwrap_or(i64::MAX);
                let started_at = Timestamp::from_second(second).ok().map(Time);
                ContainerState { running: Some(ContainerStateRunning { started_at }), ..Default::default() }
            }
            None => ContainerState { waiting: Some(ContainerStateWaiting::default()), ..Default::default() },
        };
        let container = ContainerStatus {
            name: "redis".into(),
            ready: self.started_us.is_some(),
            restart_count: i32::try_from(self.restarts).unwrap_or(i32::MAX),
            state: Some(state),
            ..ContainerStatus::default()
        };
        let ready = PodCondition {
            type_: "Ready".into(),
            status: if self.started_us.is_some() && !self.is_terminating { "True" } else { "False" }.into(),
            ..PodCondition::default()
        };
        let status = PodStatus {
            phase: Some("Running".into()),
            pod_ip: Some(self.host.clone()),
            conditions: Some(vec![ready]),
            container_statuses: Some(vec![container]),
            ..PodStatus::default()
        };
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some("shop".into()),
            uid: Some(format!("{:08}", self.number)),
            deletion_timestamp: self.is_terminating.then_some(Time(Timestamp::UNIX_EPOCH)),
            labels: Some([("controller-revision-hash".to_owned(), REVISION.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let spec = PodSpec { subdomain: Some("redis-cart-headless".into()), ..PodSpec::default() };
        Arc::new(KubernetesPod { metadata, spec: Some(spec), status: Some(status) })
    }
}

impl Schedule {
    /// The schedule of a seed on Kubernetes, in which Pods are deleted, too.
    pub fn with_pods(seed: u64) -> Self {
        let mut schedule = Self::of(seed);
        // Apart from the dice of the schedule, whose other steps stay what they are.
        let dice = &mut Dice::new(seed ^ 0x90d5);
        schedule.pods = Some(PodPlan {
            seen_us: dice.one_of([5_000, 50_000, 400_000, 2_500_000]),
            start_us: dice.one_of([100_000, 1_000_000, 4_000_000]),
            grace_us: dice.one_of([300_000, 2_000_000, 10_000_000]),
        });
        // As the Pods of the product do.
        schedule.boot = BootRule::Itself;
        let last_us = schedule.steps.last().map_or(0, |step| step.at_us);
        for _ in 0..1 + dice.index(4) {
            let at_us = dice.below(last_us + 2_000_000);
            schedule.steps.push(Step { at_us, fault: fault(dice, schedule.servers.len()) });
        }
        schedule.steps.sort_by_key(|step| step.at_us);
        schedule
    }
}

fn fault(dice: &mut Dice, count: usize) -> Fault {
    let time = |dice: &mut Dice| dice.one_of([5_000, 150_000, 1_200_000, 2_500_000, 6_000_000]);
    let target = if dice.chance(600) { Target::Master } else { Target::Replica(dice.index(count)) };
    match dice.index(13) {
        0..=5 => Fault::Evict { target, back_us: time(dice), empty: dice.chance(250) },
        6 => {
            let mut back_us: Vec<u64> = (0..count).map(|_| time(dice)).collect();
            dice.shuffle(&mut back_us);
            Fault::EvictAll { back_us, empty: dice.chance(100) }
        }
        7..=9 => Fault::LoseNode {
            target,
            gone_us: dice.one_of([5_000, 150_000, 2_500_000]),
            back_us: time(dice),
            for_us: dice.one_of([150_000, 1_200_000, 6_000_000, 20_000_000]),
            keeps_files: dice.chance(500),
        },
        10 | 11 => Fault::Lock { target, for_us: time(dice) },
        _ => Fault::Fleet { permille: dice.one_of([200, 600, 1_000]), for_us: 2 * time(dice) },
    }
}

/// Of the StatefulSet.
pub const REVISION: &str = "r-1";
