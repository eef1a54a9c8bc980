//! What a server replies: INFO, ROLE and CONFIG GET, row by row as each version prints them (7.0 taken from
//! a real 7.0.15, and compared with one by a test). Here `slave` is the servers' own word.

use crate::has::{Dialect, Role, Server};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Forty zeros: no such history.
pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// The section of INFO of that name, in any case. Empty for one that is not modelled.
pub fn info(server: &Server, section: &str) -> String {
    match section.to_ascii_lowercase().as_str() {
        "replication" => replication(server),
        "server" => self::server(server),
        "persistence" => persistence(server),
        "keyspace" => keyspace(server),
        _ => String::new(),
    }
}

/// `INFO replication`.
pub fn replication(server: &Server) -> String {
    let mut rows = Rows::new("Replication", server);
    let dialect = server.dialect;
    match &server.role {
        Role::Master => _ = rows.row("role", "master"),
        Role::Replica(link) => {
            rows.row("role", "slave").row("master_host", &link.host).row("master_port", link.port);
            rows.row("master_link_status", if link.up { "up" } else { "down" });
            rows.row("master_last_io_seconds_ago", seconds(link.last_io_s.filter(|_| link.up)));
            rows.row("master_sync_in_progress", u8::from(link.syncing));
            let offset = if server.is_placeless { 1 } else { server.offset };
            if dialect >= Dialect::Redis6 {
                rows.row("slave_read_repl_offset", offset);
            }
            rows.row("slave_repl_offset", offset);
            if link.syncing {
                rows.row("master_sync_total_bytes", 8_388_608)
                    .row("master_sync_read_bytes", 65_536)
                    .row("master_sync_left_bytes", 8_323_072);
            }
            if !link.up {
                // Before 6.2, the seconds since 1970 for a link that was never up.
                let never = (dialect < Dialect::Redis6).then_some(START_US / 1_000_000 + server.uptime_s);
                rows.row("master_link_down_since_seconds", seconds(link.down_s.or(never)));
            }
            rows.row("slave_priority", server.priority).row("slave_read_only", 1);
            if dialect >= Dialect::Redis6 {
                rows.row("replica_announced", u8::from(server.announced));
            }
        }
        Role::Unsaid => {}
    }
    rows.row("connected_slaves", server.attached.len());
    if let Some(good) = server.good_replicas {
        rows.row("min_slaves_good_slaves", good);
    }
    for (number, row) in server.attached.iter().enumerate() {
        let more = if dialect == Dialect::Valkey8 { ",type=replica" } else { "" };
        let (host, port, state, offset, lag_s) = (&row.host, row.port, &row.state, row.offset, row.lag_s);
        rows.row(
            &format!("slave{number}"),
            format_args!("ip={host},port={port},state={state},offset={offset},lag={lag_s}{more}"),
        );
    }
    if dialect >= Dialect::Redis6 {
        rows.row(
            "master_failover_state",
            if server.in_failover { "waiting-for-sync" } else { "no-failover" },
        );
    }
    let (former, second) = server
        .former
        .as_ref()
        .map_or((NO_REPLID, "-1".into()), |(id, end)| (id.as_str(), end.saturating_add(1).to_string()));
    rows.row("master_replid", &server.replid).row("master_replid2", former);
    rows.row("master_repl_offset", server.offset).row("second_repl_offset", second);
    let kept = server.offset.min(BACKLOG_BYTES);
    rows.row("repl_backlog_active", 1).row("repl_backlog_size", BACKLOG_BYTES);
    rows.row("repl_backlog_first_byte_offset", (server.offset - kept).saturating_add(1));
    rows.row("repl_backlog_histlen", kept);
    rows.text
}

