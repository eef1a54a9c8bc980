//! One simulated group: who follows whom, and what a command or a death does to that. Time is an argument.
//!
//! A master takes so many bytes a second. A replica whose link is up has what its master has; one whose link
//! went down keeps what it had. Syncs take no time, which is kinder than life and no part of what is
//! measured: the time to a promotion.

use redis_model::{Role, Row, Server, id40};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// One simulated server.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it listens.
    pub at: SocketAddrV4,
    /// Its process lives.
    pub is_up: bool,
    /// When it started.
    pub started: Instant,
    /// What it has; of the things that move, as it was at `since`.
    pub server: Server,
    /// CONFIG.
    pub config: BTreeMap<String, String>,
    /// When `server` was brought up to date: the offset of a master grows from there.
    since: Instant,
    /// When its link to its master went down.
    down_since: Instant,
    /// The end of a write pause.
    paused: Option<Instant>,
    /// Processes before this one, which names the next one.
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
            let mut server = Server::new(number + 1);
            (server.host, server.port) = (at.ip().to_string(), at.port());
            (server.run_id, server.replid) =
                (id40(&format!("run {at}")), id40(&format!("history {}", places[0])));
            (server.offset, server.keys) = (100_000, 1000);
            if number > 0 {
                server.follow(&places[0].ip().to_string(), places[0].port());
            }
            let config = CONFIG.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let (started, since, down_since) = (now, now, now);
            Member {
                at: *at,
                is_up: true,
                started,
                server,
                config,
                since,
                down_since,
                paused: None,
                lives: 0,
            }
        };
        Self { members: places.iter().enumerate().map(member).collect(), written, promotions: 0 }
    }

    /// The one that lives and says master, if there is one.
    pub fn master(&self) -> Option<usize> {
        self.members.iter().position(|member| member.is_up && member.server.role == Role::Master)
    }

    /// A member as it is now: what moves is brought up to date, and its replicas are attached.
    pub fn server(&self, index: usize, now: Instant) -> Server {
        let member = &self.members[index];
        let mut server = member.server.clone();
        server.offset = self.offset(index, now);
        server.uptime_s = (now.saturating_duration_since(member.started) + AGE).as_secs();
        server.priority = member.config["replica-priority"].parse().unwrap_or(0);
        if let Some(link) = server.master_link().filter(|link| link.down_s.is_some()) {
            link.down_s = Some(now.saturating_duration_since(member.down_since).as_secs());
        }
        let row = |replica: usize| {
            let at = self.members[replica].at;
            let (host, offset) = (at.ip().to_string(), server.offset);
            Row { host, port: at.port(), state: "online".into(), offset, lag_s: 0 }
        };
        server.attached = self.attached(index).map(row).collect();
        server
    }

    /// How far its stream is.
    fn offset(&self, index: usize, now: Instant) -> u64 {
        let member = &self.members[index];
        if !member.is_up {
            return member.server.offset;
        }
        if member.server.role == Role::Master {
            let until = member.paused.map_or(now, |_| member.since);
            let elapsed_ms = until.saturating_duration_since(member.since).as_millis();
            return member.server.offset + self.written * u64::try_from(elapsed_ms).unwrap_or(0) / 1000;
        }
        let master = self.named_by(index).filter(|_| self.is_attached(index));
        master.map_or(member.server.offset, |master| self.offset(master, now))
    }

    /// Replicas whose links to it are up.
    pub fn attached(&self, index: usize) -> impl Iterator<Item = usize> {
        (0..self.members.len())
            .filter(move |other| self.is_attached(*other) && self.named_by(*other) == Some(index))
    }

    fn is_attached(&self, index: usize) -> bool {
        let member = &self.members[index];
        member.is_up && matches!(&member.server.role, Role::Replica(link) if link.up)
    }

    /// `REPLICAOF NO ONE`. Whether it changed anything.
    pub fn promote(&mut self, index: usize, now: Instant) -> bool {
        if self.members[index].server.role == Role::Master {
            return false;
        }
        self.halt(index, now);
        self.promotions += 1;
        let tag = id40(&format!("{} {}", self.promotions, self.members[index].at));
        self.members[index].server.promote(&tag);
        self.settle(now);
        true
    }

    /// `REPLICAOF`. Whether it changed anything.
    pub fn follow(&mut self, index: usize, host: &str, port: u16, now: Instant) -> bool {
        let role = &self.members[index].server.role;
        if matches!(role, Role::Replica(link) if link.host == host && link.port == port) {
            return false;
        }
        self.halt(index, now);
        let member = &mut self.members[index];
        member.paused = None;
        member.server.replicate(host, port);
        member.server.link_down(0);
        member.down_since = now;
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
            self.members[replica].server.link_down(0);
            self.members[replica].down_since = now;
        }
        self.members[index].is_up = false;
    }

    /// A new process at its place, empty and as a replica of itself: how an operator starts every Redis.
    pub fn revive(&mut self, index: usize, now: Instant) {
        let member = &mut self.members[index];
        member.lives += 1;
        let tag = format!("{} {}", member.lives, member.at);
        (member.is_up, member.started, member.since) = (true, now, now);
        let server = &mut member.server;
        server.restart(0).follow_itself();
        (server.run_id, server.replid) = (id40(&format!("run {tag}")), id40(&format!("own {tag}")));
    }

    /// Remembers where its stream is now, before what moves it changes.
    fn halt(&mut self, index: usize, now: Instant) {
        let offset = self.offset(index, now);
        (self.members[index].server.offset, self.members[index].since) = (offset, now);
    }

    /// Links come up where they can: at a master, or at a replica that has one.
    fn settle(&mut self, now: Instant) {
        for _ in 0..self.members.len() {
            for index in 0..self.members.len() {
                let is_waiting = self.members[index].is_up && !self.is_attached(index);
                let Some(master) = self.named_by(index).filter(|_| is_waiting) else { continue };
                let streams = self.members[master].server.role == Role::Master || self.is_attached(master);
                if streams && self.members[master].is_up {
                    let ahead = self.server(master, now);
                    self.members[index].server.copied(&ahead);
                }
            }
        }
    }

    /// The member that a replica names as its master.
    fn named_by(&self, index: usize) -> Option<usize> {
        let Role::Replica(link) = &self.members[index].server.role else { return None };
        self.members
            .iter()
            .position(|member| member.server.is_at(&link.host, link.port))
            .filter(|named| *named != index)
    }

    /// Pauses that are over are over.
    pub fn pass(&mut self, index: usize, now: Instant) {
        if self.members[index].paused.is_some_and(|until| until <= now) {
            self.go_on(index, now);
        }
    }
}

/// How long each process had lived when the group was made.
const AGE: Duration = Duration::from_secs(3600);

/// What an operator may read or set, with the values of a server without a configuration.
const CONFIG: [(&str, &str); 4] = [
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("repl-ping-replica-period", "10"),
    ("replica-priority", "100"),
];
