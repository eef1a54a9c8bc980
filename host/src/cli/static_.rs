//! `static`: operates existing Redis servers.

use super::face_args::FaceArgs;
use super::outcome::{Outcome, Pass};
use super::telemetry::TelemetryArgs;
use super::upkeep::Upkeep;
use super::{
    Environment, Exit, Format, GroupSettings, PolicyChoice, SentinelArgs, Servers, Session, outcome,
};
use crate::driver::StateFile;
use std::path::PathBuf;
use std::sync::Arc;

/// Operate existing Redis servers: fail over, re-point, keep one master
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator static --redis \
                        10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379 --state \
                        /var/lib/redis-operator/cart.json\n\nExit codes of --once and --dry-run: 0 \
                        healthy, 10 acted (or would), 11 waiting, 12 refused, 1 failed; 2 is bad input.")]
pub struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    sentinels: SentinelArgs,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    /// File that keeps the published master over restarts of the operator
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Make one pass and exit
    #[arg(long)]
    once: bool,
    /// Print the plan and do not act
    #[arg(long)]
    dry_run: bool,
    /// Format of --dry-run
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    face: FaceArgs,
}

impl Args {
    /// Whether the command makes one pass and exits.
    pub fn ends(&self) -> bool {
        self.once || self.dry_run
    }
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let (mut members, mut access) = args.servers.resolve(args.group.down_after, environment).await?;
    let mut settings = args.group.settings(members.len())?;
    let (watching, servers) = (&args.sentinels, &args.servers);
    let (mut record_file, record) =
        StateFile::open(args.state.clone()).map_err(|error| Exit::Input(error.to_string()))?;
    watching.add_to(&mut settings, &mut members, &mut access, servers, &mut record_file, environment).await?;
    settings.records = record.into_iter().collect();
    let kept = (members.clone(), access.clone());
    let mut session =
        Session::open(settings, members, access, &args.policy, &args.face, record_file, environment)?;
    let mut telemetry = args.telemetry.open(&args.group.name, args.group.interval, &session).await?;

    let (first, reports) = session.first_look(args.group.down_after).await?;
    telemetry.catch_up(&reports);
    if args.dry_run {
        outcome::print_plan(&first.decision, args.format)?;
        return Ok(Outcome::of(&first.decision).code());
    }
    let (handle, metrics) = (&session.handle, Arc::clone(&telemetry.metrics));
    let kept = (kept.0.as_slice(), &kept.1);
    let upkeep = Upkeep::start(servers, watching, kept, handle, environment, metrics)?;
    session.upkeep = Some(upkeep);
    session.authorise(true);
    if !args.once {
        telemetry.until(&mut session, &args.policy, |_, _| false).await?;
        return Ok(0);
    }
    let mut pass = Pass::new(args.group.down_after);
    telemetry.until(&mut session, &args.policy, |now, report| pass.is_over(now, report)).await?;
    let outcome = pass.outcome();
    outcome::print_verdict(outcome, pass.into_decided().map(|decided| decided.decision).as_deref())?;
    Ok(outcome.code())
}
