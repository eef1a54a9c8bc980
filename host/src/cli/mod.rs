//! The commands: one file each. They read arguments and files, call the library, and print; they decide
//! nothing. A new command is a module and a case of `Command`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;

use crate::registry::Logins;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

mod completions;
mod demo;
mod face;
mod face_args;
mod kubectl;
mod local;
mod local_group;
mod man;
mod observation;
mod observe;
mod outcome;
mod policy;
mod policy_args;
mod run;
mod secrets;
mod sentinel_args;
mod sentinel_logins;
mod server_args;
mod session;
mod settings;
mod static_;
mod switchover;
mod telemetry;
mod upkeep;

pub use observation::read_observation;
pub use policy_args::PolicyChoice;
pub use sentinel_args::SentinelArgs;
pub use server_args::Servers;
pub use session::Session;
pub use settings::{GroupSettings, Prefer};

/// Keeps groups of Redis servers highly available; a WebAssembly component makes its decisions.
#[derive(Debug, Parser)]
#[command(
    name = "redis-operator",
    version,
    max_term_width = 120,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Example:\n  redis-operator policy inspect\n\nExit codes: 0 done, 1 failed, 2 bad \
                  input (one line on standard error names it, and nothing was changed).")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Format of the log on standard error; RUST_LOG sets its level.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Static(Box<static_::Args>),
    Switchover(Box<switchover::Args>),
    Observe(Box<observe::Args>),
    Local(Box<local::Args>),
    Face(Box<face::Args>),
    Demo(demo::Args),
    Policy(policy::Args),
    Kubectl(Box<kubectl::Args>),
    /// Print the custom resource definitions, as in `deploy/`
    Crds,
    Completions(completions::Args),
    // For those who package the program.
    #[command(hide = true)]
    Man(man::Args),
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What `main` reads from the environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Cache directory for compiled policies. None: no cache.
    pub cache_dir: Option<PathBuf>,
    /// Password of the servers. None: none.
    pub password: Option<String>,
    /// Logins to registries.
    pub logins: Logins,
    /// Parent of temporary directories.
    pub temp_dir: PathBuf,
    /// Standard output is a terminal.
    pub is_terminal: bool,
    /// Standard output is coloured.
    pub has_colour: bool,
}

/// Why a command ended early.
#[derive(Debug)]
pub enum Exit {
    /// Help was shown, or standard output was closed by its reader. Exit code 0.
    Done,
    /// Help was shown because the command was missing. Exit code 2.
    Usage,
    /// The input was right, and the command failed. Exit code 1.
    Failed(String),
    /// The input was wrong: one line that names it and the way out. Exit code 2, and nothing was changed.
    Input(String),
}

/// Parses the arguments, beginning with the program's name: `kubectl-redis` is the kubectl plugin. Shows help
/// and version by itself.
///
/// # Errors
/// [`Exit`] if there is no command to run.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if kubectl::complete::is_meant_by(&arguments) {
        return print(&kubectl::complete::candidates(&arguments)).and(Err(Exit::Done));
    }
    let parsed = if kubectl::Plugin::is_meant_by(&arguments) {
        kubectl::Plugin::try_parse_from(arguments).map(|plugin| {
            let (args, log_format) = plugin.into_parts();
            Cli { command: Command::Kubectl(Box::new(args)), log_format }
        })
    } else {
        Cli::try_parse_from(arguments)
    };
    parsed.map_err(|error| match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            // Standard output may be closed.
            drop(error.print());
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
        // Clap's enum, which may grow. Its message is one paragraph, then usage; only the paragraph fits a
        // line.
        _ => {
            let text = error.render().to_string();
            let paragraph: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage:"))
                .filter(|line| !line.is_empty())
                .collect();
            let line = paragraph
                .join(" ")
                .trim_start_matches("error: ")
                .replace("For more information, try '--help'.", "");
            Exit::Input(format!("{}; see --help", line.trim()))
        }
    })
}

impl Cli {
    /// The format of the log.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }

    /// The log level without RUST_LOG: info for commands that keep running, warn for those that end.
    pub fn log_level(&self) -> &'static str {
        match &self.command {
            Command::Static(arguments) if !arguments.ends() => "info",
            Command::Run(_) | Command::Local(_) | Command::Face(_) => "info",
            Command::Static(_)
            | Command::Switchover(_)
            | Command::Observe(_)
            | Command::Demo(_)
            | Command::Policy(_)
            | Command::Kubectl(_)
            | Command::Crds
            | Command::Completions(_)
            | Command::Man(_) => "warn",
        }
    }

    /// All commands and options, for completion scripts.
    fn definition() -> clap::Command {
        Cli::command()
    }
}

/// Runs the command and returns the exit code of the process.
///
/// # Errors
/// [`Exit`].
pub async fn run(cli: Cli, environment: &Environment) -> Result<u8, Exit> {
    match cli.command {
        Command::Run(arguments) => run::run(&arguments, environment).await,
        Command::Static(arguments) => static_::run(&arguments, environment).await,
        Command::Switchover(arguments) => switchover::run(&arguments, environment).await,
        Command::Observe(arguments) => observe::run(&arguments, environment).await,
        Command::Local(arguments) => local::run(&arguments, environment).await,
        Command::Face(arguments) => face::run(&arguments, environment).await,
        Command::Demo(arguments) => demo::run(&arguments, environment).await,
        Command::Policy(arguments) => policy::run(&arguments, environment).await,
        Command::Kubectl(arguments) => kubectl::run(&arguments, environment).await,
        Command::Crds => {
            print(&crate::kubernetes::crd::definitions().map_err(|error| Exit::Failed(error.to_string()))?)
                .map(|()| 0)
        }
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// `INFO server: redis_mode` of an instance. None: unknown.
fn mode(instance: &crate::contract::Instance) -> Option<&str> {
    use failover_core::facts::{INFO_SERVER, ServerFacts};
    let reply = instance.replies.iter().find(|reply| reply.command == INFO_SERVER)?;
    match &reply.newest.as_ref()?.value {
        crate::contract::Value::Text(text) => ServerFacts::parse(&text.text).mode,
        crate::contract::Value::Integer(_)
        | crate::contract::Value::Nil(_)
        | crate::contract::Value::Nested(_) => None,
    }
}

/// Prints to standard output. If its reader has closed it, as `head` does, the command ends silently.
fn print(text: &str) -> Result<(), Exit> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Done,
        _ => Exit::Failed(format!("standard output: {error}")),
    })
}

/// Prints a value as JSON, one field per line.
fn print_json(value: &impl serde::Serialize) -> Result<(), Exit> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Exit::Failed(format!("no JSON: {error}")))?;
    print(&(text + "\n"))
}
