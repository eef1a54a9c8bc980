//! The controller: a library and the one binary, `redis-operator`.

pub mod local;
pub mod policy;
pub mod redis;
