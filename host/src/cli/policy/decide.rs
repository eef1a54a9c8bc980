//! `policy decide`: one Observation in, the policy's Decision out. Nothing is carried out, and the guard does
//! not check it.

use std::path::PathBuf;

use crate::cli::{Environment, Exit, PolicyChoice, print_json, read_observation};
use crate::policy::{Policy, Stop};

/// Let a policy decide: Observation JSON in, Decision JSON out
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  redis-operator policy decide observation.json\n  redis-operator \
                  observe --redis 10.0.0.1:6379,10.0.0.2:6379 | redis-operator policy decide \
                  -\n\nThe input is an Observation, or an object that has one as `observation`: a line \
                  of --record or of a JSON log, a scenario file.\nExit codes: 0 it decided, 1 no \
                  usable answer, 2 bad input.")]
pub(super) struct Args {
    /// File with one observation; `-` or nothing is standard input
    observation: Option<PathBuf>,
    #[command(flatten)]
    choice: PolicyChoice,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let observation = read_observation(arguments.observation.as_deref())?;
    let component = arguments.choice.load(&arguments.choice.sandbox(environment)?)?;
    let failed =
        |fault| Exit::Failed(format!("{} ({}): {fault}", component.title(), arguments.choice.source()));
    print_json(&component.on_trial(&Stop::default()).decide(&observation).map_err(failed)?)?;
    Ok(0)
}
