//! The Pods of a run: how the kubelet ends and starts their containers, and when operators learn of it.

use super::{Later, Run};
use crate::operator::name;
use crate::pods::{Pod, PodPlan};
use redis_model::live::{Life, Peer};

/// What is next for a Pod that is to go.
#[derive(Clone, Copy, Debug)]
pub(super) enum PodStep {
    /// Its container ends, once its preStop script has; at the latest then.
    End { until_us: u64, back_us: u64, empty: bool },
    /// It is removed from the API.
    Remove { back_us: u64, empty: bool },
    /// The next Pod of its name has an address.
    Create { empty: bool },
    /// It is removed from the API, and its process lives on.
    Force(Removal),
    /// The next Pod of its name has an address, and the former process lives on.
    Succeed(Removal),
    /// The container of the next one starts.
    Start,
    /// The kubelet ends the process of a Pod that was removed.
    Reap,
}

/// How a Pod is removed by force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub gone_us: u64,
    pub back_us: u64,
    pub keeps_files: bool,
}

impl Run<'_> {
    /// Every server of a schedule with Pods is one.
    pub(super) fn begin_pods(&mut self) {
        if self.schedule.pods.is_none() {
            return;
        }
        let cluster = self.world.cluster();
        let pod = |(number, server): (usize, usize)| Pod {
            name: name(number),
            number: server as u64,
            is_there: true,
            is_terminating: false,
            started_us: Some(0),
            is_new: false,
            restarts: 0,
            host: cluster.processes()[server].server().host.clone(),
        };
        self.pods = cluster.members().enumerate().map(pod).collect();
        self.seen = self.pods.clone();
        let now_us = cluster.now_us();
        drop(cluster);
        self.later.push((now_us, Later::Tick));
    }

    /// The container of a server ended.
    pub(super) fn container_ended(&mut self, now_us: u64, server: usize) {
        if let Some(pod) = self.pods.get_mut(server).filter(|pod| pod.is_there && pod.started_us.is_some()) {
            pod.started_us = None;
            self.show(now_us, server);
        }
    }

    /// The container of a server was started again.
    pub(super) fn container_restarted(&mut self, now_us: u64, server: usize) {
        if let Some(pod) = self.pods.get_mut(server).filter(|pod| pod.started_us.is_none()) {
            (pod.started_us, pod.restarts) = (Some(now_us), pod.restarts + 1);
            self.show(now_us, server);
        }
    }

    /// The kubelet starts the container of that server again: its Pod is there to stay, and had one before.
    pub(super) fn may_restart(&self, server: usize) -> bool {
        self.pods.get(server).is_none_or(|pod| pod.is_there && !pod.is_terminating && !pod.is_new)
    }

    /// Operators learn of a change after a while.
    fn show(&mut self, now_us: u64, server: usize) {
        let seen_us = self.schedule.pods.as_ref().map_or(0, |plan| plan.seen_us);
        self.later.push((now_us + seen_us, Later::Seen(server, Box::new(self.pods[server].clone()))));
    }

    /// They learn of it.
    pub(super) fn on_seen(&mut self, server: usize, pod: Pod) {
        self.seen[server] = pod;
        self.meet_all();
    }

    /// All operators see the members as the API has them.
    pub(super) fn meet_all(&mut self) {
        self.operators.iter_mut().for_each(|operator| operator.meet(&self.world, &self.seen));
    }

    /// All operators take in what time it is, and which master is on record.
    pub(super) fn settle_all(&mut self) {
        self.operators.iter_mut().for_each(|operator| operator.settle(&self.world, self.stored.as_ref()));
    }

    /// `kubectl delete pod`, or a drained node.
    pub(super) fn evict(&mut self, now_us: u64, server: usize, back_us: u64, empty: bool) {
        let (plan, pod) = (self.schedule.pods, self.pods.get_mut(server));
        let (Some(PodPlan { grace_us, .. }), Some(pod)) = (plan, pod) else { return };
        if !pod.is_there || pod.is_terminating {
            return;
        }
        pod.is_terminating = true;
        self.show(now_us, server);
        let end = PodStep::End { until_us: now_us + grace_us, back_us, empty };
        self.later.push((now_us, Later::Pod(server, end)));
    }

    /// The machine of a Pod is cut off, and the Pod is deleted by force.
    pub(super) fn lose_node(&mut self, now_us: u64, server: usize, removal: Removal, for_us: u64) {
        let Some(pod) = self.pods.get(server) else { return };
        if !pod.is_there || pod.is_terminating {
            return;
        }
        self.isolate(now_us, Peer::Server(server), for_us);
        self.later.push((now_us + removal.gone_us, Later::Pod(server, PodStep::Force(removal))));
        let reaped_us = now_us + removal.gone_us.max(for_us) + REAPED_US;
        self.later.push((reaped_us, Later::Pod(server, PodStep::Reap)));
    }

    /// The next step of a Pod that is to go.
    pub(super) fn on_pod(&mut self, now_us: u64, server: usize, step: PodStep) {
        let (after_us, server, next) = match step {
            PodStep::End { until_us, .. } if now_us < until_us && self.waits_for_handover(server) => {
                (PRE_STOP_US, server, step)
            }
            PodStep::End { back_us, empty, .. } => {
                let mut cluster = self.world.cluster();
                // As SIGTERM does, where snapshots are configured.
                cluster.save(server);
                cluster.kill(server, false);
                drop(cluster);
                self.container_ended(now_us, server);
                (REMOVED_US, server, PodStep::Remove { back_us, empty })
            }
            PodStep::Remove { back_us, empty } => {
                self.pods[server].is_there = false;
                self.show(now_us, server);
                (back_us, server, PodStep::Create { empty })
            }
            PodStep::Create { empty } => {
                let pod = self.new_pod(server);
                let mut cluster = self.world.cluster();
                cluster.move_to(server, &pod.host);
                if empty {
                    cluster.empty_disk(server);
                }
                drop(cluster);
                self.pods[server] = pod;
                self.show(now_us, server);
                (self.start_us(), server, PodStep::Start)
            }
            PodStep::Force(removal) => {
                // Deleted in the meantime.
                if !self.pods[server].is_there || self.pods[server].is_terminating {
                    return;
                }
                self.pods[server].is_there = false;
                self.show(now_us, server);
                (removal.back_us, server, PodStep::Succeed(removal))
            }
            PodStep::Succeed(removal) => {
                let pod = self.new_pod(server);
                let next = self.world.cluster().succeed(server, &pod.host, removal.keeps_files);
                self.pods.push(pod.clone());
                self.seen.push(Pod { is_there: false, ..pod });
                self.show(now_us, next);
                (self.start_us(), next, PodStep::Start)
            }
            PodStep::Start => {
                // Deleted before its container could start.
                if !self.pods[server].is_new || self.pods[server].is_terminating {
                    return;
                }
                let boot = self.schedule.boot.boot(server, self.recorded());
                self.world.cluster().start(server, boot);
                (self.pods[server].started_us, self.pods[server].is_new) = (Some(now_us), false);
                return self.show(now_us, server);
            }
            PodStep::Reap => {
                if !self.pods[server].is_there {
                    self.world.cluster().kill(server, false);
                }
                return;
            }
        };
        self.later.push((now_us + after_us, Later::Pod(server, next)));
    }

    fn start_us(&self) -> u64 {
        self.schedule.pods.map_or(0, |plan| plan.start_us)
    }

    /// The next Pod of the same name, whose container has not started yet.
    fn new_pod(&mut self, server: usize) -> Pod {
        self.moves += 1;
        Pod {
            name: self.pods[server].name.clone(),
            number: FIRST_NEW + self.moves,
            is_there: true,
            is_terminating: false,
            started_us: None,
            is_new: true,
            restarts: 0,
            host: format!("10.2.0.{}", self.moves),
        }
    }

    /// The preStop script of a master waits while a replica is attached.
    fn waits_for_handover(&self, server: usize) -> bool {
        let cluster = self.world.cluster();
        let view = cluster.view(server);
        match cluster.processes()[server].life() {
            Life::Up => view.role == redis_model::Role::Master && !view.attached.is_empty(),
            // The script gets no answer.
            Life::Stopped => true,
            Life::Down => false,
        }
    }
}

/// Between two looks of the preStop script.
const PRE_STOP_US: u64 = 100_000;
/// From the end of a container to the removal of its Pod.
const REMOVED_US: u64 = 100_000;
/// From the end of a cut to the end of the containers whose Pods were removed meanwhile.
const REAPED_US: u64 = 2_000_000;
/// Pods that came later have larger numbers.
const FIRST_NEW: u64 = 1_000;
