//! Which history was lost, and which members have it.

use crate::facts::{History, Relation};
use crate::topology::replication::ineligible::unfit;
use crate::topology::replication::recorded::had_the_position;
use crate::topology::replication::role::{Election, LossKind, Lost};
use crate::topology::replication::view::{Member, View};

/// The history that offsets are compared in: the last words of the old master, or the record where those are
/// of a new life, or what the members themselves show.
pub fn reference<'a>(view: &View<'a>, lost: &Lost) -> Option<History<'a>> {
    let recorded = view.published().map(|published| History {
        replid: &published.replid,
        offset: published.offset,
        former: None,
    });
    let last_words = lost.index.and_then(|index| view.members[index].history().copied());
    // A master that abdicated may be the only one that has its history.
    let is_witness = |index: usize| Some(index) != lost.index || lost.kind == LossKind::Abdicated;
    let is_shared = |history: &History| {
        view.answering().any(|(index, member)| {
            is_witness(index)
                && member.history().is_some_and(|other| history.relation(other) != Relation::Unrelated)
        })
    };
    match lost.kind {
        LossKind::OutOfSight => last_words
            .filter(is_shared)
            .or(recorded.filter(is_shared))
            .or_else(|| longest_with_data(view, lost)),
        // That one witness has what the master lost does not mean that all are of its history.
        LossKind::Abdicated | LossKind::Vanished | LossKind::Amnesic { .. } | LossKind::CameBackEmpty => {
            match recorded {
                Some(recorded) => Some(recorded).filter(is_shared),
                None => longest_with_data(view, lost),
            }
        }
    }
}

/// Without a record: the history that holds data, if all that hold data are of one; where none has any, the
/// one that all candidates are of.
fn longest_with_data<'a>(view: &View<'a>, lost: &Lost) -> Option<History<'a>> {
    // The old master's history is known, and no member here is of it.
    let is_known = |index: usize| view.members[index].history().is_some();
    if lost.kind == LossKind::OutOfSight && lost.index.is_some_and(is_known) {
        return None;
    }
    let candidates: Vec<&Member> =
        view.answering().map(|(_, member)| member).filter(|member| unfit(member).is_none()).collect();
    let any_data = candidates.iter().any(|member| member.has_data());
    let mut histories = candidates
        .iter()
        .filter(|member| !any_data || member.has_data())
        .filter_map(|member| member.history());
    let first = histories.next()?;
    let mut longest = *first;
    for history in histories {
        if history.relation(first) == Relation::Unrelated {
            return None;
        }
        if history.offset > longest.offset {
            longest = *history;
        }
    }
    Some(longest)
}

/// Whether a member has the history that was lost: the one on record, or that of the last words of the master
/// that is out of sight. A master that came back with less is no heir of its own former self.
pub fn is_heir(view: &View, lost: &Lost, index: usize) -> bool {
    let last_words = lost
        .index
        .filter(|&index| !view.members[index].answers)
        .and_then(|index| view.members[index].history());
    !is_amnesic(lost, index)
        && view.members[index].history().is_some_and(|history| {
            view.published().is_some_and(|published| history.knows(&published.replid))
                || last_words.is_some_and(|last| history.relation(last) != Relation::Unrelated)
        })
}

/// The master that came back without what its group has.
pub fn is_amnesic(lost: &Lost, index: usize) -> bool {
    matches!(lost.kind, LossKind::Amnesic { .. }) && lost.index == Some(index)
}

/// The outcome where a member of another history holds more than `winner`, and neither record nor lineage
/// speaks for the winner: a machine must not drop that data, so it is waited for, or a person decides by
/// `discard`.
pub fn passed_over(view: &View, lost: &Lost, winner: usize) -> Option<Election> {
    let member = &view.members[winner];
    if is_heir(view, lost, winner) || had_the_position(view, winner) && member.has_data() {
        return None;
    }
    let has_more = |other: &Member| {
        other.keys.unwrap_or(0) > member.keys.unwrap_or(0) && other.relation(member) == Relation::Unrelated
    };
    let (richer, other) = view
        .answering()
        .find(|(index, other)| has_more(other) && !view.is_discarded(*index) && !is_amnesic(lost, *index))?;
    Some(if other.is_loading() { Election::Awaited(richer) } else { Election::NobodyEligible })
}

/// A member that answers as a master, with data of which nothing shows that it is not the group's: beside it
/// no other may be promoted.
///
/// 1. All restart with AOF, so every history is new. redis-1 is on record.
/// 2. Another operator, or a person, promotes redis-2. The record that says so is late.
/// 3. redis-2 is unknown here. redis-3, with as much data, must not become a second master.
///
/// The winner goes before it where it has the history that was lost, is the one on record, has more keys in a
/// group that has a record, or shares its history with others while that one shares none.
pub fn rival(view: &View, lost: &Lost, winner: usize) -> Option<usize> {
    let own = &view.members[winner];
    let is_recorded = |index: usize| view.published().is_some_and(|it| it.master == view.id(index));
    let shares = |one: &Member, other: &Member| one.relation(other) != Relation::Unrelated;
    let is_tied = |rival: usize| {
        let others = || view.answering().filter(|(index, _)| *index != winner && *index != rival);
        own.has_data()
            && others().any(|(_, third)| third.is_replica() && shares(third, own))
            && !others().any(|(_, third)| shares(third, &view.members[rival]))
    };
    let goes_before = |rival: usize| {
        is_heir(view, lost, winner)
            || own.has_data() && is_recorded(winner)
            || view.published().is_some() && own.keys > view.members[rival].keys
            || is_tied(rival)
    };
    let is_rival = |(index, member): &(usize, &Member)| {
        *index != winner
            && lost.index != Some(*index)
            && member.is_master()
            && member.has_data()
            && member.history().is_some()
            && !shares(member, own)
            && !view.is_discarded(*index)
            && !is_recorded(*index)
            && !goes_before(*index)
    };
    view.answering().find(is_rival).map(|(index, _)| index)
}
