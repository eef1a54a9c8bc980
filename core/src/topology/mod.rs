//! One module a topology: an ordered table of rules.

pub mod replication;
