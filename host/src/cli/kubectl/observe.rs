//! `kubectl redis observe`: the live Observation of a group, from its operator.

use super::cluster::Cluster;
use crate::cli::{Exit, print_json};

/// Print the live Observation of a group as JSON, ready for `redis-operator policy decide`; changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis observe example | redis-operator policy decide -\n\nIt \
                  comes from the operator that holds the Lease, through the API server, which needs \
                  the rights to get leases and pods/proxy in the operator's namespace.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    cluster.group(&args.name).await?;
    let view = cluster.view(&cluster.namespace, &args.name).await.map_err(Exit::Failed)?;
    print_json(&view.observation)?;
    Ok(0)
}
