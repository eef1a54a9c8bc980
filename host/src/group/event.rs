//! What goes into a group and what comes out of it. Values only: the driver turns effects into sockets and
//! API calls, and their results into events.

use crate::contract::{
    Action, Address, Decision, Evidence, FailureKind, Generation, Group, InstanceKind, Observation, Pod,
    Position, Published, Value,
};
use crate::policy::PolicyFault;
use std::sync::Arc;

/// Monotonic time in microseconds since some start that all events of one group share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by this much.
    pub fn after_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// How long before `now` this was. 0 for what is still to come.
    pub fn age_us(self, now: Self) -> u64 {
        now.0.saturating_sub(self.0)
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The moment of a [`Effect::WakeAt`] has come.
    Tick,
    /// Who belongs to the group; replaces what was known. What was seen of those that stay is kept.
    Members(Vec<Member>),
    /// A probe was answered, or could not be.
    Reply(Reply),
    /// An established connection ended.
    Closed {
        /// Whose.
        member: String,
        /// Its number.
        link: u64,
    },
    /// An action was answered, or was not.
    Finished {
        /// The number of its [`Effect::Act`].
        order: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Whether the group may act, and what its owner sees of all groups.
    Authority {
        /// The leader's lease is held, and surely outlives an action.
        may_act: bool,
        /// Of all groups, how many fell silent together.
        silent_groups_permille: u16,
    },
    /// A person wants something.
    Request(Request),
    /// What is wanted of the group is something else now. What was seen and what is under way stay.
    Wanted {
        /// Replaces what was wanted.
        wanted: Box<Group>,
        /// JSON text for the policy.
        parameters: String,
    },
    /// The line of policies changed: decide again.
    Policy,
}

/// One member, as its orchestrator or the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Stable; the last key of every order.
    pub id: String,
    /// What program.
    pub kind: InstanceKind,
    /// The shard that it is assigned to. 0 in a group of one master; None for a Sentinel.
    pub shard: Option<u16>,
    /// Where its peers dial it.
    pub address: Address,
    /// Other names under which peers may know it.
    pub aliases: Vec<Address>,
    /// What the orchestrator says.
    pub pod: Option<Pod>,
}

/// The result of one probe.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who was asked.
    pub member: String,
    /// When the question was sent.
    pub sent: Moment,
    /// The answers by command, or why there are none.
    pub answer: Result<Answer, Failed>,
}

/// What a member answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The number of the connection: actions go out on the one that reported what they rest on.
    pub link: u64,
    /// Per command, as sent.
    pub replies: Vec<(Arc<str>, Result<Value, Failed>)>,
}

/// Why there is no good reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind.
    pub kind: FailureKind,
    /// The error's own words.
    pub text: String,
}

/// What a person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A planned change of master. None: to the best replica.
    Switchover(Option<String>),
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done and confirmed. For a handover, how long writes were paused.
    Done {
        /// What a person wants to know of it.
        note: String,
        /// Microseconds without writes.
        pause_us: Option<u64>,
    },
    /// Not done, and the target is as it was: a precondition failed, or it refused.
    Failed(String),
    /// Sent and not answered: it may have happened, or may still happen.
    InDoubt(String),
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask a member for all its replies, dialling it first where there is no connection. One probe at a time
    /// a connection.
    Probe {
        /// Whom.
        member: String,
    },
    /// Carry out an action, on these very connections.
    Act(Order),
    /// Make the truth known, beside the plan, and repeat it until it holds.
    Publish(Record),
    /// Send a [`Event::Tick`] then. Replaces the one before.
    WakeAt(Moment),
    /// Tell people.
    Report(Report),
}

/// An action on its way.
#[derive(Clone, Debug)]
pub struct Order {
    /// For [`Event::Finished`].
    pub number: u64,
    /// What.
    pub action: Action,
    /// The connections that reported what the action rests on: its target's, and its source's where it has
    /// one.
    pub links: Vec<(String, u64)>,
    /// Where the master of a `follow`, or the target of a handover, is dialled by its peers.
    pub place: Option<Address>,
}

/// What is made known and survives the operator, where there is a place for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which shard. 0 in a group of one master.
    pub shard: u16,
    /// Its master.
    pub published: Published,
    /// The generations of its data, newest first.
    pub lineage: Vec<Generation>,
    /// The last position that was seen replicated, and by which replicas.
    pub position: Option<Position>,
    /// The last change of master.
    pub last_failover: Option<Changed>,
}

/// A change of master, with the moment that it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// When this was noted.
    pub at: Moment,
    /// Its age then: 0 unless a predecessor saw it.
    pub age_us: u64,
    /// Who lost the role.
    pub source: Option<String>,
    /// Who got it.
    pub target: String,
    /// Who is to have it in the end.
    pub meant_for: String,
    /// Why.
    pub evidence: Evidence,
}

/// What people may want to know.
#[derive(Clone, Debug)]
pub enum Report {
    /// A member's connection changed its state.
    Link {
        /// Whose.
        member: String,
        /// What it shows now.
        state: crate::contract::LinkState,
    },
    /// A policy answered.
    Decided(Box<Decided>),
    /// A policy gave no usable answer; the next in line was asked.
    Fault {
        /// Which policy.
        digest: String,
        /// Its name and version.
        title: String,
        /// What was wrong.
        fault: PolicyFault,
        /// What it was asked.
        observation: Arc<Observation>,
    },
    /// No policy gave a usable answer: nothing is done until one does.
    Held,
    /// An action goes out.
    Sent {
        /// The number of its order.
        order: u64,
        /// What.
        action: Action,
    },
    /// An action was not sent: what it rests on does not hold any more.
    Withheld {
        /// What.
        action: Action,
        /// Why.
        why: String,
    },
    /// An action ended.
    Finished {
        /// What.
        action: Action,
        /// What came of it.
        outcome: Outcome,
        /// From being sent to this.
        elapsed_us: u64,
    },
}

/// An answer of a policy.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What it was asked.
    pub observation: Arc<Observation>,
    /// What it said.
    pub decision: Arc<Decision>,
    /// SHA-256 of who said it.
    pub digest: String,
    /// Verdict, reason, master or plan differ from the last one.
    pub is_news: bool,
}
