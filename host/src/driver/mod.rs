//! Drives one group on real time: turns its effects into sockets and files, and their results into events.
//! Must not choose an action. The driver's duties are listed in `group/mod.rs`.
//!
//! One task per group. All events arrive through one queue, in order; all effects run beside the loop, so a
//! hung server cannot delay it. The queues are those of the `futures` crate: an empty one of tokio takes 0.8
//! KiB, and a host runs thousands of groups.

mod act;
mod links;
mod reports;
mod sentinels;
mod state_file;
mod thread_load;

pub use act::Restarter;
pub use links::{Access, Entry, member, unresolved_member};
pub use reports::{NewestDecision, Reports};
pub use state_file::{StateFile, StateFileError};
pub use thread_load::ThreadLoad;

use crate::authority::{Authority, InProgress};
use crate::contract::{self, Observation, Topology};
use crate::group::{Effect, Event, Group, Moment, Record, Report, Request, Settings};
use crate::policy::PolicyChain;
use crate::redis::{Logins, Tls, now};
use crate::report::Heartbeat;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use links::Links;
use reports::Reporting;
use std::sync::Arc;
use std::time::Instant;
use thread_load::OnThread;
use tokio::sync::oneshot;

/// Stores a group's records, beside its plan.
pub trait Publish {
    /// Takes the newest record. Level-triggered: only the newest one counts, and the callee retries until it
    /// is stored.
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
    policies: Arc<PolicyChain>,
    topology: Topology,
    publish: P,
    reports: Reporting,
    start: Instant,
    handle: GroupHandle,
    queue: UnboundedReceiver<Message>,
    thread_load: Option<OnThread>,
    heartbeat: Option<Heartbeat>,
    restarter: Option<Restarter>,
    witness: Option<Witness>,
    authority: Authority,
}

/// Sees each report on the group's own thread, before its reader does. Must return at once.
pub type Witness = Arc<dyn Fn(Moment, &Report) + Send + Sync>;

/// A message to a driver.
enum Message {
    Event(Event),
    /// An action ended. It counts as in progress until the group has taken that in.
    Finished(Event, InProgress),
    Access(Logins, Option<Tls>),
    Entry(Entry),
    Policies(Arc<PolicyChain>),
    Observe(oneshot::Sender<Observation>),
    /// For tests alone: the release program has no such message.
    #[cfg(debug_assertions)]
    Panic,
}

/// Sends messages to a driven group: members, requests, authority, policies, logins.
#[derive(Clone)]
pub struct GroupHandle(UnboundedSender<Message>);

impl GroupHandle {
    /// Sends an event. No effect if the group has ended.
    pub fn send(&self, event: Event) {
        drop(self.0.unbounded_send(Message::Event(event)));
    }

    fn finish(&self, event: Event, in_progress: InProgress) {
        drop(self.0.unbounded_send(Message::Finished(event, in_progress)));
    }

    /// Sets how to log in and to encrypt, from the next connection on.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        drop(self.0.unbounded_send(Message::Access(logins, tls)));
    }

    /// The same for its Sentinels.
    pub fn enter_sentinels_as(&self, entry: Entry) {
        drop(self.0.unbounded_send(Message::Entry(entry)));
    }

    /// Requests the present Observation, for display.
    pub fn look(&self, reply: oneshot::Sender<Observation>) {
        drop(self.0.unbounded_send(Message::Observe(reply)));
    }

    /// Sets the policies that decide from now on: another chain, or the same one after a swap.
    pub fn set_policies(&self, policies: Arc<PolicyChain>) {
        drop(self.0.unbounded_send(Message::Policies(policies)));
    }

    /// The loop of the group panics, for a test.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        drop(self.0.unbounded_send(Message::Panic));
    }

    /// Requests a planned change of master. None: to the best replica.
    pub fn switch_over(&self, target: Option<String>) {
        self.send(Event::Request(Request::Switchover(target)));
    }
}

impl<P: Publish> Driver<P> {
    /// A new group, and the receiver of its reports. `start` is the zero of all its moments.
    pub fn new(
        settings: Settings,
        access: Access,
        policies: Arc<PolicyChain>,
        publish: P,
        start: Instant,
    ) -> (Self, Reports) {
        let (messages, queue) = unbounded();
        let handle = GroupHandle(messages);
        let events = handle.clone();
        let listener = Arc::new(move |event| events.send(links::event(event, |at| moment(start, at))));
        let (reporting, reports) = reports::reports();
        let topology = settings.wanted.topology;
        let ears = handle.clone();
        let mut links = Links::new(access, topology, listener, Arc::new(move || ears.send(Event::Heard)));
        links.set_extra_commands(policies.wants(topology));
        links.set_master_name(master_name(&settings.wanted));
        let group = Group::new(settings, moment(start, now()));
        (
            Self {
                group,
                links,
                policies,
                topology,
                publish,
                reports: reporting,
                start,
                handle,
                queue,
                thread_load: None,
                heartbeat: None,
                restarter: None,
                witness: None,
                authority: Authority::endless(),
            },
            reports,
        )
    }

