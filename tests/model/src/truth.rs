//! Servers as they behave: they carry out plans, and copy from each other. Time is a number, nothing is
//! random here.
//!
//! What a server truly *has* is kept apart from what it *reports*: data is a place on a branch of a tree, and
//! replication ids and offsets may be new while the data is old (a restart with AOF), or the other way round.
//! So a test can tell what was lost from what was reported.

use crate::group::World;
use crate::has::{Role, Server};
use failover_core::contract::{
    Action, Evidence, Expectation, Failover, FailureKind, LinkState, Observation, Published, Refusals,
    Role as ReportedRole,
};

/// A place in the tree of all data: `at` bytes along a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into `Model::branches`.
    pub branch: usize,
    /// Bytes from the root.
    pub at: u64,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It answers.
    Up,
    /// Its process ended then.
    Dead(u64),
    /// It stands still since then.
    Hung(u64),
}

/// One server.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it says; its link, ages and rows are made by [`Model::observe`].
    pub server: Server,
    /// What it has.
    pub data: Place,
    /// Whether it runs.
    pub life: Life,
    /// When its link to its master went down.
    pub down_since_us: u64,
}

/// A group of servers, and what its host remembers.
#[derive(Clone, Debug)]
pub struct Model {
    /// In the order of their ids.
    pub nodes: Vec<Node>,
    /// Of each branch: the branch that it left, and where.
    pub branches: Vec<(usize, u64)>,
    /// The host's record and the rest of the observation; `servers` is empty.
    pub world: World,
    /// Now.
    pub now_us: u64,
    /// Masters whose role was taken, and how many of their bytes were said to be lost with it.
    pub given_up: Vec<(String, u64)>,
    /// Bytes that some follower lost for good without a word, each a breach.
    pub breaches: Vec<String>,
}

impl Model {
    /// A healthy group whose master has `at` bytes.
    pub fn healthy(count: usize, at: u64) -> Self {
        let mut world = World::healthy(count);
        let now_us = 4_000_000_000;
        let node = |server: Server| Node {
            server,
            data: Place { branch: 0, at },
            life: Life::Up,
            down_since_us: now_us,
        };
        let mut nodes: Vec<Node> = world.servers.drain(..).map(node).collect();
        for node in &mut nodes {
            (node.server.offset, node.server.keys) = (at, at);
        }
        let mut model =
            Self { nodes, branches: vec![(0, 0)], world, now_us, given_up: vec![], breaches: vec![] };
        model.publish(0);
        model
    }

    /// A branch of its own for what it writes from here on.
    pub fn fork(&mut self, index: usize) {
        let data = self.nodes[index].data;
        self.branches.push((data.branch, data.at));
        self.nodes[index].data.branch = self.branches.len() - 1;
    }

    /// Bytes that both have.
    pub fn shared(&self, one: Place, other: Place) -> u64 {
        let path = |mut place: Place| {
            let mut path = vec![(place.branch, place.at)];
            while place.branch != 0 {
                let (parent, at) = self.branches[place.branch];
                place = Place { branch: parent, at: at.min(place.at) };
                path.push((place.branch, place.at));
            }
            path
        };
        let theirs = path(other);
        let on_both = |(branch, at): (usize, u64)| {
            theirs.iter().find(|(there, _)| *there == branch).map(|(_, end)| at.min(*end))
        };
        path(one).into_iter().find_map(on_both).unwrap_or(0)
    }

    /// A copy: it says and has all that `to` has.
    fn copy(&mut self, index: usize, to: usize) {
        let (server, data) = (self.nodes[to].server.clone(), self.nodes[to].data);
        self.nodes[index].server.copied(&server);
        self.nodes[index].data = data;
    }

    /// A master takes writes.
    pub fn write(&mut self, index: usize, bytes: u64) {
        self.nodes[index].data.at += bytes;
        self.nodes[index].server.write(bytes);
    }

    /// `REPLICAOF NO ONE`: a new replication id, and the old one as the former.
    pub fn promote(&mut self, index: usize) {
        let tag = format!("p{}-{}", index, self.branches.len());
        self.nodes[index].server.promote(&tag);
        self.fork(index);
    }

    /// `REPLICAOF` the address of another; the link is down until [`Model::settle`].
    pub fn follow(&mut self, index: usize, master: usize) {
        let (host, port) = (self.nodes[master].server.host.clone(), self.nodes[master].server.port);
        self.nodes[index].server.replicate(&host, port);
        self.nodes[index].down_since_us = self.now_us;
    }

