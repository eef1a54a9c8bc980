//! `kubectl redis …`: Redis resources, looked at and steered with the rights of a kubeconfig. The same binary
//! under the name `kubectl-redis`, or as `redis-operator kubectl …`. Asks the API server, and through it the
//! operator; never a Redis.

mod cluster;
pub mod complete;
mod explain;
mod facts;
mod observe;
mod pause;
mod status;
mod switchover;
#[cfg(test)]
mod tests;
mod text;
mod timeline;
mod words;

use super::{Environment, Exit, LogFormat};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;

/// Look at the Redis resources of a cluster and steer them, by kubeconfig: the kubectl plugin
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Example:\n  kubectl redis status example\n\nAs a plugin: ln -s \"$(which \
                        redis-operator)\" ~/.local/bin/kubectl-redis; its completions: the same as \
                        kubectl_complete-redis\nExit codes: 0 done, 1 the answer is no, 2 bad input (one \
                        line on standard error says what, and nothing was touched).")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: cluster::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Args),
    Explain(explain::Args),
    Switchover(switchover::Args),
    Pause(pause::Args),
    /// Let a paused Redis be looked after again
    #[command(after_help = "Example:\n  kubectl redis resume example")]
    Resume(pause::Args),
    Observe(observe::Args),
}

// As a program of its own, which has the help of the arguments.
#[derive(Debug, Parser)]
#[command(name = "kubectl-redis", bin_name = "kubectl redis", version, max_term_width = 120)]
pub struct Plugin {
    #[command(flatten)]
    args: Args,
    /// How to log to standard error; RUST_LOG says what.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Plugin {
    /// Whether the program was called by the plugin's name.
    pub fn is_meant_by(arguments: &[OsString]) -> bool {
        arguments
            .first()
            .is_some_and(|program| Path::new(program).file_stem().is_some_and(|name| name == "kubectl-redis"))
    }

    /// As the program has it.
    pub fn into_parts(self) -> (Args, LogFormat) {
        (self.args, self.log_format)
    }
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let cluster = args.cluster.connect().await?;
    match &args.command {
        Command::Status(status) => status::run(status, &cluster, environment).await,
        Command::Explain(explain) => explain::run(explain, &cluster, environment).await,
        Command::Switchover(switchover) => switchover::run(switchover, &cluster).await,
        Command::Pause(pause) => pause::run(pause, true, &cluster).await,
        Command::Resume(resume) => pause::run(resume, false, &cluster).await,
        Command::Observe(observe) => observe::run(observe, &cluster).await,
    }
}
