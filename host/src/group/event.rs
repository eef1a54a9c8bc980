//! Inputs and outputs of a group: events and effects. Values only: the driver turns effects into sockets and
//! API calls, and their results into events.

use crate::contract::{
    Action, Address, Decision, Evidence, FailureKind, Generation, Group, InstanceKind, Observation, Pod,
    Position, Published, SentinelSettings, Value,
};
use crate::guard::Picture;
use crate::policy::PolicyFault;
use std::sync::Arc;

/// Monotonic time in microseconds since a start that all events of one group share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by this much.
    pub fn after_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds from this moment to `now`. 0 if it is later than `now`.
    pub fn age_us(self, now: Self) -> u64 {
        now.0.saturating_sub(self.0)
    }
}

/// An input of the loop.
#[derive(Clone, Debug)]
pub enum Event {
    /// The moment of a [`Effect::WakeAt`] has come.
    Tick,
    /// The members of the group; replaces the former list. State of members on both lists is kept.
    Members(Vec<Member>),
    /// A probe was answered, or could not be.
    Reply(Reply),
    /// An established connection ended.
    Closed {
        /// The member that it led to.
        member: String,
        /// The number of the connection.
        link: u64,
    },
    /// A Sentinel published something about the group. No fact: a round of probes shows what it was.
    Heard,
    /// An action ended, with or without an answer. Exactly once per [`Effect::Act`].
    Finished {
        /// The number of its [`Order`].
        order: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Whether the group may act, and the state of all groups.
    Authority {
        /// True while the leader's Lease is held for longer than an action can run.
        may_act: bool,
        /// Share of all groups that fell silent together, in thousandths.
        silent_groups_permille: u16,
    },
    /// Records that another operator published since [`Settings::records`](super::Settings::records). Before
    /// the [`Event::Authority`] that lets this operator act.
    Records(Vec<Record>),
    /// A user's request.
    Request(Request),
    /// The desired state changed. Facts and actions in flight are kept.
    Wanted {
        /// The new desired state.
        wanted: Box<Group>,
        /// The policy's parameters, as JSON text.
        parameters: String,
    },
    /// The policies changed: decide again.
    Policy,
}

/// One member, as its orchestrator or the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Stable name; the last key of every sort order.
    pub id: String,
    /// Redis or Sentinel.
    pub kind: InstanceKind,
    /// The shard that it is assigned to. 0 in a group of one master; None for a Sentinel.
    pub shard: Option<u16>,
    /// Address that its peers connect to.
    pub address: Address,
    /// Further addresses under which peers may know it.
    pub aliases: Vec<Address>,
    /// State of its Pod. None outside Kubernetes.
    pub pod: Option<Pod>,
    /// The process of a Pod that is gone, whose end nothing showed. It is observed while the very process
    /// that was known answers: another one at its address is another's.
    pub is_former: bool,
}

/// The result of one probe.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The member that was probed.
    pub member: String,
    /// When the probe was sent.
    pub sent: Moment,
    /// The replies, or why there are none.
    pub answer: Result<Answer, Failed>,
}

/// A member's answer to one probe.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The number of the connection. An action is sent on the connection that reported its precondition.
    pub link: u64,
    /// Reply per command, in the order in which the commands were sent.
    pub replies: Vec<(Arc<str>, Result<Value, Failed>)>,
}

/// Why there is no good reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The error's text.
    pub text: String,
}

/// A user's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A planned change of master, to this member. None: to the best replica.
    Switchover(Option<String>),
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done and confirmed.
    Done {
        /// Result in words, for the log.
        note: String,
        /// For a handover, how long writes were paused, in microseconds.
        pause_us: Option<u64>,
    },
    /// Not done, and the target is unchanged: a precondition failed, or the server refused the command.
    Failed(String),
    /// Not sent: the connection that reported its precondition had ended. Nothing was refused.
    NotSent(String),
    /// Sent and not answered: it may have happened, or may still happen.
    InDoubt(String),
}

/// An output of the loop.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send all commands of a probe to a member; connect first if there is no connection. At most one probe
    /// in flight per connection.
    Probe {
        /// The member to probe.
        member: String,
    },
    /// Carry out an action, on the connections that the order lists.
    Act(Order),
    /// Store a record, beside the plan, and retry until it is stored.
    Publish(Record),
    /// Send an [`Event::Tick`] at this moment. Replaces the one before.
    WakeAt(Moment),
    /// Report to the log, the metrics, the status and the Events.
    Report(Report),
}

