//! Each schedule in `mended/` broke an invariant once, and breaks none any more.

#![allow(missing_docs, reason = "a test")]

use simulator::mended::Mended;
use simulator::{embedded_policy, simulate};

#[test]
fn a_schedule_that_found_a_fault_breaks_nothing_any_more() {
    let policies = embedded_policy().expect("this machine runs WebAssembly");
    let files = Mended::files().expect("the folder is part of the repository");
    assert!(!files.is_empty());
    for file in files {
        let Mended { broke, schedule } = Mended::read(&file).expect("a schedule");
        let outcome = simulate(&schedule, &policies, false);
        let breaches = outcome.breaches;
        assert!(breaches.is_empty(), "{} ({broke}): {breaches:?}", file.display());
    }
}
