//! A healthy group of any size with the INFO of real servers: Redis 7.0.15, about 1.9 KB per member. For
//! benchmarks and tests, and as an example of an Observation. Never used for a real decision.

use crate::contract::{
    Address, Group, Instance, InstanceKind, Link, LinkState, Observation, Preference, Published, Reply,
    Sample, Shard, Text, Topology, Value,
};

/// An Observation of one master and `members - 1` replicas, all in sync. The master is `cart-0000`.
pub fn healthy_group(members: u16) -> Observation {
    Observation {
        group: Group {
            namespace: "shop".into(),
            name: "cart".into(),
            topology: Topology::Replication,
            members_desired: members,
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms: 1000,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        },
        instances: (0..members).map(|index| instance(index, members)).collect(),
        shards: vec![Shard {
            published: Some(Published {
                master: id(0),
                run_id: run_id(0),
                replid: REPLID.into(),
                offset: OFFSET - 1_000_000,
                epoch: 1,
                age_us: 3_600_000_000,
                node: None,
            }),
            ..Shard::new(0)
        }],
        switchover: None,
        in_doubt: Vec::new(),
        refused: Vec::new(),
        silent_groups_permille: 0,
        authority: true,
        parameters: "{}".into(),
        extras: Vec::new(),
    }
}

fn instance(index: u16, members: u16) -> Instance {
    let reply = |command: &str, text: String| Reply {
        command: command.into(),
        newest: Some(Sample { value: Value::Text(Text { text, truncated: false }), age_us: 200 }),
        earlier: None,
        failure: None,
    };
    let replication = if index == 0 { master(members) } else { replica(index) };
    Instance {
        id: id(index),
        kind: InstanceKind::Redis,
        shard: Some(0),
        address: Address { host: host(index), port: 6379 },
        aliases: Vec::new(),
        link: Link {
            state: LinkState::Answering,
            state_age_us: 3_600_000_000,
            closed_age_us: None,
            refusals: None,
            alive_age_us: Some(200),
        },
        replies: vec![
            reply("INFO keyspace", lines("# Keyspace\ndb0:keys=10000,expires=0,avg_ttl=0\n")),
            reply("INFO persistence", lines(PERSISTENCE)),
            reply("INFO replication", lines(&replication)),
            reply("INFO server", lines(&SERVER.replace("{run_id}", &run_id(index)))),
        ],
        pod: None,
        extras: Vec::new(),
    }
}

fn master(members: u16) -> String {
    let row = |index: u16| {
        format!("slave{}:ip={},port=6379,state=online,offset={OFFSET},lag=0\n", index - 1, host(index))
    };
    let rows: String = (1..members).map(row).collect();
    format!("# Replication\nrole:master\nconnected_slaves:{}\n{rows}{}", members.saturating_sub(1), history())
}

fn replica(index: u16) -> String {
    let ahead = format!(
        "# Replication\nrole:slave\nmaster_host:{}\nmaster_port:6379\nmaster_link_status:up\n\
         master_last_io_seconds_ago:0\nmaster_sync_in_progress:0\nslave_read_repl_offset:{OFFSET}\n\
         slave_repl_offset:{OFFSET}\nslave_priority:{}\nslave_read_only:1\nreplica_announced:1\n\
         connected_slaves:0\n",
        host(0),
        100 + index % 3
    );
    ahead + &history()
}

fn history() -> String {
    format!(
        "master_failover_state:no-failover\nmaster_replid:{REPLID}\nmaster_replid2:\
         0000000000000000000000000000000000000000\nmaster_repl_offset:{OFFSET}\nsecond_repl_offset:-1\n\
         repl_backlog_active:1\nrepl_backlog_size:1048576\nrepl_backlog_first_byte_offset:{}\n\
         repl_backlog_histlen:1048576\n",
        OFFSET - 1_048_575
    )
}

/// Redis ends its rows with CR LF.
fn lines(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn id(index: u16) -> String {
    format!("cart-{index:04}")
}

fn host(index: u16) -> String {
    format!("10.8.{}.{}", index / 250, index % 250 + 1)
}

fn run_id(index: u16) -> String {
    format!("{:040x}", 0xe970_63ac_7afb_0000_u64 + u64::from(index))
}

const REPLID: &str = "a971ee1f5422311ea64a4fbcdfcb5008f3264de4";
const OFFSET: u64 = 987_654_321;

const SERVER: &str = "# Server\nredis_version:7.0.15\nredis_git_sha1:00000000\nredis_git_dirty:0\n\
                      redis_build_id:ae4d7c971a948f0\nredis_mode:standalone\nos:Linux 6.1.0-18-amd64 \
                      x86_64\narch_bits:64\nmonotonic_clock:POSIX \
                      clock_gettime\nmultiplexing_api:epoll\natomicvar_api:c11-builtin\ngcc_version:12.2.0\n\
                      process_id:1\nprocess_supervised:no\nrun_id:{run_id}\ntcp_port:6379\n\
                      server_time_usec:1795251787072325\nuptime_in_seconds:86400\nuptime_in_days:1\nhz:10\n\
                      configured_hz:10\nlru_clock:89674\nexecutable:/usr/bin/redis-server\nconfig_file:/\
                      etc/redis/redis.conf\nio_threads_active:0\n";

const PERSISTENCE: &str = "# Persistence\nloading:0\nasync_loading:0\ncurrent_cow_peak:0\n\
     current_cow_size:0\ncurrent_cow_size_age:0\ncurrent_fork_perc:0.00\ncurrent_save_keys_processed:0\n\
     current_save_keys_total:0\nrdb_changes_since_last_save:1\nrdb_bgsave_in_progress:0\n\
     rdb_last_save_time:1795251784\nrdb_last_bgsave_status:ok\nrdb_last_bgsave_time_sec:-1\n\
     rdb_current_bgsave_time_sec:-1\nrdb_saves:0\nrdb_last_cow_size:0\nrdb_last_load_keys_expired:0\n\
     rdb_last_load_keys_loaded:0\naof_enabled:0\naof_rewrite_in_progress:0\naof_rewrite_scheduled:0\n\
     aof_last_rewrite_time_sec:-1\naof_current_rewrite_time_sec:-1\naof_last_bgrewrite_status:ok\n\
     aof_rewrites:0\naof_rewrites_consecutive_failures:0\naof_last_write_status:ok\naof_last_cow_size:0\n\
     module_fork_in_progress:0\nmodule_fork_last_cow_size:0\n";
