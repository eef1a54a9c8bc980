//! The controller: a library and the one binary, `redis-operator`.

pub mod cli;
pub mod group;
pub mod guard;
pub mod local;
pub mod policy;
pub mod redis;
