//! Schedules that once broke an invariant, by what they broke. A seed stands for the schedule that the
//! present generator makes of it: where that changes, `simulate` finds others.

#![allow(missing_docs, reason = "a test")]

use simulator::{Schedule, embedded_policy, simulate};

/// Seeds, and what each of them broke before it was mended.
const MENDED: &[(u64, &str)] = &[
    (22, "three masters after a power cut, each with data of its own"),
    (43, "a copy from an older file took over before the others were back"),
    (76, "all data was lost at once, and no loss was reported"),
    (163, "an empty server became master beside the recorded one, and no loss was reported"),
    (174, "a newer copy was dropped for an older one after a restart of all"),
    (347, "a snapshot that lacked writes took over, with no known loss"),
    (377, "a switchover without a ready replica was waited for without an end"),
    (549, "the first that was back took over, and two replicated writes were lost in silence"),
    (571, "replicas copied a master that had restarted empty"),
    (700, "a snapshot from before the first write took over, with no known loss"),
    (807, "a copy with more acknowledged writes was passed over"),
    (1013, "an empty heir was the only one left, and no loss was reported"),
    (1264, "replicas of priority 0 copied a master that had restarted empty"),
    (1285, "where all data was gone, an empty heir of priority 0 stopped the group for ever"),
];

#[test]
fn a_seed_that_found_a_fault_breaks_nothing_any_more() {
    let policies = embedded_policy().expect("this machine runs WebAssembly");
    for (seed, what) in MENDED {
        let outcome = simulate(&Schedule::of(*seed), &policies, false);
        assert!(outcome.breaches.is_empty(), "seed {seed} ({what}): {:?}", outcome.breaches);
    }
}

#[test]
fn policies_that_lie_break_no_invariant() {
    let policies = embedded_policy().expect("this machine runs WebAssembly");
    for seed in 0..150 {
        let outcome = simulate(&Schedule::with_lies(seed), &policies, false);
        assert!(outcome.breaches.is_empty(), "lies seed {seed}: {:?}", outcome.breaches);
    }
}
