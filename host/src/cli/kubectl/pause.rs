//! `kubectl redis pause` and `resume`: change the spec, and wait until the operator confirms it.

use super::cluster::Cluster;
use super::group::Group;
use crate::cli::settings::duration;
use crate::cli::{Exit, print};
use serde_json::json;
use std::time::{Duration, Instant};

/// Pause a group: it is observed and explained, without any action, until it is resumed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis pause example")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// How long to wait for the operator's confirmation
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

pub async fn run(args: &Args, paused: bool, cluster: &Cluster) -> Result<u8, Exit> {
    let (namespace, name) = (&cluster.namespace, &args.name);
    let group = cluster.group(name).await?;
    let was_set = group.is_paused() == paused;
    let changed = cluster.change_group(&group, json!({ "paused": paused })).await?;
    let since = changed.generation().filter(|_| !was_set);
    let deadline = Instant::now() + args.timeout;
    let mut group = changed;
    while !is_confirmed(&group, paused, since) {
        if Instant::now() >= deadline {
            let (state, seconds) = (if paused { "paused" } else { "resumed" }, args.timeout.as_secs());
            return Err(Exit::Failed(format!(
                "{namespace}/{name} was asked to be {state}, and no operator confirmed it for {seconds} s: \
                 check that one runs and watches {namespace}"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        group = cluster.group(name).await?;
    }
    print(&if paused {
        format!(
            "{namespace}/{name} is paused: it is observed and explained, without failover; kubectl redis \
             resume {name} resumes it\n"
        )
    } else {
        format!("{namespace}/{name} is resumed\n")
    })?;
    Ok(0)
}

/// Whether the operator confirms it, for this generation of the spec or a later one.
fn is_confirmed(group: &Group, paused: bool, since: Option<i64>) -> bool {
    let condition = group.status.conditions.iter().find(|condition| condition.type_ == "Paused");
    condition.is_some_and(|condition| {
        (condition.status == "True") == paused && condition.observed_generation >= since
    })
}

/// Time between two requests.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
