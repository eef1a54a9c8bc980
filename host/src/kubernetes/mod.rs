//! Kubernetes: the resources, the objects that they ask for, what is watched, and how a group's truth is made
//! known there. Never chooses.

pub mod apply;
pub mod crd;
pub mod error;
pub mod events;
pub mod lease;
pub mod listed;
pub mod nodes;
pub mod objects;
pub mod pods;
pub mod policies;
pub mod settings;
pub mod status;
pub mod watch;
