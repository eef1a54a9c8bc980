//! Whether the loss of the role is proven: by death, by what the former master says of itself, or by silence;
//! or what is missing.

use super::absence::plight;
use super::claims::is_followed;
use super::election::{Election, elect};
use super::heard::{LOOK_MIN_US, SUSPECT_LOOK_MAX_US, hears_by_another_name, replicas_of, still_heard};
use super::reasons;
use super::role::{LossKind, Lost, Proof};
use super::silence::missing;
use super::view::{Follows, Member, View};
use crate::contract::{Evidence, FailureKind, LinkState};
use crate::facts::{INFO_REPLICATION, ReportedRole};
use crate::health::{Gone, Life, duration};
use std::iter::once;

/// Whether it is.
pub fn is_proven(view: &View, lost: &Lost) -> bool {
    match proof(view, lost) {
        Proof::Proven { .. } => true,
        Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. } => false,
    }
}

/// Looks for a proof, for the lost master and for every other member that may be master and does not answer:
/// the one on record, and each that a replica follows. So no promotion happens while any of them may still
/// take writes.
pub fn proof(view: &View, lost: &Lost) -> Proof {
    let mut proof = loss(view, lost);
    let mut seen = lost.index;
    for other in possible_masters(view, lost) {
        let Proof::Proven { evidence, .. } = &proof else { break };
        if seen == Some(other) || lost.index == Some(other) || view.members[other].answers {
            continue;
        }
        seen = Some(other);
        // A copy counts only as long as it is not known to be silent or gone: it takes no writes.
        let is_copy = !is_recorded_index(view, other) && followed_by(&view.members[other]).is_some();
        if is_copy && !matches!(view.life(other), Life::Suspect { .. }) {
            continue;
        }
        match out_of_sight(view, other) {
            // Silence is a reason where the others say nothing better.
            silent @ Proof::Proven { evidence: Evidence::Silent, .. }
                if matches!(evidence, Evidence::Abdicated | Evidence::Amnesic) =>
            {
                proof = silent
            }
            Proof::Proven { .. } => {}
            missing @ (Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. }) => {
                proof = missing
            }
        }
    }
    confirmed(view, proof)
}

/// Beyond a member that does not answer, the one that it last said it follows.
fn possible_masters<'v>(view: &'v View, lost: &Lost) -> impl Iterator<Item = usize> + 'v {
    let beyond = |index: usize| followed_by(&view.members[index]).filter(|_| !view.members[index].answers);
    let recorded = view.published().and_then(|published| view.find(&published.master));
    let followed = view
        .answering()
        .filter(|(_, member)| member.is_replica())
        .filter_map(|(_, member)| followed_by(member));
    lost.index
        .and_then(beyond)
        .into_iter()
        .chain(recorded)
        .chain(followed.flat_map(move |followed| once(followed).chain(beyond(followed))))
}

fn is_recorded_index(view: &View, index: usize) -> bool {
    view.published().and_then(|published| view.find(&published.master)) == Some(index)
}

fn followed_by(member: &Member) -> Option<usize> {
    match member.follows {
        Follows::Member(followed) if member.replication.role == ReportedRole::Replica => Some(followed),
        Follows::Member(_) | Follows::NoMaster | Follows::Outsider(_) => None,
    }
}

/// An abdication counts only once the group has had no master for [`ABDICATION_US`]. Without that:
///
/// 1. Another operator hands over from redis-1 to redis-2: it demotes redis-1, then promotes redis-2.
/// 2. Between the two, redis-1 answers as a replica and redis-2 does not answer as a master yet.
/// 3. This policy sees an abdicated master and promotes redis-3.
/// 4. The other operator promotes redis-2: two masters.
///
/// Nor before every member that answers has said what it is since: a new master may stall in its first
/// moment, and its newest reply is from before its promotion.
fn confirmed(view: &View, proof: Proof) -> Proof {
    let age_us = view.no_master_age_us();
    let is_older = |sample_us: u64| sample_us >= age_us;
    let unheard = view.answering().find(|(_, member)| member.sample_age_us.is_some_and(is_older));
    match (proof, unheard) {
        (Proof::Proven { evidence: Evidence::Abdicated, text }, Some((index, _)))
            if age_us >= ABDICATION_US =>
        {
            Proof::Pending {
                reason: reasons::CONFIRMING_ABDICATION,
                text: format!("{text}; {} has not replied since, and may be the new master", view.id(index)),
                next_look_us: ABDICATION_LOOK_US,
            }
        }
        (Proof::Proven { evidence: Evidence::Abdicated, text }, _) if age_us < ABDICATION_US => {
            Proof::Pending {
                reason: reasons::CONFIRMING_ABDICATION,
                text: format!("{text}; the group has had no master for {}", duration(age_us)),
                next_look_us: (ABDICATION_US - age_us).clamp(LOOK_MIN_US, ABDICATION_LOOK_US),
            }
        }
        (
            proof @ (Proof::Proven { .. }
            | Proof::Pending { .. }
            | Proof::Blocked { .. }
            | Proof::Unsure { .. }),
            _,
        ) => proof,
    }
}

