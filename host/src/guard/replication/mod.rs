//! The guard's checks of a decision for one master and its replicas: the claims to the role, the candidate,
//! the data of the other members, what is stated. Each file answers one question; none repairs a plan.

pub(super) mod candidate;
pub(super) mod demotion;
pub(super) mod emptied;
pub(super) mod evidence;
pub(super) mod follow;
pub(super) mod handover;
pub(super) mod loss;
pub(super) mod masters;
pub(super) mod restart;
pub(super) mod shape;
pub(super) mod statement;
pub(super) mod values;
