//! The order among candidates, and the place in the stream that each of them reached.

use crate::facts::{History, Relation};
use crate::observed::sorted;
use crate::topology::replication::parameters::Order;
use crate::topology::replication::view::{Member, View};

/// Sorts members of one history, the best first. The keys are those of Sentinel (`sentinel.c`,
/// `compareSlavesForPromotion`), with data before priority, unless the user wants Sentinel's order:
///
/// | | data-first | priority-first |
/// |--|--|--|
/// | 1 | larger offset along the reference, then beyond it | is not about to stop |
/// | 2 | is not about to stop | lower replica-priority |
/// | 3 | lower replica-priority | larger offset |
/// | 4 | smaller id | smaller id |
pub fn succession(view: &View, reference: Option<&History>, candidates: &[usize]) -> Vec<usize> {
    // Of those that left the reference at the same place, what they have beyond still tells.
    let place = |&index: &usize| {
        let member = &view.members[index];
        (reached(member, reference), member.history().map(|history| history.offset))
    };
    let places: Vec<_> = candidates.iter().map(place).collect();
    let compare = |first: usize, second: usize| {
        let (one, other) = (&view.members[candidates[first]], &view.members[candidates[second]]);
        let priority = one.replication.priority.cmp(&other.replication.priority);
        let data = places[second].cmp(&places[first]);
        let stays = one.is_terminating().cmp(&other.is_terminating());
        let by_order = match view.parameters.order {
            Order::DataFirst => data.then(stays).then(priority),
            Order::PriorityFirst => stays.then(priority).then(data),
        };
        by_order.then_with(|| one.instance.id.cmp(&other.instance.id))
    };
    sorted(candidates.len(), &compare).into_iter().map(|place| candidates[place]).collect()
}

/// The candidate that has all that `winner` has, and more. Between members of one history offsets tell,
/// whatever else they know of it.
pub fn furthest(view: &View, winner: usize, candidates: &[usize]) -> usize {
    let is_ahead = |one: usize, other: usize| {
        matches!(view.members[one].relation(&view.members[other]), Relation::Ahead(_))
    };
    match view.parameters.order {
        Order::DataFirst => {
            let further = |best: usize, index: usize| if is_ahead(index, best) { index } else { best };
            candidates.iter().copied().fold(winner, further)
        }
        Order::PriorityFirst => winner,
    }
}

/// How far along the reference a member got: bytes of its own behind a fork do not count.
pub fn reached(member: &Member, reference: Option<&History>) -> u64 {
    let Some(history) = member.history() else { return 0 };
    match reference.map(|reference| history.relation(reference)) {
        Some(Relation::Forked { at, .. }) => at,
        Some(Relation::Unrelated) => 0,
        Some(Relation::Equal | Relation::Ahead(_) | Relation::Behind(_)) | None => history.offset,
    }
}
