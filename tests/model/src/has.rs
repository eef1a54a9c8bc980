//! The state of one server: what it is, which history it has, how far it is. Nothing here acts by itself:
//! [`does`](crate::does) changes it, [`says`](crate::says) prints it.

use crate::seen::Seen;
use std::collections::BTreeMap;

/// Whose words a server speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub enum Dialect {
    /// 5.0: no `replica_announced`, no `master_failover_state`.
    Redis5,
    /// 6.2: both.
    Redis6,
    /// 7.0, the one that the design was tried on.
    Redis7,
    /// 8.2: more fields in the rows of the keyspace.
    Redis8,
    /// `valkey_version`, `server_mode`, `type=` in the rows of replicas.
    Valkey8,
}

/// What a server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `role:master`.
    Master,
    /// `role:slave`, and its link to its master.
    Replica(MasterLink),
    /// No role row at all.
    Unsaid,
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
    /// `master_last_io_seconds_ago`, printed while up. None: `-1`.
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

/// One server. Fields are named as in INFO.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its `id` in an observation.
    pub id: String,
    /// Where it listens, and where its peers dial it.
    pub host: String,
    /// `tcp_port`.
    pub port: u16,
    /// Other addresses under which peers may know it.
    pub aliases: Vec<(String, u16)>,
    /// Its version.
    pub dialect: Dialect,
    /// `redis_mode`: `standalone`, `cluster`, `sentinel`.
    pub mode: String,
    /// `run_id`.
    pub run_id: String,
    /// `uptime_in_seconds`.
    pub uptime_s: u64,
    /// `role`.
    pub role: Role,
    /// `master_replid`.
    pub replid: String,
    /// `master_replid2` and `second_repl_offset - 1`: the history before, and the last offset that it shares.
    pub former: Option<(String, u64)>,
    /// `master_repl_offset`, and `slave_repl_offset` of a replica.
    pub offset: u64,
    /// A replica without a place in a master's stream: it shows `slave_repl_offset:1`, whatever its data.
    pub is_placeless: bool,
    /// `replica-priority`.
    pub priority: u64,
    /// `replica_announced`.
    pub announced: bool,
    /// `master_failover_state` is another than `no-failover`.
    pub in_failover: bool,
    /// `repl-ping-replica-period`. None: the host did not ask.
    pub heartbeat_s: Option<u64>,
    /// Its own end of the host's connection, `laddr` of CLIENT INFO. None: the host did not ask.
    pub own_end: Option<String>,
    /// `min_slaves_good_slaves`. None: no `min-replicas-to-write` is set.
    pub good_replicas: Option<u64>,
    /// Attached replicas beside those of its own group: a backup client, a stranger.
    pub attached: Vec<Row>,
    /// Keys in database 0.
    pub keys: u64,
    /// `loading`.
    pub loading: bool,
    /// `aof_enabled`.
    pub aof: bool,
    /// Keys that the process read from its files, or in its last full copy: `rdb_last_load_keys_loaded`, and
    /// with an append-only file whether its `aof_base_size` is 0.
    pub loaded: u64,
    /// `min-replicas-to-write` and `min-replicas-max-lag`, where the host asked for them.
    pub fence: Option<(u32, u32)>,
    /// How many libraries of functions it has. None: the host did not ask, or it knows no functions.
    pub libraries: Option<usize>,
    /// `save` and `stop-writes-on-bgsave-error`, where the host asked for them.
    pub save: Option<(String, String)>,
    /// INFO rows that it prints otherwise than its state says: other words, or (None) not at all.
    pub rows: BTreeMap<String, Option<String>>,
    /// How its host sees it. The server itself knows nothing of it.
    pub seen: Seen,
}

impl Server {
    /// An empty master of a history `own-N`, up for an hour, which answered 0.4 ms ago.
    pub fn new(number: usize) -> Self {
        Self {
            id: format!("redis-{number}"),
            host: format!("10.0.{}.{}", number / 250, number % 250),
            port: 6379,
            aliases: vec![],
            dialect: Dialect::Redis7,
            mode: "standalone".into(),
            run_id: id40(&format!("run-{number}")),
            uptime_s: 3600,
            role: Role::Master,
            replid: id40(&format!("own-{number}")),
            former: None,
            offset: 0,
            is_placeless: false,
            priority: 100,
            announced: true,
            in_failover: false,
            good_replicas: None,
            heartbeat_s: Some(1),
            own_end: None,
            attached: vec![],
            keys: 0,
            loading: false,
            aof: false,
            loaded: 0,
            fence: None,
            libraries: None,
            save: None,
            rows: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Whether this is an address of it.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        (host, port) == (self.host.as_str(), self.port)
            || self.aliases.iter().any(|(alias, at)| (alias.as_str(), *at) == (host, port))
    }

    /// Makes it name this address, link up.
    pub fn follow(&mut self, host: &str, port: u16) -> &mut MasterLink {
        self.role = Role::Replica(MasterLink {
            host: host.into(),
            port,
            up: true,
            last_io_s: Some(0),
            down_s: None,
            syncing: false,
        });
        self.master_link().expect("just made")
    }

    /// Makes it a replica of itself, as every Redis boots that the host starts without a known master.
    pub fn follow_itself(&mut self) -> &mut Self {
        let (host, port) = (self.host.clone(), self.port);
        let link = self.follow(&host, port);
        (link.up, link.last_io_s) = (false, None);
        self
    }

    /// Its link to its master. None for a master.
    pub fn master_link(&mut self) -> Option<&mut MasterLink> {
        match &mut self.role {
            Role::Replica(link) => Some(link),
            Role::Master | Role::Unsaid => None,
        }
    }

    /// Its link to its master went down. Nothing happens to a master.
    pub fn link_down(&mut self, seconds: u64) -> &mut Self {
        if let Some(link) = self.master_link() {
            (link.up, link.last_io_s, link.down_s) = (false, None, Some(seconds));
        }
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
}

/// A replication id or run id that a reader can tell from others: the tag in hexadecimal digits, then zeros,
/// forty long. A tag of forty hexadecimal digits stands for itself.
pub fn id40(tag: &str) -> String {
    if tag.len() == 40 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return tag.to_owned();
    }
    let hex: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<40}").chars().take(40).collect()
}
