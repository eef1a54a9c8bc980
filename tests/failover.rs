//! Failover on real servers: faults are real, acknowledged writes are counted, roles and data are read from
//! the servers themselves. Most run the operator in this process; `program` runs the built binary.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "failover/choice.rs"]
mod choice;
#[path = "failover/crash.rs"]
mod crash;
#[path = "failover/death.rs"]
mod death;
#[path = "failover/faults.rs"]
mod faults;
#[path = "failover/hops.rs"]
mod hops;
#[path = "failover/liars.rs"]
mod liars;
#[path = "failover/program.rs"]
mod program;
#[path = "failover/refusals.rs"]
mod refusals;
#[path = "failover/restart.rs"]
mod restart;
#[path = "failover/silence.rs"]
mod silence;
