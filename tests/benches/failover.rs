//! Failover beside Redis Sentinel and beside the fastest that can be done at all: the same servers, fault and
//! client, in one run. `cargo bench -p tests` prints it; `-- --quick` makes few runs, `-- --runs N` so many,
//! `-- kill stop` only those parts.
//!
//! Everything is measured by one client (`tests::real::Writers`), on one clock: from right before the signal
//! to the first acknowledged write on another server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark: a failure ends it where it happens"
)]

#[path = "failover/fleet.rs"]
mod fleet;
#[path = "failover/footprint.rs"]
mod footprint;
#[path = "failover/hang.rs"]
mod hang;
#[path = "failover/kill.rs"]
mod kill;
#[path = "failover/peers.rs"]
mod peers;
#[path = "failover/planned.rs"]
mod planned;
#[path = "failover/sample.rs"]
mod sample;

use std::process::Command;
use tests::real::build_program;

/// What is asked for on the command line.
pub struct Plan {
    /// Of each measurement.
    runs: usize,
    /// Sentinel takes over a second each time.
    sentinel_runs: usize,
    parts: Vec<String>,
}

impl Plan {
    fn parse(words: impl Iterator<Item = String>) -> Self {
        let words: Vec<String> = words.filter(|word| word != "--bench").collect();
        let runs =
            words.iter().position(|word| word == "--runs").and_then(|at| words.get(at + 1)?.parse().ok());
        let runs = runs.unwrap_or(if words.iter().any(|word| word == "--quick") { 3 } else { 20 });
        let parts = words.into_iter().filter(|word| PARTS.contains(&word.as_str())).collect();
        Self { runs, sentinel_runs: runs.div_ceil(2), parts }
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// The last is another program's.
const PARTS: [&str; 7] = ["kill", "stop", "planned", "decisions", "footprint", "fleet", "cluster"];

/// One thread: the servers die with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let plan = Plan::parse(std::env::args().skip(1));
    println!(
        "operator: {}, load {}",
        build_program().display(),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    if plan.has("kill") {
        kill::run(&plan).await;
    }
    if plan.has("stop") {
        hang::run(&plan).await;
    }
    if plan.has("planned") {
        planned::run(&plan).await;
    }
    if plan.has("decisions") {
        println!("\n== decisions, by members: target 50 us fresh p50 at 3, 5 ms at 500");
        // The very code that users run.
        assert!(Command::new(build_program()).args(["policy", "bench"]).status().unwrap().success());
    }
    if plan.has("footprint") {
        footprint::run().await;
    }
    if plan.has("fleet") {
        fleet::run();
    }
}