/// An action to send.
#[derive(Clone, Debug)]
pub struct Order {
    /// Identifies the order in its [`Event::Finished`].
    pub number: u64,
    /// The action.
    pub action: Action,
    /// The connections that reported the action's preconditions: its target's, and its source's if it has
    /// one.
    pub links: Vec<(String, u64)>,
    /// The address under which peers reach the master of a `follow`, or the target of a handover.
    pub place: Option<Address>,
    /// For an action that Sentinels take part in.
    pub watch: Option<Box<Watch>>,
}

/// The Sentinels of a group, and the member that an action makes them name.
#[derive(Clone, Debug)]
pub struct Watch {
    /// How they watch the group.
    pub settings: SentinelSettings,
    /// Those that answer: id, number of the connection that reported its run id, and address. Sorted by id.
    pub sentinels: Vec<(String, u64, Address)>,
    /// The member that they are to name. None: the action tells them of none.
    pub master: Option<ToName>,
}

/// A member that Sentinels are to name.
#[derive(Clone, Debug)]
pub struct ToName {
    /// Its id.
    pub id: String,
    /// The number of the connection that reported its run id.
    pub link: u64,
    /// Its addresses, the one that its peers use first.
    pub places: Vec<Address>,
}

/// The record of one shard: published, and kept for the next operator where there is storage for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the shard. 0 in a group of one master.
    pub shard: u16,
    /// Its master.
    pub published: Published,
    /// The generations of its data, newest first.
    pub lineage: Vec<Generation>,
    /// The last position of the stream that replicas were seen to reach, and which replicas.
    pub position: Option<Position>,
    /// The last change of master.
    pub last_failover: Option<Changed>,
}

/// A change of master, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// When this operator noted the change.
    pub at: Moment,
    /// Age of the change at `at`, in microseconds: 0 unless an earlier operator recorded it.
    pub age_us: u64,
    /// The former master. None: not known.
    pub source: Option<String>,
    /// The new master.
    pub target: String,
    /// The member that is to be master in the end; differs from `target` while that one only bridges.
    pub meant_for: String,
    /// The proof that the change rested on.
    pub evidence: Evidence,
}

/// What happened, for log, metrics, status and Events.
#[derive(Clone, Debug)]
pub enum Report {
    /// The state of a member's connection changed.
    Link {
        /// The member.
        member: String,
        /// The new state.
        state: crate::contract::LinkState,
    },
    /// A policy gave a decision that passed the guard.
    Decided(Box<Decided>),
    /// A policy gave no usable decision; the next policy of the chain was asked.
    Fault {
        /// SHA-256 of the policy.
        digest: String,
        /// Its name and version.
        title: String,
        /// The fault.
        fault: PolicyFault,
        /// The Observation that it was asked about.
        observation: Arc<Observation>,
    },
    /// No policy gave a usable decision: no action until one does.
    Held,
    /// An action was sent.
    Sent {
        /// The number of its order.
        order: u64,
        /// The action.
        action: Action,
        /// The same was refused within the last minute.
        is_repeat: bool,
    },
    /// An action was not sent: its precondition does not hold any more.
    Withheld {
        /// The action.
        action: Action,
        /// The precondition that failed.
        why: String,
        /// For the same reason as the time before.
        is_repeat: bool,
    },
    /// An action ended.
    Finished {
        /// The action.
        action: Action,
        /// How it ended.
        outcome: Outcome,
        /// From sending to the outcome, in microseconds.
        elapsed_us: u64,
        /// The server refused the same in the same words within the last minute.
        is_repeat: bool,
    },
}

/// A decision that passed the guard.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The Observation that the policy was asked about.
    pub observation: Arc<Observation>,
    /// The decision.
    pub decision: Arc<Decision>,
    /// SHA-256 of the policy.
    pub digest: String,
    /// What the guard itself sees of the group in the same Observation.
    pub picture: Arc<Picture>,
    /// True if verdict, reason, master or plan differ from the last decision. Never true of a decision that
    /// only tries again what servers refused.
    pub is_news: bool,
}

impl Decided {
    /// The first stage only tries again what servers refused within the last minute.
    pub fn only_repeats(&self) -> bool {
        only_repeats(&self.observation, &self.decision)
    }
}

/// See [`Decided::only_repeats`].
pub(super) fn only_repeats(observation: &Observation, decision: &Decision) -> bool {
    let is_refused = |action: &Action| observation.refused.iter().any(|it| it.action.is_same_as(action));
    decision.stages.first().is_some_and(|stage| stage.actions.iter().all(is_refused))
}
