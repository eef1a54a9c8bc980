//! `redis-operator policy …`: commands for any component file, and for registries. No command here connects
//! to a Redis.

use clap::Subcommand;

use super::{Environment, Exit};
use crate::policy::COMPONENT_BYTES_MAX;
use crate::registry::{FetchError, Reach, Remote};

mod bench;
mod check;
mod decide;
mod expand;
mod export;
mod inspect;
mod pull;
mod push;
mod wrap;

/// Inspect, try, check, measure, build, push and pull policies
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy decide observation.json --policy mine.wasm\n\nA \
                  policy is a WebAssembly component that exports redis-failover:policy/policy@0.2.0 \
                  (wit/failover.wit) and imports nothing.")]
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
    Expand(expand::Args),
    Wrap(wrap::Args),
    Export(export::Args),
    Push(push::Args),
    Pull(pull::Args),
}

pub(super) async fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::run(arguments, environment),
        Command::Decide(arguments) => decide::run(arguments, environment),
        Command::Check(arguments) => check::run(arguments, environment),
        Command::Bench(arguments) => bench::run(arguments, environment),
        Command::Expand(arguments) => expand::run(arguments, environment),
        Command::Wrap(arguments) => wrap::run(arguments, environment),
        Command::Export(arguments) => export::run(arguments),
        Command::Push(arguments) => push::run(arguments, environment).await,
        Command::Pull(arguments) => pull::run(arguments, environment).await,
    }
}

/// The registry client, with the user's logins.
fn remote(environment: &Environment) -> Result<Remote, Exit> {
    Remote::new(environment.logins.clone(), Reach::anywhere(), COMPONENT_BYTES_MAX)
        .map_err(|error| stop(&error, true))
}

/// Whether the error is in the input or in the connection.
fn stop(error: &FetchError, plain_http: bool) -> Exit {
    match error {
        FetchError::Unreachable { .. } if !plain_http => {
            Exit::Failed(format!("{error}: a registry without TLS needs --plain-http"))
        }
        FetchError::NoTls(_)
        | FetchError::TimedOut { .. }
        | FetchError::Refused { .. }
        | FetchError::Unreachable { .. } => Exit::Failed(error.to_string()),
        FetchError::Address(_)
        | FetchError::Forbidden { .. }
        | FetchError::NotEncrypted { .. }
        | FetchError::OtherRealm { .. }
        | FetchError::LoginWithoutHost
        | FetchError::TooLarge { .. }
        | FetchError::Unauthorized { .. }
        | FetchError::NotFound { .. }
        | FetchError::Digest { .. }
        | FetchError::NoComponent(_)
        | FetchError::Logins { .. } => Exit::Input(error.to_string()),
    }
}
