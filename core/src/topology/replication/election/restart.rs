//! Elections after a restart with AOF, where every history is new and every offset 1, and the data is all
//! there: the record and the amount of data tell, and members that may have more are waited for.

use super::lineage::{is_heir, passed_over, rival};
use super::succession::furthest;
use crate::facts::{History, Relation};
use crate::topology::replication::claims::loaded_nothing;
use crate::topology::replication::recorded::{had_the_position, has_waited_for_restart};
use crate::topology::replication::role::{Elected, Election, LossKind, Lost};
use crate::topology::replication::view::{Follows, View};
use std::cmp::Reverse;

/// The recorded master after such a restart, as a replica of no master, with more data than every copy of its
/// former history: it had what they had, and then some.
pub fn restarted_with_more(view: &View, lost: &Lost, fit: &[usize], heirs: &[usize]) -> Option<usize> {
    let index =
        lost.index.filter(|index| !heirs.is_empty() && !heirs.contains(index) && fit.contains(index))?;
    let member = &view.members[index];
    let is_new_run = view
        .published()
        .is_some_and(|published| published.master == view.id(index) && !view.is_recorded(index));
    let keys = |heir: usize| view.members[heir].keys.unwrap_or(u64::MAX);
    let own = member.keys.unwrap_or(0);
    // Of those that may not take over it is enough that they have no more.
    let is_richest = heirs.iter().all(|&heir| keys(heir) < own)
        && view
            .answering()
            .all(|(other, _)| other == index || !is_heir(view, lost, other) || keys(other) <= own);
    (is_new_run && member.follows == Follows::NoMaster && is_richest).then_some(index)
}

/// No candidate belongs to a known history.
///
/// 1. Candidates with less data than the old master is known to have had, and strangers, may not stand.
/// 2. Two of the rest hold unrelated data and there is no record: a person must choose.
/// 3. Members that may have more get their time to appear.
/// 4. The member on record wins if it holds data that it did not take since its start, or if none has any;
///    else one that the record saw reach the last position of the stream; of several the one with the most
///    data.
/// 5. A member that has all that the winner has, and more, wins in its place, or stops the election if it may
///    not stand; so does one of another history that has more.
pub fn elect_without_lineage(view: &View, lost: &Lost, fit: &[usize]) -> Election {
    let keys_min = keys_min(view, lost);
    let may_stand = |index: &usize| {
        view.members[*index].keys.unwrap_or(0) >= keys_min && !is_stranger(view, lost, *index)
    };
    let candidates: Vec<usize> = fit.iter().copied().filter(may_stand).collect();
    if candidates.is_empty() {
        return Election::NobodyEligible;
    }
    let has_data = |index: &usize| view.members[*index].has_data() && !view.is_discarded(*index);
    let holders: Vec<usize> = candidates.iter().copied().filter(has_data).collect();
    if view.published().is_none() && are_unrelated(view, &holders) {
        return Election::Contested(holders);
    }
    if !has_waited_for_restart(view) {
        return Election::TooEarly;
    }
    let Some(winner) = richest(view, &candidates, &holders) else { return Election::NobodyEligible };
    let winner = furthest(view, winner, fit);
    if !candidates.contains(&winner) {
        return Election::NobodyEligible;
    }
    if let Some(rival) = rival(view, lost, winner) {
        return Election::Contested(vec![winner, rival]);
    }
    passed_over(view, lost, winner).unwrap_or(Election::Elected(Elected {
        winner,
        meant_for: winner,
        known_loss_bytes: None,
    }))
}

/// Some data, where the old master was known to have some and does not answer. How many keys says nothing:
/// masters expire and evict, and replicas count what has expired.
fn keys_min(view: &View, lost: &Lost) -> u64 {
    match (lost.kind, lost.index.map(|index| &view.members[index])) {
        (LossKind::OutOfSight, Some(member)) => {
            member.keys.unwrap_or(u64::from(view.published().is_some() || member.history().is_some())).min(1)
        }
        (LossKind::OutOfSight | LossKind::Vanished, _) => u64::from(view.published().is_some()),
        (LossKind::Abdicated | LossKind::Amnesic { .. } | LossKind::CameBackEmpty, _) => 0,
    }
}

fn are_unrelated(view: &View, holders: &[usize]) -> bool {
    let relation = |one: usize, other: usize| view.members[one].relation(&view.members[other]);
    holders
        .iter()
        .any(|&one| holders.iter().any(|&other| one != other && relation(one, other) == Relation::Unrelated))
}

fn richest(view: &View, candidates: &[usize], holders: &[usize]) -> Option<usize> {
    // What a new process of the recorded master has that read no file, it took since it started.
    let has_its_data = |index: &usize| view.is_recorded(*index) || !loaded_nothing(&view.members[*index]);
    let recorded = view.published().and_then(|published| view.find(&published.master)).filter(has_its_data);
    let priority = |index: usize| view.members[index].replication.priority;
    let data = |index: usize| {
        let member = &view.members[index];
        (
            had_the_position(view, index),
            member.keys,
            member.history().map(|history| history.offset),
            Reverse(priority(index)),
            Reverse(index),
        )
    };
    match recorded {
        Some(index) if holders.contains(&index) || holders.is_empty() && candidates.contains(&index) => {
            Some(index)
        }
        Some(_) | None if holders.is_empty() => {
            candidates.iter().copied().min_by_key(|&index| (priority(index), index))
        }
        Some(_) | None => holders.iter().copied().max_by_key(|&index| data(index)),
    }
}

/// Data that is not the group's: the process was up while the old master, never restarted, still answered,
/// and does not have its history.
fn is_stranger(view: &View, lost: &Lost, index: usize) -> bool {
    let member = &view.members[index];
    let knew_record =
        |history: &History| view.published().is_none_or(|published| history.knows(&published.replid));
    let last_answer_us = lost
        .index
        .filter(|_| lost.kind == LossKind::OutOfSight)
        .map(|old| &view.members[old])
        .filter(|old| old.history().is_some_and(knew_record))
        .and_then(|old| old.sample_age_us);
    // Uptimes are whole seconds, rounded down.
    let was_up =
        |age_us: u64| member.server.uptime_s.is_some_and(|uptime| uptime.saturating_mul(1_000_000) > age_us);
    member.keys != Some(0) && last_answer_us.is_some_and(was_up)
}
