//! `policy pull`: downloads a policy from an OCI registry into a file.

use super::{remote, stop};
use crate::cli::{Environment, Exit, PolicyChoice, print};
use crate::policy::{Policy, Stop, load};
use crate::registry::Reference;
use std::path::PathBuf;

/// Download a policy from an OCI registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy pull registry.example.com/policies/mine:1.2.0 \
                  --output mine.wasm\n\nLog in with docker login first, or set \
                  REDIS_OPERATOR_REGISTRY_USER and REDIS_OPERATOR_REGISTRY_PASSWORD.")]
pub(super) struct Args {
    /// Name of the artifact: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:…
    #[arg(value_name = "REFERENCE")]
    image: Reference,
    /// File for the component
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The registry speaks HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

pub(super) async fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let bytes = remote(environment)?
        .pull(&arguments.image, arguments.plain_http)
        .await
        .map_err(|error| stop(&error, arguments.plain_http))?;
    // Loaded before it is written, so that an invalid policy leaves no file.
    let uncached =
        PolicyChoice { policy: None, policy_cache: None, no_policy_cache: true, unproven_policy: false };
    let policy = load(&uncached.sandbox(environment)?, &bytes, &Stop::default())
        .map_err(|error| Exit::Input(format!("{}: {error}", arguments.image)))?;
    let output = arguments.output.display();
    std::fs::write(&arguments.output, &bytes).map_err(|error| Exit::Input(format!("{output}: {error}")))?;
    print(&format!("{output}: {}, {} bytes, sha256:{}\n", policy.title(), bytes.len(), policy.digest()))?;
    Ok(0)
}
