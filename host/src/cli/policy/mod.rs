//! `redis-operator policy …`: questions about a policy, for any component file. Nothing here touches a server.

use clap::Subcommand;

use super::{Stop, Surroundings};

mod bench;
mod check;
mod decide;
mod export;
mod inspect;
mod wrap;

/// Look at a policy, ask it, check it, measure it, make one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy decide observation.json --policy mine.wasm\n\n\
    A policy is a WebAssembly component that exports redis-failover:policy/policy@0.1.0 (wit/failover.wit) and imports nothing.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Decide(decide::Args),
    Check(check::Args),
    Bench(bench::Args),
    Wrap(wrap::Args),
    Export(export::Args),
}

pub(super) fn run(arguments: &Args, surroundings: &Surroundings) -> Result<u8, Stop> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::run(arguments, surroundings),
        Command::Decide(arguments) => decide::run(arguments, surroundings),
        Command::Check(arguments) => check::run(arguments, surroundings),
        Command::Bench(arguments) => bench::run(arguments, surroundings),
        Command::Wrap(arguments) => wrap::run(arguments, surroundings),
        Command::Export(arguments) => export::run(arguments),
    }
}
