//! The proof before a policy goes live: short enough to be waited for, and over at the first failure. Not the
//! conformance check that its author runs, which looks at more and says all that is wrong.

use super::{Trial, check_while, embedded_scenarios};
use crate::policy::Policy;
use rustix::time::{ClockId, clock_gettime};
use std::ops::ControlFlow;
use std::time::Duration;

/// Whether a policy may decide: it answers every embedded scenario and some seeded observations, the same
/// twice and in any order, and never in breach of the guard. What it decides within these bounds is its own
/// affair.
///
/// Its time is CPU time, of this thread and of wherever the policy runs: a busy machine makes a proof longer,
/// and no policy worse.
///
/// # Errors
/// The first failure in one line: which claim, where, and how.
pub fn prove(policy: &dyn Policy) -> Result<(), String> {
    let scenarios = embedded_scenarios().map_err(|error| error.to_string())?;
    let trial = Trial { scenarios: &scenarios, random: RANDOM, seed: SEED, strict: false };
    let cpu = || thread_cpu() + policy.cpu();
    let begun = cpu();
    let report = check_while(policy, &trial, &mut |report| match report.first_failure() {
        None if cpu().saturating_sub(begun) < PROOF_CPU_MAX => ControlFlow::Continue(()),
        None | Some(_) => ControlFlow::Break(()),
    });
    match report.first_failure() {
        Some((claim, failure)) => Err(format!("{claim}, at {}: {}", failure.at, failure.text)),
        None if report.is_complete => Ok(()),
        None => Err(format!(
            "it is too slow: {} s of CPU time were not enough for {} observations",
            PROOF_CPU_MAX.as_secs(),
            scenarios.len() + RANDOM as usize
        )),
    }
}

/// The CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// With these and the scenarios a Rust policy is proven within a second, and one in an interpreter within
/// ten.
const RANDOM: u32 = 200;
/// Always the same, so that a policy that was proven once is proven everywhere.
const SEED: u64 = 1;
/// For a policy that answers, but with nearly all the time that it may have. It must not keep the operator
/// from starting.
const PROOF_CPU_MAX: Duration = Duration::from_secs(30);
