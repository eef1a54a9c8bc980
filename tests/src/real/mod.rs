//! Real groups: redis-server processes on loopback, clients that count what was acknowledged to them, and the
//! operator. For tests and benchmarks; asserts nothing about failover itself.

#![allow(
    clippy::unwrap_used,
    reason = "the steps that tests share: a failure here is a failed test, at the line that says so"
)]

mod operator;
mod program;
mod sentinels;
mod servers;
mod versions;
mod wire;
mod writers;

pub use operator::{Operator, Terms, access_of, sandbox};
pub use program::{Ended, Program, build_program};
pub use sentinels::{Encrypted, Heard, MASTER_NAME, Sentinels, Watching};
pub use servers::{AS_MASTER, Facts, Servers};
pub use versions::versions;
pub use wire::Wire;
pub use writers::{Acknowledged, Writers};

use std::time::{Duration, Instant};

/// Longer than anything here takes, even on a busy machine; nothing waits for it to pass.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks until `ask` gives something, and returns that.
///
/// # Panics
/// At [`SOON`], with what was waited for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        // The pace of asking, not a wait for time to pass.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
