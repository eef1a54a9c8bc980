//! `redis-operator`: arguments, environment, logging, runtime, exit code. What is asked for is done in `cli/`.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use redis_operator::cli::{self, LogFormat, Stop, Surroundings};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match start() {
        Ok(code) => ExitCode::from(code),
        Err(Stop::Done) => ExitCode::SUCCESS,
        Err(Stop::Usage) => ExitCode::from(2),
        Err(Stop::Failed(why)) => complain(&why, 1),
        Err(Stop::Input(why)) => complain(&why, 2),
    }
}

fn start() -> Result<u8, Stop> {
    let cli = cli::parse(env::args_os())?;
    log_to_stderr(cli.log_format());
    let failed = |error: std::io::Error| Stop::Failed(format!("no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(cli::run(cli, &Surroundings { cache_dir: cache_dir(), password: env::var("REDIS_OPERATOR_PASSWORD").ok() }))
}

/// Exactly one line, whatever names and texts of others went into it.
fn complain(why: &str, code: u8) -> ExitCode {
    let line: String = why.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // Nobody may be left to read it.
    drop(writeln!(stderr(), "error: {line}"));
    ExitCode::from(code)
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// The user's cache, as the XDG base directories have it. None in a container without a home.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("redis-operator/policies"))
}