    /// Counts the group among those of a thread: with many groups, each probes less often.
    pub fn among(self, thread_load: &ThreadLoad) -> Self {
        Self { thread_load: Some(OnThread::new(thread_load)), ..self }
    }

    /// Beats this heartbeat on every event, independently of the reader of the reports.
    pub fn with_heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat: Some(heartbeat), ..self }
    }

    /// Restarts instances with this orchestrator. Without one, each restart is refused.
    pub fn with_restarter(self, restarter: Restarter) -> Self {
        Self { restarter: Some(restarter), ..self }
    }

    /// Shows each report to this one, too: for what must be told within a millisecond.
    pub fn seen_by(self, witness: Option<Witness>) -> Self {
        Self { witness, ..self }
    }

    /// Sends no action that could outlive this authority. Without one, the group's own word is enough.
    pub fn under(self, authority: &Authority) -> Self {
        Self { authority: authority.clone(), ..self }
    }

    /// A handle for messages to the group.
    pub fn handle(&self) -> GroupHandle {
        self.handle.clone()
    }

    /// Runs until dropped.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function stores its argument twice, and a host runs thousands of groups"
    )]
    pub fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut wake = Moment::default();
            let timer = tokio::time::sleep_until(self.start.into());
            tokio::pin!(timer);
            loop {
                let mut _finished = None;
                let event = tokio::select! {
                    biased;
                    Some(message) = self.queue.next() => match message {
                        Message::Event(event) => event,
                        Message::Finished(event, in_progress) => {
                            _finished = Some(in_progress);
                            event
                        }
                        Message::Access(logins, tls) => {
                            self.links.log_in_as(logins, tls);
                            continue;
                        }
                        Message::Entry(entry) => {
                            self.links.enter_sentinels_as(entry);
                            continue;
                        }
                        Message::Observe(reply) => {
                            // The receiver may be gone.
                            drop(reply.send(self.group.observation(moment(self.start, now()))));
                            continue;
                        }
                        Message::Policies(policies) => {
                            self.policies = policies;
                            Event::Policy
                        }
                        #[cfg(debug_assertions)]
                        Message::Panic => panic!("requested by a test"),
                    },
                    () = &mut timer => Event::Tick,
                };
                match &event {
                    Event::Members(members) => self.links.set_members(members),
                    Event::Policy => self.links.set_extra_commands(self.policies.wants(self.topology)),
                    Event::Wanted { wanted, .. } => self.links.set_master_name(master_name(wanted)),
                    Event::Tick
                    | Event::Heard
                    | Event::Reply(_)
                    | Event::Closed { .. }
                    | Event::Finished { .. }
                    | Event::Authority { .. }
                    | Event::Records(_)
                    | Event::Request(_) => {}
                }
                let now = moment(self.start, now());
                if let Some(thread_load) = &self.thread_load {
                    self.group.set_groups_on_thread(thread_load.groups());
                }
                if let Some(heartbeat) = &self.heartbeat {
                    heartbeat.beat(now);
                }
                for effect in self.group.on(now, event, &self.policies) {
                    match effect {
                        Effect::Probe { member } => self.links.probe(&member),
                        Effect::Act(order) => {
                            let (authority, restarter) = (&self.authority, self.restarter.as_ref());
                            act::carry_out(&self.links, order, authority, restarter, self.handle.clone());
                        }
                        Effect::Publish(record) => self.publish.publish(now, record),
                        Effect::WakeAt(at) => wake = at,
                        Effect::Report(report) => {
                            if let Some(heartbeat) = &self.heartbeat {
                                heartbeat.report(now, &report);
                            }
                            if let Some(witness) = &self.witness {
                                witness(now, &report);
                            }
                            self.reports.send(now, report);
                        }
                    }
                }
                // A new timer, because a reset to a later time still wakes the task at the old one.
                timer.set(tokio::time::sleep_until(
                    (self.start + std::time::Duration::from_micros(wake.0)).into(),
                ));
            }
        }
    }
}

/// The name under which Sentinels watch the group.
fn master_name(wanted: &contract::Group) -> Option<&str> {
    wanted.sentinel.as_ref().map(|settings| settings.master_name.as_str())
}

/// The moment of `at`, relative to `start`.
pub fn moment(start: Instant, at: Instant) -> Moment {
    Moment(u64::try_from(at.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX))
}
