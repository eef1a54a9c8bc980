//! The reconciler's own requests to move the master: before a rollout replaces its Pod, and before a
//! scale-down removes it. Keeps when the last one was sent, so that a refused one is repeated at leisure.

use crate::driver::GroupHandle;
use std::time::{Duration, Instant};

/// When a handover was requested last. None: not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandoverRequest(Option<Instant>);

impl HandoverRequest {
    /// Whether another request may be sent. A group may refuse one for good reasons that pass.
    pub fn is_due(self, now: Instant) -> bool {
        self.0.is_none_or(|at| now.saturating_duration_since(at) >= REPEAT_AFTER)
    }

    /// Requests it from the group; the next snapshots show what came of it. Without a group nothing is sent.
    pub fn send(&mut self, group: Option<&GroupHandle>, target: Option<String>, now: Instant) {
        if let Some(group) = group {
            group.switch_over(target);
            self.0 = Some(now);
        }
    }
}

/// Longer than a handover takes under load, and short enough for a person that watches a rollout.
const REPEAT_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
impl HandoverRequest {
    /// As if one had been sent then.
    pub fn sent_at(at: Instant) -> Self {
        Self(Some(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_after_three_seconds() {
        let now = Instant::now();
        assert!(HandoverRequest::default().is_due(now));
        let sent = HandoverRequest::sent_at(now);
        assert!(!sent.is_due(now + Duration::from_millis(2999)));
        assert!(sent.is_due(now + Duration::from_secs(3)));
    }
}
