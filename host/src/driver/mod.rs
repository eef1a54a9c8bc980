//! Owns groups and their drivers: turns a group's effects into sockets and files, and their results into its
//! events. Chooses nothing.
//!
//! One task a group. Everything that happens to the group comes through one queue, in order; everything that
//! it wants done is done beside it, so nothing that hangs can hold it up. Queues of groups are of the
//! `futures` crate: an empty one of tokio's takes 0.8 KiB, and groups are many.

mod act;
mod links;
mod reports;
mod state_file;
mod thread_load;

pub use act::Restarter;
pub use links::{Access, member};
pub use reports::{NewestDecision, Reports};
pub use state_file::{StateFile, StateFileError};
pub use thread_load::ThreadLoad;

use crate::contract::{Observation, Topology};
use crate::group::{Effect, Event, Group, Moment, Record, Request, Settings};
use crate::policy::PolicyChain;
use crate::redis::{Logins, Tls};
use crate::report::Heartbeat;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use links::Links;
use reports::Reporting;
use std::sync::Arc;
use std::time::Instant;
use thread_load::OnThread;
use tokio::sync::oneshot;

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
    links: Links,
    line: Arc<PolicyChain>,
    topology: Topology,
    publish: P,
    reports: Reporting,
    start: Instant,
    handle: GroupHandle,
    queue: UnboundedReceiver<Message>,
    thread_load: Option<OnThread>,
    heartbeat: Option<Heartbeat>,
    restarter: Option<Restarter>,
}

/// What a driver is told.
enum Message {
    Event(Event),
    Access(Logins, Option<Tls>),
    PolicyChain(Arc<PolicyChain>),
    Look(oneshot::Sender<Observation>),
}

/// Tells a driven group from elsewhere: members, requests, authority, another policy, another password.
#[derive(Clone)]
pub struct GroupHandle(UnboundedSender<Message>);

impl GroupHandle {
    /// Sends one. Nothing happens if the group has ended.
    pub fn send(&self, event: Event) {
        drop(self.0.unbounded_send(Message::Event(event)));
    }

    /// How to log in and to encrypt from the next connection on.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        drop(self.0.unbounded_send(Message::Access(logins, tls)));
    }

    /// What would be handed to the policy now, for people.
    pub fn look(&self, asking: oneshot::Sender<Observation>) {
        drop(self.0.unbounded_send(Message::Look(asking)));
    }

    /// Who decides from now on: another line, or the same with another policy in front.
    pub fn set_policies(&self, line: Arc<PolicyChain>) {
        drop(self.0.unbounded_send(Message::PolicyChain(line)));
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
        access: Access,
        line: Arc<PolicyChain>,
        publish: P,
        start: Instant,
    ) -> (Self, Reports) {
        let (messages, queue) = unbounded();
        let handle = GroupHandle(messages);
        let told = handle.clone();
        let listener = Arc::new(move |event| told.send(links::event(event, |at| moment(start, at))));
        let (reporting, reports) = reports::reports();
        let topology = settings.wanted.topology;
        let mut links = Links::new(access, topology, listener);
        links.set_extra_commands(&line.wants(topology));
        let group = Group::new(settings, moment(start, Instant::now()));
        (
            Self {
                group,
                links,
                line,
                topology,
                publish,
                reports: reporting,
                start,
                handle,
                queue,
                thread_load: None,
                heartbeat: None,
                restarter: None,
            },
            reports,
        )
    }

    /// Counts it among those that share a thread: many of them look less often.
    pub fn among(self, thread_load: &ThreadLoad) -> Self {
        Self { thread_load: Some(OnThread::new(thread_load)), ..self }
    }

    /// Gives its signs of life there, whoever reads its reports, and when.
    pub fn with_heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat: Some(heartbeat), ..self }
    }

    /// Restarts instances there, when the policy wants it. Without, each restart is refused.
    pub fn with_restarter(self, restarter: Restarter) -> Self {
        Self { restarter: Some(restarter), ..self }
    }

    /// The way in.
    pub fn handle(&self) -> GroupHandle {
        self.handle.clone()
    }

    /// Runs until dropped.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function has room for its argument twice, and groups are many"
    )]
    pub fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut wake = Moment::default();
            let timer = tokio::time::sleep_until(self.start.into());
            tokio::pin!(timer);
            loop {
                let event = tokio::select! {
                    biased;
                    Some(word) = self.queue.next() => match word {
                        Message::Event(event) => event,
                        Message::Access(logins, tls) => {
                            self.links.log_in_as(logins, tls);
                            continue;
                        }
                        Message::Look(asking) => {
                            // Whoever asked may have gone.
                            drop(asking.send(self.group.observation(moment(self.start, Instant::now()))));
                            continue;
                        }
                        Message::PolicyChain(line) => {
                            self.line = line;
                            Event::Policy
                        }
                    },
                    () = &mut timer => Event::Tick,
                };
                match &event {
                    Event::Members(members) => self.links.set_members(members),
                    Event::Policy => self.links.set_extra_commands(&self.line.wants(self.topology)),
                    Event::Tick
                    | Event::Reply(_)
                    | Event::Closed { .. }
                    | Event::Finished { .. }
                    | Event::Authority { .. }
                    | Event::Request(_)
                    | Event::Wanted { .. } => {}
                }
                let now = moment(self.start, Instant::now());
                if let Some(thread_load) = &self.thread_load {
                    self.group.set_groups_on_thread(thread_load.groups());
                }
                if let Some(heartbeat) = &self.heartbeat {
                    heartbeat.beat(now);
                }
                for effect in self.group.on(now, event, &self.line) {
                    match effect {
                        Effect::Probe { member } => self.links.probe(&member),
                        Effect::Act(order) => {
                            act::carry_out(&self.links, order, self.restarter.as_ref(), self.handle.clone());
                        }
                        Effect::Publish(record) => self.publish.publish(now, record),
                        Effect::WakeAt(at) => wake = at,
                        Effect::Report(report) => {
                            if let Some(heartbeat) = &self.heartbeat {
                                heartbeat.report(now, &report);
                            }
                            self.reports.send(now, report);
                        }
                    }
                }
                // Anew: a timer that is put off wakes at its old time all the same.
                timer.set(tokio::time::sleep_until(
                    (self.start + std::time::Duration::from_micros(wake.0)).into(),
                ));
            }
        }
    }
}

/// A moment of all that share a start.
pub fn moment(start: Instant, at: Instant) -> Moment {
    Moment(u64::try_from(at.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX))
}