/// `INFO server`.
pub fn server(server: &Server) -> String {
    let mut rows = Rows::new("Server", server);
    let is_valkey = server.dialect == Dialect::Valkey8;
    match server.dialect {
        Dialect::Redis5 => rows.row("redis_version", "5.0.14"),
        Dialect::Redis6 => rows.row("redis_version", "6.2.14"),
        Dialect::Redis7 => rows.row("redis_version", "7.0.15"),
        Dialect::Redis8 => rows.row("redis_version", "8.2.1"),
        Dialect::Valkey8 => rows
            .row("redis_version", "7.2.4")
            .row("server_name", "valkey")
            .row("valkey_version", "8.1.1")
            .row("valkey_release_stage", "ga"),
    };
    rows.row("redis_git_sha1", "00000000")
        .row("redis_git_dirty", 0)
        .row("redis_build_id", "ae4d7c971a948f00");
    rows.row(if is_valkey { "server_mode" } else { "redis_mode" }, &server.mode);
    rows.row("os", "Linux 6.1.0-18-amd64 x86_64").row("arch_bits", 64);
    if server.dialect >= Dialect::Redis6 {
        rows.row("monotonic_clock", "POSIX clock_gettime");
    }
    rows.row("multiplexing_api", "epoll").row("atomicvar_api", "c11-builtin").row("gcc_version", "12.2.0");
    rows.row("process_id", 1);
    if server.dialect >= Dialect::Redis6 {
        rows.row("process_supervised", "no");
    }
    rows.row("run_id", &server.run_id).row("tcp_port", server.port);
    if server.dialect >= Dialect::Redis6 {
        let now_us = server.uptime_s.saturating_mul(1_000_000).saturating_add(START_US);
        rows.row("server_time_usec", now_us);
    }
    rows.row("uptime_in_seconds", server.uptime_s).row("uptime_in_days", server.uptime_s / 86_400);
    rows.row("hz", 10).row("configured_hz", 10).row("lru_clock", server.uptime_s % (1 << 24));
    rows.row("executable", "/usr/local/bin/redis-server").row("config_file", "/etc/redis/redis.conf");
    if server.dialect >= Dialect::Redis6 {
        rows.row("io_threads_active", 0);
    }
    rows.text
}

/// `INFO persistence`.
pub fn persistence(server: &Server) -> String {
    let mut rows = Rows::new("Persistence", server);
    rows.row("loading", u8::from(server.loading));
    if server.dialect >= Dialect::Redis7 {
        rows.row("async_loading", 0);
    }
    for (name, value, since) in PERSISTENCE {
        if *name == "rdb_last_load_keys_loaded" {
            if server.dialect >= *since {
                rows.row(name, if server.aof { 0 } else { server.loaded });
            }
            rows.row("aof_enabled", u8::from(server.aof));
        } else if server.dialect >= *since {
            rows.row(name, value);
        }
    }
    if server.aof {
        // What a file has that holds nothing but its heading, or more.
        let size = if server.loaded == 0 { 0 } else { 88 };
        rows.row("aof_current_size", size + 32 * server.keys).row("aof_base_size", size);
    }
    if server.loading {
        rows.row("loading_start_time", 1_700_000_000)
            .row("loading_total_bytes", 8_388_608)
            .row("loading_loaded_bytes", 65_536);
    }
    rows.text
}

/// `INFO keyspace`.
pub fn keyspace(server: &Server) -> String {
    let mut rows = Rows::new("Keyspace", server);
    if server.keys > 0 {
        let more = if server.dialect == Dialect::Redis8 { ",subexpiry=0" } else { "" };
        rows.row("db0", format_args!("keys={},expires=0,avg_ttl=0{more}", server.keys));
    }
    rows.text
}

/// The reply to `CONFIG GET min-replicas-*`, as RESP. None: the host did not ask.
pub fn fence(server: &Server) -> Option<String> {
    let (to_write, lag_s) = server.fence?;
    let words = ["min-replicas-to-write", &to_write.to_string(), "min-replicas-max-lag", &lag_s.to_string()];
    Some(format!("*4\r\n{}", words.map(bulk).concat()))
}

/// The reply to `CONFIG GET s[at][vo][ep]*`, as RESP. None: the host did not ask.
pub fn save(server: &Server) -> Option<String> {
    let (save, stop) = server.save.as_ref()?;
    let words = ["save", save, "stop-writes-on-bgsave-error", stop];
    Some(format!("*4\r\n{}", words.map(bulk).concat()))
}

/// The reply to `CONFIG GET repl-ping-replica-period`, as RESP. None: the host did not ask.
pub fn heartbeat(server: &Server) -> Option<String> {
    let words = ["repl-ping-replica-period", &server.heartbeat_s?.to_string()];
    Some(format!("*2\r\n{}", words.map(bulk).concat()))
}

/// The reply to `FUNCTION LIST`, without the fields of its libraries. None: the host did not ask.
pub fn functions(server: &Server) -> Option<String> {
    let count = server.libraries?;
    Some(format!("*{count}\r\n{}", "*0\r\n".repeat(count)))
}

/// The reply to `CLIENT INFO`. None: the host did not ask.
pub fn client(server: &Server) -> Option<String> {
    let own_end = server.own_end.as_ref()?;
    Some(format!("id=7 addr=10.0.0.250:40000 laddr={own_end} fd=8 name= age=3600 idle=0 flags=N db=0\n"))
}

