//! What each fault does to the model and to the operators.

use super::pods::Removal;
use super::{Later, RECORD_US, Run};
use crate::schedule::{Fault, Target};
use redis_model::live::{Edge, Peer};

impl Run<'_> {
    fn edges(&self, one: Peer, others: impl Iterator<Item = Peer>) -> Vec<Edge> {
        others.filter(|other| *other != one).flat_map(|other| [(one, other), (other, one)]).collect()
    }

    fn cut(&mut self, now_us: u64, edges: Vec<Edge>, for_us: u64) {
        let mut cluster = self.world.cluster();
        edges.iter().for_each(|edge| cluster.cut(*edge));
        drop(cluster);
        self.later.push((now_us + for_us, Later::Mend(edges)));
    }

    /// Cuts a server or a Sentinel off from all but its clients.
    pub(super) fn isolate(&mut self, now_us: u64, peer: Peer, for_us: u64) {
        let servers = (0..=self.world.cluster().processes().len()).map(Peer::Server);
        let operators = (0..self.numbers + 2).map(Peer::Operator);
        let edges = self.edges(peer, servers.chain(self.sentinels()).chain(operators));
        self.cut(now_us, edges, for_us);
    }

    /// Makes a fault happen.
    pub(super) fn inject(&mut self, now_us: u64, fault: Fault) {
        let count = self.schedule.servers.len();
        match fault {
            Fault::Kill { target, back_us, empty, power } => {
                let peer = self.peer(target);
                self.kill(now_us, peer, empty, power);
                self.later.extend(back_us.map(|us| (now_us + us, Later::Start(peer))));
            }
            Fault::Stop { target, for_us } => {
                let peer = self.peer(target);
                match peer {
                    Peer::Sentinel(sentinel) => self.world.cluster().stop_sentinel(sentinel),
                    _ => {
                        let server = self.target(target);
                        self.world.cluster().stop(server);
                    }
                }
                self.later.push((now_us + for_us, Later::Resume(peer)));
            }
            Fault::KillAll { back_us, power } => {
                for (number, us) in back_us.into_iter().enumerate().take(count) {
                    let server = self.world.cluster().member(number);
                    self.kill(now_us, Peer::Server(server), false, power);
                    self.later.push((now_us + us, Later::Start(Peer::Server(server))));
                }
            }
            Fault::CutOperator { target, for_us, one_way } => {
                let server = self.peer(target);
                let Some(leader) = self.leader() else { return };
                let mut edges = self.edges(server, [Peer::Operator(leader)].into_iter());
                if one_way {
                    edges.retain(|(from, _)| *from == server);
                }
                self.cut(now_us, edges, for_us);
            }
            Fault::CutPeers { one, other, for_us } => {
                let (one, other) = (self.peer(one), self.peer(other));
                let edges = self.edges(one, [other].into_iter());
                self.cut(now_us, edges, for_us);
            }
            Fault::Isolate { target, for_us } => {
                let server = self.peer(target);
                self.isolate(now_us, server, for_us);
            }
            Fault::LoseReply { target } => {
                let peer = self.peer(target);
                self.world.cluster().lose_reply(peer);
            }
            Fault::KillOperator { back_us } => {
                if let Some(operator) = self.operators.pop() {
                    operator.kill(&self.world);
                    self.later.push((now_us + back_us, Later::StartOperator));
                }
            }
            Fault::StopOperator { back_us } => {
                if let Some(operator) = self.operators.pop() {
                    operator.stop(&self.world);
                    self.later.push((now_us + back_us, Later::StartOperator));
                }
            }
            Fault::StealLead { late_us } => {
                if let Some(number) = self.leader() {
                    self.later.push((now_us + late_us, Later::Unlead(number)));
                    self.start_operator();
                }
            }
            Fault::SwitchOver { target } => {
                let target = target.map(|target| self.number(target));
                if let Some(operator) = self.operators.last() {
                    operator.switch_over(target);
                }
            }
            Fault::Save { target } => {
                let server = self.target(target);
                self.world.cluster().save(server);
            }
            Fault::Priority { target, priority } => {
                let server = self.target(target);
                self.world.cluster().configure(server, "replica-priority", &priority.to_string());
            }
            Fault::Refuse { target, commands, for_us } => {
                let server = self.target(target);
                self.world.cluster().refuse_commands(server, &commands);
                self.later.push((now_us + for_us, Later::Ease(server)));
            }
            Fault::Fill { target, for_us } => {
                let server = self.target(target);
                self.world.cluster().fill_memory(server);
                self.later.push((now_us + for_us, Later::Ease(server)));
            }
            Fault::BreakDisk { target, for_us } => {
                let server = self.target(target);
                self.world.cluster().break_disk(server);
                self.later.push((now_us + for_us, Later::Ease(server)));
            }
            Fault::KillSentinels { back_us, empty } => {
                for (sentinel, us) in self.sentinels().zip(back_us) {
                    self.kill(now_us, sentinel, empty, false);
                    self.later.push((now_us + us, Later::Start(sentinel)));
                }
            }
            Fault::CutSentinels { for_us } => {
                let Some(leader) = self.leader() else { return };
                let edges = self.edges(Peer::Operator(leader), self.sentinels());
                self.cut(now_us, edges, for_us);
            }
            Fault::Move { target, back_us } => self.relocate(now_us, target, back_us),
            Fault::JumpClock { sentinel, by_us } => {
                if let Peer::Sentinel(sentinel) = self.peer(Target::Sentinel(sentinel)) {
                    self.world.cluster().jump_clock(sentinel, by_us);
                }
            }
            Fault::Say { sentinel, words } => {
                if let Peer::Sentinel(sentinel) = self.peer(Target::Sentinel(sentinel)) {
                    self.say(sentinel, &words);
                }
            }
            Fault::Policy { lie } => self.swap(lie),
            Fault::Evict { target, back_us, empty } => {
                let server = self.target(target);
                self.evict(now_us, server, back_us, empty);
            }
            Fault::LoseNode { target, gone_us, back_us, for_us, keeps_files } => {
                let server = self.target(target);
                let removal = Removal { gone_us, back_us, keeps_files };
                self.lose_node(now_us, server, removal, for_us);
            }
            Fault::EvictAll { back_us, empty } => {
                for (number, back_us) in back_us.into_iter().enumerate().take(count) {
                    let server = self.world.cluster().member(number);
                    self.evict(now_us, server, back_us, empty);
                }
            }
            Fault::Lock { target, for_us } => {
                let server = self.target(target);
                self.world.cluster().lock(server);
                self.later.push((now_us + for_us, Later::Ease(server)));
            }
            Fault::Fleet { permille, for_us } => {
                self.operators.iter().for_each(|operator| operator.fleet(permille));
                self.later.push((now_us + for_us, Later::FleetAnswers));
            }
            Fault::StopHop { target, for_us } => {
                let server = self.target(target);
                self.world.cluster().stop_hop(server);
                self.later.push((now_us + for_us, Later::StartHop(server)));
            }
            Fault::SlowRecords { delay_us } => self.record_delay_us = delay_us.max(RECORD_US),
        }
    }
}
