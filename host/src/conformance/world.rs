//! Model servers: what a Redis or Valkey of a given age would answer in a given state, as an observation
//! shows it.
//!
//! For seeded observations and for tests. Only the rows that matter for failover are written, and a few that
//! do not, in the words of each version. Must not judge.

use crate::contract::{
    Address, Group, Instance, InstanceKind, Link, LinkState, Observation, Pod, Preference, Reply, Role,
    Sample, Shard, Text, Topology, Value,
};
use failover_core::facts::{INFO_KEYSPACE, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER};
use std::fmt::Write as _;

/// Whose words a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// No `replica_announced`, no `master_failover_state`.
    Redis5,
    /// 6.2: both.
    Redis6,
    /// The one that the design was tried on.
    Redis7,
    /// `lag` and histories as before, more rows.
    Redis8,
    /// `valkey_version`, `server_mode`, `type=` in the rows of replicas.
    Valkey8,
}

/// One server in one state. Fields are as INFO has them, see [`failover_core::facts`].
#[derive(Clone, Debug)]
pub struct Server {
    /// Of the instance.
    pub id: String,
    /// Where it is dialled.
    pub place: (String, u16),
    /// Other names for it.
    pub aliases: Vec<(String, u16)>,
    /// Its words.
    pub dialect: Dialect,
    /// `role`; unknown leaves the row out.
    pub role: Role,
    /// `master_host` and `master_port`.
    pub master: Option<(String, u16)>,
    /// `master_link_status`.
    pub link_up: bool,
    /// `master_last_io_seconds_ago`. None: `-1`.
    pub last_io_s: Option<u64>,
    /// `master_link_down_since_seconds`. None: `-1`.
    pub link_down_s: Option<u64>,
    /// `master_sync_in_progress`.
    pub is_syncing: bool,
    /// `loading`.
    pub is_loading: bool,
    /// `slave_priority`. None leaves the row out.
    pub priority: Option<u64>,
    /// `replica_announced`.
    pub is_announced: bool,
    /// `master_failover_state` is another than `no-failover`.
    pub in_failover: bool,
    /// `master_replid`.
    pub replid: String,
    /// `master_replid2` and the last offset at which it holds.
    pub former: Option<(String, u64)>,
    /// `master_repl_offset`, `slave_repl_offset`.
    pub offset: u64,
    /// In database 0.
    pub keys: u64,
    /// `run_id`.
    pub run_id: String,
    /// `uptime_in_seconds`.
    pub uptime_s: u64,
    /// The `slaveN` rows: place, state, offset.
    pub attached: Vec<(String, u16, &'static str, u64)>,
    /// Of every newest sample.
    pub age_us: u64,
    /// Offset and age of the sample of `INFO replication` before.
    pub earlier: Option<(u64, u64)>,
    /// The host's connection.
    pub link: Link,
    /// What the orchestrator says.
    pub pod: Option<Pod>,
}

impl Server {
    /// An empty master of its own history `own-N`, which answered a millisecond ago.
    pub fn new(number: u16) -> Self {
        Self {
            id: format!("redis-{number}"),
            place: (format!("10.0.{}.{}", number / 250, number % 250 + 1), 6379),
            aliases: vec![],
            dialect: Dialect::Redis7,
            role: Role::Master,
            master: None,
            link_up: false,
            last_io_s: None,
            link_down_s: None,
            is_syncing: false,
            is_loading: false,
            priority: Some(100),
            is_announced: true,
            in_failover: false,
            replid: format!("own-{number}"),
            former: None,
            offset: 0,
            keys: 0,
            run_id: format!("run-{number}"),
            uptime_s: 3600,
            attached: vec![],
            age_us: 1_000,
            earlier: None,
            link: Link {
                state: LinkState::Answering,
                state_age_us: 3_600_000_000,
                closed_age_us: None,
                refusals: None,
                alive_age_us: Some(1_000),
            },
            pod: None,
        }
    }

    /// The master of a history with ten keys.
    pub fn master(number: u16, replid: &str, offset: u64) -> Self {
        Self { replid: replid.into(), offset, keys: 10, ..Self::new(number) }
    }

    /// A replica of `master` with its link up, at the same offset.
    pub fn replica(number: u16, master: &Self) -> Self {
        let mut replica = Self {
            role: Role::Replica,
            keys: master.keys,
            link_up: true,
            last_io_s: Some(0),
            ..Self::new(number)
        };
        (replica.replid, replica.former, replica.offset) =
            (master.replid.clone(), master.former.clone(), master.offset);
        replica.master = Some(master.place.clone());
        replica
    }

    /// As the observation has it.
    pub fn instance(&self) -> Instance {
        let address = |(host, port): &(String, u16)| Address { host: host.clone(), port: *port };
        let sample = |text: String, age_us: u64| Sample {
            value: Value::Text(Text { text, truncated: false }),
            age_us,
        };
        let reply = |command: &str, text: String| Reply {
            command: command.into(),
            newest: Some(sample(text, self.age_us)),
            earlier: None,
            failure: None,
        };
        let mut replication = reply(INFO_REPLICATION, self.info_replication());
        replication.earlier = self
            .earlier
            .map(|(offset, age_us)| sample(Self { offset, ..self.clone() }.info_replication(), age_us));
        Instance {
            id: self.id.clone(),
            kind: InstanceKind::Redis,
            shard: Some(0),
            address: address(&self.place),
            aliases: self.aliases.iter().map(address).collect(),
            link: self.link,
            replies: vec![
                reply(INFO_KEYSPACE, self.info_keyspace()),
                reply(INFO_PERSISTENCE, self.info_persistence()),
                replication,
                reply(INFO_SERVER, self.info_server()),
            ],
            pod: self.pod.clone(),
            extras: vec![],
        }
    }

