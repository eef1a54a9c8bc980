//! Reply text to typed facts. The only place that says slave.
//!
//! Everything here is total: any text is legal input, a row that cannot be read is as good as missing, and what is missing is
//! `None`, never zero. Nothing here judges; the host's guard reads the same facts and judges for itself.

mod config;
mod history;
mod info;
mod keyspace;
mod replication;
mod server;

pub use config::config_pairs;
pub use history::{History, Relation};
pub use info::info_fields;
pub use keyspace::keys;
pub use replication::{AttachedReplica, Place, ReplicationFacts, Speaks};
pub use server::{PersistenceFacts, ServerFacts};

/// The commands whose replies every observation brings, sorted as in the observation.
pub const INFO_KEYSPACE: &str = "INFO keyspace";
/// See [`INFO_KEYSPACE`].
pub const INFO_PERSISTENCE: &str = "INFO persistence";
/// See [`INFO_KEYSPACE`].
pub const INFO_REPLICATION: &str = "INFO replication";
/// See [`INFO_KEYSPACE`].
pub const INFO_SERVER: &str = "INFO server";
