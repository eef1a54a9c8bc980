//! State of all groups together: the census, which each group's self-doubt uses, and later the rollout gate.
//! Pure functions over counts; must not do I/O.

mod census;

pub use census::{Census, CensusEntry, Counts, GroupState};
