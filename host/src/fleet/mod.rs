//! What sees all groups at once: the census that each group's self-doubt, and later the rollout gate, rests on. Pure
//! planners over counts; must not speak with Redis or Kubernetes.

mod census;

pub use census::{Census, CensusEntry, Counts, GroupState};
