//! `policy wrap`: the last step of building a policy, without further tools: a core module to a component.

use std::path::PathBuf;

use crate::cli::{Environment, Exit, PolicyChoice, print};
use crate::policy::{Policy, Stop, load, wrap};

/// Make a policy component from a core module built with wit-bindgen
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo build --release --target wasm32-unknown-unknown\n  \
                  redis-operator policy wrap target/wasm32-unknown-unknown/release/mine.wasm \
                  --output mine.component.wasm")]
pub(super) struct Args {
    /// Core module, as the compiler writes it
    module: PathBuf,
    /// File for the component
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let bad = |why: String| Exit::Input(format!("{}: {why}", arguments.module.display()));
    let module = std::fs::read(&arguments.module).map_err(|error| bad(error.to_string()))?;
    let component = wrap(&module).map_err(bad)?;
    // Loaded before it is written, so that an invalid policy leaves no file.
    let uncached =
        PolicyChoice { policy: None, policy_cache: None, no_policy_cache: true, unproven_policy: false };
    let policy = load(&uncached.sandbox(environment)?, &component, &Stop::default())
        .map_err(|error| bad(format!("the component is not valid: {error}")))?;
    let output = arguments.output.display();
    std::fs::write(&arguments.output, &component)
        .map_err(|error| Exit::Input(format!("{output}: {error}")))?;
    print(&format!("{output}: {}, {} bytes, sha256:{}\n", policy.title(), component.len(), policy.digest()))?;
    Ok(0)
}
