//! Groups of servers as a host sees them: a readable builder of observations. Nothing here behaves; `model`
//! does.
//!
//! A [`World`] starts as a healthy group and is broken from there, so that a test shows only what is wrong:
//!
//! ```
//! use tests::world::World;
//! let mut world = World::group(3);
//! world.kill("redis-1");
//! world.at("redis-2").offset = 900;
//! assert_eq!(failover_core::decide(&world.observe()).reason, "master-dead");
//! ```

use crate::info::{self, id40};
use failover_core::contract::{
    Address, Failover, FailureKind, Group, InDoubt, Instance, InstanceKind, Link, LinkState, Nested,
    Observation, Pod, Preference, Published, Refusals, Reply, Sample, Shard, Switchover, Text, Topology,
    Value,
};
use failover_core::facts::{INFO_KEYSPACE, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER};

/// Whose words a server speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 5.0: no `replica_announced`, no `master_failover_state`.
    Redis5,
    /// 6.2.
    Redis6,
    /// 7.0.
    Redis7,
    /// 8.2.
    Redis8,
    /// `valkey_version`, `server_mode`, `type=` in the rows of replicas.
    Valkey8,
}

/// What a server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedRole {
    /// `role:master`.
    Master,
    /// A replica, and its link to its master.
    Replica(MasterLink),
    /// No role row at all.
    Nothing,
}

/// A replica's link to its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterLink {
    /// `master_host`.
    pub host: String,
    /// `master_port`.
    pub port: u16,
    /// `master_link_status`.
    pub up: bool,
    /// `master_last_io_seconds_ago`, printed while up.
    pub last_io_s: Option<u64>,
    /// `master_link_down_since_seconds`, printed while down. None: it was never up.
    pub down_s: Option<u64>,
    /// `master_sync_in_progress`.
    pub syncing: bool,
}

/// A `slaveN:` row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `ip`.
    pub host: String,
    /// `port`.
    pub port: u16,
    /// `state`.
    pub state: String,
    /// `offset`.
    pub offset: u64,
    /// `lag`.
    pub lag_s: u64,
}

/// One server: what it says, and how the host's connection to it stands. Fields are named as in INFO.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is the INFO field of its name")]
pub struct Server {
    pub id: String,
    pub host: String,
    pub port: u16,
    pub aliases: Vec<(String, u16)>,
    pub version: Version,
    pub mode: String,
    pub run_id: String,
    pub uptime_s: u64,
    pub speaks: ReportedRole,
    pub replid: String,
    /// `master_replid2` and `second_repl_offset - 1`.
    pub former: Option<(String, u64)>,
    pub offset: u64,
    pub priority: u64,
    pub announced: bool,
    pub in_failover: bool,
    pub good_replicas: Option<u64>,
    /// Rows beside those of the world's own replicas.
    pub rows: Vec<Row>,
    pub keys: u64,
    pub loading: bool,
    pub aof: bool,
    pub link: Link,
    pub failure: Option<FailureKind>,
    /// Age of the newest good replies. None: there never was one.
    pub age_us: Option<u64>,
    /// Since when the offset is what it is. None: since the newest sample.
    pub still_us: Option<u64>,
    pub pod: Option<Pod>,
    /// `min-replicas-to-write` and `min-replicas-max-lag`, if the host asked.
    pub fence: Option<(u32, u32)>,
}

impl Server {
    /// An empty master of a history of its own, up for an hour, answering.
    pub fn new(number: usize) -> Self {
        Self {
            id: format!("redis-{number}"),
            host: format!("10.0.0.{number}"),
            port: 6379,
            aliases: vec![],
            version: Version::Redis7,
            mode: "standalone".into(),
            run_id: id40(&format!("run-{number}")),
            uptime_s: 3600,
            speaks: ReportedRole::Master,
            replid: id40(&format!("own-{number}")),
            former: None,
            offset: 0,
            priority: 100,
            announced: true,
            in_failover: false,
            good_replicas: None,
            rows: vec![],
            keys: 0,
            loading: false,
            aof: false,
            link: Link {
                state: LinkState::Answering,
                state_age_us: 3_600_000_000,
                closed_age_us: None,
                refusals: None,
                alive_age_us: Some(400),
            },
            failure: None,
            age_us: Some(400),
            still_us: None,
            pod: None,
            fence: None,
        }
    }

    /// Makes it name this address, link up.
    pub fn follow(&mut self, host: &str, port: u16) -> &mut MasterLink {
        self.speaks = ReportedRole::Replica(MasterLink {
            host: host.into(),
            port,
            up: true,
            last_io_s: Some(0),
            down_s: None,
            syncing: false,
        });
        self.master_link()
    }

    /// Makes it a replica of itself, as every Redis boots that the host starts without a known master.
    pub fn follow_itself(&mut self) -> &mut Self {
        let (host, port) = (self.host.clone(), self.port);
        let link = self.follow(&host, port);
        (link.up, link.last_io_s) = (false, None);
        self
    }

