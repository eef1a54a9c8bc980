//! What happens to the demo's group, in the order in which it happened: waits for it, tells of it, and keeps
//! what the summary needs. Does to the group only what a person could: kill, ask, write a file.

use super::load::{Load, Moved, missing};
use super::summary::{Chapter, Summary};
use super::swap::PolicyFile;
use super::{Screen, Tone};
use crate::cli::local_group::{LocalGroup, LocalServers};
use crate::cli::{Environment, Exit, GroupSettings, PolicyChoice, Prefer};
use crate::conformance::prove;
use crate::contract::{Action, Health, Role, Topology, Verdict};
use crate::group::{Decided, Event, Moment, Outcome, Record, Report};
use crate::local::{Change, Scratch};
use crate::policy::{self, Watch};
use crate::redis::Endpoint;
use crate::report::{GroupNames, MasterChange, Metrics, Reporter, Timeline, words};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

pub use super::summary::Kind;

/// The demo under way.
pub struct Story {
    group: LocalGroup,
    screen: Screen,
    reporter: Reporter,
    timeline: Timeline,
    records: UnboundedReceiver<(Moment, Record)>,
    policies: UnboundedReceiver<(Instant, policy::Change)>,
    file: PolicyFile,
    watch: AbortHandle,
    load: Option<(Load, UnboundedReceiver<Moved>)>,
    known: Known,
    chapters: Vec<Chapter>,
    /// The policy file's directory; it goes with us.
    _scratch: Scratch,
}

/// What happened so far.
#[derive(Default)]
struct Known {
    /// The last fault or order: what times count from.
    mark: Option<Instant>,
    decided: Option<Decided>,
    /// The change of master since the mark.
    takeover: Option<MasterChange>,
    /// The first write that another server acknowledged since the mark.
    first_write: Option<Instant>,
    /// Index of who acknowledged last.
    writes_to: Option<usize>,
    epoch: u64,
    /// What became of the policy's file since the mark.
    swap: Option<Result<String, String>>,
}

/// Anything that is told of, at its moment.
enum WatchEvent {
    Report(Moment, Report),
    Record(Record),
    Server(Change),
    Moved(Moved),
    Policy(policy::Change),
}

