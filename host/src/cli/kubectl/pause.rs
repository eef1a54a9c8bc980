//! `kubectl redis pause` and `resume`: asks for it, and waits until the operator says that it is so.

use super::cluster::Cluster;
use crate::cli::settings::duration;
use crate::cli::{Exit, print};
use crate::kubernetes::crd::Redis;
use serde_json::json;
use std::time::{Duration, Instant};

/// Have a Redis observed and explained, and nothing done about it, until it is resumed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis pause example")]
pub struct Args {
    /// The Redis
    name: String,
    /// How long to wait until the operator has taken it up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

pub async fn run(args: &Args, paused: bool, cluster: &Cluster) -> Result<u8, Exit> {
    let (namespace, name) = (&cluster.namespace, &args.name);
    let was_so = cluster.redis(name).await?.spec.paused == paused;
    let asked = cluster.change(name, json!({ "paused": paused })).await?;
    let since = asked.metadata.generation.filter(|_| !was_so);
    let deadline = Instant::now() + args.timeout;
    let mut redis = asked;
    while !is_so(&redis, paused, since) {
        if Instant::now() >= deadline {
            let (wanted, seconds) = (if paused { "paused" } else { "resumed" }, args.timeout.as_secs());
            return Err(Exit::Failed(format!(
                "{namespace}/{name} is asked to be {wanted}, and no operator has said so for {seconds} s: \
                 does one run, and look after {namespace}?"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        redis = cluster.redis(name).await?;
    }
    print(&if paused {
        format!(
            "{namespace}/{name} is paused: it is observed and explained, and no failover happens; kubectl \
             redis resume {name} ends that\n"
        )
    } else {
        format!("{namespace}/{name} is looked after\n")
    })?;
    Ok(0)
}

/// The operator's word for it, about this generation of the spec or a later one.
fn is_so(redis: &Redis, paused: bool, since: Option<i64>) -> bool {
    let condition = redis
        .status
        .as_ref()
        .and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "Paused"));
    condition.is_some_and(|condition| {
        (condition.status == "True") == paused && condition.observed_generation >= since
    })
}

/// The pace of asking.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
