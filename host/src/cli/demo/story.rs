//! The events of the demo's group, in order: waits for them, prints them, and keeps what the summary needs.
//! Acts on the group only as a person could: kills, requests, writes a file.

use super::load::{Load, Moved, missing};
use super::summary::{Chapter, Summary};
use super::swap::PolicyFile;
use super::{Screen, Tone};
use crate::cli::face_args::FaceArgs;
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

/// The running demo.
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
    /// The directory of the policy file, deleted at the end.
    _scratch: Scratch,
}

/// The state so far.
#[derive(Default)]
struct Known {
    /// The last fault or request, from which times count.
    mark: Option<Instant>,
    decided: Option<Decided>,
    /// The change of master since the mark.
    change: Option<MasterChange>,
    /// The first acknowledgement of another server since the mark.
    first_write: Option<Instant>,
    /// Index of the server that acknowledged last.
    writes_to: Option<usize>,
    epoch: u64,
    /// The outcome of the last change of the policy file since the mark.
    swap: Option<Result<String, String>>,
}

/// Anything that is printed.
enum DemoEvent {
    Report(Moment, Report),
    Record(Record),
    Server(Change),
    Moved(Moved),
    Policy(policy::Change),
}

impl Story {
    /// Starts the servers, the driver and the watch of the policy file.
    pub async fn open(
        servers: &LocalServers,
        screen: Screen,
        environment: &Environment,
    ) -> Result<Self, Exit> {
        let failed = |error: std::io::Error| Exit::Failed(format!("no policy file: {error}"));
        let scratch = Scratch::new(&environment.temp_dir).map_err(failed)?;
        let file = PolicyFile::new(scratch.path()).map_err(failed)?;
        let (sender, records) = unbounded_channel();
        // The receiver may be dropped.
        let on_record = move |now, record: &Record| drop(sender.send((now, record.clone())));
        let group = servers
            .open(
                &group(),
                &PolicyChoice {
                    policy: None,
                    policy_cache: None,
                    no_policy_cache: true,
                    unproven_policy: false,
                },
                &FaceArgs::default(),
                on_record,
                environment,
            )
            .await?;
        let (changed, policies) = unbounded_channel();
        let watch = Watch {
            path: file.path().to_owned(),
            sandbox: Arc::clone(&group.session.sandbox),
            chain: Arc::clone(&group.session.policies),
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

    // What a person does

    /// Gives the operator authority, and waits until the servers are a healthy group.
    pub async fn begin(&mut self) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.session.authorise(true);
        self.healthy().await
    }

    pub fn start_to_write(&mut self) -> Result<(), Exit> {
        let nodes: Result<Vec<_>, _> =
            self.group.endpoints.iter().map(|endpoint| endpoint.to_string().parse()).collect();
        let nodes = nodes.map_err(|error| Exit::Failed(format!("not an address: {error}")))?;
        self.load = Some(Load::start(&nodes).map_err(|error| Exit::Failed(format!("no thread: {error}")))?);
        Ok(())
    }

    /// Kills the master without a restart. Returns its address.
    pub async fn kill_master(&mut self) -> Result<Endpoint, Exit> {
        let master = self.master()?;
        let at = self
            .group
            .supervisor
            .kill(&master)
            .await
            .ok_or_else(|| Exit::Failed(format!("{master} ended by itself")))?;
        self.timeline.fault(Moment(micros(at.saturating_duration_since(self.group.session.start))));
        self.mark(at);
        self.screen.event(Some(Duration::ZERO), Tone::Harm, "killed", &format!("{master}, the master"))?;
        Ok(master)
    }

    /// Starts the server again, and waits until it is a replica in sync.
    pub async fn revive(&mut self, dead: &Endpoint) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.supervisor.revive(dead);
        self.healthy().await
    }

    pub fn switch_over(&mut self) -> Result<(), Exit> {
        self.mark(Instant::now());
        self.group.session.handle.switch_over(None);
        self.screen.event(Some(Duration::ZERO), Tone::Said, "requested", "a switchover to the best replica")
    }

