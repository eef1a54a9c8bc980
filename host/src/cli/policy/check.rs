//! `policy check`: whether a policy may decide, and if not, an observation that shows why. The same check as
//! before a swap, with more observations, and without stopping at the first failure.

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

use crate::cli::{Environment, Exit, Format, PolicyChoice, print, print_json};
use crate::conformance::{Report, Trial, check, embedded_scenarios, read_scenarios};
use crate::policy::Stop;

/// Check that a policy keeps every invariant: all scenarios, then random observations
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  redis-operator policy check --policy mine.wasm\n  redis-operator \
                  policy check --policy mine.wasm --save broken.json; redis-operator policy decide \
                  --policy mine.wasm broken.json\n\nWithin the invariants a policy decides as it \
                  likes; `as-expected` shows where it differs from the embedded policy.\nExit codes: \
                  0 passed, 1 failed, 2 bad input.")]
pub(super) struct Args {
    /// Scenario file, or directory of such files [default: those that this program carries]
    #[arg(long, value_name = "FILE|DIR")]
    scenarios: Option<PathBuf>,
    /// Number of random observations
    #[arg(long, value_name = "N", default_value_t = 1000)]
    random: u32,
    /// Seed of the random observations: the same seed, the same observations
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Fail if a decision differs from its scenario file
    #[arg(long)]
    strict: bool,
    /// File for the first observation that failed, as input for `policy decide`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    choice: PolicyChoice,
    /// Output format; JSON includes the observations that failed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let scenarios = match &arguments.scenarios {
        Some(path) => read_scenarios(path),
        None => embedded_scenarios(),
    };
    let scenarios = scenarios.map_err(|error| Exit::Input(error.to_string()))?;
    let component = arguments.choice.load(&arguments.choice.sandbox(environment)?)?;
    let trial = Trial {
        scenarios: &scenarios,
        random: arguments.random,
        seed: arguments.seed,
        strict: arguments.strict,
    };
    let total = scenarios.len() as u64 + u64::from(arguments.random);
    let is_watched = stderr().is_terminal();
    let report = check(&component.on_trial(&Stop::default()), &trial, |report| {
        let done = report.scenarios as u64 + u64::from(report.random);
        if is_watched && (done.is_multiple_of(PROGRESS_STEP) || done == total) {
            show_progress(done, total);
        }
    });
    match arguments.format {
        Format::Table => print(&format!("{report}\n"))?,
        Format::Json => print_json(&serde_json::json!({ "passed": report.is_passed(), "report": report }))?,
    }
    if let Some(path) = &arguments.save {
        save(path, &report)?;
    }
    Ok(if report.is_passed() { 0 } else { 1 })
}

/// One line that is overwritten, and erased at the end.
fn show_progress(done: u64, total: u64) {
    let line =
        if done == total { "\r\x1b[K".to_owned() } else { format!("\r{done} of {total} observations") };
    // Standard error may be closed.
    drop(write!(stderr(), "{line}"));
}

/// Writes the first failure with its observation, if there is one.
fn save(path: &Path, report: &Report) -> Result<(), Exit> {
    let Some((claim, failure)) = report.first_failure() else { return Ok(()) };
    let record = serde_json::json!({
        "policy": report.policy, "digest": report.digest, "claim": claim, "at": failure.at,
        "text": failure.text, "observation": failure.observation, "decision": failure.decision
    });
    std::fs::write(path, format!("{record:#}\n"))
        .map_err(|error| Exit::Input(format!("{}: {error}", path.display())))
}

const PROGRESS_STEP: u64 = 25;
