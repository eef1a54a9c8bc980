//! Redis instances in a replication group: the standard commands, and the fingerprint of their replies. Must
//! not judge.

use failover_core::facts::{
    CLIENT_INFO, ClientFacts, INFO_KEYSPACE, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER,
    PersistenceFacts, ReplicationFacts, ServerFacts, keys,
};
use std::hash::Hash;

/// In the order in which they are sent: the one that a failover needs most comes first.
pub(super) const COMMANDS: [&str; 4] = [INFO_REPLICATION, INFO_SERVER, INFO_PERSISTENCE, INFO_KEYSPACE];

/// Hashes what a decision may turn on, and returns the replication offset. Outer None: not one of
/// [`COMMANDS`].
pub(super) fn read(command: &str, text: &str, hasher: &mut impl std::hash::Hasher) -> Option<Option<u64>> {
    match command {
        INFO_REPLICATION => {
            let facts = ReplicationFacts::parse(text);
            let ReplicationFacts { role, link_up, is_syncing, priority, is_announced, in_failover, .. } =
                facts;
            (role as u8, link_up, is_syncing, priority, is_announced, in_failover).hash(hasher);
            facts.master.map(|place| place.to_string()).hash(hasher);
            facts.history.map(|history| (history.replid, history.former)).hash(hasher);
            for row in facts.attached {
                (row.place.to_string(), row.online).hash(hasher);
            }
            return Some(facts.history.map(|history| history.offset));
        }
        INFO_SERVER => ServerFacts::parse(text).run_id.hash(hasher),
        INFO_PERSISTENCE => {
            let PersistenceFacts {
                loading,
                aof_enabled,
                keys_loaded,
                has_read_aof,
                is_rdb_saved,
                is_aof_written,
            } = PersistenceFacts::parse(text);
            (loading, aof_enabled, keys_loaded, has_read_aof, is_rdb_saved, is_aof_written).hash(hasher);
        }
        INFO_KEYSPACE => keys(text).map(|keys| keys == 0).hash(hasher),
        // The rest of it counts the connection's seconds and bytes.
        CLIENT_INFO => {
            let ClientFacts { from, at } = ClientFacts::parse(text);
            (from.map(|place| place.host()), at.map(|place| place.to_string())).hash(hasher);
        }
        _ => return None,
    }
    Some(None)
}