    /// Its link to its master. Panics for a master.
    pub fn master_link(&mut self) -> &mut MasterLink {
        match &mut self.speaks {
            ReportedRole::Replica(link) => link,
            ReportedRole::Master | ReportedRole::Nothing => panic!("{} is no replica", self.id),
        }
    }

    /// Its link went down.
    pub fn link_down(&mut self, seconds: u64) -> &mut Self {
        let link = self.master_link();
        (link.up, link.last_io_s, link.down_s) = (false, None, Some(seconds));
        self
    }

    /// A place in a history.
    pub fn history(&mut self, tag: &str, offset: u64) -> &mut Self {
        (self.replid, self.offset, self.former) = (id40(tag), offset, None);
        self
    }

    /// A place in a history that grew out of `former` at `end`.
    pub fn grown(&mut self, tag: &str, offset: u64, former: &str, end: u64) -> &mut Self {
        (self.replid, self.offset, self.former) = (id40(tag), offset, Some((id40(former), end)));
        self
    }

    /// A new process: new run id, up for this long, no replicas, its own history, no data.
    pub fn restart(&mut self, uptime_s: u64) -> &mut Self {
        (self.run_id, self.uptime_s) = (id40(&format!("{}+", self.id)), uptime_s);
        (self.replid, self.offset, self.former, self.keys) = (id40(&format!("own {}+", self.id)), 0, None, 0);
        self
    }

    /// A new process with AOF: a new history at offset 1, and the data all there.
    pub fn restart_with_aof(&mut self, uptime_s: u64) -> &mut Self {
        let keys = self.keys;
        self.restart(uptime_s);
        (self.offset, self.keys, self.aof) = (1, keys, true);
        self
    }

    /// The host's link is not what it was.
    pub fn unlink(&mut self, state: LinkState, age_us: u64, kind: FailureKind) -> &mut Self {
        self.link = Link {
            state,
            state_age_us: age_us,
            closed_age_us: None,
            refusals: None,
            alive_age_us: Some(age_us),
        };
        self.failure = Some(kind);
        self.age_us = self.age_us.map(|own| own.max(age_us));
        self
    }

    /// Its process ended 2 ms ago: the connection closed, a fresh one was refused.
    pub fn dead(&mut self) -> &mut Self {
        self.unlink(LinkState::Refused, 2_000, FailureKind::Refused);
        self.link.closed_age_us = Some(2_000);
        self.link.refusals = Some(Refusals { count: 1, first_age_us: 1_500, last_age_us: 1_500 });
        self
    }

    /// It stopped answering this long ago, and its connection stands.
    pub fn hung(&mut self, age_us: u64) -> &mut Self {
        self.unlink(LinkState::TimedOut, age_us, FailureKind::TimedOut)
    }

    /// A Pod of an orchestrator.
    pub fn in_pod(&mut self) -> &mut Pod {
        self.pod.get_or_insert_with(|| Pod {
            uid: format!("uid-{}", self.id),
            ready: true,
            terminating: false,
            running: true,
            restarts: 0,
            started_age_us: Some(self.uptime_s * 1_000_000),
            node: Some("node-a".into()),
            node_ready: Some(true),
            zone: None,
            revision: "r1".into(),
            revision_target: "r1".into(),
        })
    }

    fn instance(&self) -> Instance {
        let sample = |value: Value| self.age_us.map(|age_us| Sample { value, age_us });
        let text = |text: String| Value::Text(Text { text, truncated: false });
        let failure = self.failure.map(|kind| failover_core::contract::Failure {
            kind,
            text: format!("{kind:?}"),
            age_us: self.link.state_age_us,
        });
        let reply = |command: &str, value: Value| Reply {
            command: command.into(),
            newest: sample(value),
            earlier: None,
            failure: failure.clone(),
        };
        let mut replication = reply(INFO_REPLICATION, text(info::replication(self)));
        replication.earlier =
            self.still_us.map(|age_us| Sample { value: text(info::replication(self)), age_us });
        let fence = self.fence.map(|(to_write, lag_s)| {
            let bulk = |word: &str| format!("${}\r\n{word}\r\n", word.len());
            let words =
                ["min-replicas-to-write", &to_write.to_string(), "min-replicas-max-lag", &lag_s.to_string()]
                    .map(bulk);
            reply(
                "CONFIG GET min-replicas-*",
                Value::Nested(Nested { resp: format!("*4\r\n{}", words.concat()), truncated: false }),
            )
        });
        let standard = [
            reply(INFO_KEYSPACE, text(info::keyspace(self))),
            reply(INFO_PERSISTENCE, text(info::persistence(self))),
            replication,
            reply(INFO_SERVER, text(info::server(self))),
        ];
        let address = |(host, port): (&String, u16)| Address { host: host.clone(), port };
        Instance {
            id: self.id.clone(),
            kind: InstanceKind::Redis,
            shard: Some(0),
            address: address((&self.host, self.port)),
            aliases: self.aliases.iter().map(|(host, port)| address((host, *port))).collect(),
            link: self.link,
            replies: fence.into_iter().chain(standard).collect(),
            pod: self.pod.clone(),
            extras: vec![],
        }
    }
}

