//! The first schedules of the generator break nothing. `make simulate SEEDS=N FROM=K` runs others.

#![allow(missing_docs, clippy::print_stdout, reason = "a test")]

use simulator::policies::kept_embedded_policy;
use simulator::{Schedule, many};
use std::sync::Arc;

#[test]
fn no_schedule_breaks_an_invariant() {
    let policies = kept_embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..SEEDS, Schedule::of, || Arc::clone(&policies));
    println!("{sum}");
    assert!(sum.breaches.is_empty(), "simulate seed N BREACH shows how: {:?}", sum.breaches);
}

#[test]
fn policies_that_lie_break_no_invariant() {
    let policies = kept_embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..WITH_LIES, Schedule::with_lies, || Arc::clone(&policies));
    assert!(sum.breaches.is_empty(), "simulate seed N --lies BREACH shows how: {:?}", sum.breaches);
}

#[test]
fn with_sentinels_no_schedule_breaks_an_invariant() {
    let policies = kept_embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..WITH_SENTINELS, Schedule::with_sentinels, || Arc::clone(&policies));
    println!("{sum}");
    assert!(sum.breaches.is_empty(), "simulate seed N --sentinels BREACH shows how: {:?}", sum.breaches);
}

#[test]
fn on_kubernetes_no_schedule_breaks_an_invariant() {
    let policies = kept_embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..WITH_PODS, Schedule::with_pods, || Arc::clone(&policies));
    println!("{sum}");
    assert!(sum.breaches.is_empty(), "simulate seed N --pods BREACH shows how: {:?}", sum.breaches);
}

#[test]
fn behind_hops_no_schedule_breaks_an_invariant() {
    let policies = kept_embedded_policy().expect("this machine runs WebAssembly");
    let sum = many(0..BEHIND_HOPS, Schedule::with_hops, || Arc::clone(&policies));
    println!("{sum}");
    assert!(sum.breaches.is_empty(), "simulate seed N --hops BREACH shows how: {:?}", sum.breaches);
}

/// What two cores run in two minutes, unoptimised.
const SEEDS: u64 = 800;
const WITH_LIES: u64 = 150;
const WITH_SENTINELS: u64 = 100;
const WITH_PODS: u64 = 150;
const BEHIND_HOPS: u64 = 80;
