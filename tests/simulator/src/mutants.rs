//! The same with one rule of the engine, check of the guard or precondition of an executor left out: what
//! notices? A mutant is killed by a scenario that is decided otherwise, by a schedule that breaks an
//! invariant and breaks none without the mutant, or by a test that fails: a counterexample of the guard, a
//! script of a group's loop, a real server.

use crate::policies::native_engine;
use crate::run::names;
use crate::{Schedule, simulate};
use anyhow::Result;
use failover_core::mutant::{PRECONDITIONS, leave_out};
use redis_model::scenario::{Scenario, read_directory};
use redis_operator::guard::Rule;
use std::env::var_os;
use std::fmt::{Display, Formatter};
use std::path::Path;
use std::process::Command;

/// All mutants, by name.
pub fn all() -> Vec<String> {
    let rules = failover_core::rules().map(|rule| format!("rule:{rule}"));
    let checks = Rule::ALL.iter().map(|rule| format!("guard:{}", rule.name()));
    let preconditions = PRECONDITIONS.iter().map(|name| format!("act:{name}"));
    rules.chain(checks).chain(preconditions).collect()
}

/// What notices a mutant.
#[derive(Debug)]
pub struct Fate {
    /// The mutant.
    pub mutant: String,
    /// Scenarios that are decided otherwise.
    pub scenarios: Vec<String>,
    /// The first schedule that breaks an invariant, the policy that it was run with, and the invariants.
    pub schedule: Option<(u64, &'static str, Vec<&'static str>)>,
    /// The first test that fails.
    pub test: Option<String>,
}

impl Fate {
    /// Something notices it.
    pub fn is_killed(&self) -> bool {
        !self.scenarios.is_empty() || self.schedule.is_some() || self.test.is_some()
    }
}

impl Display for Fate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let schedule = self
            .schedule
            .as_ref()
            .map_or("-".into(), |(seed, policy, names)| format!("{seed} ({policy}): {}", names.join(", ")));
        let test = self.test.as_deref().unwrap_or("-");
        write!(f, "| {} | {} | {schedule} | {test} |", self.mutant, self.scenarios.len())
    }
}

/// Tries a mutant on all scenarios, and on schedules until one breaks, `seeds` at most with each policy.
///
/// # Errors
/// Scenarios that cannot be read, tests that cannot be run.
pub fn fate(mutant: &str, seeds: u64) -> Result<Fate> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenarios = read_directory(&folder)?;
    leave_out(Some(mutant));
    let is_otherwise = |scenario: &&Scenario| {
        scenario.expected.difference(&failover_core::decide(&scenario.observation)).is_some()
    };
    let scenarios = scenarios.iter().filter(is_otherwise).map(|scenario| scenario.name.clone()).collect();
    // A check of the guard is noticed where a policy is wrong only.
    let policies = if mutant.starts_with("guard:") { [true, false] } else { [false, true] };
    let schedule = policies.into_iter().find_map(|is_hostile| {
        (0..seeds).find_map(|seed| {
            let broken = broken_by(mutant, seed, is_hostile);
            (!broken.is_empty()).then_some((seed, if is_hostile { "hostile" } else { "engine" }, broken))
        })
    });
    leave_out(None);
    let test = tests_of(mutant).iter().map(|test| failing(mutant, test)).find_map(Result::transpose);
    Ok(Fate { mutant: mutant.into(), scenarios, schedule, test: test.transpose()? })
}

/// The tests that are about a kind of mutants, as arguments of `cargo test`. The rules of the engine have the
/// scenarios.
fn tests_of(mutant: &str) -> &'static [&'static [&'static str]] {
    match mutant.split_once(':') {
        Some(("guard", _)) => &[&["--lib", "guard::"]],
        Some(("act", _)) => &[&["--lib", "authority::"], &["--test", "group"], &["--test", "redis_room"]],
        _ => &[],
    }
}

/// The first of these tests that fails without the mutant's rule.
fn failing(mutant: &str, test: &[&str]) -> Result<Option<String>> {
    let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Without its check a wait may have no end: that is noticed, too.
    let run = Command::new("timeout")
        .args(["--kill-after=10", TEST_MAX_S])
        .arg(cargo)
        .args(["test", "--locked", "--quiet", "-p", "redis-operator", "-p", "tests"])
        .args(["--features", "redis-operator/mutants"])
        .args(test)
        .env("MUTANT", mutant)
        .output()?;
    if run.status.code() == Some(TIMED_OUT) {
        return Ok(Some(format!("{}: no end within {TEST_MAX_S} s", test.join(" "))));
    }
    let output = String::from_utf8_lossy(&run.stdout);
    let failed = output.lines().find_map(|line| line.strip_suffix(" stdout ----")?.strip_prefix("---- "));
    anyhow::ensure!(
        run.status.success() || failed.is_some(),
        "cargo test {}: {}",
        test.join(" "),
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(failed.map(str::to_owned))
}

/// The invariants that the schedule breaks with the mutant and does not break without.
fn broken_by(mutant: &str, seed: u64, is_hostile: bool) -> Vec<&'static str> {
    let schedule = Schedule { is_hostile, ..Schedule::of(seed) };
    let policies = native_engine();
    let with = names(&simulate(&schedule, &policies, false));
    if with.is_empty() {
        return vec![];
    }
    leave_out(None);
    let without = names(&simulate(&schedule, &policies, false));
    leave_out(Some(mutant));
    with.difference(&without).copied().collect()
}

/// What takes seconds with the check, and minutes to compile it.
const TEST_MAX_S: &str = "240";
/// As `timeout` says it.
const TIMED_OUT: i32 = 124;
