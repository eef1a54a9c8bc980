//! Reply text to typed facts. The only place that says slave.
//!
//! Everything here is total: any text is legal input, a row that cannot be read is as good as missing, and
//! what is missing is `None`, never zero. Nothing here judges; the host's guard reads the same facts and
//! judges for itself.

mod client;
mod config;
mod functions;
mod history;
mod info;
mod keyspace;
mod replication;
mod resp;
mod sentinel;
mod server;

pub use client::{ClientFacts, is_direct};
pub use config::{config_pairs, heartbeat_s, is_more_than_heartbeats};
pub use functions::libraries;
pub use history::{History, Relation};
pub use info::info_fields;
pub use keyspace::keys;
pub use replication::{AttachedReplica, Place, ReplicationFacts, ReportedRole};
pub use sentinel::{
    INFO_SENTINEL, SENTINEL_MASTERS, SENTINEL_MYID, SENTINEL_PEERS, SENTINEL_REPLICAS, SentinelFacts, Watched,
};
pub use server::{PersistenceFacts, ServerFacts};

/// The part of a reply that can be read: all of it, or of one that was cut only its whole rows, because half
/// a number is another number.
pub fn whole_rows(text: &str, truncated: bool) -> &str {
    if truncated { text.rsplit_once('\n').map_or("", |(rows, _)| rows) } else { text }
}

/// The commands whose replies every observation brings, sorted as in the observation.
pub const INFO_KEYSPACE: &str = "INFO keyspace";
/// See [`INFO_KEYSPACE`].
pub const INFO_PERSISTENCE: &str = "INFO persistence";
/// See [`INFO_KEYSPACE`].
pub const INFO_REPLICATION: &str = "INFO replication";
/// See [`INFO_KEYSPACE`].
pub const INFO_SERVER: &str = "INFO server";

/// A wanted command: the two ends of the host's own connection.
pub const CLIENT_INFO: &str = "CLIENT INFO";
/// A wanted command: the heartbeat of a master's links.
pub const HEARTBEAT: &str = "CONFIG GET repl-ping-replica-period";
/// A wanted command: the libraries of functions, which are data as keys are. Without their code.
pub const FUNCTION_LIST: &str = "FUNCTION LIST";
/// `repl-ping-replica-period` of a server that sets none (`config.c`, Redis 5 to 8 and Valkey).
pub const HEARTBEAT_DEFAULT_S: u64 = 10;

#[cfg(test)]
mod tests {
    use super::whole_rows;

    #[test]
    fn of_a_cut_reply_only_whole_rows_are_read() {
        assert_eq!(whole_rows("a:1\r\nb:22\r\nc:3", true), "a:1\r\nb:22\r");
        assert_eq!(whole_rows("a:1\r\nb:2", false), "a:1\r\nb:2");
        assert_eq!(whole_rows("a:1", true), "");
    }
}
