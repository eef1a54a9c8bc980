//! The proof before a policy goes live: short enough to be waited for, and over at the first failure. Not the
//! conformance check that its author runs, which looks at more and says all that is wrong.

use super::{Trial, check_while, embedded_scenarios};
use crate::policy::Policy;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Whether a policy may decide: it answers every embedded scenario and some seeded observations, the same
/// twice and in any order, and never in breach of the guard. What it decides within these bounds is its own
/// affair.
///
/// # Errors
/// The first failure in one line: which claim, where, and how.
pub fn prove(policy: &impl Policy) -> Result<(), String> {
    let scenarios = embedded_scenarios().map_err(|error| error.to_string())?;
    let trial = Trial { scenarios: &scenarios, random: RANDOM, seed: SEED, strict: false };
    let begun = Instant::now();
    let report = check_while(policy, &trial, &mut |report| match report.first_failure() {
        None if begun.elapsed() < PROOF_MAX => ControlFlow::Continue(()),
        None | Some(_) => ControlFlow::Break(()),
    });
    match report.first_failure() {
        Some((claim, failure)) => Err(format!("{claim}, at {}: {}", failure.at, failure.text)),
        None if report.is_complete => Ok(()),
        None => Err(format!(
            "it is too slow: {} s were not enough for {} observations",
            PROOF_MAX.as_secs(),
            scenarios.len() + RANDOM as usize
        )),
    }
}

/// With these and the scenarios a Rust policy is proven within a second, and one in an interpreter within
/// ten.
const RANDOM: u32 = 200;
/// Always the same, so that a policy that was proven once is proven everywhere.
const SEED: u64 = 1;
/// For a policy that answers, but with nearly all the fuel that it may have. It must not keep the operator
/// from starting.
const PROOF_MAX: Duration = Duration::from_secs(60);
