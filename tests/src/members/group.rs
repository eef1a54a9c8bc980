//! One simulated group: who follows whom, and what a command or a death does to that. Time is an argument.
//!
//! A master takes so many bytes a second. A replica whose link is up has what its master has; one whose link
//! went down keeps what it had. Syncs take no time, which is kinder than life and no part of what is
//! measured: the time to a promotion.

use crate::info::id40;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Whom a member takes for its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody.
    Master,
    /// This one, as it was told.
    Replica {
        /// Host, as written.
        host: String,
        /// Port.
        port: u16,
        /// How the link is.
        link: Link,
    },
}

/// The link of a replica to its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The stream flows.
    Up,
    /// It ended then.
    Down(Instant),
    /// There has never been one.
    Never,
}

/// One simulated server.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it listens.
    pub at: SocketAddrV4,
    /// Its process lives.
    pub is_up: bool,
    /// When it started.
    pub started: Instant,
    /// `run_id`.
    pub run_id: String,
    /// Master or replica.
    pub role: Role,
    /// `master_replid`.
    pub replid: String,
    /// `master_replid2`, and the last offset that it shares.
    pub former: Option<(String, u64)>,
    /// Keys that it holds; 0 of one that restarted and copied nothing yet.
    pub keys: u64,
    /// CONFIG.
    pub config: BTreeMap<String, String>,
    /// The offset at `since`: on a master it grows from there.
    offset: u64,
    since: Instant,
    /// CLIENT PAUSE, until then.
    pub paused: Option<Instant>,
    /// Processes so far, which names the next one.
    lives: u32,
}

/// Servers that follow each other.
#[derive(Debug)]
pub struct Group {
    /// In order.
    pub members: Vec<Member>,
    /// Bytes a second that its master takes.
    written: u64,
    promotions: u32,
}

impl Group {
    /// A healthy one, at these addresses: the first is master.
    pub fn healthy(places: &[SocketAddrV4], written: u64, now: Instant) -> Self {
        let member = |(number, at): (usize, &SocketAddrV4)| {
            let role = if number == 0 {
                Role::Master
            } else {
                Role::Replica { host: places[0].ip().to_string(), port: places[0].port(), link: Link::Up }
            };
            let config = CONFIG.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let (run_id, replid) = (id40(&format!("run {at}")), id40(&format!("history {}", places[0])));
            let (former, paused) = (None, None);
            Member {
                at: *at,
                is_up: true,
                started: now,
                run_id,
                role,
                replid,
                former,
                keys: 1000,
                config,
                offset: 100_000,
                since: now,
                paused,
                lives: 0,
            }
        };
        Self { members: places.iter().enumerate().map(member).collect(), written, promotions: 0 }
    }

    /// The one that lives and says master, if there is one.
    pub fn master(&self) -> Option<usize> {
        self.members.iter().position(|member| member.is_up && member.role == Role::Master)
    }

    /// How far its stream is.
    pub fn offset(&self, index: usize, now: Instant) -> u64 {
        let member = &self.members[index];
        match &member.role {
            Role::Master if member.is_up => {
                let until = member.paused.map_or(now, |_| member.since);
                member.offset
                    + self.written
                        * u64::try_from(until.saturating_duration_since(member.since).as_millis())
                            .unwrap_or(0)
                        / 1000
            }
            Role::Replica { link: Link::Up, .. } => {
                self.named_by(index).map_or(member.offset, |master| self.offset(master, now))
            }
            Role::Master | Role::Replica { .. } => member.offset,
        }
    }

