//! What subscribers are told, in Sentinel's words: a channel, and a message that names the server.

use super::group::{Group, Node};
use super::peers::Known;

/// A message on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub channel: &'static str,
    pub message: String,
}

/// The events of one group.
pub(super) struct Events<'a> {
    name: &'a str,
    pub all: Vec<Event>,
}

impl<'a> Events<'a> {
    pub fn of(name: &'a str) -> Self {
        Self { name, all: Vec::new() }
    }

    /// About the master.
    pub fn master(&mut self, channel: &'static str, master: &Node) {
        let message = format!("master {} {}", self.name, master.address());
        self.all.push(Event { channel, message });
    }

    /// About the master, with how many agree: a face needs nobody's consent.
    pub fn agreed(&mut self, channel: &'static str, master: &Node) {
        let message = format!("master {} {} #quorum 1/1", self.name, master.address());
        self.all.push(Event { channel, message });
    }

    /// About a replica of that master.
    pub fn replica(&mut self, channel: &'static str, replica: &Node, master: &Node) {
        let message =
            format!("slave {} {} @ {} {}", replica.name(), replica.address(), self.name, master.address());
        self.all.push(Event { channel, message });
    }

    /// About another face of the group with that master.
    pub fn peer(&mut self, channel: &'static str, peer: &Known, master: &Node) {
        let Known { peer, id, .. } = peer;
        let (host, port) = (&peer.host, peer.port);
        let message = format!("sentinel {id} {host} {port} @ {} {}", self.name, master.address());
        self.all.push(Event { channel, message });
    }

    /// `+switch-master`: what clients act by.
    pub fn switched(&mut self, from: &Node, to: &Node) {
        let message = format!("{} {} {}", self.name, from.address(), to.address());
        self.all.push(Event { channel: "+switch-master", message });
    }

    /// What became of the servers between two looks, while the master is the same.
    pub fn differences(&mut self, before: &Group, after: &Group) {
        let (Some(was), Some(master)) = (&before.master, &after.master) else { return };
        match (was.down, master.down) {
            (None, Some(_)) => self.master("+sdown", master),
            (Some(_), None) => self.master("-sdown", master),
            (None, None) | (Some(_), Some(_)) => {}
        }
        match (before.is_master_lost, after.is_master_lost) {
            (false, true) => self.agreed("+odown", master),
            (true, false) => self.master("-odown", master),
            (false, false) | (true, true) => {}
        }
        for replica in &after.replicas {
            let Some(was) = before.replicas.iter().find(|was| was.member == replica.member) else {
                self.replica("+slave", replica, master);
                continue;
            };
            match (was.down, replica.down) {
                (None, Some(_)) => self.replica("+sdown", replica, master),
                (Some(_), None) => self.replica("-sdown", replica, master),
                (None, None) | (Some(_), Some(_)) => {}
            }
            let is_in_sync = |node: &Node| {
                node.is_link_up
                    && node
                        .follows
                        .as_ref()
                        .is_some_and(|(host, port)| (host, *port) == (&master.host, master.port))
            };
            if is_in_sync(replica) && !is_in_sync(was) {
                self.replica("+slave-reconf-done", replica, master);
            }
        }
    }
}