    /// The master that it names.
    pub fn named_by(&self, index: usize) -> Option<usize> {
        let Role::Replica(link) = &self.nodes[index].server.role else { return None };
        self.nodes
            .iter()
            .position(|node| node.server.host == link.host && node.server.port == link.port)
            .filter(|&named| named != index)
    }

    /// Links come up where they can, and the stream flows. A copy that loses nothing happens by itself; one
    /// that would lose something only where a plan `reported` it, because a full copy takes longer than an
    /// operator.
    pub fn settle(&mut self, reported: &[(usize, u64)]) {
        for _ in 0..self.nodes.len() {
            for index in 0..self.nodes.len() {
                let Some(master) = self.named_by(index).filter(|_| self.nodes[index].life == Life::Up) else {
                    continue;
                };
                let streams = match &self.nodes[master].server.role {
                    Role::Master => self.nodes[master].life == Life::Up && !self.nodes[master].server.loading,
                    Role::Replica(link) => self.nodes[master].life == Life::Up && link.up,
                    Role::Unsaid => false,
                };
                if !streams {
                    let was_up = self.is_link_up(index);
                    if was_up
                        && self.nodes[master].life != Life::Up
                        && !matches!(self.nodes[master].life, Life::Hung(_))
                    {
                        self.nodes[index].server.link_down(0);
                        self.nodes[index].down_since_us = self.now_us;
                    }
                    continue;
                }
                let lost =
                    self.nodes[index].data.at - self.shared(self.nodes[index].data, self.nodes[master].data);
                let discards =
                    reported.iter().find(|(asked, _)| *asked == index).map(|(_, discards)| *discards);
                if lost > 0 && !self.is_link_up(index) {
                    let Some(discards) = discards else { continue };
                    let own = self.nodes[index].data;
                    let kept = (0..self.nodes.len())
                        .any(|other| other != index && self.shared(self.nodes[other].data, own) == own.at);
                    let given_up = self
                        .given_up
                        .iter()
                        .filter(|(id, _)| *id == self.nodes[index].server.id)
                        .map(|(_, bytes)| *bytes)
                        .max()
                        .unwrap_or(0);
                    if discards.max(given_up) < lost && !kept {
                        let (id, to) = (&self.nodes[index].server.id, &self.nodes[master].server.id);
                        self.breaches.push(format!(
                            "{id} followed {to}, lost {lost} bytes of the only copy, and {discards} were \
                             reported"
                        ));
                    }
                } else if lost > 0 && self.nodes[index].server.can_continue(&self.nodes[master].server) {
                    self.breaches.push(format!(
                        "the model is wrong: a partial resync of {} loses {lost} bytes",
                        self.nodes[index].server.id
                    ));
                }
                self.copy(index, master);
            }
        }
    }

    fn is_link_up(&self, index: usize) -> bool {
        matches!(&self.nodes[index].server.role, Role::Replica(link) if link.up)
    }

    /// The host's record, renewed.
    pub fn publish(&mut self, index: usize) {
        let server = self.nodes[index].server.clone();
        self.world.servers = vec![server.clone()];
        let is_same = |known: &Published| {
            (&known.master, &known.run_id, &known.replid) == (&server.id, &server.run_id, &server.replid)
        };
        let before = self.world.shard().published.clone().filter(is_same);
        self.world.publish(&server.id);
        let published = self.world.shard().published.as_mut().expect("just published");
        published.age_us = 0;
        if let Some(before) = before {
            (published.epoch, published.age_us) = (before.epoch, before.age_us);
        }
        self.world.servers.clear();
    }

