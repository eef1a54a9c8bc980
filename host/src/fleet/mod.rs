//! Owns groups and their drivers: turns a group's effects into sockets and files, and their results into its events. Chooses
//! nothing.
//!
//! One task a group. Everything that happens to the group comes through one queue, in order; everything that it wants done is
//! done beside it, so nothing that hangs can hold it up. Queues of groups are of the `futures` crate: an empty one of tokio's takes
//! 0.8 KiB, and groups are many.

mod act;
mod charge;
mod crowd;
pub mod policies;
mod record;
mod reports;
mod seats;
mod steward;

pub use crowd::Crowd;
pub use record::{RecordError, RecordFile};
pub use reports::Reports;
pub use seats::{Access, member};
pub use steward::look_after_all;

use crate::group::{Effect, Event, Group, Moment, Record, Request, Settings};
use crate::kubernetes::news::News;
use crate::policy::Line;
use crate::policy::contract::{Observation, Topology};
use crate::redis::{Logins, Tls};
use crate::report::{Health, Metrics, Pulse, Views};
use crowd::Counted;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use kube::Client;
use policies::{Policies, Shadows};
use reports::Reporting;
use seats::Seats;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

/// What all groups of one cluster share.
pub struct Common {
    /// The cluster, for calls that are answered soon or not at all.
    pub client: Client,
    /// The cluster, for watches.
    pub watches: Client,
    /// Who decides.
    pub policies: Arc<Policies>,
    /// Who is asked beside.
    pub shadows: Shadows,
    /// Where groups run: apart from what speaks with the API server.
    pub groups: Handle,
    /// How many they are.
    pub crowd: Crowd,
    /// Whoever applies an object takes its turn: a thousand resources at once must not keep the API server from what is urgent.
    pub turns: Semaphore,
    /// For all groups.
    pub metrics: Arc<Metrics>,
    /// For all groups.
    pub health: Arc<Health>,
    /// For all groups.
    pub views: Arc<Views>,
    /// For all groups.
    pub news: News,
    /// The zero of all moments.
    pub start: Instant,
}

/// Where a group's truth is made known beside its plan.
pub trait Publish {
    /// Level-triggered: the newest record is what counts, and the callee sees to it that it gets through.
    fn publish(&mut self, now: Moment, record: Record);
}

impl<F: FnMut(Moment, Record)> Publish for F {
    fn publish(&mut self, now: Moment, record: Record) {
        self(now, record);
    }
}

/// One group, driven on real time.
pub struct Driver<P> {
    group: Group,
    seats: Seats,
    line: Arc<Line>,
    topology: Topology,
    publish: P,
    reports: Reporting,
    start: Instant,
    door: Door,
    queue: UnboundedReceiver<Word>,
    crowd: Option<Counted>,
    pulse: Option<Pulse>,
}

/// What a driver is told.
enum Word {
    Event(Event),
    Access(Logins, Option<Tls>),
    Line(Arc<Line>),
    Look(oneshot::Sender<Observation>),
}

/// Tells a driven group from elsewhere: members, requests, authority, another policy, another password.
#[derive(Clone)]
pub struct Door(UnboundedSender<Word>);

impl Door {
    /// Sends one. Nothing happens if the group has ended.
    pub fn send(&self, event: Event) {
        drop(self.0.unbounded_send(Word::Event(event)));
    }

    /// How to log in and to encrypt from the next connection on.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        drop(self.0.unbounded_send(Word::Access(logins, tls)));
    }

    /// What would be handed to the policy now, for people.
    pub fn look(&self, asking: oneshot::Sender<Observation>) {
        drop(self.0.unbounded_send(Word::Look(asking)));
    }

    /// Who decides from now on: another line, or the same with another policy in front.
    pub fn decide_by(&self, line: Arc<Line>) {
        drop(self.0.unbounded_send(Word::Line(line)));
    }

    /// Asks for a planned change of master.
    pub fn switch_over(&self, target: Option<String>) {
        self.send(Event::Request(Request::Switchover(target)));
    }
}

impl<P: Publish> Driver<P> {
    /// A group on its start, and the reports that it will make. `start` is the zero of all its moments.
    pub fn new(settings: Settings, access: Access, line: Arc<Line>, publish: P, start: Instant) -> (Self, Reports) {
        let (words, queue) = unbounded();
        let door = Door(words);
        let told = door.clone();
        let listener = Arc::new(move |event| told.send(seats::event(event, |at| moment(start, at))));
        let (reporting, reports) = reports::reports();
        let topology = settings.wanted.topology;
        let mut seats = Seats::new(access, listener);
        seats.want(&line.wants(topology));
        let group = Group::new(settings, moment(start, Instant::now()));
        (Self { group, seats, line, topology, publish, reports: reporting, start, door, queue, crowd: None, pulse: None }, reports)
    }

    /// Counts it among those that share a thread: many of them look less often.
    pub fn among(self, crowd: &Crowd) -> Self {
        Self { crowd: Some(Counted::new(crowd)), ..self }
    }

    /// Gives its signs of life there, whoever reads its reports, and when.
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse: Some(pulse), ..self }
    }

    /// The way in.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Runs until dropped.
    #[expect(clippy::manual_async_fn, reason = "an async function has room for its argument twice, and groups are many")]
    pub fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut wake = Moment::default();
            let timer = tokio::time::sleep_until(self.start.into());
            tokio::pin!(timer);
            loop {
                let event = tokio::select! {
                    biased;
                    Some(word) = self.queue.next() => match word {
                        Word::Event(event) => event,
                        Word::Access(logins, tls) => {
                            self.seats.log_in_as(logins, tls);
                            continue;
                        }
                        Word::Look(asking) => {
                            // Whoever asked may have gone.
                            drop(asking.send(self.group.observation(moment(self.start, Instant::now()))));
                            continue;
                        }
                        Word::Line(line) => {
                            self.line = line;
                            Event::Policy
                        }
                    },
                    () = &mut timer => Event::Tick,
                };
                match &event {
                    Event::Members(members) => self.seats.seat(members),
                    Event::Policy => self.seats.want(&self.line.wants(self.topology)),
                    Event::Tick
                    | Event::Reply(_)
                    | Event::Closed { .. }
                    | Event::Finished { .. }
                    | Event::Authority { .. }
                    | Event::Request(_)
                    | Event::Wanted { .. } => {}
                }
                let now = moment(self.start, Instant::now());
                if let Some(crowd) = &self.crowd {
                    self.group.among(crowd.groups());
                }
                if let Some(pulse) = &self.pulse {
                    pulse.beat(now);
                }
                for effect in self.group.on(now, event, &self.line) {
                    match effect {
                        Effect::Probe { member } => self.seats.probe(&member),
                        Effect::Act(order) => act::carry_out(&self.seats, order, self.door.clone()),
                        Effect::Publish(record) => self.publish.publish(now, record),
                        Effect::WakeAt(at) => wake = at,
                        Effect::Report(report) => {
                            if let Some(pulse) = &self.pulse {
                                pulse.report(now, &report);
                            }
                            self.reports.send(now, report);
                        }
                    }
                }
                // Anew: a timer that is put off wakes at its old time all the same.
                timer.set(tokio::time::sleep_until((self.start + std::time::Duration::from_micros(wake.0)).into()));
            }
        }
    }
}

/// A moment of all that share a start.
pub fn moment(start: Instant, at: Instant) -> Moment {
    Moment(u64::try_from(at.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX))
}
