//! How an instance is, each state with its proof. Losing sight of a server is not its death: what proves
//! death, what only makes one suspect, and what is life are told apart here, for one instance at a time.

use crate::contract::LinkState;
use crate::view::{Member, View};

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

/// Two refusals this far apart, for an observer that never had a connection: one alone may be a restart
/// caught in the act.
const REFUSALS_APART_US: u64 = 5_000;

/// Judges one instance.
pub fn life(view: &View, member: &Member) -> Life {
    let link = &member.instance.link;
    // Before the orchestrator's word, which may be that of the process before.
    if member.answers {
        return Life::Answers;
    }
    if let Some(pod) = &member.instance.pod
        && !member.is_there
        && !pod.running
    {
        return Life::Gone(Gone { since_us: None, proof: "its container does not run".into() });
    }
    match link.state {
        LinkState::Loading => return Life::Occupied("LOADING"),
        LinkState::Busy => return Life::Occupied("BUSY"),
        LinkState::Unauthorized => return Life::Locked,
        LinkState::Refused => {
            if let Some(gone) = refused(member) {
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
    let is_deaf = link.state != LinkState::Unknown && !member.is_there;
    if is_deaf && for_us >= view.hang_limit_us() { Life::Silent { for_us } } else { Life::Suspect { for_us } }
}

/// A connection that ended and a fresh one refused; or, for an observer that had none, refused twice, a while
/// apart.
fn refused(member: &Member) -> Option<Gone> {
    let link = &member.instance.link;
    let refusals = link.refusals.as_ref()?;
    let streak_us = refusals.first_age_us.saturating_sub(refusals.last_age_us);
    let proof = match link.closed_age_us {
        Some(closed) => format!("its connection ended {} ago and a fresh one was refused", duration(closed)),
        None if refusals.count >= 2 && streak_us >= REFUSALS_APART_US => {
            format!("{} connections were refused over {}", refusals.count, duration(streak_us))
        }
        None => return None,
    };
    Some(Gone { since_us: Some(refusals.first_age_us), proof })
}

/// How long a replica surely heard nothing from its master: by its own count of whole seconds, of which up to
/// one may be rounding, or because its offset stood still between two samples. A link that is down hears
/// nothing.
pub fn unheard_us(replica: &Member) -> u64 {
    if replica.replication.link_up == Some(false) {
        return u64::MAX;
    }
    let counted_us = replica
        .replication
        .last_io_s
        .map_or(0, |seconds| seconds.saturating_sub(1).saturating_mul(1_000_000));
    let stood_still_us = match (replica.earlier_offset, replica.history(), replica.sample_age_us) {
        (Some((offset, age_us)), Some(now), Some(now_age_us)) if offset == now.offset => {
            age_us.saturating_sub(now_age_us)
        }
        _ => 0,
    };
    counted_us.max(stood_still_us)
}

/// How long ago a replica surely acknowledged for the last time. A link that was never up acknowledged
/// nothing.
pub fn apart_us(replica: &Member) -> u64 {
    match (replica.replication.link_up, replica.replication.link_down_s) {
        (Some(false), Some(down_s)) => down_s.saturating_mul(1_000_000),
        (Some(_) | None, _) => unheard_us(replica),
    }
}

/// A duration for people.
pub fn duration(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..10_000_000 => format!("{} ms", us / 1000),
        10_000_000.. => format!("{} s", us / 1_000_000),
    }
}
