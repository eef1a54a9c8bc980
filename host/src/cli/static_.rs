//! `static`: looks after existing Redis servers.

use super::{GroupSettings, PolicyChoice, Servers, Session, Stop, Surroundings};
use crate::fleet::RecordFile;
use crate::group::Report;
use std::path::PathBuf;

/// Look after existing Redis servers: fail over, re-point, keep one master.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  redis-operator static --redis 10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379 --state /var/lib/redis-operator/cart.json\n\n\
    Exit codes of --once: 0 healthy, 10 acted, 11 waiting, 12 refused, 1 failed; 2 is bad input."
)]
pub struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    /// File that remembers the published master over a restart of the operator
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub async fn run(args: &Args, surroundings: &Surroundings) -> Result<u8, Stop> {
    let (members, access) = args.servers.resolve(args.group.down_after, surroundings).await?;
    let mut settings = args.group.settings(members.len())?;
    let (record_file, record) = RecordFile::open(args.state.clone()).map_err(|error| Stop::Input(error.to_string()))?;
    settings.record = record;
    let mut session = Session::open(settings, members, access, &args.policy, record_file, surroundings)?;
    session.authorise(true);
    while let Some((now, report)) = session.reports.recv().await {
        match report {
            Report::Decided(decided) if decided.is_news => {
                tracing::info!(at_us = now.0, reason = decided.decision.reason, explanation = decided.decision.explanation, "decided")
            }
            Report::Decided(_) => {}
            other => tracing::info!(at_us = now.0, report = ?other, "report"),
        }
    }
    Ok(0)
}
