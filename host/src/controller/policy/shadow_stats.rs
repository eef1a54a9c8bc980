//! How a policy answered beside the one that decides, counted, and shown no more often than somebody would
//! look.

use crate::kubernetes::crd::ShadowStatus;
use crate::report::ShadowOutcome;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The counts of one policy, or of one group.
pub struct ShadowStats(Mutex<State>);

struct State {
    now: ShadowStatus,
    shown: Option<(ShadowStatus, Instant)>,
}

impl ShadowStats {
    /// Of nothing yet. `policy` is who is asked.
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

    /// What to show. What is shown stays a while, unless something is counted for the first time. None:
    /// nothing was counted.
    pub fn shown(&self) -> Option<ShadowStatus> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |status: &ShadowStatus| [status.agreed, status.differed, status.faults, status.dropped];
        let now = of(&state.now);
        let is_first = match &state.shown {
            None => now.iter().any(|count| *count > 0),
            Some((shown, since)) => {
                since.elapsed() >= SHOWN_FOR
                    || now.iter().zip(of(shown)).any(|(now, shown)| *now > 0 && shown == 0)
            }
        };
        if is_first {
            state.shown = Some((state.now.clone(), Instant::now()));
        }
        state.shown.as_ref().map(|(shown, _)| shown.clone())
    }

    fn change(&self, change: impl FnOnce(&mut ShadowStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).now);
    }
}

/// A status that changes is a write to the API server each time.
const SHOWN_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_shown_at_once_and_repeats_later() {
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
