//! INFO text of the versions that are supported, row by row as the servers print it (7.0 taken from a real
//! 7.0.15). Test data: here `slave` is the servers' own word.

use crate::world::{ReportedRole, Server, Version};
use std::fmt::Write as _;

/// Forty zeros: no such history.
pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// A replication id or run id that a reader can tell from others: the tag, then zeros, forty long.
pub fn id40(tag: &str) -> String {
    let hex: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<40}").chars().take(40).collect()
}

/// `INFO replication`.
pub fn replication(server: &Server) -> String {
    let mut rows = Rows::new("Replication");
    let seconds = |value: Option<u64>| value.map_or("-1".into(), |value| value.to_string());
    let version = server.version;
    match &server.speaks {
        ReportedRole::Master => _ = rows.row("role", "master"),
        ReportedRole::Replica(link) => {
            rows.row("role", "slave").row("master_host", &link.host).row("master_port", link.port);
            rows.row("master_link_status", if link.up { "up" } else { "down" });
            rows.row("master_last_io_seconds_ago", seconds(link.last_io_s.filter(|_| link.up)));
            rows.row("master_sync_in_progress", u8::from(link.syncing));
            if version >= Version::Redis7 {
                rows.row("slave_read_repl_offset", server.offset);
            }
            rows.row("slave_repl_offset", server.offset);
            if link.syncing {
                rows.row("master_sync_total_bytes", 8_388_608)
                    .row("master_sync_read_bytes", 65_536)
                    .row("master_sync_left_bytes", 8_323_072);
            }
            if !link.up {
                rows.row("master_link_down_since_seconds", seconds(link.down_s));
            }
            rows.row("slave_priority", server.priority).row("slave_read_only", 1);
            if version >= Version::Redis6 {
                rows.row("replica_announced", u8::from(server.announced));
            }
        }
        ReportedRole::Nothing => {}
    }
    rows.row("connected_slaves", server.rows.len());
    if let Some(good) = server.good_replicas {
        rows.row("min_slaves_good_slaves", good);
    }
    for (number, row) in server.rows.iter().enumerate() {
        let more = if version == Version::Valkey8 { ",type=replica" } else { "" };
        let (host, port, state, offset, lag_s) = (&row.host, row.port, &row.state, row.offset, row.lag_s);
        rows.row(
            &format!("slave{number}"),
            format!("ip={host},port={port},state={state},offset={offset},lag={lag_s}{more}"),
        );
    }
    if version >= Version::Redis6 {
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
    rows.row("repl_backlog_active", 1).row("repl_backlog_size", 1_048_576);
    rows.row("repl_backlog_first_byte_offset", 1).row("repl_backlog_histlen", server.offset.min(1_048_576));
    rows.text
}

/// `INFO server`.
pub fn server(server: &Server) -> String {
    let mut rows = Rows::new("Server");
    match server.version {
        Version::Redis5 => rows.row("redis_version", "5.0.14"),
        Version::Redis6 => rows.row("redis_version", "6.2.14"),
        Version::Redis7 => rows.row("redis_version", "7.0.15"),
        Version::Redis8 => rows.row("redis_version", "8.2.1"),
        Version::Valkey8 => {
            rows.row("redis_version", "7.2.4").row("server_name", "valkey").row("valkey_version", "8.1.1")
        }
    };
    if server.version == Version::Valkey8 {
        rows.row("valkey_release_stage", "ga");
    }
    rows.row("redis_git_sha1", "00000000").row("redis_git_dirty", 0).row("redis_build_id", "ae4d7c971a948f0");
    rows.row(if server.version == Version::Valkey8 { "server_mode" } else { "redis_mode" }, &server.mode);
    rows.row("os", "Linux 6.1.0-18-amd64 x86_64")
        .row("arch_bits", 64)
        .row("multiplexing_api", "epoll")
        .row("gcc_version", "12.2.0");
    rows.row("process_id", 1).row("run_id", &server.run_id).row("tcp_port", server.port);
    rows.row("uptime_in_seconds", server.uptime_s).row("uptime_in_days", server.uptime_s / 86_400);
    rows.row("hz", 10)
        .row("configured_hz", 10)
        .row("executable", "/data/redis-server")
        .row("config_file", "/etc/redis.conf");
    rows.text
}

/// `INFO persistence`.
pub fn persistence(server: &Server) -> String {
    let mut rows = Rows::new("Persistence");
    rows.row("loading", u8::from(server.loading));
    if server.version >= Version::Redis7 {
        rows.row("async_loading", 0);
    }
    if server.loading {
        rows.row("loading_start_time", 1_700_000_000)
            .row("loading_total_bytes", 8_388_608)
            .row("loading_loaded_bytes", 65_536);
    }
    rows.row("rdb_changes_since_last_save", 0)
        .row("rdb_bgsave_in_progress", 0)
        .row("rdb_last_bgsave_status", "ok");
    rows.row("aof_enabled", u8::from(server.aof))
        .row("aof_rewrite_in_progress", 0)
        .row("aof_last_write_status", "ok");
    rows.text
}

/// `INFO keyspace`.
pub fn keyspace(server: &Server) -> String {
    let mut rows = Rows::new("Keyspace");
    if server.keys > 0 {
        let more = if server.version == Version::Redis8 { ",subexpiry=0" } else { "" };
        rows.row("db0", format!("keys={},expires=0,avg_ttl=0{more}", server.keys));
    }
    rows.text
}

struct Rows {
    text: String,
}

impl Rows {
    fn new(heading: &str) -> Self {
        Self { text: format!("# {heading}\r\n") }
    }

    fn row(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        write!(self.text, "{name}:{value}\r\n").expect("writing to a String");
        self
    }
}
