//! `policy push`: uploads a policy to an OCI registry, as an artifact that other WebAssembly tools read as
//! well.

use super::{remote, stop};
use crate::cli::{Environment, Exit, PolicyChoice, print};
use crate::policy::{Policy, Stop, load, read_file};
use crate::registry::Reference;
use std::path::PathBuf;

/// Upload a policy to an OCI registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy push mine.wasm \
                  registry.example.com/policies/mine:1.2.0\n\nLog in with docker login first, or \
                  set REDIS_OPERATOR_REGISTRY_USER and REDIS_OPERATOR_REGISTRY_PASSWORD.")]
pub(super) struct Args {
    /// Component file of the policy
    file: PathBuf,
    /// Name of the artifact: REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE")]
    image: Reference,
    /// The registry speaks HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

pub(super) async fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let bad = |why: String| Exit::Input(format!("{}: {why}", arguments.file.display()));
    if arguments.image.tag.is_none() {
        return Err(Exit::Input(format!(
            "{} has no tag to push to: write REGISTRY/REPOSITORY:TAG",
            arguments.image
        )));
    }
    let bytes = read_file(&arguments.file).map_err(|error| bad(error.to_string()))?;
    // Loaded before it is sent, so that an invalid policy gets no name.
    let uncached =
        PolicyChoice { policy: None, policy_cache: None, no_policy_cache: true, unproven_policy: false };
    let policy = load(&uncached.sandbox(environment)?, &bytes, &Stop::default())
        .map_err(|error| bad(error.to_string()))?;
    let pushed = remote(environment)?
        .push(&bytes, &policy.about().exports, &arguments.image, arguments.plain_http)
        .await;
    let pushed = pushed.map_err(|error| stop(&error, arguments.plain_http))?;
    print(&format!(
        "{}: {}, sha256 {}\n{}\n",
        arguments.image,
        policy.title(),
        policy.digest(),
        pushed.pinned
    ))?;
    Ok(0)
}
