//! A group that is being looked after: the driver on a thread of its own, so that neither a slow terminal nor a scrape can hold
//! up a failover, and its reports on this one.

use super::{PolicyChoice, Stop, Surroundings};
use crate::fleet::{Access, Door, Driver, Publish, Seats};
use crate::group::{Event, Member, Moment, Report, Settings};
use crate::policy::{Line, Policy, Sandbox};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// A driven group.
pub struct Session {
    /// The way in.
    pub door: Door,
    /// What happens, in order.
    pub reports: Receiver<(Moment, Report)>,
    /// Who decides.
    pub line: Arc<Line>,
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
    /// [`Stop`] for a policy that cannot be used, or a machine without threads.
    pub fn open<P: Publish + Send + 'static>(
        settings: Settings,
        members: Vec<Member>,
        access: Access,
        choice: &PolicyChoice,
        publish: P,
        surroundings: &Surroundings,
    ) -> Result<Self, Stop> {
        let sandbox = choice.sandbox(surroundings)?;
        let line =
            Arc::new(Line::new(Arc::new(crate::policy::embedded(&sandbox).map_err(|error| Stop::Failed(format!("embedded policy: {error}")))?)));
        let chosen = choice.load_proven(&sandbox)?;
        let topology = settings.wanted.topology;
        if !chosen.description().topologies.contains(&topology) {
            return Err(Stop::Input(format!("policy {} does not decide for {topology:?}; choose another", chosen.title()).to_lowercase()));
        }
        line.swap(Arc::new(chosen)).map_err(|error| Stop::Input(error.to_string()))?;
        let start = Instant::now();
        let access = Access { wants: line.wants(topology), ..access };
        let (driver, reports) = Driver::new(settings, move |events| Seats::new(access, events), Arc::clone(&line), publish, start);
        let door = driver.door();
        door.send(Event::Members(members));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Stop::Failed(format!("no runtime: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = driver.run() => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("group".into()).spawn(drive).map_err(|error| Stop::Failed(format!("no thread: {error}")))?;
        Ok(Self { door, reports, line, sandbox, start, stop: Some(stop), thread: Some(thread) })
    }

    /// Lets it act, or only look.
    pub fn authorise(&self, may_act: bool) {
        self.door.send(Event::Authority { may_act, silent_groups_permille: 0 });
    }
}