    /// Replicas whose links to it are up.
    pub fn attached(&self, index: usize) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(move |other| {
            self.members[*other].is_up
                && matches!(self.members[*other].role, Role::Replica { link: Link::Up, .. })
                && self.named_by(*other) == Some(index)
        })
    }

    /// `REPLICAOF NO ONE`. Whether it changed anything.
    pub fn promote(&mut self, index: usize, now: Instant) -> bool {
        if self.members[index].role == Role::Master {
            return false;
        }
        self.halt(index, now);
        self.promotions += 1;
        let replid = id40(&format!("{} {}", self.promotions, self.members[index].at));
        let member = &mut self.members[index];
        member.former = Some((std::mem::replace(&mut member.replid, replid), member.offset));
        member.role = Role::Master;
        self.settle(now);
        true
    }

    /// `REPLICAOF`. Whether it changed anything.
    pub fn follow(&mut self, index: usize, host: &str, port: u16, now: Instant) -> bool {
        if matches!(&self.members[index].role, Role::Replica { host: is, port: at, .. } if is == host && *at == port)
        {
            return false;
        }
        self.halt(index, now);
        self.members[index].paused = None;
        self.members[index].role = Role::Replica { host: host.to_owned(), port, link: Link::Down(now) };
        self.settle(now);
        true
    }

    /// `CLIENT PAUSE … WRITE`: the stream stands still.
    pub fn pause(&mut self, index: usize, until: Instant, now: Instant) {
        self.halt(index, now);
        self.members[index].paused = Some(until);
    }

    /// `CLIENT UNPAUSE`, or the end of a pause.
    pub fn go_on(&mut self, index: usize, now: Instant) {
        if self.members[index].paused.take().is_some() {
            self.members[index].since = now;
        }
    }

    /// Its process ends; its replicas see their links go down.
    pub fn kill(&mut self, index: usize, now: Instant) {
        self.halt(index, now);
        for replica in self.attached(index).collect::<Vec<_>>() {
            self.halt(replica, now);
            if let Role::Replica { link, .. } = &mut self.members[replica].role {
                *link = Link::Down(now);
            }
        }
        self.members[index].is_up = false;
    }

    /// A new process at its place, empty and as a replica of itself: how an operator starts every Redis.
    pub fn revive(&mut self, index: usize, now: Instant) {
        let member = &mut self.members[index];
        member.lives += 1;
        let tag = format!("{} {}", member.lives, member.at);
        (member.is_up, member.started, member.since, member.offset, member.keys) = (true, now, now, 0, 0);
        (member.run_id, member.replid, member.former) =
            (id40(&format!("run {tag}")), id40(&format!("own {tag}")), None);
        member.role =
            Role::Replica { host: member.at.ip().to_string(), port: member.at.port(), link: Link::Never };
    }

    /// Remembers where its stream is now, before what moves it changes.
    fn halt(&mut self, index: usize, now: Instant) {
        let offset = self.offset(index, now);
        (self.members[index].offset, self.members[index].since) = (offset, now);
    }

    /// Links come up where they can: at a master, or at a replica that has one.
    fn settle(&mut self, now: Instant) {
        for _ in 0..self.members.len() {
            for index in 0..self.members.len() {
                let is_waiting = matches!(
                    self.members[index].role,
                    Role::Replica { link: Link::Down(_) | Link::Never, .. }
                );
                let Some(master) = self.named_by(index).filter(|_| is_waiting && self.members[index].is_up)
                else {
                    continue;
                };
                let streams = match &self.members[master].role {
                    Role::Master => true,
                    Role::Replica { link, .. } => *link == Link::Up,
                };
                if streams && self.members[master].is_up {
                    self.attach(index, master, now);
                }
            }
        }
    }

    fn attach(&mut self, index: usize, master: usize, now: Instant) {
        let ahead = self.members[master].clone();
        let reached = self.offset(master, now);
        let member = &mut self.members[index];
        let is_same = ahead.replid == member.replid && member.offset <= reached;
        let is_fork = ahead
            .former
            .as_ref()
            .is_some_and(|(replid, end)| *replid == member.replid && member.offset <= *end);
        member.former = match (is_same, is_fork) {
            (true, _) => member.former.take(),
            // As on `+CONTINUE` under a new id: what it had so far was the former history.
            (false, true) => Some((member.replid.clone(), member.offset)),
            // A full copy brings one history and no former one.
            (false, false) => None,
        };
        (member.replid, member.keys) = (ahead.replid, ahead.keys);
        if let Role::Replica { link, .. } = &mut member.role {
            *link = Link::Up;
        }
    }

    fn named_by(&self, index: usize) -> Option<usize> {
        let Role::Replica { host, port, .. } = &self.members[index].role else { return None };
        let at = SocketAddrV4::new(host.parse::<Ipv4Addr>().ok()?, *port);
        self.members.iter().position(|member| member.at == at).filter(|named| *named != index)
    }

    /// Pauses that are over are over.
    pub fn pass(&mut self, index: usize, now: Instant) {
        if self.members[index].paused.is_some_and(|until| until <= now) {
            self.go_on(index, now);
        }
    }
}

impl Member {
    /// How long its process has lived.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started) + Duration::from_secs(3600)
    }
}

/// What an operator may read or set, with the values of a server without a configuration.
const CONFIG: [(&str, &str); 4] = [
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("repl-ping-replica-period", "10"),
    ("replica-priority", "100"),
];
