//! Whether the loss of the role is proven: by death, by what its holder says of itself, or by silence; or
//! what is missing.

use crate::contract::{Evidence, FailureKind, Preference};
use crate::election::{Election, elect};
use crate::facts::{Relation, Speaks};
use crate::health::{Life, apart_us, duration, life, unheard_us};
use crate::mastership::{How, Lost};
use crate::reason::Reason;
use crate::view::{Member, Names, View};

/// The state of the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The role is free.
    Proven {
        /// What kind of proof.
        evidence: Evidence,
        /// One sentence.
        text: String,
    },
    /// Something is missing.
    Pending {
        /// What.
        reason: Reason,
        /// One sentence.
        text: String,
        /// When to look again.
        next_look_us: u64,
    },
}

/// Looks for a proof. Whoever else may be the master and is out of sight is accounted for, too: who is on
/// record, and whom any replica names, as long as it is not known to be silent or another's replica.
pub fn proof(view: &View, lost: &Lost) -> Proof {
    let mut proof = loss(view, lost);
    let named =
        view.answering().filter(|(_, member)| member.is_replica()).filter_map(|(_, member)| named_by(member));
    let recorded = view.published().and_then(|published| view.find(&published.master));
    // Beyond who is out of sight, his own last words go on.
    let beyond = |index: usize| named_by(&view.members[index]).filter(|_| !view.members[index].answers);
    let mut seen = lost.index;
    for other in lost
        .index
        .and_then(beyond)
        .into_iter()
        .chain(recorded)
        .chain(named.flat_map(|named| [Some(named), beyond(named)]).flatten())
    {
        let Proof::Proven { evidence, .. } = &proof else { break };
        if seen == Some(other) || lost.index == Some(other) || view.members[other].answers {
            continue;
        }
        seen = Some(other);
        let is_copy = recorded != Some(other) && named_by(&view.members[other]).is_some();
        if is_copy && !matches!(life(view, &view.members[other]), Life::Suspect { .. }) {
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
            pending @ Proof::Pending { .. } => proof = pending,
        }
    }
    confirmed(view, proof)
}

/// During a handover of another operator's the group has no master for a round trip or two, and its members
/// show that in any order: old master demoted, replica not promoted yet. Promoting a third one in that gap makes
/// two masters. So an abdication counts only once the group has had no master for [`ABDICATION_US`].
fn confirmed(view: &View, proof: Proof) -> Proof {
    let age_us = view.no_master_age_us();
    match proof {
        Proof::Proven { evidence: Evidence::Abdicated, text } if age_us < ABDICATION_US => Proof::Pending {
            reason: Reason::ConfirmingAbdication,
            text: format!("{text}; the group has had no master for {}", duration(age_us)),
            next_look_us: (ABDICATION_US - age_us).clamp(LOOK_MIN_US, ABDICATION_LOOK_US),
        },
        Proof::Proven { .. } | Proof::Pending { .. } => proof,
    }
}

fn named_by(member: &Member) -> Option<usize> {
    match member.names {
        Names::Member(named) if member.replication.role == Speaks::AsReplica => Some(named),
        Names::Member(_) | Names::Nobody | Names::Stranger(_) => None,
    }
}

fn loss(view: &View, lost: &Lost) -> Proof {
    let proven = |evidence, text| Proof::Proven { evidence, text };
    match (lost.how, lost.index) {
        (How::Abdicated, Some(index))
            if view.members[index].is_loading() && must_be_waited_for(view, lost, index) =>
        {
            Proof::Pending {
                reason: Reason::MasterOccupied,
                text: format!("{} loads its data", view.id(index)),
                next_look_us: SUSPECT_LOOK_MAX_US,
            }
        }
        (How::Abdicated, Some(index)) => {
            let answer = if view.members[index].is_loading() {
                "a process that restarted and still loads its data"
            } else {
                "no master of theirs"
            };
            proven(
                Evidence::Abdicated,
                format!("{} is followed as the master and answers as {answer}", view.id(index)),
            )
        }
        (How::Abdicated, None) => proven(
            Evidence::Abdicated,
            "the members follow each other in a ring, and none is a master".into(),
        ),
        (How::Amnesic { witness }, _) => {
            let keys = |index: usize| lost_keys(view, index);
            let id = lost.id.as_deref().unwrap_or("the master");
            proven(
                Evidence::Amnesic,
                format!(
                    "{id} restarted with {} keys of a new history, where {} has {}",
                    lost.index.map_or(0, keys),
                    view.id(witness),
                    keys(witness)
                ),
            )
        }
        (How::Bare, _) => Proof::Pending {
            reason: Reason::RestartWaiting,
            text: format!("{} came back without data", lost.id.as_deref().unwrap_or("the master")),
            next_look_us: SUSPECT_LOOK_MAX_US,
        },
        (How::Vanished, _) | (How::OutOfSight, None) => {
            let id = lost.id.as_deref().unwrap_or("the master");
            let hears = view.answering().find(|(_, member)| {
                member.replication.link_up == Some(true) && matches!(member.names, Names::Stranger(_))
            });
            match hears {
                Some((index, _)) => still_heard(view, index, id),
                None => proven(Evidence::Dead, format!("{id} is gone from the group")),
            }
        }
        (How::OutOfSight, Some(index)) => out_of_sight(view, index),
    }
}

