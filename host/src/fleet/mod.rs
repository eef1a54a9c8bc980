//! Owns groups and their drivers: turns a group's effects into sockets and files, and their results into its events. Chooses
//! nothing.
//!
//! One task a group. Everything that happens to the group comes through one queue, in order; everything that it wants done is
//! done beside it, so nothing that hangs can hold it up.

mod act;
mod charge;
mod record;
mod seats;
mod steward;

pub use record::{RecordError, RecordFile};
pub use seats::{Access, Seats, member};
pub use steward::look_after_all;

use crate::group::{Effect, Event, Group, Moment, Record, Report, Request, Settings};
use crate::kubernetes::news::News;
use crate::policy::{Component, Line};
use crate::policy::contract::Topology;
use crate::redis::{LinkEvent, Logins};
use crate::report::{Health, Metrics, Pulse};
use kube::Client;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

/// What all groups of one cluster share.
pub struct Common {
    /// The cluster, for calls that are answered soon or not at all.
    pub client: Client,
    /// The cluster, for watches.
    pub watches: Client,
    /// Who decides.
    pub policy: Arc<Component>,
    /// Where groups run: apart from what speaks with the API server.
    pub groups: Handle,
    /// For all groups.
    pub metrics: Arc<Metrics>,
    /// For all groups.
    pub health: Arc<Health>,
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
    reports: Sender<(Moment, Report)>,
    start: Instant,
    queue: (UnboundedSender<Event>, UnboundedReceiver<Event>),
    links: UnboundedReceiver<LinkEvent>,
    logins: (UnboundedSender<Logins>, UnboundedReceiver<Logins>),
    pulse: Option<Pulse>,
}

/// Sends events to a driven group from elsewhere: members, requests, authority, a changed policy.
#[derive(Clone, Debug)]
pub struct Door {
    events: UnboundedSender<Event>,
    logins: UnboundedSender<Logins>,
}

impl Door {
    /// Sends one. Nothing happens if the group has ended.
    pub fn send(&self, event: Event) {
        drop(self.events.send(event));
    }

    /// How to log in from the next connection on.
    pub fn log_in_as(&self, logins: Logins) {
        drop(self.logins.send(logins));
    }

    /// Asks for a planned change of master.
    pub fn switch_over(&self, target: Option<String>) {
        self.send(Event::Request(Request::Switchover(target)));
    }
}

impl<P: Publish> Driver<P> {
    /// A group on its start, and the reports that it will make. `start` is the zero of all its moments.
    pub fn new(
        settings: Settings,
        seats: impl FnOnce(UnboundedSender<LinkEvent>) -> Seats,
        line: Arc<Line>,
        publish: P,
        start: Instant,
    ) -> (Self, Receiver<(Moment, Report)>) {
        let (link_events, links) = unbounded_channel();
        let (reports, reported) = channel(REPORTS_MAX);
        let topology = settings.wanted.topology;
        let group = Group::new(settings, moment(start, Instant::now()));
        (Self { group, seats: seats(link_events), line, topology, publish, reports, start, queue: unbounded_channel(), links, logins: unbounded_channel(), pulse: None }, reported)
    }

    /// Gives its signs of life there, whoever reads its reports, and when.
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse: Some(pulse), ..self }
    }

    /// The way in.
    pub fn door(&self) -> Door {
        Door { events: self.queue.0.clone(), logins: self.logins.0.clone() }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut wake = Moment::default();
        let timer = tokio::time::sleep_until(self.start.into());
        tokio::pin!(timer);
        loop {
            let event = tokio::select! {
                biased;
                Some(logins) = self.logins.1.recv() => {
                    self.seats.log_in_as(logins);
                    continue;
                }
                Some(event) = self.queue.1.recv() => event,
                Some(event) = self.links.recv() => self.seats.event(event, |at| moment(self.start, at)),
                () = &mut timer => Event::Tick,
            };
            match &event {
                Event::Members(members) => self.seats.seat(members),
                Event::Policy => self.seats.want(self.line.wants(self.topology)),
                Event::Tick | Event::Reply(_) | Event::Closed { .. } | Event::Finished { .. } | Event::Authority { .. } | Event::Request(_) | Event::Wanted { .. } => {}
            }
            let now = moment(self.start, Instant::now());
            if let Some(pulse) = &self.pulse {
                pulse.beat(now);
            }
            for effect in self.group.on(now, event, &self.line) {
                match effect {
                    Effect::Probe { member } => self.seats.probe(&member),
                    Effect::Act(order) => act::carry_out(&self.seats, order, self.queue.0.clone()),
                    Effect::Publish(record) => self.publish.publish(now, record),
                    Effect::WakeAt(at) => wake = at,
                    // Whoever does not read in time misses some; a failover never waits for a terminal.
                    Effect::Report(report) => {
                        if let Some(pulse) = &self.pulse {
                            pulse.report(now, &report);
                        }
                        drop(self.reports.try_send((now, report)));
                    }
                }
            }
            // Anew: a timer that is put off wakes at its old time all the same.
            timer.set(tokio::time::sleep_until((self.start + std::time::Duration::from_micros(wake.0)).into()));
        }
    }
}

/// Reports that nobody has read yet: some seconds of them, and 40 MB at most.
const REPORTS_MAX: usize = 4096;

/// A moment of all that share a start.
pub fn moment(start: Instant, at: Instant) -> Moment {
    Moment(u64::try_from(at.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX))
}
