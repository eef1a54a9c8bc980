//! What the guard holds against a plan for one master and its replicas: the claim to the role, the candidate, the
//! data of the others. Each file has the checks of one question; none repairs a plan.

pub(super) mod candidate;
pub(super) mod evidence;
pub(super) mod follow;
pub(super) mod handover;
pub(super) mod masters;
pub(super) mod shape;
