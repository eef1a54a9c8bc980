//! Several servers and what their host remembers: an Observation. Nothing here behaves.
//!
//! A [`World`] starts as a healthy group and is broken from there, so that a test shows only what is wrong:
//!
//! ```
//! use redis_model::World;
//! let mut world = World::healthy(3);
//! world.kill("redis-1");
//! world.at("redis-2").offset = 900;
//! assert_eq!(failover_core::decide(&world.observe()).reason, "master-dead");
//! ```

use crate::has::{MasterLink, Role, Row, Server};
use crate::sentinel::Sentinel;
use failover_core::contract::{
    Action, Evidence, Failover, Group, InDoubt, Instance, Observation, Preference, Published, Shard,
    Switchover, Topology,
};

/// A group as a host sees it.
#[derive(Clone, Debug)]
pub struct World {
    /// Its servers, sorted by id.
    pub servers: Vec<Server>,
    /// The Sentinels that watch them.
    pub sentinels: Vec<Sentinel>,
    /// Everything but the instances.
    pub rest: Observation,
}

impl World {
    /// Servers that have nothing to do with each other: empty masters, no record.
    pub fn strangers(count: usize) -> Self {
        Self { servers: (1..=count).map(Server::new).collect(), sentinels: vec![], rest: rest(count) }
    }

    /// A healthy group: redis-1 is master of the history `a` at 1000 with 100 keys, the others its replicas,
    /// and the record names it.
    pub fn healthy(count: usize) -> Self {
        let mut world = Self::strangers(count);
        for server in &mut world.servers {
            server.history("a", 1000).keys = 100;
        }
        let master = world.servers.first().map(|master| (master.host.clone(), master.port));
        if let Some((host, port)) = master {
            world.servers[1..].iter_mut().for_each(|server| _ = server.follow(&host, port));
            world.publish("redis-1");
        }
        world
    }

    /// These servers, which no host has seen before.
    pub fn of(servers: Vec<Server>) -> Self {
        Self { rest: rest(servers.len()), sentinels: vec![], servers }
    }

    /// What the host remembers.
    pub fn shard(&mut self) -> &mut Shard {
        self.rest.shards.first_mut().expect("a world has one shard")
    }

    /// The server of this id. Panics where there is none; see [`World::find`].
    pub fn at(&mut self, id: &str) -> &mut Server {
        self.find(id).expect("a server of the world")
    }

    /// The server of this id.
    pub fn find(&mut self, id: &str) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.id == id)
    }

    /// Its replicas, by their own word.
    pub fn replicas_of(&mut self, id: &str) -> impl Iterator<Item = &mut Server> {
        let (host, port) = (self.at(id).host.clone(), self.at(id).port);
        let is_there = move |link: &MasterLink| link.host == host && link.port == port;
        self.servers
            .iter_mut()
            .filter(move |server| matches!(&server.role, Role::Replica(link) if is_there(link)))
    }

    /// The record names it, as it is now. The epoch grows.
    pub fn publish(&mut self, id: &str) {
        let epoch = self.shard().published.as_ref().map_or(1, |published| published.epoch + 1);
        let server = self.at(id).clone();
        let (master, run_id, replid, offset) = (server.id, server.run_id, server.replid, server.offset);
        self.shard().published =
            Some(Published { master, run_id, replid, offset, epoch, age_us: 600_000_000, node: None });
    }

    /// Its process ends, and its replicas have noticed.
    pub fn kill(&mut self, id: &str) {
        self.at(id).seen.dead();
        self.replicas_of(id).for_each(|replica| _ = replica.link_down(0));
    }

    /// It stands still for this long: no reply, and no byte on its replicas' links, which stay up.
    pub fn hang(&mut self, id: &str, age_us: u64) {
        self.at(id).seen.hung(age_us);
        self.replicas_of(id).for_each(|replica| {
            replica.seen.still_us = Some(age_us + 1_000);
            replica.master_link().into_iter().for_each(|link| link.last_io_s = Some(age_us / 1_000_000));
        });
    }

    /// The last failover on record.
    pub fn failed_over(&mut self, source: &str, target: &str, meant_for: &str, age_us: u64) {
        self.shard().last_failover = Some(Failover {
            age_us,
            source: Some(source.into()),
            target: target.into(),
            meant_for: meant_for.into(),
            evidence: Evidence::Dead,
        });
    }

    /// A person asks for another master.
    pub fn ask(&mut self, target: Option<&str>) {
        self.rest.switchover =
            Some(Switchover { shard: 0, target: target.map(str::to_owned), age_us: 1_000_000 });
    }

    /// An action was sent and never answered.
    pub fn doubt(&mut self, action: Action, age_us: u64) {
        self.rest.in_doubt.push(InDoubt { action, age_us });
    }

    /// The rows that a server has of its attached replicas: those given, then those of this group that name
    /// it and whose links are up. A given row of a member's address stands for its own.
    pub fn rows(&self, master: &Server) -> Vec<Row> {
        let row = |server: &Server| match &server.role {
            Role::Replica(link)
                if master.is_at(&link.host, link.port)
                    && (link.up || link.syncing)
                    && server.id != master.id
                    && !master
                        .attached
                        .iter()
                        .any(|row| (&row.host, row.port) == (&server.host, server.port)) =>
            {
                let state = if link.syncing { "wait_bgsave" } else { "online" };
                let (host, port, offset) = (server.host.clone(), server.port, server.offset);
                Some(Row { host, port, state: state.into(), offset, lag_s: 0 })
            }
            Role::Replica(_) | Role::Master | Role::Unsaid => None,
        };
        master.attached.iter().cloned().chain(self.servers.iter().filter_map(row)).collect()
    }

    /// What the host hands to the policy.
    pub fn observe(&self) -> Observation {
        let seen = |server: &Server| Server { attached: self.rows(server), ..server.clone() }.instance();
        let listed = self.servers.iter().filter(|server| server.seen.is_listed);
        let watching = self.sentinels.iter().filter(|sentinel| sentinel.seen.is_listed);
        let watching = watching.map(|sentinel| sentinel.instance(self));
        let mut instances: Vec<Instance> = listed.map(seen).chain(watching).collect();
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        Observation { instances, ..self.rest.clone() }
    }
}

/// An observation of no instances yet, of a group of that size.
fn rest(count: usize) -> Observation {
    let group = Group {
        namespace: "shop".into(),
        name: "cart".into(),
        topology: Topology::Replication,
        members_desired: u16::try_from(count).unwrap_or(u16::MAX),
        members_min: None,
        prefer: Preference::Availability,
        paused: false,
        hang_limit_ms: 1000,
        self_fence_lag_s: None,
        sentinel: None,
        cluster: None,
    };
    let shard = Shard {
        index: 0,
        published: None,
        lineage: vec![],
        position: None,
        last_failover: None,
        // Long enough that no decision waits for it to be.
        no_master_age_us: 1_000_000,
    };
    Observation {
        group,
        instances: vec![],
        shards: vec![shard],
        switchover: None,
        in_doubt: vec![],
        refused: vec![],
        silent_groups_permille: 0,
        authority: true,
        parameters: "{}".into(),
        extras: vec![],
    }
}
