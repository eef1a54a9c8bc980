//! `switchover`: a planned handover, without loss.

use super::face_args::FaceArgs;
use super::outcome::{Outcome, Pass};
use super::telemetry::TelemetryArgs;
use super::{Environment, Exit, GroupSettings, PolicyChoice, SentinelArgs, Servers, Session, print};
use crate::contract::{Action, RequestAnswer, RequestState, Verdict};
use crate::driver::StateFile;
use crate::group::{Outcome as Ended, Report};
use std::path::PathBuf;

/// Hand the role of master over to a replica, under load and without loss
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator switchover --redis 10.0.0.1:6379,10.0.0.2:6379 --to \
                  10.0.0.2:6379\n\nExit codes: 0 done, 1 failed, 11 not done in time, 12 refused; 2 \
                  is bad input.")]
pub struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    sentinels: SentinelArgs,
    /// The new master, as written in --redis [default: the best replica in sync]
    #[arg(long, value_name = "HOST:PORT")]
    to: Option<String>,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    /// State file of the `static` operator of the same group
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let (mut members, mut access) = args.servers.resolve(args.group.down_after, environment).await?;
    if let Some(to) = args.to.as_ref().filter(|to| !members.iter().any(|member| member.id == **to)) {
        return Err(Exit::Input(format!(
            "--to: {to} is not in --redis: name a member as it is written there"
        )));
    }
    let mut settings = args.group.settings(members.len())?;
    let (watching, servers) = (&args.sentinels, &args.servers);
    let (mut record_file, record) =
        StateFile::open(args.state.clone()).map_err(|error| Exit::Input(error.to_string()))?;
    watching.add_to(&mut settings, &mut members, &mut access, servers, &mut record_file, environment).await?;
    settings.records = record.into_iter().collect();
    let mut session = Session::open(
        settings,
        members,
        access,
        &args.policy,
        &FaceArgs::default(),
        record_file,
        environment,
    )?;
    let mut telemetry =
        TelemetryArgs::default().open(&args.group.name, args.group.interval, &session).await?;

    let (first, reports) = session.first_look(args.group.down_after).await?;
    telemetry.catch_up(&reports);
    match (first.decision.master(), &args.to) {
        (None, _) => {
            return Err(Exit::Failed(format!(
                "there is no master that could hand over: {}",
                first.decision.explanation
            )));
        }
        (Some(master), Some(to)) if master == to => {
            print(&format!("{to} is already master\n"))?;
            return Ok(0);
        }
        (Some(master), _) => print(&format!(
            "{master} is master; handing over to {}\n",
            args.to.as_deref().unwrap_or("the best replica in sync")
        ))?,
    }
    session.authorise(true);
    session.handle.switch_over(args.to.clone());

    let mut pass = Pass::new(args.group.down_after);
    let mut ended = None;
    let (mut waits, mut refused) = (String::new(), None);
    telemetry
        .until(&mut session, &args.policy, |now, report| match report {
            Report::Finished { action: Action::Handover(handover), outcome, .. } => {
                ended = Some((handover.target.clone(), outcome.clone()));
                true
            }
            Report::Decided(decided) => match &decided.decision.request {
                Some(RequestAnswer { state: RequestState::Refused, text, .. }) => {
                    refused = Some(text.clone());
                    true
                }
                Some(RequestAnswer { state: RequestState::Waiting, text, .. }) => {
                    waits.clone_from(text);
                    let request = decided.observation.switchover.as_ref();
                    let is_late = request.is_some_and(|request| request.age_us > GIVE_UP_US);
                    decided.decision.verdict != Verdict::Act && pass.is_over(now, report) && is_late
                }
                Some(RequestAnswer { state: RequestState::Done, .. }) | None => false,
            },
            Report::Link { .. }
            | Report::Fault { .. }
            | Report::Held
            | Report::Sent { .. }
            | Report::Withheld { .. }
            | Report::Finished { .. } => false,
        })
        .await?;
    match ended {
        Some((target, Ended::Done { note, .. })) => {
            print(&format!("{target} is master: {note}\n"))?;
            settle(&mut telemetry, &mut session, args).await?;
            Ok(0)
        }
        Some((_, Ended::Failed(why) | Ended::NotSent(why) | Ended::InDoubt(why))) => Err(Exit::Failed(why)),
        None => match refused {
            Some(why) => {
                print(&format!("refused: {why}\n"))?;
                Ok(Outcome::Refused.code())
            }
            None => {
                print(&format!("not done: {}\n", if waits.is_empty() { "interrupted" } else { &waits }))?;
                Ok(Outcome::Waiting.code())
            }
        },
    }
}

/// Waits until the other replicas are re-pointed.
async fn settle(
    telemetry: &mut super::telemetry::Telemetry,
    session: &mut Session,
    args: &Args,
) -> Result<(), Exit> {
    let mut pass = Pass::new(args.group.down_after);
    telemetry.until(session, &args.policy, |now, report| pass.is_over(now, report)).await.map(drop)
}

/// A replica that is not in sync by then needs a full synchronization, and its operator's attention.
const GIVE_UP_US: u64 = 10_000_000;