impl Story {
    /// Starts the servers and everything around them.
    pub async fn open(
        servers: &LocalServers,
        screen: Screen,
        environment: &Environment,
    ) -> Result<Self, Exit> {
        let failed = |error: std::io::Error| Exit::Failed(format!("no file for the policy: {error}"));
        let scratch = Scratch::new(&environment.temp_dir).map_err(failed)?;
        let file = PolicyFile::new(scratch.path()).map_err(failed)?;
        let (told, records) = unbounded_channel();
        // Nobody may want to know.
        let told = move |now, record: &Record| drop(told.send((now, record.clone())));
        let group = servers
            .open(
                &group(),
                &PolicyChoice {
                    policy: None,
                    policy_cache: None,
                    no_policy_cache: true,
                    unproven_policy: false,
                },
                told,
                environment,
            )
            .await?;
        let (changed, policies) = unbounded_channel();
        let watch = Watch {
            path: file.path().to_owned(),
            sandbox: Arc::clone(&group.session.sandbox),
            line: Arc::clone(&group.session.line),
            prove: Arc::new(prove),
        };
        let handle = group.session.handle.clone();
        let watch = tokio::spawn(watch.run(move |change| {
            if let policy::Change::Live { .. } = change {
                handle.send(Event::Policy);
            }
            drop(changed.send((Instant::now(), change)));
        }));
        let names =
            GroupNames { namespace: String::new(), name: NAME.into(), topology: Topology::Replication };
        let reporter = Reporter::new(names, Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))), None);
        Ok(Self {
            group,
            screen,
            reporter,
            timeline: Timeline::default(),
            records,
            policies,
            file,
            watch: watch.abort_handle(),
            load: None,
            known: Known::default(),
            chapters: Vec::new(),
            _scratch: scratch,
        })
    }

    /// Ends everything that was started.
    pub async fn stop(self) {
        self.watch.abort();
        drop(self.load);
        self.group.stop().await;
    }

    pub fn title(&mut self, text: &str) -> Result<(), Exit> {
        self.screen.title(text)
    }

    // ---- What a person does
    // ---------------------------------------------------------------------------------------------------

    /// Lets the operator act, and waits until it has made a group of the servers.
    pub async fn begin(&mut self) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.session.authorise(true);
        self.healthy().await
    }

    pub fn start_to_write(&mut self) -> Result<(), Exit> {
        let nodes: Result<Vec<_>, _> =
            self.group.endpoints.iter().map(|endpoint| endpoint.to_string().parse()).collect();
        let nodes = nodes.map_err(|error| Exit::Failed(format!("no address: {error}")))?;
        self.load = Some(Load::start(&nodes).map_err(|error| Exit::Failed(format!("no thread: {error}")))?);
        Ok(())
    }

    /// Kills it and leaves it dead. Who it was.
    pub async fn kill_master(&mut self) -> Result<Endpoint, Exit> {
        let master = self.master()?;
        let at = self
            .group
            .supervisor
            .kill(&master)
            .await
            .ok_or_else(|| Exit::Failed(format!("{master} died by itself")))?;
        self.timeline.fault(Moment(micros(at.saturating_duration_since(self.group.session.start))));
        self.mark(at);
        self.screen.tell(Some(Duration::ZERO), Tone::Harm, "killed", &format!("{master}, the master"))?;
        Ok(master)
    }

    /// Starts it again, and waits until it is an in-sync replica.
    pub async fn revive(&mut self, dead: &Endpoint) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.supervisor.revive(dead);
        self.healthy().await
    }

    pub fn switch_over(&mut self) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.session.handle.switch_over(None);
        self.screen.tell(Some(Duration::ZERO), Tone::Said, "asked", "for a switchover to the best replica")
    }

    /// Waits for a change of master to be over, and for a write after it.
    pub async fn changed(&mut self, kind: Kind) -> Result<(), Exit> {
        self.until("no other master took over", |known, _| {
            known.takeover.is_some() && known.first_write.is_some()
        })
        .await?;
        let Known { mark: Some(mark), takeover: Some(takeover), first_write: Some(first_write), .. } =
            &self.known
        else {
            return Ok(());
        };
        self.chapters.push(Chapter {
            kind,
            began: *mark,
            first_write: *first_write,
            takeover: takeover.clone(),
        });
        Ok(())
    }

    /// Breaks the policy's file, and waits for its refusal.
    pub async fn break_policy(&mut self) -> Result<(), Exit> {
        let before = self.group.session.line.live().digest().to_owned();
        self.mark(Instant::now());
        self.file.write_broken().map_err(|error| Exit::Failed(format!("policy file: {error}")))?;
        self.until("the broken policy was not noticed", |known, _| known.swap.is_some()).await?;
        if self.group.session.line.live().digest() != before {
            return Err(Exit::Failed("half a policy went live".into()));
        }
        self.screen.tell(
            None,
            Tone::Good,
            "unchanged",
            &format!("{} goes on deciding", words::short(&before)),
        )
    }

    /// Replaces the policy's file, and waits for the first decision of the new one.
    pub async fn swap_policy(&mut self) -> Result<(), Exit> {
        let before = self.group.session.line.live().digest().to_owned();
        self.mark(Instant::now());
        self.file.write_other().map_err(|error| Exit::Failed(format!("policy file: {error}")))?;
        self.until(
            "the new policy decided nothing",
            |known, _| matches!((&known.swap, &known.decided), (Some(Ok(digest)), Some(decided)) if *digest == decided.digest && *digest != before),
        )
        .await?;
        self.screen.tell(None, Tone::Good, "swapped", "it decides now, and its decisions name the new digest")
    }

    /// Stops writing, asks the master for every acknowledged key, and shows what came of it all.
    pub async fn summarise(&mut self) -> Result<(), Exit> {
        self.healthy().await?;
        let master = self.master()?;
        let (load, _) = self.load.take().ok_or_else(|| Exit::Failed("nothing was written".into()))?;
        let ledger = load
            .finish()
            .ok_or_else(|| Exit::Failed("a client panicked, so that its writes cannot be counted".into()))?;
        let lost = missing(&master, &ledger.acknowledged)
            .map_err(|error| Exit::Failed(format!("the count is not complete: {error}")))?;
        self.screen.block(&Summary { chapters: &self.chapters, ledger: &ledger, lost: &lost }.to_string())?;
        self.healthy().await?;
        let (master, members) = (self.master()?, self.group.endpoints.len());
        self.screen.tell(
            None,
            Tone::Good,
            "healthy",
            &format!("{master} is master of {} in-sync replicas", members - 1),
        )
    }

    // ---- What happens
    // ---------------------------------------------------------------------------------------------------------

    /// Waits for a decision that there is one master and all others are its in-sync replicas.
    pub async fn healthy(&mut self) -> Result<(), Exit> {
        // A new one: the last may be of before whatever happened.
        self.known.decided = None;
        self.until("the group did not become healthy", |known, members| {
            known.decided.as_ref().is_some_and(|decided| {
                let decision = &decided.decision;
                let in_sync = decision.members.iter().filter(|member| member.health == Health::InSync);
                let replicas = in_sync.clone().filter(|member| member.role == Role::Replica).count();
                decision.verdict == Verdict::Healthy && in_sync.count() == members && replicas == members - 1
            })
        })
        .await
    }

    /// Lets this much time pass.
    pub async fn pass(&mut self, time: Duration) -> Result<(), Exit> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.next(end).await?;
        }
        Ok(())
    }

    async fn until(&mut self, otherwise: &str, is_done: impl Fn(&Known, usize) -> bool) -> Result<(), Exit> {
        let deadline = Instant::now() + WAIT_MAX;
        while !is_done(&self.known, self.group.endpoints.len()) {
            if Instant::now() >= deadline {
                let why = self
                    .known
                    .decided
                    .as_ref()
                    .map_or("no policy gave an answer", |decided| decided.decision.explanation.as_str());
                return Err(Exit::Failed(format!("{otherwise} within {} s: {why}", WAIT_MAX.as_secs())));
            }
            self.next(deadline).await?;
        }
        Ok(())
    }

    /// Waits for something to happen, and tells of all that did. It comes over several channels, so each gets
    /// a moment to bring what happened before it.
    async fn next(&mut self, deadline: Instant) -> Result<(), Exit> {
        let start = self.group.session.start;
        let instant = |now: Moment| start + Duration::from_micros(now.0);
        let first = tokio::select! {
            Some((now, report)) = self.group.session.reports.recv() => Some((instant(now), WatchEvent::Report(now, report))),
            Some(change) = self.group.changes.recv() => Some((Instant::now(), WatchEvent::Server(change))),
            () = tokio::time::sleep_until(deadline.min(Instant::now() + COUNT_EVERY).into()) => None,
        };
        if first.is_some() {
            tokio::time::sleep(GATHER).await;
        }
        let mut happened: Vec<_> = first.into_iter().collect();
        while let Ok((now, report)) = self.group.session.reports.try_recv() {
            happened.push((instant(now), WatchEvent::Report(now, report)));
        }
        while let Ok((now, record)) = self.records.try_recv() {
            happened.push((instant(now), WatchEvent::Record(record)));
        }
        while let Ok(change) = self.group.changes.try_recv() {
            happened.push((Instant::now(), WatchEvent::Server(change)));
        }
        while let Ok((at, change)) = self.policies.try_recv() {
            happened.push((at, WatchEvent::Policy(change)));
        }
        while let Some(moved) = self.load.as_mut().and_then(|(_, moved)| moved.try_recv().ok()) {
            happened.push((moved.at, WatchEvent::Moved(moved)));
        }
        // Stable, so reports stay in their order.
        happened.sort_by_key(|(at, _)| *at);
        happened.into_iter().try_for_each(|(at, happening)| self.take(at, happening))?;
        self.count()
    }

    fn count(&mut self) -> Result<(), Exit> {
        match &self.load {
            Some((load, _)) => {
                self.screen.count(&format!("{:>12}  {} writes acknowledged", "", load.acknowledged()))
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, at: Instant, happening: WatchEvent) -> Result<(), Exit> {
        let after = self.known.mark.and_then(|mark| at.checked_duration_since(mark));
        match happening {
            WatchEvent::Report(now, report) => {
                self.reporter.take(now, &report);
                if let Some(takeover) =
                    self.timeline.take(now, &report).filter(|takeover| takeover.source.is_some())
                {
                    self.known.takeover = Some(takeover);
                }
                let told = told(&report);
                if let Report::Decided(decided) = report {
                    self.known.decided = Some(*decided);
                }
                told.map_or(Ok(()), |(tone, word, text)| self.screen.tell(after, tone, word, &text))
            }
            WatchEvent::Record(record) if record.published.epoch == self.known.epoch => Ok(()),
            WatchEvent::Record(Record { published, .. }) => {
                self.known.epoch = published.epoch;
                self.screen.tell(
                    after,
                    Tone::Done,
                    "published",
                    &format!("{} as master, epoch {}", published.master, published.epoch),
                )
            }
            WatchEvent::Server(Change::Started { endpoint, pid }) => {
                self.screen.tell(None, Tone::Said, "runs", &format!("{endpoint}, process {pid}"))
            }
            WatchEvent::Server(Change::Ended { .. }) => Ok(()),
            WatchEvent::Server(Change::NotStarted { endpoint, error }) => {
                self.screen.tell(None, Tone::Harm, "does not run", &format!("{endpoint}: {error}"))
            }
            WatchEvent::Moved(Moved { to, .. }) if self.known.writes_to == Some(to) => Ok(()),
            WatchEvent::Moved(Moved { to, at }) => {
                let is_first = self.known.writes_to.replace(to).is_none();
                self.known.first_write = Some(at);
                let after = after.filter(|_| !is_first);
                self.screen.tell(
                    after,
                    Tone::Good,
                    "first write",
                    &format!("acknowledged by {}", self.group.endpoints[to]),
                )
            }
            WatchEvent::Policy(policy::Change::Live { title, digest }) => {
                let text = format!("{title} is live, digest {}", words::short(&digest));
                self.known.swap = Some(Ok(digest));
                self.screen.tell(after, Tone::Done, "policy", &text)
            }
            WatchEvent::Policy(policy::Change::Refused(error)) => {
                self.known.swap = Some(Err(error.to_string()));
                self.screen.tell(after, Tone::Harm, "refused", &error.to_string())
            }
        }
    }

    fn mark(&mut self, at: Instant) {
        (self.known.mark, self.known.takeover, self.known.first_write, self.known.swap) =
            (Some(at), None, None, None);
    }

    fn master(&self) -> Result<Endpoint, Exit> {
        let master = self.known.decided.as_ref().and_then(|decided| decided.decision.master());
        let known =
            |id: &str| self.group.endpoints.iter().find(|endpoint| endpoint.to_string() == id).cloned();
        master.and_then(known).ok_or_else(|| Exit::Failed("there is no master".into()))
    }
}

/// What a person is told of a report.
fn told(report: &Report) -> Option<(Tone, &'static str, String)> {
    match report {
        Report::Link { member, state } => {
            Some((Tone::Said, "observed", format!("{member}: {}", words::link(*state))))
        }
        Report::Decided(decided) if decided.is_news => {
            let decision = &decided.decision;
            let (tone, word) = match decision.verdict {
                Verdict::Healthy => (Tone::Good, "healthy"),
                Verdict::Act => (Tone::Done, "decided"),
                Verdict::Wait => (Tone::Said, "waits"),
                Verdict::Refuse => (Tone::Harm, "refuses"),
            };
            let reason = if decision.verdict == Verdict::Healthy {
                String::new()
            } else {
                format!("{}: ", decision.reason)
            };
            Some((tone, word, format!("{reason}{}", decision.explanation)))
        }
        Report::Decided(_) | Report::Sent { .. } => None,
        Report::Fault { title, fault, .. } => Some((Tone::Harm, "fault", format!("{title}: {fault}"))),
        Report::Held => Some((Tone::Harm, "held", "no policy gives a usable answer".into())),
        Report::Withheld { action, why } => {
            Some((Tone::Said, "withheld", format!("{}: {why}", words::action(action).0)))
        }
        Report::Finished { action, outcome: Outcome::Done { note, .. }, .. } => {
            let (name, instance) = words::action(action);
            let word = match action {
                Action::Promote(_) => "promoted",
                Action::Follow(_) => "re-pointed",
                Action::Handover(_) => "handed over",
                Action::Fence(_)
                | Action::Unfence(_)
                | Action::KickClients(_)
                | Action::Configure(_)
                | Action::Restart(_)
                | Action::Sentinel(_)
                | Action::Cluster(_) => name,
            };
            Some((Tone::Done, word, format!("{instance}: {note}")))
        }
        Report::Finished { action, outcome: Outcome::Failed(why) | Outcome::InDoubt(why), .. } => {
            let (name, instance) = words::action(action);
            Some((Tone::Harm, "failed", format!("{name} {instance}: {why}")))
        }
    }
}

fn group() -> GroupSettings {
    GroupSettings {
        name: NAME.into(),
        down_after: Duration::from_secs(1),
        interval: Duration::from_millis(25),
        min_size: None,
        prefer: Prefer::Availability,
        self_fence_lag: Duration::from_secs(2),
        parameters: "{}".into(),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const NAME: &str = "demo";
/// A full copy of what was written, on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// Longer than a failover takes, shorter than a person notices.
const GATHER: Duration = Duration::from_millis(10);
