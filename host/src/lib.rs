//! The controller: a library and the one binary, `redis-operator`.

pub mod authority;
pub mod cli;
pub mod conformance;
pub mod contract;
pub mod controller;
pub mod driver;
pub mod face;
pub mod fleet;
pub mod group;
pub mod guard;
pub mod kubernetes;
pub mod local;
pub mod policy;
pub mod redis;
pub mod registry;
pub mod report;
pub mod topology;
