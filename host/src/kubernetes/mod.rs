//! Kubernetes: the resources, the objects that they need, the watches, and the status of a group. Never
//! chooses.

pub mod access;
pub mod apply;
pub mod crd;
pub mod error;
pub mod events;
pub mod kinds;
pub mod lease;
pub mod listed;
pub mod nodes;
pub mod objects;
pub mod others;
pub mod outside;
pub mod ownership;
pub mod pods;
pub mod policies;
pub mod quantity;
pub mod record;
pub mod scope;
pub mod status;
pub mod watch;
