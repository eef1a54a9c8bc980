//! `face`: a Sentinel endpoint beside an operator, which only looks.

use super::face_args::FaceArgs;
use super::telemetry::TelemetryArgs;
use super::upkeep::Upkeep;
use super::{Environment, Exit, GroupSettings, PolicyChoice, SentinelArgs, Servers, Session};
use crate::driver::StateFile;
use std::sync::Arc;

/// Answer clients of Redis Sentinel for existing servers, from what they say; change nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator face --redis \
                        10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379 --sentinel-listen 0.0.0.0:26379\n\nAn \
                        operator elsewhere decides (`static`); this endpoint goes on while that one is away.")]
pub struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    face: FaceArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    args.face.must_listen()?;
    let (members, access) = args.servers.resolve(args.group.down_after, environment).await?;
    let settings = args.group.settings(members.len())?;
    let kept = (members.clone(), access.clone());
    let (memory, _) = StateFile::open(None).map_err(|error| Exit::Input(error.to_string()))?;
    let mut session =
        Session::open(settings, members, access, &args.policy, &args.face, memory, environment)?;
    let mut telemetry = args.telemetry.open(&args.group.name, args.group.interval, &session).await?;
    let (handle, metrics) = (&session.handle, Arc::clone(&telemetry.metrics));
    let (kept, none) = ((kept.0.as_slice(), &kept.1), SentinelArgs::default());
    session.upkeep = Some(Upkeep::start(&args.servers, &none, kept, handle, environment, metrics)?);
    telemetry.until(&mut session, &args.policy, |_, _| false).await?;
    Ok(0)
}
