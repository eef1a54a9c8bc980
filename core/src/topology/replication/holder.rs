//! Which member had the role, where none answers as a rightful master: the one on record, or the one that the
//! most advanced replica follows.

use super::claims::{amnesia_witness, came_back_empty};
use super::role::{LossKind, Lost, Mastership};
use super::view::{Follows, View};
use crate::facts::Place;
use std::cmp::Reverse;

/// The state of a role that no answering member has by right:
///
/// 1. A known member had it (on record, or followed): lost.
/// 2. The record names a member that is gone, or replicas follow a place where no member is any more: an
///    orchestrator gives new addresses to new Pods, so that place was the master's. Without a record such a
///    place can be anywhere, so a majority must show it.
/// 3. A replica follows a server outside, otherwise: external. A list of addresses keeps them, and a link
///    that is up shows that the server exists.
/// 4. The members follow each other in a ring: lost.
/// 5. None of these: vacant.
pub fn holder(view: &View) -> Mastership {
    let ends = ends(view);
    let recorded = view.published().map(|published| (published.master.clone(), view.find(&published.master)));
    let index = member_that_had_it(view, &ends, recorded.as_ref().and_then(|(_, index)| *index));
    let is_stale_pod = |follower: usize| {
        let member = &view.members[follower];
        member.instance.pod.is_some() && member.replication.link_up != Some(true)
    };
    let is_pod_or_stale = |follower: usize| {
        let member = &view.members[follower];
        member.instance.pod.is_some() || member.replication.link_up != Some(true)
    };
    let is_majority = view.answering_count() * 2 > usize::from(view.group().members_desired);
    let lost = |index, id, kind| Mastership::Lost(Lost { index, id, kind });
    match (index, ends.outsider, recorded) {
        (Some(index), _, _) => lost(Some(index), Some(view.id(index).to_owned()), loss_kind(view, index)),
        (None, outsider, Some((id, None)))
            if outsider.as_ref().is_none_or(|(follower, _)| is_pod_or_stale(*follower)) =>
        {
            lost(None, Some(id), LossKind::Vanished)
        }
        // The recorded one is a member and no master, and the server that it follows is gone.
        (None, Some((follower, _)), Some((id, Some(index)))) if is_stale_pod(follower) => {
            lost(Some(index), Some(id), loss_kind(view, index))
        }
        (None, Some((follower, _)), None) if is_stale_pod(follower) && is_majority => {
            lost(None, None, LossKind::Vanished)
        }
        (None, Some((follower, place)), _) => Mastership::External { follower, place },
        (None, None, _) if ends.has_ring => lost(None, None, LossKind::Abdicated),
        (None, None, _) => Mastership::Vacant,
    }
}

/// The member on record, if a replica follows it or none follows another; else the one that the most advanced
/// replica follows.
fn member_that_had_it(view: &View, ends: &Ends, recorded: Option<usize>) -> Option<usize> {
    let is_followed = |index: usize| ends.reached[index].is_some();
    let is_any_followed = ends.reached.iter().any(Option::is_some);
    match recorded {
        Some(index) if is_followed(index) || !is_any_followed && !streams_from_outside(view, index) => {
            Some(index)
        }
        Some(_) | None => (0..ends.reached.len())
            .filter(|&index| is_followed(index))
            .max_by_key(|&index| (ends.reached[index], Reverse(index))),
    }
}

/// It was pointed to a server outside of the group, and copies it.
fn streams_from_outside(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    member.is_replica()
        && member.replication.link_up == Some(true)
        && matches!(end_of_chain(view, index), End::Outsider(_))
}

fn loss_kind(view: &View, index: usize) -> LossKind {
    let member = &view.members[index];
    match amnesia_witness(view, index) {
        Some(witness) if member.is_master() => LossKind::Amnesic { witness },
        Some(_) | None if member.answers && came_back_empty(view, index) => LossKind::CameBackEmpty,
        Some(_) | None if member.answers => LossKind::Abdicated,
        Some(_) | None => LossKind::OutOfSight,
    }
}

/// Where the chains of all answering replicas end.
struct Ends {
    /// Per member, the offset of the most advanced replica whose chain ends there. None: no chain does.
    reached: Vec<Option<u64>>,
    /// A chain ends nowhere.
    has_ring: bool,
    /// The first replica whose chain ends outside of the group, and where.
    outsider: Option<(usize, Place)>,
}

fn ends(view: &View) -> Ends {
    let mut ends = Ends { reached: vec![None; view.members.len()], has_ring: false, outsider: None };
    for (index, member) in view.answering().filter(|(_, member)| member.is_replica()) {
        match end_of_chain(view, index) {
            End::Member(end) => {
                let offset = member.history().map_or(0, |history| history.offset);
                ends.reached[end] = ends.reached[end].max(Some(offset));
            }
            End::Ring => ends.has_ring = true,
            End::Outsider(place) => ends.outsider = ends.outsider.or(Some((index, place))),
            End::Nowhere => {}
        }
    }
    ends
}

/// Where a chain of replicas ends.
enum End {
    Member(usize),
    Ring,
    Nowhere,
    Outsider(Place),
}

/// Follows the chain from a replica to a member that is no answering replica, or to nowhere.
fn end_of_chain(view: &View, from: usize) -> End {
    let mut at = from;
    for _ in 0..=view.members.len() {
        match &view.members[at].follows {
            Follows::Member(next) if view.members[*next].is_replica() => at = *next,
            Follows::Member(next) => return End::Member(*next),
            Follows::Outsider(place) => return End::Outsider(place.clone()),
            // A replica of itself is no master, and still the end of its replicas' chain.
            Follows::NoMaster if at != from => return End::Member(at),
            Follows::NoMaster => return End::Nowhere,
        }
    }
    End::Ring
}
