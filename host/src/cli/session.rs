//! A group in operation: the driver runs on a thread of its own, so that neither a slow terminal nor a scrape
//! can delay a failover, and its reports arrive on this one.

use super::face_args::{FaceArgs, OpenFace};
use super::outcome::{Pass, check_input};
use super::upkeep::Upkeep;
use super::{Environment, Exit, PolicyChoice};
use crate::authority::{ACTION_MAX, Authority};
use crate::contract::{Observation, Topology, Verdict};
use crate::driver::{Access, Driver, GroupHandle, Publish, Reports};
use crate::group::{Decided, Event, Member, Moment, Report, Settings};
use crate::policy::{Policy, PolicyChain, Sandbox};
use crate::report::words;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A group in operation.
pub struct Session {
    /// Handle of the driver.
    pub handle: GroupHandle,
    /// The driver's reports, in order.
    pub reports: Reports,
    /// The policies, live first.
    pub policies: Arc<PolicyChain>,
    /// Runs the policies.
    pub sandbox: Arc<Sandbox>,
    /// How the servers relate to each other.
    pub topology: Topology,
    /// Moment zero.
    pub start: Instant,
    /// Reads again what may change. None: nothing may.
    pub upkeep: Option<Upkeep>,
    /// Its Sentinel endpoint. None: none was asked for.
    pub face: Option<OpenFace>,
    /// None only during drop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Session {
    /// Waits for the actions in progress, and for the driver, so that its published record is written.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Session {
    /// Starts the driver for the members, and the Sentinel endpoint. It does not act before it has authority.
    ///
    /// # Errors
    /// [`Exit`] for an unusable policy, an address in use, or a machine without threads.
    pub fn open<P: Publish + Send + 'static>(
        settings: Settings,
        members: Vec<Member>,
        access: Access,
        choice: &PolicyChoice,
        face: &FaceArgs,
        publish: P,
        environment: &Environment,
    ) -> Result<Self, Exit> {
        let sandbox = choice.sandbox(environment)?;
        let policies = Arc::new(PolicyChain::new(Arc::new(
            crate::policy::embedded(&sandbox)
                .map_err(|error| Exit::Failed(format!("embedded policy: {error}")))?,
        )));
        let chosen = choice.load_proven(&sandbox)?;
        let topology = settings.wanted.topology;
        if !chosen.about().description.topologies.contains(&topology) {
            return Err(Exit::Input(format!(
                "policy {} does not decide for topology {}: choose another",
                chosen.title(),
                words::topology(topology)
            )));
        }
        policies.swap(Arc::new(chosen)).map_err(|error| Exit::Input(error.to_string()))?;
        let start = Instant::now();
        let open = face.open(start)?;
        let (driver, reports) = Driver::new(settings, access, Arc::clone(&policies), publish, start);
        let authority = Authority::endless();
        let handle = driver.handle();
        let driver = driver.under(&authority).seen_by(face.show(open.as_ref(), handle.clone()));
        handle.send(Event::Members(members));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::Failed(format!("cannot start a runtime: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            runtime.block_on(async {
                // A task of its own: waking the future that a runtime blocks on costs a system call each
                // time.
                tokio::select! {
                    _ = tokio::spawn(driver.run()) => {}
                    _ = stopped => drop(authority.end(ACTION_MAX).await),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("group".into())
            .spawn(drive)
            .map_err(|error| Exit::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            handle,
            reports,
            policies,
            sandbox,
            topology,
            start,
            upkeep: None,
            face: open,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Observes, without authority to act, until every server has answered or its time is over. Returns the
    /// decision and the reports until then, which are logged later: wrong input is one line, without a log
    /// before it.
    ///
    /// # Errors
    /// [`Exit::Input`] for servers that cannot be operated, [`Exit::Failed`] if no policy gives an answer.
    pub async fn first_look(
        &mut self,
        hang_limit: Duration,
    ) -> Result<(Decided, Vec<(Moment, Report)>), Exit> {
        let mut pass = Pass::looking(hang_limit);
        let mut reports = Vec::new();
        while let Some((now, report)) = self.reports.recv().await {
            let is_over = pass.is_over(now, &report);
            reports.push((now, report));
            if is_over {
                break;
            }
        }
        let first = pass.into_decided().ok_or_else(|| Exit::Failed("no policy gave an answer".into()))?;
        check_input(&first.observation)?;
        self.check_parameters(&first.observation)?;
        Ok((first, reports))
    }

    /// The policy refuses a group of nobody for these parameters, and not without them.
    fn check_parameters(&self, observation: &Observation) -> Result<(), Exit> {
        let policy = self.policies.live();
        let nobody = |parameters: &str| Observation {
            instances: Vec::new(),
            parameters: parameters.to_owned(),
            ..observation.clone()
        };
        let decide = |parameters| policy.decide(&nobody(parameters)).ok();
        match (decide(&observation.parameters), decide("{}")) {
            (Some(given), Some(none)) if given.verdict == Verdict::Refuse && given.reason != none.reason => {
                Err(Exit::Input(format!("--parameters: {}", given.explanation)))
            }
            // A policy that gives no answer is in the log, and is another one's turn.
            _ => Ok(()),
        }
    }

    /// Gives or withdraws the authority to act.
    pub fn authorise(&self, may_act: bool) {
        self.handle.send(Event::Authority { may_act, silent_groups_permille: 0 });
    }
}
