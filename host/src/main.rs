//! `redis-operator`: arguments, environment, logging, runtime, exit code. What is asked for is done in
//! `cli/`.

use std::env;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use redis_operator::cli::{self, Environment, Exit, LogFormat};
use redis_operator::policy::worker_main;
use redis_operator::registry::{GivenLogin, Login, Logins};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if let Some(code) = worker_main(env::args_os()) {
        return code;
    }
    match start() {
        Ok(code) => ExitCode::from(code),
        Err(Exit::Done) => ExitCode::SUCCESS,
        Err(Exit::Usage) => ExitCode::from(2),
        Err(Exit::Failed(why)) => complain(&why, 1),
        Err(Exit::Input(why)) => complain(&why, 2),
    }
}

fn start() -> Result<u8, Exit> {
    // Passwords are in this process: no core dump has them, and no process of the same user reads them.
    // Where the system has no such thing, it goes on without.
    _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let cli = cli::parse(env::args_os())?;
    log_to_stderr(cli.log_format(), cli.log_level());
    log_panics();
    let failed = |error: std::io::Error| Exit::Failed(format!("no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(cli::run(cli, &environment()))
}

fn environment() -> Environment {
    let is_terminal = stdout().is_terminal();
    // https://no-color.org: set and not empty.
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb");
    Environment {
        cache_dir: cache_dir(),
        password: env::var("REDIS_OPERATOR_PASSWORD").ok(),
        logins: logins(),
        temp_dir: env::temp_dir(),
        is_terminal,
        has_colour: is_terminal && !no_colour,
    }
}

/// Exactly one line, whatever names and texts of others went into it.
fn complain(why: &str, code: u8) -> ExitCode {
    let line: String = why.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // Nobody may be left to read it.
    drop(writeln!(stderr(), "error: {line}"));
    ExitCode::from(code)
}

fn log_to_stderr(format: LogFormat, level: &str) {
    // An observation is a page of JSON: for a file or a collector, not for a person at a terminal.
    let is_read = format == LogFormat::Text && stderr().is_terminal();
    // The client of the API server tells of every failed call, and so do we.
    let usual = format!("{level},kube_client=off{}", if is_read { ",observation=off" } else { "" });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Unread).with_target(false);
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Standard error, whose reader may be gone: what it does not take is lost, and nothing else is.
struct Unread;

impl Write for Unread {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        Ok(stderr().write(line).unwrap_or(line.len()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        _ = stderr().flush();
        Ok(())
    }
}

/// A panic is a line of the log like any other. What it ends, its supervisor starts again, or the process
/// ends.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let error = panic.payload_as_str().unwrap_or("unknown");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(error, at, thread = thread.name().unwrap_or_default(), "panic");
    }));
}

/// Who the user is at registries, as docker and its like have it.
fn logins() -> Logins {
    let dir = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")));
    let given =
        env::var("REDIS_OPERATOR_REGISTRY_USER").ok().zip(env::var("REDIS_OPERATOR_REGISTRY_PASSWORD").ok());
    let registry = env::var("REDIS_OPERATOR_REGISTRY").ok();
    // `REGISTRY=HOST`, with commas between them.
    let listed = env::var("REDIS_OPERATOR_TOKEN_HOSTS").unwrap_or_default();
    let token_hosts = listed.split(',').filter_map(|pair| pair.trim().split_once('='));
    Logins {
        docker_config: dir.map(|dir| dir.join("config.json")),
        given: given.map(|(user, password)| GivenLogin { registry, login: Login { user, password } }),
        token_hosts: token_hosts.map(|(registry, host)| (registry.into(), host.into())).collect(),
    }
}

/// The user's cache, as the XDG base directories have it. None in a container without a home.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("redis-operator/policies"))
}
