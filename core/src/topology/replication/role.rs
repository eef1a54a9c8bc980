//! The state of the role of master: types only. `mastership.rs` and `holder.rs` find out which it is,
//! `proof.rs` whether a loss is proven, `election/` which member gets it.

use crate::contract::Evidence;
use crate::facts::Place;
use crate::reason::Reason;

/// The state of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mastership {
    /// This member has it by right. Other masters that answer are wrong.
    Held(usize),
    /// Masters with unrelated data, and no record that tells which is right.
    Contested(Vec<usize>),
    /// A member had it and is not what it was.
    Lost(Lost),
    /// A member follows a server that is not of this group, and no other member has the role.
    External {
        /// The member that follows.
        follower: usize,
        /// The server outside.
        place: Place,
    },
    /// No member has it, and none is known to have had it.
    Vacant,
}

/// Which member had the role, and how that is known to be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Index into `View::members`. None: not among them any more.
    pub index: Option<usize>,
    /// For people and for the record. None: members follow each other in a ring.
    pub id: Option<String>,
    /// How.
    pub kind: LossKind,
}

/// How the role was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// The master does not answer: to be proven.
    OutOfSight,
    /// The master is not among the members any more.
    Vanished,
    /// The master answers, and not as the master of the others.
    Abdicated,
    /// The master came back without what this member has.
    Amnesic {
        /// The member that has it.
        witness: usize,
    },
    /// The master came back with less than there was, and members that may have the rest are still to come.
    CameBackEmpty,
}

/// The state of the proof that the role is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The role is free.
    Proven {
        /// What kind of proof.
        evidence: Evidence,
        /// One sentence.
        text: String,
    },
    /// Something is missing that time or a reply may bring.
    Pending {
        /// What.
        reason: Reason,
        /// One sentence.
        text: String,
        /// When to look again.
        next_look_us: u64,
    },
    /// Something is missing that only a person can bring.
    Blocked {
        /// What.
        reason: Reason,
        /// One sentence.
        text: String,
    },
    /// Members are missing that may have the data, and the minimum size comes before that.
    Unsure {
        /// One sentence.
        text: String,
    },
}

/// The outcome of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// A member can take over.
    Elected(Elected),
    /// The one to choose is known only when all members answered, or had their time.
    TooEarly,
    /// The best of those that answer restarted from its files, and others may have newer data.
    Recovering(usize),
    /// Only this member has the history that was lost, and it is still reading its data.
    Awaited(usize),
    /// Unrelated histories with data, and no record that tells which is the group's.
    Contested(Vec<usize>),
    /// No member may.
    NobodyEligible,
}

/// Which member takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elected {
    /// The member that gets the role now.
    pub winner: usize,
    /// The member with the better priority, which gets it once it has caught up. Equal to `winner` otherwise.
    pub meant_for: usize,
    /// Bytes that the old master is known to have had and the winner has not.
    pub known_loss_bytes: Option<u64>,
}
