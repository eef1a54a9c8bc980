//! A healthy group of any size with the INFO of real servers: Redis 7.0.15, about 1.9 KB per member. For
//! benchmarks and tests, and as an example of an Observation. Never used for a real decision.

use crate::contract::{Observation, same};
use redis_model::World;

/// An Observation of one master and `members - 1` replicas, all in sync. The master is `cart-0000`.
pub fn healthy_group(members: u16) -> Observation {
    let mut world = World::healthy(members.into());
    for (index, server) in world.servers.iter_mut().enumerate() {
        server.id = format!("cart-{index:04}");
        (server.offset, server.keys) = (OFFSET, 10_000);
        server.priority = 100 + index as u64 % 3;
    }
    if let Some(published) = &mut world.shard().published {
        (published.master, published.offset) = ("cart-0000".into(), OFFSET - 1_000_000);
    }
    world.shard().no_master_age_us = 0;
    same(&world.observe())
}

/// Nine digits, as of a server that has run for a while.
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
