//! How much of the groups' time one foreign policy may take. All groups of a thread wait while one of them
//! is decided on, so a policy that needs nearly all of the time that a call may take, for many groups,
//! would hold up the groups of every other policy. Pure: time is an argument.
//!
//! The budget is a bucket: it fills at [`SHARE_PERCENT`] of the time that passes, up to [`FULL`], and each
//! call takes out what it took. While it is empty the policy is passed over, which is no fault. In any period
//! t, all calls together take at most FULL + t · share, and one call more.

use std::time::{Duration, Instant};

/// The budget of one policy.
#[derive(Debug)]
pub(super) struct Budget {
    /// Below zero after a call that took more than was left.
    left_us: i64,
    at: Instant,
}

impl Budget {
    pub fn new(now: Instant) -> Self {
        Self { left_us: micros(FULL), at: now }
    }

    /// Whether the policy may be asked.
    pub fn is_left(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let filled = micros(passed).saturating_mul(SHARE_PERCENT) / 100;
        self.left_us = self.left_us.saturating_add(filled).min(micros(FULL));
        self.left_us > 0
    }

    /// A call took so long.
    pub fn spend(&mut self, took: Duration) {
        self.left_us = self.left_us.saturating_sub(micros(took));
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Of the time of the groups' thread. A Rust policy takes 0.1 ms a decision, so a thousand groups in failover
/// at once, with three decisions each, are within it in three seconds.
const SHARE_PERCENT: i64 = 10;
/// Two calls that take all the time that a call may take; a failover in an interpreter of 10 ms a decision.
const FULL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_no_more_than_their_share_in_the_long_run() {
        let start = Instant::now();
        let (mut budget, mut now, mut taken) = (Budget::new(start), start, Duration::ZERO);
        let call = Duration::from_millis(45);
        while now < start + Duration::from_secs(60) {
            if budget.is_left(now) {
                budget.spend(call);
                (taken, now) = (taken + call, now + call);
            }
            now += Duration::from_millis(1);
        }
        let bound = FULL + Duration::from_secs(6) + call;
        assert!(taken <= bound && taken > Duration::from_secs(5), "{taken:?}");
    }

    #[test]
    fn a_quick_policy_never_notices() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for number in 0..10_000 {
            let now = start + Duration::from_millis(2 * number);
            assert!(budget.is_left(now), "{number}");
            budget.spend(Duration::from_micros(100));
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_fills_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut budget = Budget::new(start);
        budget.spend(FULL);
        assert!(!budget.is_left(start) && !budget.is_left(start - Duration::from_secs(5)));
        assert!(!budget.is_left(start));
        assert!(budget.is_left(start + Duration::from_millis(1)));
    }
}
