//! The Sentinels of a run: how they are added and healed, and whether they agree in the end.

use super::{Later, Run};
use crate::schedule::{Schedule, Target};
use redis_model::Role;
use redis_model::live::{Cluster, Happened, Life, Peer, Watching};
use std::collections::BTreeSet;

/// Adds those of the schedule, and starts them.
pub(super) fn add_sentinels(cluster: &mut Cluster, schedule: &Schedule) {
    let Some(plan) = &schedule.sentinels else { return };
    let settings = plan.settings();
    let first = cluster.processes()[0].server();
    let master = (first.host.clone(), first.port);
    for number in 1..=plan.count {
        let watching = Watching {
            name: settings.master_name.clone(),
            quorum: settings.quorum.into(),
            down_after_ms: settings.down_after_ms.into(),
            failover_timeout_ms: settings.failover_timeout_ms.into(),
            parallel_syncs: settings.parallel_syncs.into(),
        };
        let place = (format!("10.0.9.{number}"), 26_379);
        let sentinel = cluster.add_sentinel(place, watching, master.clone());
        cluster.start_sentinel(sentinel);
    }
}

/// The server that a Sentinel says to be the new master, to which clients turn.
pub(super) fn named(cluster: &Cluster, happened: &Happened) -> Option<usize> {
    let Happened::Sentinel { channel: "+switch-master", text, .. } = happened else { return None };
    let words: Vec<&str> = text.split(' ').collect();
    let [_, _, _, host, port] = words[..] else { return None };
    cluster.find(host, port.parse().ok()?)
}

/// Every Sentinel names the one master in one epoch, and knows exactly the other servers and Sentinels.
pub(super) fn are_whole(cluster: &Cluster) -> bool {
    let sentinels = cluster.sentinels();
    let place = |server: usize| {
        let at = cluster.processes()[server].server();
        (at.host.as_str(), at.port)
    };
    let servers: Vec<usize> = cluster.members().collect();
    let Some(master) = servers.iter().copied().find(|server| cluster.is_writable(*server)) else {
        return false;
    };
    let others: BTreeSet<(&str, u16)> =
        servers.into_iter().filter(|server| *server != master).map(place).collect();
    // What was made a replica while no operator was there is one, and stays.
    let taken: BTreeSet<(&str, u16)> = cluster
        .strangers()
        .filter(|server| cluster.processes()[*server].server().role != Role::Master)
        .map(place)
        .collect();
    let epochs: BTreeSet<u64> = sentinels.iter().map(|sentinel| sentinel.config_epoch()).collect();
    epochs.len() <= 1
        && sentinels.iter().all(|sentinel| {
            let ids = sentinels.iter().map(|other| other.id());
            let peers: BTreeSet<&str> = ids.filter(|id| *id != sentinel.id()).collect();
            sentinel.life() == Life::Up
                && !sentinel.is_in_tilt()
                && !sentinel.is_failing_over()
                && sentinel.names() == Some(place(master))
                && {
                    let known: BTreeSet<(&str, u16)> = sentinel.replicas().collect();
                    others.is_subset(&known) && known.difference(&others).all(|more| taken.contains(more))
                }
                && sentinel.peers().collect::<BTreeSet<_>>() == peers
        })
}

/// What each of them has in mind.
pub(super) fn state(cluster: &Cluster) -> Vec<String> {
    let show = |(number, sentinel): (usize, &redis_model::live::Sentinel)| {
        let names = sentinel.names().map_or("none", |(host, _)| host);
        let replicas: Vec<&str> = sentinel.replicas().map(|(host, _)| host).collect();
        format!(
            "sentinel-{} names {names} in epoch {}, replicas {}, {} peers{}{}",
            number + 1,
            sentinel.config_epoch(),
            replicas.join(" "),
            sentinel.peers().count(),
            if sentinel.is_in_tilt() { ", in TILT" } else { "" },
            if sentinel.is_failing_over() { ", fails over" } else { "" }
        )
    };
    cluster.sentinels().iter().enumerate().map(show).collect()
}

impl Run<'_> {
    /// All Sentinels.
    pub(super) fn sentinels(&self) -> impl Iterator<Item = Peer> + use<> {
        (0..self.schedule.sentinels.as_ref().map_or(0, |plan| plan.count)).map(Peer::Sentinel)
    }

    /// The server or the Sentinel that something happens to.
    pub(super) fn peer(&self, target: Target) -> Peer {
        match (target, self.sentinels().count()) {
            (Target::Sentinel(place), count) if count > 0 => Peer::Sentinel(place % count),
            _ => Peer::Server(self.target(target)),
        }
    }

    /// For so long after the last fault nothing is mended yet, so that the Sentinels may act by themselves.
    pub(super) fn rest_us(&self) -> u64 {
        self.schedule.sentinels.as_ref().map_or(0, |plan| plan.rest_us)
    }

    pub(super) fn kill(&mut self, now_us: u64, peer: Peer, empty: bool, power: bool) {
        let mut cluster = self.world.cluster();
        match peer {
            Peer::Server(server) => {
                cluster.kill(server, power);
                if empty {
                    cluster.empty_disk(server);
                }
                drop(cluster);
                self.container_ended(now_us, server);
            }
            Peer::Sentinel(sentinel) => {
                cluster.kill_sentinel(sentinel);
                if empty {
                    cluster.empty_sentinel(sentinel);
                }
            }
            Peer::Operator(_) | Peer::Client(_) => {}
        }
    }

    /// A replica's address is another group's from now on. Once in a run.
    pub(super) fn relocate(&mut self, now_us: u64, target: Target, back_us: u64) {
        let server = self.target(target);
        let mut cluster = self.world.cluster();
        let is_replica = matches!(cluster.processes()[server].server().role, Role::Replica(_));
        if !is_replica || cluster.strangers().next().is_some() {
            return;
        }
        cluster.kill(server, false);
        cluster.reuse_address(server, "10.0.7.1");
        drop(cluster);
        self.meet_all();
        self.later.push((now_us + back_us, Later::Start(Peer::Server(server))));
    }

    /// An address of the group is another group's.
    pub(super) fn has_stranger(&self) -> bool {
        let cluster = self.world.cluster();
        cluster.strangers().next().is_some()
    }

    /// A person's command.
    pub(super) fn say(&mut self, sentinel: usize, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut cluster = self.world.cluster();
        if cluster.sentinels()[sentinel].life() == Life::Up {
            cluster.ask_sentinel(sentinel, &words);
        }
    }

    /// All of them run.
    pub(super) fn heal_sentinels(&mut self) {
        for sentinel in 0..self.sentinels().count() {
            let mut cluster = self.world.cluster();
            cluster.resume_sentinel(sentinel);
            cluster.start_sentinel(sentinel);
        }
    }
}
