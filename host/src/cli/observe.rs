//! `observe`: prints the live Observation of given servers.

use super::face_args::FaceArgs;
use super::{Environment, Exit, GroupSettings, PolicyChoice, SentinelArgs, Servers, Session, print_json};
use crate::driver::StateFile;
use std::path::PathBuf;

/// Print the live Observation of given servers as JSON, ready for `policy decide`; changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator observe --redis 127.0.0.1:6379,127.0.0.1:6380 | \
                        redis-operator policy decide -")]
pub struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    sentinels: SentinelArgs,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    /// State file of a `static` operator, read for its record
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let (mut members, mut access) = args.servers.resolve(args.group.down_after, environment).await?;
    let mut settings = args.group.settings(members.len())?;
    let (watching, servers) = (&args.sentinels, &args.servers);
    let (mut read, record) =
        StateFile::open(args.state.clone()).map_err(|error| Exit::Input(error.to_string()))?;
    watching.add_to(&mut settings, &mut members, &mut access, servers, &mut read, environment).await?;
    settings.records = record.into_iter().collect();
    let memory = StateFile::open(None).map_err(|error| Exit::Failed(error.to_string()))?.0;
    let mut session =
        Session::open(settings, members, access, &args.policy, &FaceArgs::default(), memory, environment)?;
    let (decided, _) = session.first_look(args.group.down_after).await?;
    print_json(&*decided.observation)?;
    Ok(0)
}