/// A process that reloads, known by its run id or by a link that never broke, is alive; a new one need not be
/// waited for while somebody else has its data.
fn must_be_waited_for(view: &View, lost: &Lost, index: usize) -> bool {
    let is_heard = || {
        view.answering().any(|(_, member)| {
            member.names == Names::Member(index) && member.replication.link_up == Some(true)
        })
    };
    view.is_recorded(index) || is_heard() || matches!(elect(view, lost), Election::NobodyEligible)
}

fn lost_keys(view: &View, index: usize) -> u64 {
    view.members[index].keys.unwrap_or(0)
}

fn out_of_sight(view: &View, index: usize) -> Proof {
    let (id, member) = (view.id(index), &view.members[index]);
    let pending = |reason, text, next_look_us| Proof::Pending { reason, text, next_look_us };
    match life(view, member) {
        Life::Answers => pending(
            Reason::MasterSuspect,
            format!("{id} answers, and not as a master that could be judged"),
            SUSPECT_LOOK_MAX_US,
        ),
        Life::Occupied(word) => {
            pending(Reason::MasterOccupied, format!("{id} answers only {word}"), SUSPECT_LOOK_MAX_US)
        }
        Life::Locked => pending(
            Reason::MasterLocked,
            format!("{id} does not accept the operator's credentials"),
            SUSPECT_LOOK_MAX_US,
        ),
        Life::Gone(gone) => {
            let witnesses = || {
                view.answering()
                    .filter(|(_, witness)| witness.is_replica() && witness.names == Names::Member(index))
            };
            let asked_before =
                |age: Option<u64>| gone.since_us.is_some_and(|since| age.is_none_or(|age| age >= since));
            if let Some((witness, _)) = witnesses().find(|(_, witness)| asked_before(witness.sample_age_us)) {
                return pending(
                    Reason::ConfirmingDeath,
                    format!("{id}: {}; {} is being asked", gone.proof, view.id(witness)),
                    LOOK_MIN_US,
                );
            }
            match witnesses()
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
        Life::Suspect { for_us } => {
            let link = &member.instance.link;
            let left_us = view.hang_limit_us().saturating_sub(for_us);
            let why = failure_text(view, index).unwrap_or_else(|| "no reply".into());
            let text = format!(
                "{id}: {why} for {}, of {} that make a hang",
                duration(for_us),
                duration(view.hang_limit_us())
            );
            // After a closed connection look again after 0.5, 1, 2, 4… ms: after as long as it has been
            // closed.
            let next_look_us = link
                .closed_age_us
                .map_or(left_us, |closed| closed.min(left_us))
                .clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US);
            pending(Reason::MasterSuspect, text, next_look_us)
        }
        Life::Silent { for_us } => silent(view, index, for_us),
    }
}

/// Where nobody names the lost one, who streams the same history from a place that is not known here may have
/// it from there.
fn hears_by_another_name(view: &View, index: usize) -> Option<usize> {
    if view.answering().any(|(_, member)| member.is_replica() && member.names == Names::Member(index)) {
        return None;
    }
    let is_lost_history = |member: &Member| {
        member.relation(&view.members[index]) != Relation::Unrelated
            || member.history().is_none_or(|history| {
                view.published().is_some_and(|published| history.knows(&published.replid))
            })
    };
    let hears = |member: &Member| {
        member.is_replica()
            && matches!(member.names, Names::Stranger(_))
            && unheard_us(member) < view.hang_limit_us()
            && is_lost_history(member)
    };
    view.answering().find(|(_, member)| hears(member)).map(|(witness, _)| witness)
}

fn failure_text(view: &View, index: usize) -> Option<String> {
    let failure = view.members[index].instance.replies.iter().find_map(|reply| reply.failure.as_ref())?;
    Some(match failure.kind {
        FailureKind::Refused => "connections refused".into(),
        FailureKind::Reset => "connection reset".into(),
        FailureKind::Unreachable => "unreachable".into(),
        FailureKind::TimedOut => "no reply".into(),
        FailureKind::Unauthorized => "credentials not accepted".into(),
        FailureKind::Loading => "LOADING".into(),
        FailureKind::Busy => "BUSY".into(),
        FailureKind::ErrorReply => "error replies".into(),
        FailureKind::ProtocolError => "no Redis protocol".into(),
    })
}

fn still_heard(view: &View, witness: usize, id: &str) -> Proof {
    Proof::Pending {
        reason: Reason::MasterStillHeard,
        text: format!("{id} cannot be reached from here, and {} still hears it", view.id(witness)),
        // The link of a dead master goes down within milliseconds (measured: 0.7 ms after the host's own end
        // of file).
        next_look_us: view
            .find(id)
            .and_then(|index| view.members[index].instance.link.closed_age_us)
            .unwrap_or(SUSPECT_LOOK_MAX_US)
            .clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US),
    }
}

