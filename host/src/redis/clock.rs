//! The present moment, on the clock of the runtime: the machine's monotonic clock in the product, and the
//! virtual clock of a simulation, which stands still while any task can run.

use std::time::{Duration, Instant};

/// The present moment.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago `then` was.
pub(super) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}
