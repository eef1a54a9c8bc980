//! What every command that operates a group does beside it: logs, metrics, recording, the policy file,
//! signals.

use super::{Exit, PolicyChoice, Session};
use crate::conformance::prove;
use crate::group::{Event, Moment, Report};
use crate::policy::{Change, Policy, Prove, Watch};
use crate::report::{GroupNames, Health, Heartbeat, Listen, Metrics, Recording, Reporter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

/// Outputs beside the log.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TelemetryArgs {
    /// Serve /metrics, /healthz and /readyz here [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Append each new decision to this file, one JSON line each, as input for `policy decide`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// The outputs of one group.
pub struct Telemetry {
    /// Of the process.
    pub metrics: Arc<Metrics>,
    reporter: Reporter,
    heartbeat: Heartbeat,
}

impl TelemetryArgs {
    /// Opens the outputs.
    ///
    /// # Errors
    /// [`Exit::Input`] for an address in use or a file that cannot be written.
    pub async fn open(&self, name: &str, interval: Duration, session: &Session) -> Result<Telemetry, Exit> {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let health =
            Arc::new(Health::new(u64::try_from(interval.max(QUIET).as_micros()).unwrap_or(u64::MAX)));
        let listen = match self.listen {
            Some(address) => Some(
                Listen::bind(address, Arc::clone(&metrics), Arc::clone(&health), session.start)
                    .await
                    .map_err(|error| Exit::Input(error.to_string()))?,
            ),
            None => None,
        };
        let zero = SystemTime::now() - session.start.elapsed();
        let recording = self
            .record
            .as_ref()
            .map(|path| Recording::open(path, zero))
            .transpose()
            .map_err(|error| Exit::Input(error.to_string()))?;
        if let Some(listen) = listen {
            tokio::spawn(listen.run());
        }
        let names =
            GroupNames { namespace: String::new(), name: name.to_owned(), topology: session.topology };
        let heartbeat = health.group(name.to_owned(), Moment::default());
        let reporter = Reporter::new(names, Arc::clone(&metrics), recording);
        Ok(Telemetry { metrics, reporter, heartbeat })
    }
}

impl Telemetry {
    fn report(&mut self, now: Moment, report: &Report) {
        self.heartbeat.report(now, report);
        self.reporter.take(now, report);
    }

    /// Processes earlier reports.
    pub fn catch_up(&mut self, reports: &[(Moment, Report)]) {
        for (now, report) in reports {
            self.report(*now, report);
        }
    }

    /// Processes reports until `done` is true, a signal arrives, or the group ends. Returns true if `done`
    /// was.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the system provides no signals.
    pub async fn until(
        &mut self,
        session: &mut Session,
        choice: &PolicyChoice,
        mut done: impl FnMut(Moment, &Report) -> bool,
    ) -> Result<bool, Exit> {
        let no_signals = |error: std::io::Error| Exit::Failed(format!("cannot handle signals: {error}"));
        let mut interrupted = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(no_signals)?;
        let watch = watch(session, choice);
        tokio::pin!(watch);
        loop {
            tokio::select! {
                report = session.reports.recv() => {
                    let Some((now, report)) = report else {
                        return Err(Exit::Failed("the loop of the group ended by a fault, which the log has".into()));
                    };
                    if let Some(upkeep) = &session.upkeep {
                        upkeep.note(&report);
                    }
                    self.report(now, &report);
                    if done(now, &report) {
                        return Ok(true);
                    }
                }
                () = &mut watch => {}
                _ = interrupted.recv() => return Ok(false),
                _ = terminated.recv() => return Ok(false),
            }
        }
    }
}

/// Watches the policy file, and makes each new version live once it is proven.
fn watch(session: &Session, choice: &PolicyChoice) -> impl Future<Output = ()> + use<> {
    let (chain, sandbox, handle, path) = (
        Arc::clone(&session.policies),
        Arc::clone(&session.sandbox),
        session.handle.clone(),
        choice.policy.clone(),
    );
    let unproven = choice.unproven_policy;
    async move {
        let Some(path) = path else { return std::future::pending().await };
        let prove: Arc<Prove> = if unproven { Arc::new(|_: &dyn Policy| Ok(())) } else { Arc::new(prove) };
        let watch = Watch { path: path.clone(), sandbox, chain, prove }.run(|change| match change {
            Change::Live { title, digest } => {
                tracing::info!(policy = title, digest, path = %path.display(), "policy activated");
                handle.send(Event::Policy);
            }
            Change::Refused(error) => tracing::warn!(%error, "policy refused"),
        });
        watch.await;
    }
}

/// The longest time between two decisions about a healthy group.
const QUIET: Duration = Duration::from_secs(1);
