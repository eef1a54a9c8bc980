//! The guard's checks of a decision for a group that Sentinels watch, beyond those of replication: whether
//! two promote, what the Sentinels are told, and that enough of them stay able to act. Each file answers one
//! question; none repairs a plan. The votes themselves are counted where they are asked for.

mod appointed;
mod power;
pub(super) mod promoters;
pub(super) mod reading;
pub(super) mod told;
pub(super) mod upkeep;

pub(super) use appointed::appointed;
