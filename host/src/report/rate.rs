//! A bound on how often something may happen: so many in a second, and a burst after a pause. The clock is an
//! argument.

use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    /// How far `due` may lie ahead of the clock.
    ahead_max: Duration,
    /// When the next one would be due if all came at the even pace. None: there was none.
    due: Option<Instant>,
}

impl RateLimit {
    /// At most `per_second` in the long run, and `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, ahead_max: interval * burst.max(1).saturating_sub(1), due: None }
    }

    /// Whether one more may happen now. It counts if it may.
    pub fn admits(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let may = due.duration_since(now) <= self.ahead_max;
        if may {
            self.due = Some(due + self.interval);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_an_even_pace() {
        let (mut limit, start) = (RateLimit::new(10, 3), Instant::now());
        let admitted = |limit: &mut RateLimit, at_ms: u64| {
            (0..20).filter(|_| limit.admits(start + Duration::from_millis(at_ms))).count()
        };
        assert_eq!(admitted(&mut limit, 0), 3);
        assert_eq!(admitted(&mut limit, 50), 0);
        assert_eq!(admitted(&mut limit, 100), 1, "one in 100 ms");
        assert_eq!(admitted(&mut limit, 10_000), 3, "a long pause gives no more than the burst");
    }
}
