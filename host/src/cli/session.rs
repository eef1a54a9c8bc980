//! A group that is being looked after: the driver on a thread of its own, so that neither a slow terminal nor
//! a scrape can hold up a failover, and its reports on this one.

use super::outcome::{Pass, check_input};
use super::{Environment, Exit, PolicyChoice};
use crate::driver::{Access, Driver, GroupHandle, Publish, Reports};
use crate::group::{Decided, Event, Member, Moment, Report, Settings};
use crate::policy::{Policy, PolicyChain, Sandbox};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A driven group.
pub struct Session {
    /// The way in.
    pub handle: GroupHandle,
    /// What happens, in order.
    pub reports: Reports,
    /// Who decides.
    pub line: Arc<PolicyChain>,
    /// Where policies run.
    pub sandbox: Arc<Sandbox>,
    /// The zero of all moments.
    pub start: Instant,
    /// None only while it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Session {
    /// Waits for the driver, so that what it published is written.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Session {
    /// Starts to look after the members. It acts only once it has authority.
    ///
    /// # Errors
    /// [`Exit`] for a policy that cannot be used, or a machine without threads.
    pub fn open<P: Publish + Send + 'static>(
        settings: Settings,
        members: Vec<Member>,
        access: Access,
        choice: &PolicyChoice,
        publish: P,
        environment: &Environment,
    ) -> Result<Self, Exit> {
        let sandbox = choice.sandbox(environment)?;
        let line = Arc::new(PolicyChain::new(Arc::new(
            crate::policy::embedded(&sandbox)
                .map_err(|error| Exit::Failed(format!("embedded policy: {error}")))?,
        )));
        let chosen = choice.load_proven(&sandbox)?;
        let topology = settings.wanted.topology;
        if !chosen.description().topologies.contains(&topology) {
            return Err(Exit::Input(
                format!("policy {} does not decide for {topology:?}; choose another", chosen.title())
                    .to_lowercase(),
            ));
        }
        line.swap(Arc::new(chosen)).map_err(|error| Exit::Input(error.to_string()))?;
        let start = Instant::now();
        let (driver, reports) = Driver::new(settings, access, Arc::clone(&line), publish, start);
        let handle = driver.handle();
        handle.send(Event::Members(members));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::Failed(format!("no runtime: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            runtime.block_on(async {
                // A task of its own: waking what a runtime blocks on costs a system call each time.
                tokio::select! {
                    _ = tokio::spawn(driver.run()) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("group".into())
            .spawn(drive)
            .map_err(|error| Exit::Failed(format!("no thread: {error}")))?;
        Ok(Self { handle, reports, line, sandbox, start, stop: Some(stop), thread: Some(thread) })
    }

    /// Looks until every server has answered or has had its time, without authority to act. Returns the
    /// decision, and what happened until then: nothing is told before the input is known to be right, so
    /// that bad input is one line.
    ///
    /// # Errors
    /// [`Exit::Input`] for servers that cannot be looked after, [`Exit::Failed`] when no policy gives an
    /// answer.
    pub async fn first_look(
        &mut self,
        hang_limit: Duration,
    ) -> Result<(Decided, Vec<(Moment, Report)>), Exit> {
        let mut pass = Pass::looking(hang_limit);
        let mut seen = Vec::new();
        while let Some((now, report)) = self.reports.recv().await {
            let is_over = pass.is_over(now, &report);
            seen.push((now, report));
            if is_over {
                break;
            }
        }
        let first = pass.into_decided().ok_or_else(|| Exit::Failed("no policy gave an answer".into()))?;
        check_input(&first.observation)?;
        Ok((first, seen))
    }

    /// Lets it act, or only look.
    pub fn authorise(&self, may_act: bool) {
        self.handle.send(Event::Authority { may_act, silent_groups_permille: 0 });
    }
}
