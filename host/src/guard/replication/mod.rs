//! The guard's checks of a plan for one master and its replicas: the claims to the role, the candidate, the
//! data of the other members. Each file answers one question; none repairs a plan.

pub(super) mod candidate;
pub(super) mod demotion;
pub(super) mod evidence;
pub(super) mod follow;
pub(super) mod handover;
pub(super) mod masters;
pub(super) mod restart;
pub(super) mod shape;