/// A group as a host sees it.
#[derive(Clone, Debug)]
pub struct World {
    /// Its servers, sorted by id.
    pub servers: Vec<Server>,
    /// Everything but the instances.
    pub rest: Observation,
}

impl World {
    /// Servers that have nothing to do with each other: empty masters, no record.
    pub fn strangers(count: usize) -> Self {
        let group = Group {
            namespace: "shop".into(),
            name: "cart".into(),
            topology: Topology::Replication,
            members_desired: u16::try_from(count).expect("a small group"),
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms: 1000,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        };
        Self {
            servers: (1..=count).map(Server::new).collect(),
            rest: Observation {
                group,
                instances: vec![],
                // Long enough that no decision waits for it to be.
                shards: vec![Shard {
                    index: 0,
                    published: None,
                    lineage: vec![],
                    position: None,
                    last_failover: None,
                    no_master_age_us: 1_000_000,
                }],
                switchover: None,
                in_doubt: vec![],
                refused: vec![],
                silent_groups_permille: 0,
                authority: true,
                parameters: "{}".into(),
                extras: vec![],
            },
        }
    }

    /// A healthy group: redis-1 is master of the history `a` at 1000 with 100 keys, the others its replicas,
    /// all on record.
    pub fn group(count: usize) -> Self {
        let mut world = Self::strangers(count);
        for server in &mut world.servers {
            server.history("a", 1000).keys = 100;
        }
        for server in &mut world.servers[1..] {
            server.follow("10.0.0.1", 6379);
        }
        world.publish("redis-1");
        world
    }

    /// What the host remembers.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.rest.shards[0]
    }

    /// The server of this id.
    pub fn at(&mut self, id: &str) -> &mut Server {
        self.servers.iter_mut().find(|server| server.id == id).expect("a server of the world")
    }

    /// Its replicas, by their own word.
    pub fn replicas_of(&mut self, id: &str) -> impl Iterator<Item = &mut Server> {
        let (host, port) = (self.at(id).host.clone(), self.at(id).port);
        self.servers.iter_mut().filter(move |server| matches!(&server.speaks, ReportedRole::Replica(link) if link.host == host && link.port == port))
    }

    /// The record names it, as it is now.
    pub fn publish(&mut self, id: &str) {
        let epoch = self.shard().published.as_ref().map_or(1, |published| published.epoch + 1);
        let server = self.at(id).clone();
        let (master, run_id, replid, offset) = (server.id, server.run_id, server.replid, server.offset);
        self.shard().published =
            Some(Published { master, run_id, replid, offset, epoch, age_us: 600_000_000, node: None });
    }

    /// Its process ends, and its replicas have noticed.
    pub fn kill(&mut self, id: &str) {
        self.at(id).dead();
        self.replicas_of(id).for_each(|replica| _ = replica.link_down(0));
    }

    /// It stands still for this long: no reply, and no byte on its replicas' links, which stay up.
    pub fn hang(&mut self, id: &str, age_us: u64) {
        self.at(id).hung(age_us);
        self.replicas_of(id).for_each(|replica| {
            replica.still_us = Some(age_us + 1_000);
            replica.master_link().last_io_s = Some(age_us / 1_000_000);
        });
    }

    /// The last failover on record.
    pub fn failed_over(&mut self, source: &str, target: &str, meant_for: &str, age_us: u64) {
        let evidence = failover_core::contract::Evidence::Dead;
        self.shard().last_failover = Some(Failover {
            age_us,
            source: Some(source.into()),
            target: target.into(),
            meant_for: meant_for.into(),
            evidence,
        });
    }

    /// A person asks for another master.
    pub fn ask(&mut self, target: Option<&str>) {
        self.rest.switchover =
            Some(Switchover { shard: 0, target: target.map(str::to_owned), age_us: 1_000_000 });
    }

    /// An action was sent and never answered.
    pub fn doubt(&mut self, action: failover_core::contract::Action, age_us: u64) {
        self.rest.in_doubt.push(InDoubt { action, age_us });
    }

    /// What the host hands to the policy.
    pub fn observe(&self) -> Observation {
        let rows = |master: &Server| -> Vec<Row> {
            let names = |host: &str, port: u16| {
                (host, port) == (&master.host, master.port)
                    || master.aliases.iter().any(|(alias, at)| (alias.as_str(), *at) == (host, port))
            };
            let row = |server: &Server| match &server.speaks {
                ReportedRole::Replica(link)
                    if names(&link.host, link.port)
                        && (link.up || link.syncing)
                        && server.id != master.id =>
                {
                    let state = if link.syncing { "wait_bgsave" } else { "online" };
                    Some(Row {
                        host: server.host.clone(),
                        port: server.port,
                        state: state.into(),
                        offset: server.offset,
                        lag_s: 0,
                    })
                }
                ReportedRole::Replica(_) | ReportedRole::Master | ReportedRole::Nothing => None,
            };
            master.rows.iter().cloned().chain(self.servers.iter().filter_map(row)).collect()
        };
        let mut instances: Vec<Instance> = self
            .servers
            .iter()
            .map(|server| Server { rows: rows(server), ..server.clone() }.instance())
            .collect();
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        Observation { instances, ..self.rest.clone() }
    }
}
