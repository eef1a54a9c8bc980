//! The first schedules of the generator break nothing. `make simulate SEEDS=N FROM=K` runs others.

#![allow(missing_docs, clippy::print_stdout, reason = "a test")]

use simulator::{embedded_policy, many};

#[test]
fn no_schedule_breaks_an_invariant() {
    let policies = embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..SEEDS, false, &policies);
    println!("{sum}");
    assert!(sum.breaches.is_empty(), "simulate seed N BREACH shows how: {:?}", sum.breaches);
}

/// What two cores run in two minutes, unoptimised.
const SEEDS: u64 = 2_000;
