//! `local`: a group of real servers on this machine, kept alive and failing over until it is stopped.

use super::local_group::{Interrupts, LocalGroup, LocalServers};
use super::telemetry::TelemetryArgs;
use super::{Environment, Exit, GroupSettings, PolicyChoice, print};
use crate::contract::Verdict;
use crate::group::Report;
use crate::local::Change;
use tokio::sync::mpsc::UnboundedReceiver;

/// Start Redis servers on this machine and keep them highly available until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator local --replicas 2 --port 7000\n\nKill any of the \
                        servers and see what happens. Nothing is saved to disk.")]
pub struct Args {
    #[command(flatten)]
    servers: LocalServers,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let mut interrupts = Interrupts::open()?;
    let mut group = tokio::select! {
        group = args.servers.open(&args.group, &args.policy, |_, _| {}, environment) => group?,
        () = interrupts.recv() => return Ok(0),
    };
    let ended = look_after(args, &mut group, &mut interrupts).await;
    group.stop().await;
    ended.map(|()| 0)
}

async fn look_after(args: &Args, group: &mut LocalGroup, interrupts: &mut Interrupts) -> Result<(), Exit> {
    let mut telemetry = args.telemetry.open(&args.group.name, args.group.interval, &group.session).await?;
    for endpoint in &group.endpoints {
        print(&format!("{endpoint}  redis-cli -p {}\n", endpoint.port))?;
    }
    print("Ctrl-C ends them\n")?;
    group.session.authorise(true);

    let mut told = Told { master: None, why: String::new(), printed: Ok(()) };
    let LocalGroup { session, changes, .. } = group;
    tokio::select! {
        done = telemetry.until(session, &args.policy, |_, report| !told.take(report)) => {
            done?;
        }
        () = log(changes) => {}
        () = interrupts.recv() => {}
    }
    told.printed
}

/// Prints a line for every change of master.
struct Told {
    master: Option<String>,
    /// The explanation of the newest plan that gives the role to somebody.
    why: String,
    /// Whether somebody still reads.
    printed: Result<(), Exit>,
}

impl Told {
    /// True while somebody reads.
    fn take(&mut self, report: &Report) -> bool {
        let Report::Decided(decided) = report else { return true };
        let decision = &decided.decision;
        if decision.verdict == Verdict::Act && decision.master_goal() != decision.master() {
            self.why = decision.explanation.clone();
        }
        if let Some(master) = decision.master().filter(|master| Some(*master) != self.master.as_deref()) {
            self.master = Some(master.to_owned());
            self.printed = print(&format!("{master} is master: {}\n", self.why));
        }
        self.printed.is_ok()
    }
}

/// What becomes of the servers, in the log.
async fn log(changes: &mut UnboundedReceiver<Change>) {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Started { endpoint, pid } => tracing::info!(instance = %endpoint, pid, "server started"),
            Change::Ended { endpoint, status } => {
                tracing::info!(instance = %endpoint, status = status.map(tracing::field::display), "server ended")
            }
            Change::NotStarted { endpoint, error } => {
                tracing::warn!(instance = %endpoint, %error, "server not started")
            }
        }
    }
}