    /// Waits for the end of a change of master, and for a write after it.
    pub async fn changed(&mut self, kind: Kind) -> Result<(), Exit> {
        self.until("no other master took over", |known, _| {
            known.change.is_some() && known.first_write.is_some()
        })
        .await?;
        let Known { mark: Some(mark), change: Some(change), first_write: Some(first_write), .. } =
            &self.known
        else {
            return Ok(());
        };
        self.chapters.push(Chapter { kind, began: *mark, first_write: *first_write, change: change.clone() });
        Ok(())
    }

    /// Truncates the policy file, and waits for its refusal.
    pub async fn break_policy(&mut self) -> Result<(), Exit> {
        let before = self.group.session.policies.live().digest().to_owned();
        self.mark(Instant::now());
        self.file.write_broken().map_err(|error| Exit::Failed(format!("policy file: {error}")))?;
        self.until("the broken policy was not noticed", |known, _| known.swap.is_some()).await?;
        if self.group.session.policies.live().digest() != before {
            return Err(Exit::Failed("a truncated policy was activated".into()));
        }
        self.screen.event(None, Tone::Good, "unchanged", &format!("{} still decides", words::short(&before)))
    }

    /// Replaces the policy file, and waits for the first decision of the new policy.
    pub async fn swap_policy(&mut self) -> Result<(), Exit> {
        let before = self.group.session.policies.live().digest().to_owned();
        self.mark(Instant::now());
        self.file.write_other().map_err(|error| Exit::Failed(format!("policy file: {error}")))?;
        self.until("the new policy made no decision", |known, _| match (&known.swap, &known.decided) {
            (Some(Ok(digest)), Some(decided)) => *digest == decided.digest && *digest != before,
            (Some(_) | None, _) => false,
        })
        .await?;
        self.screen.event(None, Tone::Good, "swapped", "its decisions carry the new digest")
    }

    /// Stops writing, queries the master for every acknowledged key, and prints the summary.
    pub async fn summarise(&mut self) -> Result<(), Exit> {
        self.healthy().await?;
        let master = self.master()?;
        let (load, _) = self.load.take().ok_or_else(|| Exit::Failed("nothing was written".into()))?;
        let ledger = load
            .finish()
            .ok_or_else(|| Exit::Failed("a client panicked, and its writes cannot be counted".into()))?;
        let lost = missing(&master, &ledger.acknowledged)
            .map_err(|error| Exit::Failed(format!("the count is incomplete: {error}")))?;
        self.screen.block(&Summary { chapters: &self.chapters, ledger: &ledger, lost: &lost }.to_string())?;
        self.healthy().await?;
        let (master, members) = (self.master()?, self.group.endpoints.len());
        self.screen.event(
            None,
            Tone::Good,
            "healthy",
            &format!("{master} is master, with {} replicas in sync", members - 1),
        )
    }

    // Events

