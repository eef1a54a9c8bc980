//! The controller: a library and the one binary, `redis-operator`.

pub mod cli;
pub mod policy;
