//! Counts the answers of a shadow, and limits how often the counts in a status change. Must not write a
//! status.

use crate::kubernetes::crd::ShadowStatus;
use crate::report::ShadowOutcome;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shadow counts of one policy, or of one group.
pub struct ShadowStats(Mutex<State>);

struct State {
    now: ShadowStatus,
    shown: Option<(ShadowStatus, Instant)>,
}

impl ShadowStats {
    /// All counts 0. `policy`: the name of the shadow's FailoverPolicy.
    pub fn new(policy: String) -> Self {
        Self(Mutex::new(State { now: ShadowStatus { policy, ..ShadowStatus::default() }, shown: None }))
    }

    /// Counts one answer.
    pub fn count(&self, outcome: &ShadowOutcome) {
        self.change(|counts| match outcome {
            ShadowOutcome::Agreed => counts.agreed += 1,
            ShadowOutcome::Differed(how) => {
                counts.differed += 1;
                counts.last_difference = Some(how.clone());
            }
            ShadowOutcome::Fault => counts.faults += 1,
            ShadowOutcome::Dropped => counts.dropped += 1,
        });
    }

    /// The counts for the status. They are refreshed after [`SHOWN_FOR`], or as soon as a count rises above
    /// 0. None: all counts are 0.
    pub fn shown(&self) -> Option<ShadowStatus> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |status: &ShadowStatus| [status.agreed, status.differed, status.faults, status.dropped];
        let now = of(&state.now);
        let is_due = match &state.shown {
            None => now.iter().any(|count| *count > 0),
            Some((shown, since)) => {
                since.elapsed() >= SHOWN_FOR
                    || now.iter().zip(of(shown)).any(|(now, shown)| *now > 0 && shown == 0)
            }
        };
        if is_due {
            state.shown = Some((state.now.clone(), Instant::now()));
        }
        state.shown.as_ref().map(|(shown, _)| shown.clone())
    }

    fn change(&self, change: impl FnOnce(&mut ShadowStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).now);
    }
}

/// Every change of a status costs one write to the API server.
const SHOWN_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_shown_at_once_and_later_counts_after_a_while() {
        let shadow_stats = ShadowStats::new("mine".into());
        assert_eq!(shadow_stats.shown(), None);
        shadow_stats.count(&ShadowOutcome::Agreed);
        assert_eq!(shadow_stats.shown().unwrap().agreed, 1);
        shadow_stats.count(&ShadowOutcome::Agreed);
        assert_eq!(shadow_stats.shown().unwrap().agreed, 1);
        shadow_stats.count(&ShadowOutcome::Differed("so".into()));
        let shown = shadow_stats.shown().unwrap();
        assert_eq!((shown.agreed, shown.differed, shown.last_difference.as_deref()), (2, 1, Some("so")));
    }
}