    /// Waits for a decision with one master and all other members as its replicas in sync.
    pub async fn healthy(&mut self) -> Result<(), Exit> {
        // Only a new decision counts: the last may precede the fault or request.
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

    /// Waits for an event, and prints all that arrived. Events come over several channels, so each channel
    /// gets a moment to deliver earlier ones.
    async fn next(&mut self, deadline: Instant) -> Result<(), Exit> {
        let start = self.group.session.start;
        let instant = |now: Moment| start + Duration::from_micros(now.0);
        let first = tokio::select! {
            Some((now, report)) = self.group.session.reports.recv() => {
                Some((instant(now), DemoEvent::Report(now, report)))
            }
            Some(change) = self.group.changes.recv() => Some((Instant::now(), DemoEvent::Server(change))),
            () = tokio::time::sleep_until(deadline.min(Instant::now() + COUNT_EVERY).into()) => None,
        };
        if first.is_some() {
            tokio::time::sleep(GATHER).await;
        }
        let mut events: Vec<_> = first.into_iter().collect();
        while let Ok((now, report)) = self.group.session.reports.try_recv() {
            events.push((instant(now), DemoEvent::Report(now, report)));
        }
        while let Ok((now, record)) = self.records.try_recv() {
            events.push((instant(now), DemoEvent::Record(record)));
        }
        while let Ok(change) = self.group.changes.try_recv() {
            events.push((Instant::now(), DemoEvent::Server(change)));
        }
        while let Ok((at, change)) = self.policies.try_recv() {
            events.push((at, DemoEvent::Policy(change)));
        }
        while let Some(moved) = self.load.as_mut().and_then(|(_, moved)| moved.try_recv().ok()) {
            events.push((moved.at, DemoEvent::Moved(moved)));
        }
        // Stable, so reports keep their order.
        events.sort_by_key(|(at, _)| *at);
        events.into_iter().try_for_each(|(at, event)| self.show(at, event))?;
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

    fn show(&mut self, at: Instant, event: DemoEvent) -> Result<(), Exit> {
        let after = self.known.mark.and_then(|mark| at.checked_duration_since(mark));
        match event {
            DemoEvent::Report(now, report) => {
                self.reporter.take(now, &report);
                if let Some(change) =
                    self.timeline.take(now, &report).filter(|change| change.source.is_some())
                {
                    self.known.change = Some(change);
                }
                let line = report_line(&report);
                if let Report::Decided(decided) = report {
                    self.known.decided = Some(*decided);
                }
                line.map_or(Ok(()), |(tone, word, text)| self.screen.event(after, tone, word, &text))
            }
            DemoEvent::Record(record) if record.published.epoch == self.known.epoch => Ok(()),
            DemoEvent::Record(Record { published, .. }) => {
                self.known.epoch = published.epoch;
                self.screen.event(
                    after,
                    Tone::Done,
                    "published",
                    &format!("{} as master, epoch {}", published.master, published.epoch),
                )
            }
            DemoEvent::Server(Change::Started { endpoint, pid }) => {
                self.screen.event(None, Tone::Said, "started", &format!("{endpoint}, process {pid}"))
            }
            DemoEvent::Server(Change::Ended { .. }) => Ok(()),
            DemoEvent::Server(Change::NotStarted { endpoint, error }) => {
                self.screen.event(None, Tone::Harm, "not started", &format!("{endpoint}: {error}"))
            }
            DemoEvent::Moved(Moved { to, .. }) if self.known.writes_to == Some(to) => Ok(()),
            DemoEvent::Moved(Moved { to, at }) => {
                let is_first = self.known.writes_to.replace(to).is_none();
                self.known.first_write = Some(at);
                let after = after.filter(|_| !is_first);
                self.screen.event(
                    after,
                    Tone::Good,
                    "first write",
                    &format!("acknowledged by {}", self.group.endpoints[to]),
                )
            }
            DemoEvent::Policy(policy::Change::Live { title, digest }) => {
                let text = format!("{title} is live, digest {}", words::short(&digest));
                self.known.swap = Some(Ok(digest));
                self.screen.event(after, Tone::Done, "policy", &text)
            }
            DemoEvent::Policy(policy::Change::Refused(error)) => {
                self.known.swap = Some(Err(error.to_string()));
                self.screen.event(after, Tone::Harm, "refused", &error.to_string())
            }
        }
    }

    fn mark(&mut self, at: Instant) {
        (self.known.mark, self.known.change, self.known.first_write, self.known.swap) =
            (Some(at), None, None, None);
    }

    fn master(&self) -> Result<Endpoint, Exit> {
        let master = self.known.decided.as_ref().and_then(|decided| decided.decision.master());
        let known =
            |id: &str| self.group.endpoints.iter().find(|endpoint| endpoint.to_string() == id).cloned();
        master.and_then(known).ok_or_else(|| Exit::Failed("there is no master".into()))
    }
}

/// The line for a report, if it has one.
fn report_line(report: &Report) -> Option<(Tone, &'static str, String)> {
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
        Report::Held => Some((Tone::Harm, "no policy", "no policy gave a usable answer".into())),
        Report::Withheld { action, why, .. } => {
            Some((Tone::Said, "withheld", format!("{}: {why}", words::action(action).0)))
        }
        Report::Finished { action, outcome: Outcome::Done { note, .. }, .. } => {
            let (name, instance) = words::action(action);
            let word = match action {
                Action::Promote(_) => "promoted",
                Action::Follow(_) => "re-pointed",
                Action::Demote(_) => "demoted",
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
        Report::Finished {
            action,
            outcome: Outcome::Failed(why) | Outcome::NotSent(why) | Outcome::InDoubt(why),
            ..
        } => {
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
/// Long enough for a full synchronization of the written data on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// Longer than a failover, shorter than a person notices.
const GATHER: Duration = Duration::from_millis(10);
