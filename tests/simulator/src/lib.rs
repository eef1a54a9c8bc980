//! The whole of a group under a virtual clock: the product's own loop, policy component, guard, executors,
//! links and driver, against servers that live in the model of Redis. A seed stands for a schedule of faults;
//! whatever it breaks, it breaks again.
//!
//! | module | owns |
//! |--|--|
//! | `schedule` | what a seed stands for |
//! | `network` | the network that an operator dials on |
//! | `operator` | an operator's process; the storage of records |
//! | `lies` | policies that trap, lie and idle |
//! | `checks` | what must hold |
//! | `run` | one run |
//! | `shrink` | a shorter schedule with the same breach |
//! | `report` | many runs as a table |

pub mod checks;
pub mod lies;
pub mod network;
pub mod operator;
pub mod report;
pub mod run;
pub mod schedule;
pub mod shrink;

pub use run::{Outcome, run};
pub use schedule::Schedule;

use redis_operator::policy::{PolicyChain, Sandbox, embedded};
use std::sync::Arc;

/// The embedded policy, as the product asks it.
///
/// # Errors
/// A machine that runs no WebAssembly.
pub fn embedded_policy() -> anyhow::Result<Arc<PolicyChain>> {
    let sandbox = Arc::new(Sandbox::new(None)?);
    Ok(Arc::new(PolicyChain::new(Arc::new(embedded(&sandbox)?))))
}

/// Runs a schedule on a runtime of its own, whose clock jumps from event to event.
pub fn simulate(schedule: &Schedule, policies: &Arc<PolicyChain>, is_told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing of the machine");
    runtime.block_on(run(schedule, policies, is_told))
}
