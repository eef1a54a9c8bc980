//! How an instance is, each state with its proof. Losing sight of a server is not its death: what proves
//! death, what only makes one suspect, and what is life is kept apart here, for one instance at a time.

use crate::contract::{Instance, LinkState};

/// What can be said of one instance from the host's own link to it and from the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It answers.
    Answers,
    /// It is there, and can say nothing but that: LOADING, BUSY.
    Occupied(&'static str),
    /// It wants other credentials: life, and nothing to be learnt from it.
    Locked,
    /// Its process is gone, as far as one observer can prove it.
    Gone(Gone),
    /// No valid reply for the hang limit.
    Silent {
        /// For how long.
        for_us: u64,
    },
    /// Something is wrong, and nothing is proven yet.
    Suspect {
        /// For how long.
        for_us: u64,
    },
}

/// The proof that a process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Witnesses must be asked after this. None: whenever.
    pub since_us: Option<u64>,
    /// One sentence.
    pub proof: String,
}

/// How much of what an instance replies can be used, which its topology tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// Fresh, and the instance says what it is.
    Judged,
    /// Fresh, and it does not say what it is.
    Unclear,
    /// None that is fresh.
    Stale,
}

/// Two refusals this far apart, for an observer that never had a connection: one alone may be a restart
/// caught in the act.
const REFUSALS_APART_US: u64 = 5_000;

/// Judges one instance. `is_direct`: the host's connections end at its process, and not at a hop before it,
/// which refuses and closes them without any word of the process.
pub fn life(instance: &Instance, replies: Replies, hang_limit_us: u64, is_direct: bool) -> Life {
    let link = &instance.link;
    let is_there = match replies {
        // Before the orchestrator's word, which may be that of the process before.
        Replies::Judged => return Life::Answers,
        Replies::Unclear => true,
        Replies::Stale => false,
    };
    if let Some(pod) = &instance.pod
        && !is_there
        && !pod.running
    {
        return Life::Gone(Gone { since_us: None, proof: "its container is not running".into() });
    }
    match link.state {
        LinkState::Loading => return Life::Occupied("LOADING"),
        LinkState::Busy => return Life::Occupied("BUSY"),
        LinkState::Unauthorized => return Life::Locked,
        LinkState::Refused => {
            if let Some(gone) = refused(instance).filter(|_| is_direct) {
                return Life::Gone(gone);
            }
        }
        LinkState::Unknown
        | LinkState::Answering
        | LinkState::Closed
        | LinkState::Unreachable
        | LinkState::TimedOut
        | LinkState::ProtocolError => {}
    }
    let for_us = link.alive_age_us.unwrap_or(link.state_age_us);
    let is_deaf = link.state != LinkState::Unknown && !is_there;
    if is_deaf && for_us >= hang_limit_us { Life::Silent { for_us } } else { Life::Suspect { for_us } }
}

/// A connection that ended and a fresh one refused; or, for an observer that had none, refused twice, a while
/// apart.
fn refused(instance: &Instance) -> Option<Gone> {
    let link = &instance.link;
    let refusals = link.refusals.as_ref()?;
    let streak_us = refusals.first_age_us.saturating_sub(refusals.last_age_us);
    let proof = match link.closed_age_us {
        Some(closed) => format!("its connection ended {} ago and a new one was refused", duration(closed)),
        None if refusals.count >= 2 && streak_us >= REFUSALS_APART_US => {
            format!("{} connections were refused over {}", refusals.count, duration(streak_us))
        }
        None => return None,
    };
    Some(Gone { since_us: Some(refusals.first_age_us), proof })
}

/// A duration for people.
pub fn duration(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..10_000_000 => format!("{} ms", us / 1000),
        10_000_000.. => format!("{} s", us / 1_000_000),
    }
}
