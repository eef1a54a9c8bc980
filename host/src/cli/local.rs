//! `local`: runs a group of Redis servers on this machine, with failover, until it is stopped.

use super::face_args::FaceArgs;
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
                  servers and watch the failover. Nothing is saved to disk.")]
pub struct Args {
    #[command(flatten)]
    servers: LocalServers,
    #[command(flatten)]
    group: GroupSettings,
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    face: FaceArgs,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let mut interrupts = Interrupts::open()?;
    let mut group = tokio::select! {
        group = args.servers.open(&args.group, &args.policy, &args.face, |_, _| {}, environment) => group?,
        () = interrupts.recv() => return Ok(0),
    };
    let ended = operate(args, &mut group, &mut interrupts).await;
    group.stop().await;
    ended.map(|()| 0)
}

async fn operate(args: &Args, group: &mut LocalGroup, interrupts: &mut Interrupts) -> Result<(), Exit> {
    let mut telemetry = args.telemetry.open(&args.group.name, args.group.interval, &group.session).await?;
    for endpoint in &group.endpoints {
        print(&format!("{endpoint}  redis-cli -p {}\n", endpoint.port))?;
    }
    print("Ctrl-C stops them\n")?;
    group.session.authorise(true);

    let mut masters = MasterLines { master: None, explanation: String::new(), printed: Ok(()) };
    let LocalGroup { session, changes, .. } = group;
    tokio::select! {
        done = telemetry.until(session, &args.policy, |_, report| !masters.report(report)) => {
            done?;
        }
        () = log(changes) => {}
        () = interrupts.recv() => {}
    }
    masters.printed
}

/// Prints a line for every change of master.
struct MasterLines {
    master: Option<String>,
    /// The explanation of the newest plan that changes the master.
    explanation: String,
    /// The error of the last print.
    printed: Result<(), Exit>,
}

impl MasterLines {
    /// False once standard output is closed.
    fn report(&mut self, report: &Report) -> bool {
        let Report::Decided(decided) = report else { return true };
        let decision = &decided.decision;
        if decision.verdict == Verdict::Act && decision.master_goal() != decision.master() {
            self.explanation = decision.explanation.clone();
        }
        if let Some(master) = decision.master().filter(|master| Some(*master) != self.master.as_deref()) {
            self.master = Some(master.to_owned());
            self.printed = print(&format!("{master} is master: {}\n", self.explanation));
        }
        self.printed.is_ok()
    }
}

/// Logs the changes of the servers.
async fn log(changes: &mut UnboundedReceiver<Change>) {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Started { endpoint, pid } => tracing::info!(instance = %endpoint, pid, "server started"),
            Change::Ended { endpoint, status } => {
                let status = status.map(tracing::field::display);
                tracing::info!(instance = %endpoint, status, "server ended")
            }
            Change::NotStarted { endpoint, error } => {
                tracing::warn!(instance = %endpoint, %error, "server not started")
            }
        }
    }
}
