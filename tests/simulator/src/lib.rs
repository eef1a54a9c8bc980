//! The whole of a group under a virtual clock: the product's own loop, policy component, guard, executors,
//! links and driver, against servers that live in the model of Redis. A seed stands for a schedule of faults;
//! whatever it breaks, it breaks again.
//!
//! | module | owns |
//! |--|--|
//! | `schedule` | what a seed stands for |
//! | `watched`, `pods`, `hops` | schedules with Sentinels, on Kubernetes, behind hops |
//! | `network` | the network that an operator dials on |
//! | `operator` | an operator's process; the storage of records |
//! | `policies`, `hostile` | who decides; a policy that lies |
//! | `lies` | policies that trap, lie and idle |
//! | `checks` | what must hold |
//! | `run` | one run |
//! | `shrink` | a shorter schedule with the same breach |
//! | `report` | many runs as a table |
//! | `durability` | what becomes of acknowledged writes, by kind of fault |
//! | `guarded` | the same by policy, with and without the guard |
//! | `mutants` | the same with one rule, check or precondition left out |
//! | `mended` | schedules that once broke something, as files |

pub mod checks;
pub mod durability;
#[cfg(feature = "mutants")]
pub mod guarded;
pub mod hops;
pub mod hostile;
pub mod lies;
pub mod mended;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod operator;
pub mod pods;
pub mod policies;
pub mod report;
pub mod run;
pub mod schedule;
pub mod shrink;
pub mod watched;

pub use policies::embedded_policy;
pub use run::{Outcome, run};
pub use schedule::Schedule;

use redis_operator::policy::PolicyChain;
use report::Summary;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Runs a schedule on a runtime of its own, whose clock jumps from event to event.
pub fn simulate(schedule: &Schedule, policies: &Arc<PolicyChain>, is_told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing of the machine");
    runtime.block_on(run(schedule, policies, is_told))
}

/// Runs the schedules of these seeds on all processors, each with the policies that it gets.
pub fn many(
    seeds: Range<u64>,
    schedule: impl Fn(u64) -> Schedule + Sync,
    policies: impl Fn() -> Arc<PolicyChain> + Sync,
) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begin = Instant::now();
    let mut sum = std::thread::scope(|scope| {
        let part = |first: usize| {
            let (schedule, policies) = (&schedule, &policies);
            let seeds = seeds.clone().skip(first).step_by(threads);
            scope.spawn(move || {
                let mut part = Summary::default();
                for seed in seeds {
                    part.add(seed, simulate(&schedule(seed), &policies(), false));
                }
                part
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        let mut sum = Summary::default();
        for part in parts {
            sum.merge(part.join().expect("a run that panics is a fault"));
        }
        sum
    });
    sum.took = begin.elapsed();
    sum
}