/// Silence proves nothing by itself: a majority must answer, all replicas must hear nothing for as long, the
/// last failover must be over, and the host must not doubt itself.
fn silent(view: &View, index: usize, for_us: u64) -> Proof {
    let (id, group, hang_limit_us) = (view.id(index), view.group(), view.hang_limit_us());
    let pending = |reason, text, next_look_us: u64| Proof::Pending {
        reason,
        text,
        next_look_us: next_look_us.clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US),
    };
    let desired = usize::from(group.members_desired);
    let answering = view.answering_count();
    // Of two members, the one that is left is no majority and yet all that there is.
    if answering * 2 <= desired && !(desired == 2 && answering == 1) {
        return pending(
            Reason::TooFewWitnesses,
            format!("{id} is silent for {}, and {answering} of {desired} members answer", duration(for_us)),
            SUSPECT_LOOK_MAX_US,
        );
    }
    let fence_us = match (group.prefer, group.self_fence_lag_s) {
        (Preference::Availability, _) => 0,
        (Preference::Consistency, Some(lag_s)) => (u64::from(lag_s) + FENCE_MARGIN_S) * 1_000_000,
        (Preference::Consistency, None) => {
            return pending(
                Reason::SilentUnfenced,
                format!("{id} is silent for {} and may still take writes", duration(for_us)),
                SUSPECT_LOOK_MAX_US,
            );
        }
    };
    let witnesses = || {
        view.answering().filter(|(_, witness)| witness.is_replica() && witness.names == Names::Member(index))
    };
    let unheard = |(_, witness): &(usize, &Member)| unheard_us(witness);
    if let Some((witness, _)) =
        witnesses().filter(|witness| unheard(witness) < hang_limit_us).min_by_key(unheard)
    {
        let text = format!(
            "{id} is silent for {}, and {} heard it within the hang limit of {}",
            duration(for_us),
            view.id(witness),
            duration(hang_limit_us)
        );
        return pending(Reason::MasterStillHeard, text, SILENT_LOOK_US);
    }
    if let Some(witness) = hears_by_another_name(view, index) {
        return still_heard(view, witness, id);
    }
    if let Some(failover) =
        view.last_failover().filter(|failover| failover.age_us < COOL_DOWN_HANG_LIMITS * hang_limit_us)
    {
        let left_us = COOL_DOWN_HANG_LIMITS * hang_limit_us - failover.age_us;
        return pending(
            Reason::CoolingDown,
            format!(
                "{id} is silent, {} after the last failover; {} are left",
                duration(failover.age_us),
                duration(left_us)
            ),
            left_us,
        );
    }
    let doubt_us = DOUBT_HANG_LIMITS * hang_limit_us;
    if view.observation.silent_groups_permille > DOUBT_PERMILLE && for_us < doubt_us {
        let text = format!(
            "{id} is silent, and so are {} per mille of all groups; {} are left",
            view.observation.silent_groups_permille,
            duration(doubt_us - for_us)
        );
        return pending(Reason::FleetDoubt, text, doubt_us - for_us);
    }
    // On the replicas' clocks, whose acknowledgements kept the fence open.
    let shortest_us = witnesses().map(|(_, witness)| apart_us(witness)).min().unwrap_or(u64::MAX).min(for_us);
    if shortest_us < fence_us {
        return pending(
            Reason::FenceWaiting,
            format!(
                "{id} is silent for {}, of {} after which it surely refuses writes",
                duration(shortest_us),
                duration(fence_us)
            ),
            fence_us - shortest_us,
        );
    }
    Proof::Proven {
        evidence: Evidence::Silent,
        text: format!("{id} gave no reply for {}, and its replicas hear nothing from it", duration(for_us)),
    }
}

/// A silent-only failover waits this long after the last one: the new master and its replicas need that to be
/// seen at all.
const COOL_DOWN_HANG_LIMITS: u64 = 3;
/// Fleet doubt holds silent-only failovers, and not for ever.
const DOUBT_HANG_LIMITS: u64 = 10;
/// More than a quarter of all groups at once.
const DOUBT_PERMILLE: u16 = 250;
/// `min-replicas-max-lag` counts whole seconds, from an acknowledgement that is sent once a second, in a
/// check that runs once a second (`replication.c`, `refreshGoodSlavesCount`): three more than the lag are
/// sure.
const FENCE_MARGIN_S: u64 = 3;
/// Some thirty times what the demotion and the promotion of a handover take on a loopback.
const ABDICATION_US: u64 = 100_000;
/// Each look within that time may see the new master.
const ABDICATION_LOOK_US: u64 = 25_000;
/// One round trip.
const LOOK_MIN_US: u64 = 500;
/// The hang limit is over and a replica's last sound is younger: look often, each look is a witness.
const SILENT_LOOK_US: u64 = 10_000;
/// Later every 50 to 100 ms.
const SUSPECT_LOOK_MAX_US: u64 = 50_000;
