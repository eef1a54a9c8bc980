//! Until when the actions of this process may be in progress, and how many are. Must not decide anything.
//!
//! Authority is a moment, not a flag. A flag that a timer clears is late on a busy machine, and a machine
//! that slept clears it after its first action. So each action is compared with the moment, by its longest
//! time, at its sending ([`Authority::begin`]), on a clock that goes on while the machine is suspended
//! (`CLOCK_BOOTTIME`).
//!
//! A stop is the end of authority, too: nothing new begins, and what is in progress gets its time
//! ([`Authority::end`]).

use failover_core::mutant;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The authority of one process. Clones are the same authority.
#[derive(Clone, Debug)]
pub struct Authority {
    until_us: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    in_progress: Arc<watch::Sender<usize>>,
    clock: fn() -> u64,
}

impl Authority {
    /// Without an end: no other process acts on the same servers.
    pub fn endless() -> Self {
        Self::until(u64::MAX, boot_time_us)
    }

    /// None yet: it is granted for a while, again and again.
    pub fn of_a_lease() -> Self {
        Self::until(0, boot_time_us)
    }

    /// Of a lease, on another clock in microseconds: that of a simulation.
    pub fn on_clock(clock: fn() -> u64) -> Self {
        Self::until(0, clock)
    }

    fn until(until_us: u64, clock: fn() -> u64) -> Self {
        let (is_over, in_progress) = (Arc::default(), Arc::new(watch::Sender::new(0)));
        Self { until_us: Arc::new(until_us.into()), is_over, in_progress, clock }
    }

    /// The present moment in microseconds, on the clock of [`Self::grant`].
    pub fn now_us(&self) -> u64 {
        (self.clock)()
    }

    /// Lasts until this moment from now on, whatever was granted before, unless it has come to its end.
    pub fn grant(&self, until_us: u64) {
        self.until_us.store(until_us, Ordering::SeqCst);
    }

    /// How long it lasts.
    pub fn left(&self) -> Duration {
        let until_us =
            if self.is_over.load(Ordering::SeqCst) { 0 } else { self.until_us.load(Ordering::SeqCst) };
        Duration::from_micros(until_us.saturating_sub(self.now_us()))
    }

    /// Begins an action that takes `longest` at most. None: it could outlive the authority. Call it at the
    /// sending, with nothing in between.
    pub fn begin(&self, longest: Duration) -> Option<InProgress> {
        // Counted first: whoever ends the authority sees the action, or the action sees the end.
        self.in_progress.send_modify(|count| *count += 1);
        let begun = InProgress(Arc::clone(&self.in_progress));
        (self.left() >= longest || mutant::is_left_out("act", "authority")).then_some(begun)
    }

    /// Ends it for good: no action begins any more. Returns when none is in progress, or after `patience`.
    /// False: some are.
    pub async fn end(&self, patience: Duration) -> bool {
        self.is_over.store(true, Ordering::SeqCst);
        let mut in_progress = self.in_progress.subscribe();
        tokio::time::timeout(patience, in_progress.wait_for(|count| *count == 0)).await.is_ok()
    }
}

/// An action in progress, until dropped.
#[derive(Debug)]
pub struct InProgress(Arc<watch::Sender<usize>>);

impl InProgress {
    /// A part of the same action that goes on by itself.
    pub fn part(&self) -> Self {
        self.0.send_modify(|count| *count += 1);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Microseconds since the machine's start, suspended time included.
fn boot_time_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000 + nanoseconds.unwrap_or(0) / 1000
}

/// No action takes longer than this, so a stop waits for no longer.
pub const ACTION_MAX: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_action_that_may_outlive_the_authority_does_not_begin() {
        let authority = Authority::on_clock(|| 7_000_000);
        assert!(authority.begin(Duration::from_micros(1)).is_none());
        authority.grant(8_000_000);
        assert_eq!(authority.left(), SECOND);
        assert!(authority.begin(SECOND).is_some());
        assert!(authority.begin(SECOND + Duration::from_micros(1)).is_none());
        authority.grant(6_000_000);
        assert_eq!(authority.left(), Duration::ZERO);
    }

    #[test]
    fn the_clock_counts_suspended_time() {
        let (boot, monotonic) = (boot_time_us(), clock_gettime(ClockId::Monotonic));
        assert!(boot / 1_000_000 >= u64::try_from(monotonic.tv_sec).unwrap());
        assert!(Authority::endless().begin(Duration::from_secs(1 << 40)).is_some());
    }

    #[tokio::test]
    async fn its_end_waits_for_what_is_in_progress_and_lets_nothing_begin() {
        let authority = Authority::endless();
        let begun = authority.begin(SECOND).unwrap();
        assert!(!authority.end(Duration::from_millis(1)).await);
        assert!(authority.begin(Duration::from_micros(1)).is_none());
        authority.grant(u64::MAX);
        assert_eq!(authority.left(), Duration::ZERO);
        let (ended, ()) = tokio::join!(authority.end(SECOND), async { drop(begun) });
        assert!(ended);
    }
}