fn loss(view: &View, lost: &Lost) -> Proof {
    let id = lost.id.as_deref().unwrap_or("the master");
    match (lost.kind, lost.index) {
        (LossKind::Abdicated, Some(index)) => abdicated(view, lost, index),
        (LossKind::Abdicated, None) => Proof::Proven {
            evidence: Evidence::Abdicated,
            text: "the members follow each other in a ring, and none is a master".into(),
        },
        (LossKind::Amnesic { witness }, _) => {
            let keys = |index: usize| view.members[index].keys.unwrap_or(0);
            let (left, kept) = (lost.index.map_or(0, keys), keys(witness));
            let witness = view.id(witness);
            let text = if left < kept {
                format!("{id} restarted with {left} keys of a new history; {witness} has {kept} keys")
            } else {
                format!("{id} restarted and may lack the end of its history; {witness} has it")
            };
            Proof::Proven { evidence: Evidence::Amnesic, text }
        }
        (LossKind::CameBackEmpty, _) => Proof::Unsure { text: format!("{id} restarted without data") },
        (LossKind::Vanished, _) | (LossKind::OutOfSight, None) => vanished(view, id),
        (LossKind::OutOfSight, Some(index)) => out_of_sight(view, index),
    }
}

fn abdicated(view: &View, lost: &Lost, index: usize) -> Proof {
    let is_loading = view.members[index].is_loading();
    if is_loading && must_be_waited_for(view, lost, index) {
        return Proof::Pending {
            reason: reasons::MASTER_OCCUPIED,
            text: format!("{} loads its data", view.id(index)),
            next_look_us: SUSPECT_LOOK_MAX_US,
        };
    }
    let id = view.id(index);
    let claim = if is_followed(view, index) {
        format!("replicas follow {id}")
    } else {
        format!("{id} is the master on record")
    };
    let fact = if is_loading {
        "its process restarted and still loads its data"
    } else if view.members[index].is_replica() {
        "it reports role replica"
    } else {
        "it has no valid claim to the role"
    };
    Proof::Proven { evidence: Evidence::Abdicated, text: format!("{claim}, but {fact}") }
}

/// A process that reloads, known by its run id or by a link that never broke, is alive; a new process need
/// not be waited for while another member has its data.
fn must_be_waited_for(view: &View, lost: &Lost, index: usize) -> bool {
    let is_heard = || {
        view.answering().any(|(_, member)| {
            member.follows == Follows::Member(index) && member.replication.link_up == Some(true)
        })
    };
    view.is_recorded(index) || is_heard() || matches!(elect(view, lost), Election::NobodyEligible)
}

fn vanished(view: &View, id: &str) -> Proof {
    let hears = view.answering().find(|(_, member)| {
        member.replication.link_up != Some(false) && matches!(member.follows, Follows::Outsider(_))
    });
    match hears {
        Some((index, _)) => still_heard(view, index, id),
        None => Proof::Proven {
            evidence: Evidence::Dead,
            text: format!("{id} is no member of the group any more"),
        },
    }
}

fn out_of_sight(view: &View, index: usize) -> Proof {
    let id = view.id(index);
    let pending = |reason, text| Proof::Pending { reason, text, next_look_us: SUSPECT_LOOK_MAX_US };
    match view.life(index) {
        Life::Answers => pending(reasons::MASTER_SUSPECT, format!("{id} answers, but not as a valid master")),
        Life::Occupied("BUSY") if busy_us(view, index) >= BUSY_MAX_US => busy(view, index),
        Life::Occupied(word) => pending(reasons::MASTER_OCCUPIED, format!("{id} answers only {word}")),
        Life::Locked => locked(view, index),
        Life::Gone(gone) => dead(view, index, &gone),
        Life::Suspect { for_us } => suspect(view, index, for_us),
        Life::Silent { for_us } => missing(view, index, for_us).unwrap_or_else(|| Proof::Proven {
            evidence: Evidence::Silent,
            text: format!(
                "{id} has not replied for {}, and its replicas receive nothing from it",
                duration(for_us)
            ),
        }),
    }
}

/// The words with which a server refuses a connection for their number.
const CROWDED: &str = "max number of clients";

/// It answers each connection that there are too many: it lives, and serves those that it has.
fn is_crowded(view: &View, index: usize) -> bool {
    let replies = &view.members[index].instance.replies;
    replies.iter().filter_map(|reply| reply.failure.as_ref()).any(|failure| failure.text.contains(CROWDED))
}

/// A script that does not end. It is said, and the master is not replaced:
///
/// 1. redis-1 runs a script that has written; SCRIPT KILL is refused (UNKILLABLE).
/// 2. redis-2 is promoted, and takes writes.
/// 3. The script ends. redis-1 acknowledges it, and writes of its clients until it is demoted: they are lost.
///
/// Silence has the same price and no other way out; a script has: SHUTDOWN NOSAVE gives up what the script
/// wrote and no acknowledged write, and the death of the process is proven at once.
fn busy(view: &View, index: usize) -> Proof {
    if is_crowded(view, index) {
        let text = format!(
            "{} has accepted no connection for {}, because its maxclients is reached; it lives and serves the clients \
             that it has, so it is not replaced: raise maxclients, or end idle clients",
            view.id(index),
            duration(busy_us(view, index))
        );
        return Proof::Blocked { reason: reasons::MASTER_BUSY, text };
    }
    Proof::Blocked {
        reason: reasons::MASTER_BUSY,
        text: format!(
            "{} has answered only BUSY for {}: a script keeps it and no client is served; SCRIPT KILL or \
             FUNCTION KILL ends it, and where they are refused SHUTDOWN NOSAVE, after which a replica takes \
             over",
            view.id(index),
            duration(busy_us(view, index))
        ),
    }
}

