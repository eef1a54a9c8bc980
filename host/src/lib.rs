//! The controller: a library and the one binary, `redis-operator`.

pub mod guard;
pub mod policy;
