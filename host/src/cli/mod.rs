//! The commands: one file each, under 100 lines. They read arguments and files, call the library, and print;
//! they decide nothing. A new command is a module and a case of `Command`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;

use crate::registry::Logins;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

mod completions;
mod demo;
mod kubectl;
mod local;
mod local_group;
mod observation;
mod observe;
mod outcome;
mod policy;
mod policy_args;
mod run;
mod server_args;
mod session;
mod settings;
mod static_;
mod switchover;
mod telemetry;

pub use observation::read_observation;
pub use policy_args::PolicyChoice;
pub use server_args::Servers;
pub use session::Session;
pub use settings::{GroupSettings, Prefer};

/// Keeps groups of Redis servers highly available; its decisions come from a WebAssembly component.
#[derive(Debug, Parser)]
#[command(
    name = "redis-operator",
    version,
    max_term_width = 120,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Example:\n  redis-operator policy inspect\n\nExit codes: 0 done, 1 failed, 2 bad \
                        input (one line on standard error says what, and nothing was touched).")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How to log to standard error; RUST_LOG says what.
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
    Demo(demo::Args),
    Policy(policy::Args),
    Kubectl(Box<kubectl::Args>),
    /// Print the custom resource definitions, as `deploy/` has them
    Crds,
    Completions(completions::Args),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What only `main` may ask the environment for.
#[derive(Debug)]
pub struct Environment {
    /// Where compiled policies are kept unless an option says otherwise. None: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// The servers' password, where no file is named. None: there is none.
    pub password: Option<String>,
    /// Who the user is at registries.
    pub logins: Logins,
    /// Where temporary directories are made.
    pub temp_dir: PathBuf,
    /// Somebody watches standard output as it comes.
    pub is_terminal: bool,
    /// And wants it in colour.
    pub has_colour: bool,
}

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Exit {
    /// All is said: help was shown, or whoever read the output has had enough. Exit code 0.
    Done,
    /// Help was shown to somebody who gave no command. Exit code 2.
    Usage,
    /// The input was right and the answer is no. Exit code 1.
    Failed(String),
    /// The input was wrong: one line that names the thing and the way out. Exit code 2, nothing touched.
    Input(String),
}

/// Parses the arguments, the program's name first: under the name of the kubectl plugin it is that. Shows
/// help and version by itself.
///
/// # Errors
/// [`Exit`], when there is no command to run.
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
            // Nobody may be left to read it.
            drop(error.print());
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
        // Clap's enum, which grows. Its message is one paragraph, then usage; only the paragraph fits a line.
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
    /// How it is to log.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }

    /// The least level that it logs unless RUST_LOG says otherwise: what runs on tells what it does, what
    /// ends tells what is wrong.
    pub fn log_level(&self) -> &'static str {
        match &self.command {
            Command::Static(arguments) if !arguments.ends() => "info",
            Command::Run(_) | Command::Local(_) => "info",
            Command::Static(_)
            | Command::Switchover(_)
            | Command::Observe(_)
            | Command::Demo(_)
            | Command::Policy(_)
            | Command::Kubectl(_)
            | Command::Crds
            | Command::Completions(_) => "warn",
        }
    }

    /// All commands and options, for shells.
    fn definition() -> clap::Command {
        Cli::command()
    }
}

/// Runs the command; what it returns is the process's exit code.
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
        Command::Demo(arguments) => demo::run(&arguments, environment).await,
        Command::Policy(arguments) => policy::run(&arguments, environment).await,
        Command::Kubectl(arguments) => kubectl::run(&arguments, environment).await,
        Command::Crds => {
            print(&crate::kubernetes::crd::definitions().map_err(|error| Exit::Failed(error.to_string()))?)
                .map(|()| 0)
        }
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// `INFO server: redis_mode` of an instance. None: it did not say.
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

/// Prints to standard output. A reader who went away, as `head` does, ends the command without a word.
fn print(text: &str) -> Result<(), Exit> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Done,
        _ => Exit::Failed(format!("standard output: {error}")),
    })
}

/// Prints a value as JSON with one line a field.
fn print_json(value: &impl serde::Serialize) -> Result<(), Exit> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Exit::Failed(format!("no JSON: {error}")))?;
    print(&(text + "\n"))
}