fn busy_us(view: &View, index: usize) -> u64 {
    view.members[index].instance.link.state_age_us
}

/// Death as this observer saw it, and as every replica of the dead confirms: each was asked after it, and its
/// link is down. Else it may be only this observer's way to the master that broke.
fn dead(view: &View, index: usize, gone: &Gone) -> Proof {
    let id = view.id(index);
    let asked_before =
        |age: Option<u64>| gone.since_us.is_some_and(|since| age.is_none_or(|age| age >= since));
    if let Some((witness, _)) =
        replicas_of(view, index).find(|(_, witness)| asked_before(witness.sample_age_us))
    {
        return Proof::Pending {
            reason: reasons::CONFIRMING_DEATH,
            text: format!("{id}: {}; {} has not reported since", gone.proof, view.id(witness)),
            next_look_us: LOOK_MIN_US,
        };
    }
    match replicas_of(view, index)
        .find(|(_, witness)| witness.replication.link_up != Some(false))
        .map(|(witness, _)| witness)
        .or_else(|| hears_by_another_name(view, index))
    {
        Some(witness) => still_heard(view, witness, id),
        None => Proof::Proven {
            evidence: Evidence::Dead,
            text: format!("{id}: {}, and every replica's link to it is down", gone.proof),
        },
    }
}

/// It lives, and lets the operator see nothing: by its own words, or those of TLS.
fn locked(view: &View, index: usize) -> Proof {
    let why = plight(view, index).map_or_else(String::new, |why| format!(" ({why})"));
    let text = format!(
        "{} does not let the operator in{why}: correct the credentials or certificates, or take the address off the \
         list if another server has it now",
        view.id(index)
    );
    Proof::Blocked { reason: reasons::MASTER_LOCKED, text }
}

/// It answers the question what it is with an error: it lives, and nothing can be learnt from it.
fn refused_question<'a>(view: &View<'a>, index: usize) -> Option<&'a str> {
    let instance = view.members[index].instance;
    let reply = instance.replies.iter().find(|reply| reply.command == INFO_REPLICATION)?;
    let is_answering = instance.link.state == LinkState::Answering;
    let failure = reply.failure.as_ref().filter(|_| is_answering)?;
    (failure.kind == FailureKind::ErrorReply).then_some(failure.text.as_str())
}

fn suspect(view: &View, index: usize, for_us: u64) -> Proof {
    if let Some(refusal) = refused_question(view, index) {
        let text = format!(
            "{} lives and answers INFO with \"{refusal}\", so it is not replaced: grant the operator INFO",
            view.id(index)
        );
        return Proof::Blocked { reason: reasons::MASTER_LOCKED, text };
    }
    let left_us = view.hang_limit_us().saturating_sub(for_us);
    let why = failure_text(view, index).unwrap_or("no reply");
    let hop = if view.is_behind_hop(index) {
        " (a proxy or a mapped port is between, so this proves no death)"
    } else {
        ""
    };
    Proof::Pending {
        reason: reasons::MASTER_SUSPECT,
        text: format!(
            "{}: {why} for {}{hop}; it counts as silent after {}",
            view.id(index),
            duration(for_us),
            duration(view.hang_limit_us())
        ),
        // After a closed connection look again after 0.5, 1, 2, 4… ms: after as long as it has been closed.
        next_look_us: view.members[index]
            .instance
            .link
            .closed_age_us
            .map_or(left_us, |closed| closed.min(left_us))
            .clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US),
    }
}

fn failure_text(view: &View, index: usize) -> Option<&'static str> {
    let failure = view.members[index].instance.replies.iter().find_map(|reply| reply.failure.as_ref())?;
    Some(match failure.kind {
        FailureKind::Refused => "connections refused",
        FailureKind::Reset => "connection reset",
        FailureKind::Unreachable => "unreachable",
        FailureKind::TimedOut => "no reply",
        FailureKind::Unauthorized => "credentials not accepted",
        FailureKind::Loading => "LOADING",
        FailureKind::Busy => "BUSY",
        FailureKind::ErrorReply => "error replies",
        FailureKind::ProtocolError => "no Redis protocol",
    })
}

/// Twice the time after which a script makes a server answer BUSY at all (`busy-reply-threshold`, 5 s).
const BUSY_MAX_US: u64 = 10_000_000;
/// Some thirty times what the demotion and the promotion of a handover take on a loopback.
const ABDICATION_US: u64 = 100_000;
/// Each look within that time may see the new master.
const ABDICATION_LOOK_US: u64 = 25_000;