    /// Carries out some actions, as far as what they expect still holds, and records what a host would.
    pub fn apply(&mut self, actions: &[Action]) {
        let mut reported = vec![];
        for action in actions {
            match action {
                Action::Promote(promote) => {
                    let Some(index) = self.ready(&promote.id, &promote.expect) else { continue };
                    self.promote(index);
                    self.record(index, promote.source.clone(), &promote.meant_for, promote.evidence);
                }
                Action::Follow(follow) => {
                    let Some(index) = self.ready(&follow.id, &follow.expect) else { continue };
                    let master = self.find(&follow.master).expect("a member");
                    self.follow(index, master);
                    // Unknown is a report, too.
                    reported.push((index, follow.discards_bytes.unwrap_or(u64::MAX)));
                }
                Action::Handover(handover) => {
                    let Some(source) = self.ready(&handover.source, &handover.expect_source) else {
                        continue;
                    };
                    let Some(target) = self.ready(&handover.target, &handover.expect_target) else {
                        continue;
                    };
                    self.promote(target);
                    self.follow(source, target);
                    self.record(
                        target,
                        Some(handover.source.clone()),
                        &handover.meant_for,
                        Evidence::Requested,
                    );
                    self.world.rest.switchover = None;
                }
                Action::Demote(demote) => {
                    let Some(index) = self.ready(&demote.id, &demote.expect) else { continue };
                    self.nodes[index].server.follow_itself();
                }
                Action::Configure(configure) => {
                    let Some(index) = self.ready(&configure.id, &configure.expect) else { continue };
                    let fence = self.nodes[index].server.fence.get_or_insert((0, 10));
                    let to = configure.to.parse().expect("a number");
                    if configure.directive == "min-replicas-to-write" { fence.0 = to } else { fence.1 = to }
                }
                Action::Fence(_)
                | Action::Unfence(_)
                | Action::KickClients(_)
                | Action::Restart(_)
                | Action::Sentinel(_)
                | Action::Cluster(_) => {}
            }
        }
        self.settle(&reported);
    }

    fn record(&mut self, index: usize, source: Option<String>, meant_for: &str, evidence: Evidence) {
        let target = self.nodes[index].server.id.clone();
        self.world.shard().last_failover =
            Some(Failover { age_us: 0, source, target, meant_for: meant_for.into(), evidence });
        self.publish(index);
    }

    /// Index of the member of that id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.server.id == id)
    }

    fn ready(&self, id: &str, expect: &Expectation) -> Option<usize> {
        let index = self.find(id)?;
        let node = &self.nodes[index];
        let role =
            if node.server.role == Role::Master { ReportedRole::Master } else { ReportedRole::Replica };
        let holds = node.server.run_id == expect.run_id
            && role == expect.role
            && expect.replid.as_ref().is_none_or(|id| *id == node.server.replid);
        (node.life == Life::Up && holds).then_some(index)
    }

    /// Time passes.
    pub fn pass(&mut self, us: u64) {
        self.now_us += us;
        let rest = &mut self.world.rest;
        let shard = &mut rest.shards[0];
        shard.last_failover.iter_mut().for_each(|failover| failover.age_us += us);
        shard.published.iter_mut().for_each(|published| published.age_us += us);
        rest.in_doubt.iter_mut().for_each(|doubt| doubt.age_us += us);
        self.nodes
            .iter_mut()
            .for_each(|node| node.server.uptime_s = node.server.uptime_s.max(1) + us / 1_000_000);
    }

    /// What the host sees now, by the record.
    pub fn observe(&self) -> Observation {
        self.seen_world().observe()
    }

    /// Its servers as their host sees them now.
    pub fn seen_world(&self) -> World {
        let mut world = self.world.clone();
        world.servers = (0..self.nodes.len()).map(|index| self.seen(index)).collect();
        world
    }

    fn seen(&self, index: usize) -> Server {
        let node = &self.nodes[index];
        let mut server = node.server.clone();
        match node.life {
            Life::Up => {}
            Life::Dead(since_us) => {
                let ago_us = self.now_us - since_us;
                server.seen.lost(LinkState::Refused, ago_us, FailureKind::Refused);
                server.seen.link.closed_age_us = Some(ago_us);
                server.seen.link.refusals =
                    Some(Refusals { count: 1, first_age_us: ago_us, last_age_us: ago_us.min(900) });
            }
            Life::Hung(since_us) => server.seen.hung(self.now_us - since_us),
        }
        if let (Life::Up, Role::Replica(link)) = (node.life, &mut server.role) {
            if !link.up {
                link.down_s = link.down_s.map(|_| (self.now_us - node.down_since_us) / 1_000_000);
            } else if let Some(Life::Hung(since_us)) =
                self.named_by(index).map(|named| self.nodes[named].life)
            {
                link.last_io_s = Some((self.now_us - since_us) / 1_000_000);
                server.seen.still_us = Some(self.now_us - since_us + 500);
            }
        }
        server
    }
}