/// The reply to ROLE, as RESP.
pub fn role(server: &Server) -> String {
    let offset = server.offset;
    match &server.role {
        Role::Master | Role::Unsaid => {
            let row = |row: &crate::has::Row| {
                let words = [row.host.clone(), row.port.to_string(), row.offset.to_string()];
                format!("*3\r\n{}", words.map(|word| bulk(&word)).concat())
            };
            let rows: String = server.attached.iter().map(row).collect();
            format!("*3\r\n{}:{offset}\r\n*{}\r\n{rows}", bulk("master"), server.attached.len())
        }
        Role::Replica(link) => {
            let (state, offset) =
                if link.up { ("connected", offset.to_string()) } else { ("connect", "-1".into()) };
            let (host, port) = (bulk(&link.host), link.port);
            format!("*5\r\n{}{host}:{port}\r\n{}:{offset}\r\n", bulk("slave"), bulk(state))
        }
    }
}

/// A bulk string of RESP.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A flat array of names and values.
#[derive(Default)]
pub(crate) struct RespText(Vec<String>);

impl RespText {
    pub(crate) fn table() -> Self {
        Self::default()
    }

    pub(crate) fn pair(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.extend([bulk(name), bulk(&value.to_string())]);
        self
    }

    /// Several of them, as RESP.
    pub(crate) fn list(rows: Vec<Self>) -> String {
        let row = |row: &Self| format!("*{}\r\n{}", row.0.len(), row.0.concat());
        format!("*{}\r\n{}", rows.len(), rows.iter().map(row).collect::<String>())
    }
}

fn seconds(value: Option<u64>) -> String {
    value.map_or("-1".into(), |value| value.to_string())
}

struct Rows<'a> {
    text: String,
    other: &'a BTreeMap<String, Option<String>>,
}

impl<'a> Rows<'a> {
    fn new(heading: &str, server: &'a Server) -> Self {
        let mut text = String::with_capacity(1024);
        text.extend(["# ", heading, "\r\n"]);
        Self { text, other: &server.rows }
    }

    fn row(&mut self, name: &str, value: impl Display) -> &mut Self {
        let written = match self.other.get(name) {
            None => write!(self.text, "{name}:{value}\r\n"),
            Some(Some(other)) => write!(self.text, "{name}:{other}\r\n"),
            Some(None) => Ok(()),
        };
        written.expect("a String takes every text");
        self
    }
}

/// `repl-backlog-size`, 1 MB by default.
const BACKLOG_BYTES: u64 = 1 << 20;

/// When a server of uptime 0 was started, as its clock has it.
const START_US: u64 = 1_700_000_000_000_000;

/// Rows that no state of the model changes, and the first version that has them.
const PERSISTENCE: &[(&str, &str, Dialect)] = &[
    ("current_cow_peak", "0", Dialect::Redis7),
    ("current_cow_size", "0", Dialect::Redis6),
    ("current_cow_size_age", "0", Dialect::Redis6),
    ("current_fork_perc", "0.00", Dialect::Redis6),
    ("current_save_keys_processed", "0", Dialect::Redis6),
    ("current_save_keys_total", "0", Dialect::Redis6),
    ("rdb_changes_since_last_save", "0", Dialect::Redis5),
    ("rdb_bgsave_in_progress", "0", Dialect::Redis5),
    ("rdb_last_save_time", "1700000000", Dialect::Redis5),
    ("rdb_last_bgsave_status", "ok", Dialect::Redis5),
    ("rdb_last_bgsave_time_sec", "-1", Dialect::Redis5),
    ("rdb_current_bgsave_time_sec", "-1", Dialect::Redis5),
    ("rdb_saves", "0", Dialect::Redis7),
    ("rdb_last_cow_size", "0", Dialect::Redis5),
    ("rdb_last_load_keys_expired", "0", Dialect::Redis7),
    ("rdb_last_load_keys_loaded", "0", Dialect::Redis7),
    ("aof_rewrite_in_progress", "0", Dialect::Redis5),
    ("aof_rewrite_scheduled", "0", Dialect::Redis5),
    ("aof_last_rewrite_time_sec", "-1", Dialect::Redis5),
    ("aof_current_rewrite_time_sec", "-1", Dialect::Redis5),
    ("aof_last_bgrewrite_status", "ok", Dialect::Redis5),
    ("aof_rewrites", "0", Dialect::Redis7),
    ("aof_rewrites_consecutive_failures", "0", Dialect::Redis7),
    ("aof_last_write_status", "ok", Dialect::Redis5),
    ("aof_last_cow_size", "0", Dialect::Redis5),
    ("module_fork_in_progress", "0", Dialect::Redis6),
    ("module_fork_last_cow_size", "0", Dialect::Redis6),
];