    /// The text of `INFO replication`.
    pub fn info_replication(&self) -> String {
        let mut rows = String::from("# Replication\r\n");
        let mut row = |name: &str, value: &dyn std::fmt::Display| _ = write!(rows, "{name}:{value}\r\n");
        let seconds = |value: Option<u64>| value.map_or("-1".to_owned(), |seconds| seconds.to_string());
        match self.role {
            Role::Master => row("role", &"master"),
            Role::Replica => row("role", &"slave"),
            Role::Unknown => {}
        }
        if self.role == Role::Replica {
            if let Some((host, port)) = &self.master {
                row("master_host", host);
                row("master_port", port);
            }
            row("master_link_status", &if self.link_up { "up" } else { "down" });
            row("master_last_io_seconds_ago", &seconds(self.last_io_s.filter(|_| self.link_up)));
            row("master_sync_in_progress", &u8::from(self.is_syncing));
            row("slave_read_repl_offset", &self.offset);
            row("slave_repl_offset", &self.offset);
            if !self.link_up {
                row("master_link_down_since_seconds", &seconds(self.link_down_s));
            }
            if let Some(priority) = self.priority {
                row("slave_priority", &priority);
            }
            row("slave_read_only", &1);
            if self.dialect != Dialect::Redis5 {
                row("replica_announced", &u8::from(self.is_announced));
            }
        }
        row("connected_slaves", &self.attached.len());
        for (number, (host, port, state, offset)) in self.attached.iter().enumerate() {
            let more = if self.dialect == Dialect::Valkey8 { ",type=replica" } else { "" };
            row(
                &format!("slave{number}"),
                &format_args!("ip={host},port={port},state={state},offset={offset},lag=0{more}"),
            );
        }
        if self.dialect != Dialect::Redis5 {
            row("master_failover_state", &if self.in_failover { "waiting-for-sync" } else { "no-failover" });
        }
        row("master_replid", &self.replid);
        row(
            "master_replid2",
            &self.former.as_ref().map_or("0000000000000000000000000000000000000000", |(id, _)| id),
        );
        row("master_repl_offset", &self.offset);
        row(
            "second_repl_offset",
            &self.former.as_ref().map_or("-1".to_owned(), |(_, end)| end.saturating_add(1).to_string()),
        );
        row("repl_backlog_active", &1);
        rows
    }

    /// The text of `INFO server`.
    pub fn info_server(&self) -> String {
        let version = match self.dialect {
            Dialect::Redis5 => "redis_version:5.0.14\r\nredis_mode:standalone",
            Dialect::Redis6 => "redis_version:6.2.14\r\nredis_mode:standalone",
            Dialect::Redis7 => "redis_version:7.0.15\r\nredis_mode:standalone",
            Dialect::Redis8 => "redis_version:8.2.1\r\nredis_mode:standalone",
            Dialect::Valkey8 => {
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode:standalone"
            }
        };
        format!(
            "# Server\r\n{version}\r\nrun_id:{}\r\ntcp_port:{}\r\nuptime_in_seconds:{}\r\n",
            self.run_id, self.place.1, self.uptime_s
        )
    }

    /// The text of `INFO persistence`.
    pub fn info_persistence(&self) -> String {
        format!(
            "# Persistence\r\nloading:{}\r\nasync_loading:0\r\naof_enabled:0\r\n",
            u8::from(self.is_loading)
        )
    }

    /// The text of `INFO keyspace`.
    pub fn info_keyspace(&self) -> String {
        if self.keys == 0 {
            "# Keyspace\r\n".into()
        } else {
            format!("# Keyspace\r\ndb0:keys={},expires=0,avg_ttl=0\r\n", self.keys)
        }
    }
}

/// The servers as a group that nobody has managed before. Masters list those who name them with their links
/// up.
pub fn observe(servers: &[Server]) -> Observation {
    let mut instances: Vec<_> = servers
        .iter()
        .map(|server| {
            let mut server = server.clone();
            let is_attached = |other: &&Server| other.link_up && other.master.as_ref() == Some(&server.place);
            let row = |other: &Server| {
                (
                    other.place.0.clone(),
                    other.place.1,
                    if other.is_syncing { "wait_bgsave" } else { "online" },
                    other.offset,
                )
            };
            let rows: Vec<_> = servers.iter().filter(is_attached).map(row).collect();
            server.attached.extend(rows);
            server.instance()
        })
        .collect();
    instances.sort_by(|one, other| one.id.cmp(&other.id));
    Observation {
        group: Group {
            namespace: "shop".into(),
            name: "cart".into(),
            topology: Topology::Replication,
            members_desired: u16::try_from(servers.len()).unwrap_or(u16::MAX),
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms: 1_000,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        },
        instances,
        // Long enough that no decision waits for it to be.
        shards: vec![Shard { no_master_age_us: 1_000_000, ..Shard::new(0) }],
        switchover: None,
        in_doubt: vec![],
        refused: vec![],
        silent_groups_permille: 0,
        authority: true,
        parameters: "{}".into(),
        extras: vec![],
    }
}
