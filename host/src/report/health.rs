//! Whether the loop runs, from the age of its newest report. Told by reporters, asked over HTTP; shared by the groups of a process.

use crate::group::{Moment, Report};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is known of the loop. All moments count from one start.
#[derive(Debug)]
pub struct Health {
    stale_us: u64,
    newest_us: AtomicU64,
    has_decided: AtomicBool,
    is_held: AtomicBool,
}

impl Health {
    /// Of a loop that starts now, at moment zero, and looks at least once in an interval.
    pub fn new(interval_us: u64) -> Self {
        let (newest_us, has_decided, is_held) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { stale_us: interval_us.saturating_mul(INTERVALS), newest_us, has_decided, is_held }
    }

    /// Takes in a sign of life.
    pub fn report(&self, now: Moment, report: &Report) {
        self.newest_us.fetch_max(now.0, Ordering::Relaxed);
        match report {
            Report::Decided(_) => {
                self.has_decided.store(true, Ordering::Relaxed);
                self.is_held.store(false, Ordering::Relaxed);
            }
            Report::Held => self.is_held.store(true, Ordering::Relaxed),
            Report::Link { .. } | Report::Fault { .. } | Report::Sent { .. } | Report::Withheld { .. } | Report::Finished { .. } => {}
        }
    }

    /// The loop runs: its newest report, or its start, is younger than ten intervals.
    ///
    /// # Errors
    /// One line that says otherwise.
    pub fn alive(&self, now: Moment) -> Result<(), String> {
        let age_us = Moment(self.newest_us.load(Ordering::Relaxed)).age_us(now);
        if age_us < self.stale_us { Ok(()) } else { Err(format!("the loop has said nothing for {} ms", age_us / 1000)) }
    }

    /// It runs, has decided, and its policies give usable answers.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn ready(&self, now: Moment) -> Result<(), String> {
        self.alive(now)?;
        if !self.has_decided.load(Ordering::Relaxed) {
            return Err("no decision has been made yet".into());
        }
        if self.is_held.load(Ordering::Relaxed) { Err("no policy gives a usable answer".into()) } else { Ok(()) }
    }
}

/// A look may take as long as a hung server's deadline; ten of them in a row do not.
const INTERVALS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::super::script::{decided, lost};
    use super::*;
    use crate::policy::contract::Verdict;

    #[test]
    fn the_loop_is_alive_while_its_newest_report_is_younger_than_ten_intervals() {
        let health = Health::new(100);
        assert_eq!(health.alive(Moment(999)), Ok(()));
        assert!(health.alive(Moment(1_000)).is_err());
        health.report(Moment(1_000), &lost("cart-0000"));
        assert_eq!(health.alive(Moment(1_999)), Ok(()));
        assert_eq!(health.alive(Moment(2_000_000)), Err("the loop has said nothing for 1999 ms".into()));
    }

    #[test]
    fn it_is_ready_once_it_has_decided_and_while_policies_answer() {
        let health = Health::new(1_000);
        health.report(Moment(1), &lost("cart-0000"));
        assert_eq!(health.ready(Moment(2)), Err("no decision has been made yet".into()));
        health.report(Moment(2), &decided(Verdict::Refuse, "nobody-eligible", "cart-0000", vec![]));
        assert_eq!(health.ready(Moment(3)), Ok(()));
        health.report(Moment(3), &Report::Held);
        assert_eq!(health.ready(Moment(4)), Err("no policy gives a usable answer".into()));
        assert!(health.ready(Moment(20_000)).is_err());
    }
}
