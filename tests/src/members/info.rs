//! INFO and ROLE of a simulated member, row by row as Redis 7.0 prints them. Here `slave` is the servers' own
//! word.

use super::group::{Group, Link, Role};
use crate::info::NO_REPLID;
use std::fmt::Write as _;
use std::time::Instant;

/// One section with its heading. Empty for one that is not simulated.
pub fn section(group: &Group, index: usize, name: &str, now: Instant) -> String {
    match name.to_ascii_lowercase().as_str() {
        "replication" => replication(group, index, now),
        "server" => server(group, index, now),
        "persistence" => PERSISTENCE.replace('\n', "\r\n"),
        "keyspace" => keyspace(group.members[index].keys),
        _ => String::new(),
    }
}

fn replication(group: &Group, index: usize, now: Instant) -> String {
    let (member, offset) = (&group.members[index], group.offset(index, now));
    let mut text = String::with_capacity(1024);
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        write!(text, "{name}:{value}\r\n").expect("writing to a String")
    };
    match &member.role {
        Role::Master => row("# Replication\r\nrole", &"master"),
        Role::Replica { host, port, link } => {
            row("# Replication\r\nrole", &"slave");
            row("master_host", host);
            row("master_port", port);
            row("master_link_status", if *link == Link::Up { &"up" } else { &"down" });
            row("master_last_io_seconds_ago", if *link == Link::Up { &"0" } else { &"-1" });
            row("master_sync_in_progress", &0);
            row("slave_read_repl_offset", &offset);
            row("slave_repl_offset", &offset);
            match link {
                Link::Up => {}
                Link::Down(since) => {
                    row("master_link_down_since_seconds", &now.saturating_duration_since(*since).as_secs())
                }
                Link::Never => row("master_link_down_since_seconds", &-1),
            }
            row("slave_priority", &member.config["replica-priority"]);
            row("slave_read_only", &1);
            row("replica_announced", &1);
        }
    }
    row("connected_slaves", &group.attached(index).count());
    for (number, replica) in group.attached(index).enumerate() {
        let at = group.members[replica].at;
        row(
            &format!("slave{number}"),
            &format_args!("ip={},port={},state=online,offset={offset},lag=0", at.ip(), at.port()),
        );
    }
    row("master_failover_state", &"no-failover");
    row("master_replid", &member.replid);
    row("master_replid2", member.former.as_ref().map_or(&NO_REPLID, |(replid, _)| replid));
    row("master_repl_offset", &offset);
    row(
        "second_repl_offset",
        &member.former.as_ref().map_or(-1, |(_, end)| i64::try_from(*end).unwrap_or(i64::MAX) + 1),
    );
    row("repl_backlog_active", &1);
    row("repl_backlog_size", &1_048_576);
    row("repl_backlog_first_byte_offset", &offset.saturating_sub(1_048_576).max(1));
    row("repl_backlog_histlen", &offset.min(1_048_576));
    text
}

fn server(group: &Group, index: usize, now: Instant) -> String {
    let member = &group.members[index];
    let up = member.uptime(now);
    let mut text = SERVER.replace('\n', "\r\n");
    let rest = format_args!(
        "run_id:{}\r\ntcp_port:{}\r\nserver_time_usec:{}\r\nuptime_in_seconds:{}\r\nuptime_in_days:{}\r\nhz:\
         10\r\nconfigured_hz:10\r\nlru_clock:{}\r\nexecutable:/usr/local/bin/redis-server\r\nconfig_file:/\
         etc/redis/redis.conf\r\nio_threads_active:0\r\n",
        member.run_id,
        member.at.port(),
        1_700_000_000_000_000 + up.as_micros(),
        up.as_secs(),
        up.as_secs() / 86_400,
        up.as_secs() % 16_777_216,
    )
    .to_string();
    text.push_str(&rest);
    text
}

fn keyspace(keys: u64) -> String {
    match keys {
        0 => "# Keyspace\r\n".into(),
        keys => format!("# Keyspace\r\ndb0:keys={keys},expires=0,avg_ttl=0\r\n"),
    }
}

/// The reply to ROLE.
pub fn role(group: &Group, index: usize, now: Instant) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let (member, offset) = (&group.members[index], group.offset(index, now));
    match &member.role {
        Role::Master => {
            let row = |replica: usize| {
                let at = group.members[replica].at;
                format!(
                    "*3\r\n{}{}{}",
                    bulk(&at.ip().to_string()),
                    bulk(&at.port().to_string()),
                    bulk(&offset.to_string())
                )
            };
            let rows: Vec<String> = group.attached(index).map(row).collect();
            format!("*3\r\n{}:{offset}\r\n*{}\r\n{}", bulk("master"), rows.len(), rows.concat())
        }
        Role::Replica { host, port, link } => {
            let (state, offset) =
                if *link == Link::Up { ("connected", offset.to_string()) } else { ("connect", "-1".into()) };
            format!("*5\r\n{}{}:{port}\r\n{}:{offset}\r\n", bulk("slave"), bulk(host), bulk(state))
        }
    }
}

const SERVER: &str = "# Server
redis_version:7.0.15
redis_git_sha1:00000000
redis_git_dirty:0
redis_build_id:ae4d7c971a948f00
redis_mode:standalone
os:Linux 6.1.0-18-amd64 x86_64
arch_bits:64
monotonic_clock:POSIX clock_gettime
multiplexing_api:epoll
atomicvar_api:c11-builtin
gcc_version:12.2.0
process_id:1
process_supervised:no
";

const PERSISTENCE: &str = "# Persistence
loading:0
async_loading:0
current_cow_peak:0
current_cow_size:0
current_cow_size_age:0
current_fork_perc:0.00
current_save_keys_processed:0
current_save_keys_total:0
rdb_changes_since_last_save:0
rdb_bgsave_in_progress:0
rdb_last_save_time:1795275054
rdb_last_bgsave_status:ok
rdb_last_bgsave_time_sec:-1
rdb_current_bgsave_time_sec:-1
rdb_saves:0
rdb_last_cow_size:0
rdb_last_load_keys_expired:0
rdb_last_load_keys_loaded:0
aof_enabled:0
aof_rewrite_in_progress:0
aof_rewrite_scheduled:0
aof_last_rewrite_time_sec:-1
aof_current_rewrite_time_sec:-1
aof_last_bgrewrite_status:ok
aof_rewrites:0
aof_rewrites_consecutive_failures:0
aof_last_write_status:ok
aof_last_cow_size:0
module_fork_in_progress:0
module_fork_last_cow_size:0
";
