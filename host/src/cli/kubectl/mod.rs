//! `kubectl redis …`: shows and steers Redis resources with the rights of a kubeconfig. The same program
//! under the name `kubectl-redis`, or as `redis-operator kubectl …`. Sends requests to the API server, and
//! through it to the operator; never to a Redis.

mod adopt;
mod cluster;
pub mod complete;
mod explain;
mod facts;
mod group;
mod hibernate;
mod log_line;
mod logs;
mod observe;
mod operators;
mod pause;
mod redis_cli;
mod report;
mod restart;
mod status;
mod switchover;
#[cfg(test)]
mod tests;
mod text;
mod timeline;
mod token;
mod words;

use super::{Environment, Exit, LogFormat};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;

/// Show and steer the Redis and RedisFailover resources of a cluster, by kubeconfig: the kubectl plugin
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Example:\n  kubectl redis status example\n\nAs a plugin: ln -s \"$(which \
                  redis-operator)\" ~/.local/bin/kubectl-redis; for completions, a second link named \
                  kubectl_complete-redis\nExit codes: 0 done, 1 failed or refused, 2 bad input (one \
                  line on standard error names it, and nothing was changed).")]
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
    /// Resume failover of a paused group
    #[command(after_help = "Example:\n  kubectl redis resume example")]
    Resume(pause::Args),
    Observe(observe::Args),
    Logs(logs::Args),
    Report(report::Args),
    Cli(redis_cli::Args),
    Restart(restart::Args),
    Hibernate(hibernate::Hibernate),
    Wake(hibernate::Wake),
    Adopt(adopt::Args),
}

// The plugin as a program, with the help of its arguments.
#[derive(Debug, Parser)]
#[command(name = "kubectl-redis", bin_name = "kubectl redis", version, max_term_width = 120)]
pub struct Plugin {
    #[command(flatten)]
    args: Args,
    /// Format of the log on standard error; RUST_LOG sets its level.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Plugin {
    /// Whether the program was called by a name of the plugin.
    pub fn is_meant_by(arguments: &[OsString]) -> bool {
        arguments
            .first()
            .and_then(|program| Path::new(program).file_stem())
            .is_some_and(|name| NAMES.iter().any(|of| name == *of))
    }

    /// The parts as the program has them.
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
        Command::Logs(logs) => logs::run(logs, &cluster, environment).await,
        Command::Report(report) => report::run(report, &cluster).await,
        Command::Cli(cli) => redis_cli::run(cli, &cluster).await,
        Command::Restart(restart) => restart::run(restart, &cluster).await,
        Command::Hibernate(args) => hibernate::hibernate(args, &cluster).await,
        Command::Wake(args) => hibernate::wake(args, &cluster).await,
        Command::Adopt(adopt) => adopt::run(adopt, &cluster).await,
    }
}

/// `kubectl redis`, and `kubectl redis-failover`, where another plugin has the short name.
const NAMES: &[&str] = &["kubectl-redis", "kubectl-redis_failover"];
