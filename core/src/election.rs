//! Who takes over: eligibility, a total order, and a verdict per instance.
//!
//! Filters and order are those of Sentinel (`sentinel.c`, `sentinelSelectSlave`), with two differences that
//! its users paid for: offsets count only within one history, and data comes before priority. The most
//! advanced eligible replica takes over; if another has the better priority, it catches up and gets the role
//! by handover, so nothing is lost to a number in a file.

use crate::facts::{History, Relation, Speaks};
use crate::mastership::{How, Lost};
use crate::parameters::Order;
use crate::view::{Member, Names, View, sorted};

/// The outcome of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// Somebody can take over.
    Elected(Elected),
    /// The one to choose is known only when all members were heard, or have had their time.
    TooEarly,
    /// Only this member has the history that was lost, and it is still reading its data.
    Awaited(usize),
    /// Unrelated histories with data, and no record that tells which is the group's.
    Contested(Vec<usize>),
    /// Nobody may.
    NobodyEligible,
}

/// Who takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elected {
    /// Who gets the role now.
    pub winner: usize,
    /// Who has the better priority, and gets it once it has caught up. Equal to `winner` otherwise.
    pub meant_for: usize,
    /// Bytes that the old master is known to have had and the winner has not.
    pub known_loss_bytes: Option<u64>,
}

/// Why an instance is no candidate, whatever the lineage.
pub fn unfit(member: &Member) -> Option<&'static str> {
    let replication = &member.replication;
    Some(match () {
        () if !member.answers => "no-reply",
        () if replication.role != Speaks::AsReplica => "not-a-replica",
        () if replication.priority == Some(0) => "priority-zero",
        () if replication.priority.is_none() => "priority-unknown",
        () if !replication.is_announced => "not-announced",
        () if replication.in_failover => "failover-in-progress",
        () if replication.is_syncing => "syncing",
        () if member.is_loading() => "loading",
        () if member.server.run_id.is_none() => "run-id-unknown",
        () if replication.history.is_none() => "history-unknown",
        () => return None,
    })
}

/// The order of succession among members of one history: the seed's and Sentinel's keys, the id last.
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
        // A Pod that is about to stop is a bad heir of the same data.
        let stays = one.is_terminating().cmp(&other.is_terminating());
        let by_order = match view.parameters.order {
            Order::DataFirst => data.then(stays).then(priority),
            Order::PriorityFirst => stays.then(priority).then(data),
        };
        by_order.then_with(|| one.instance.id.cmp(&other.instance.id))
    };
    sorted(candidates.len(), &compare).into_iter().map(|place| candidates[place]).collect()
}

/// Elects for a role that was lost.
pub fn elect(view: &View, lost: &Lost) -> Election {
    let fit: Vec<usize> = (0..view.members.len()).filter(|&index| may_stand(view, lost, index)).collect();
    let reference = reference(view, lost);
    let in_lineage = |index: &usize| match (&reference, view.members[*index].history()) {
        (Some(reference), Some(history)) => reference.relation(history) != Relation::Unrelated,
        (None, _) | (_, None) => false,
    };
    let heirs: Vec<usize> = fit.iter().copied().filter(in_lineage).collect();
    if let Some(richer) = restarted_with_more(view, lost, &heirs) {
        return Election::Elected(Elected { winner: richer, meant_for: richer, known_loss_bytes: None });
    }
    if heirs.is_empty() {
        // What somebody has of the lost history is not given up for a foreign one, as long as he answers.
        return match unfit_heir(view, lost) {
            Some(heir) if view.members[heir].is_loading() || view.members[heir].replication.is_syncing => {
                Election::Awaited(heir)
            }
            Some(_) => Election::NobodyEligible,
            None => elect_without_lineage(view, lost, &fit),
        };
    }
    let heirs = succession(view, reference.as_ref(), &heirs);
    if let Some(other) = passed_over(view, lost, heirs[0]) {
        return other;
    }
    let elected = elected(view, &heirs, &fit, reference.as_ref());
    // Last words of a new life, which no replica took part in: what it had by then is not known.
    let last_words =
        lost.index.filter(|_| lost.how == How::OutOfSight).and_then(|index| view.members[index].history());
    let are_counted = last_words.is_none_or(|last| {
        reference.is_some_and(|reference| reference.relation(last) != Relation::Unrelated)
    });
    Election::Elected(Elected {
        known_loss_bytes: elected.known_loss_bytes.filter(|_| are_counted),
        ..elected
    })
}

/// A first master: nobody is known to have had the role, and a member that is still to come may hold the
/// data.
pub fn elect_first(view: &View) -> Election {
    if !view.has_waited_for_members() {
        return Election::TooEarly;
    }
    elect(view, &Lost { index: None, id: None, how: How::Abdicated })
}

/// The recorded master after a restart with AOF, as a replica of nobody, with more data than every copy of
/// its former history: it had what they had, and then some.
fn restarted_with_more(view: &View, lost: &Lost, heirs: &[usize]) -> Option<usize> {
    let index = lost
        .index
        .filter(|&index| !heirs.is_empty() && !heirs.contains(&index) && may_stand(view, lost, index))?;
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
    (is_new_run && member.names == Names::Nobody && is_richest).then_some(index)
}

/// Whether it has the history that was lost: the one on record, or that of the last words of who is out of
/// sight. What came back with less is no heir of its own former self.
fn is_heir(view: &View, lost: &Lost, index: usize) -> bool {
    let last_words = lost
        .index
        .filter(|&index| !view.members[index].answers)
        .and_then(|index| view.members[index].history());
    let is_amnesic = matches!(lost.how, How::Amnesic { .. }) && lost.index == Some(index);
    !is_amnesic
        && view.members[index].history().is_some_and(|history| {
            view.published().is_some_and(|published| history.knows(&published.replid))
                || last_words.is_some_and(|last| history.relation(last) != Relation::Unrelated)
        })
}

/// Somebody who answers and has the history that was lost, where nobody fit has it.
fn unfit_heir(view: &View, lost: &Lost) -> Option<usize> {
    view.answering().map(|(index, _)| index).find(|&index| is_heir(view, lost, index))
}

/// Who holds more than `winner`, of another history, where nothing on record speaks for the winner: not to be
/// overruled by a machine, only by `discard`.
fn passed_over(view: &View, lost: &Lost, winner: usize) -> Option<Election> {
    let member = &view.members[winner];
    let on_record = view.published().is_some_and(|published| published.master == view.id(winner));
    if is_heir(view, lost, winner) || on_record && member.has_data() {
        return None;
    }
    let has_more = |other: &Member| {
        other.keys.unwrap_or(0) > member.keys.unwrap_or(0) && other.relation(member) == Relation::Unrelated
    };
    let is_amnesic = |index: usize| matches!(lost.how, How::Amnesic { .. }) && lost.index == Some(index);
    let (richer, other) = view
        .answering()
        .find(|(index, other)| has_more(other) && !view.is_discarded(*index) && !is_amnesic(*index))?;
    Some(if other.is_loading() { Election::Awaited(richer) } else { Election::NobodyEligible })
}

fn may_stand(view: &View, lost: &Lost, index: usize) -> bool {
    // Who came back empty is a master in name, and unfit by that; who abdicated may be the best heir of his
    // own role.
    unfit(&view.members[index]).is_none()
        && !matches!(lost.how, How::Amnesic { .. } if lost.index == Some(index))
}

/// The history that offsets are compared in: the old master's last words, or the record where those are of a
/// new life.
fn reference<'a>(view: &View<'a>, lost: &Lost) -> Option<History<'a>> {
    let recorded = view.published().map(|published| History {
        replid: &published.replid,
        offset: published.offset,
        former: None,
    });
    let last_words = lost.index.and_then(|index| view.members[index].history().copied());
    // Who abdicated may be the only one who has it.
    let is_witness = |index: usize| Some(index) != lost.index || lost.how == How::Abdicated;
    let is_followed = |history: &History| {
        view.answering().any(|(index, member)| {
            is_witness(index)
                && member.history().is_some_and(|other| history.relation(other) != Relation::Unrelated)
        })
    };
    match lost.how {
        How::OutOfSight => last_words
            .filter(is_followed)
            .or(recorded.filter(is_followed))
            .or_else(|| longest_with_data(view, lost)),
        // One witness tells that the master lost its data, and not that all are of its history.
        How::Abdicated | How::Vanished | How::Amnesic { .. } | How::Bare => {
            recorded.filter(is_followed).or_else(|| longest_with_data(view, lost))
        }
    }
}

/// Without a record: the history that holds data, if all that hold data are of one; where nobody has any, the
/// one that all candidates are of.
fn longest_with_data<'a>(view: &View<'a>, lost: &Lost) -> Option<History<'a>> {
    // The old master's history is known, and nobody here is of it.
    if lost.how == How::OutOfSight && lost.index.is_some_and(|index| view.members[index].history().is_some())
    {
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

/// How far along the reference a member got: bytes of its own behind a fork do not count.
fn reached(member: &Member, reference: Option<&History>) -> u64 {
    let Some(history) = member.history() else { return 0 };
    match reference.map(|reference| history.relation(reference)) {
        Some(Relation::Forked { at, .. }) => at,
        Some(Relation::Unrelated) => 0,
        Some(Relation::Equal | Relation::Ahead(_) | Relation::Behind(_)) | None => history.offset,
    }
}

/// Whoever has all that the winner has, and more. Between members of one history offsets tell, whatever else
/// they know of it.
fn furthest(view: &View, winner: usize, fit: &[usize]) -> usize {
    let is_ahead = |one: usize, other: usize| {
        matches!(view.members[one].relation(&view.members[other]), Relation::Ahead(_))
    };
    match view.parameters.order {
        Order::DataFirst => {
            fit.iter().copied().fold(winner, |best, index| if is_ahead(index, best) { index } else { best })
        }
        Order::PriorityFirst => winner,
    }
}

fn elected(view: &View, heirs: &[usize], fit: &[usize], reference: Option<&History>) -> Elected {
    let winner = furthest(view, heirs[0], fit);
    let priority = |index: usize| view.members[index].replication.priority;
    let preferred = heirs
        .iter()
        .copied()
        .filter(|&index| !view.members[index].is_terminating())
        .min_by_key(|&index| priority(index))
        .unwrap_or(winner);
    let meant_for = if priority(preferred) < priority(winner) { preferred } else { winner };
    let known_loss_bytes = reference
        .map(|reference| reference.offset.saturating_sub(reached(&view.members[winner], Some(reference))));
    Elected { winner, meant_for, known_loss_bytes }
}

/// No candidate belongs to a known history: after a restart with AOF every history is new and every offset 1,
/// the data all there; or the only candidates never synced.
fn elect_without_lineage(view: &View, lost: &Lost, fit: &[usize]) -> Election {
    let old_master = lost.index.map(|index| &view.members[index]);
    // As much data as the old master was known to have, where it is not here to tell.
    let keys_min = match (lost.how, old_master) {
        (How::OutOfSight, Some(member)) => {
            member.keys.unwrap_or(u64::from(view.published().is_some() || member.history().is_some()))
        }
        (How::OutOfSight | How::Vanished, _) => u64::from(view.published().is_some()),
        (How::Abdicated | How::Amnesic { .. } | How::Bare, _) => 0,
    };
    let is_enough =
        |&index: &usize| view.members[index].keys.unwrap_or(0) >= keys_min && !is_stranger(view, lost, index);
    let enough: Vec<usize> = fit.iter().copied().filter(is_enough).collect();
    if enough.is_empty() {
        return Election::NobodyEligible;
    }
    let holders: Vec<usize> = enough
        .iter()
        .copied()
        .filter(|&index| view.members[index].has_data() && !view.is_discarded(index))
        .collect();
    let unrelated = holders.iter().any(|&one| {
        holders.iter().any(|&other| {
            view.members[one].relation(&view.members[other]) == Relation::Unrelated && one != other
        })
    });
    if unrelated && view.published().is_none() {
        return Election::Contested(holders);
    }
    if !view.has_waited_for_members() {
        return Election::TooEarly;
    }
    let recorded = view.published().and_then(|published| view.find(&published.master));
    let most = |candidates: &[usize]| {
        candidates.iter().copied().max_by_key(|&index| {
            let member = &view.members[index];
            (
                member.keys,
                member.history().map(|history| history.offset),
                std::cmp::Reverse(member.replication.priority),
                std::cmp::Reverse(index),
            )
        })
    };
    let winner = match recorded {
        Some(index) if holders.contains(&index) || holders.is_empty() && enough.contains(&index) => {
            Some(index)
        }
        Some(_) | None if holders.is_empty() => {
            enough.iter().copied().min_by_key(|&index| (view.members[index].replication.priority, index))
        }
        Some(_) | None => most(&holders),
    };
    winner.map(|winner| furthest(view, winner, &enough)).map_or(Election::NobodyEligible, |winner| {
        passed_over(view, lost, winner).unwrap_or(Election::Elected(Elected {
            winner,
            meant_for: winner,
            known_loss_bytes: None,
        }))
    })
}

/// Data that is not the group's: it was up while the old master, never restarted, still answered, and has not
/// its history.
fn is_stranger(view: &View, lost: &Lost, index: usize) -> bool {
    let member = &view.members[index];
    let knew_record =
        |history: &History| view.published().is_none_or(|published| history.knows(&published.replid));
    let last_answer_us = lost
        .index
        .filter(|_| lost.how == How::OutOfSight)
        .map(|old| &view.members[old])
        .filter(|old| old.history().is_some_and(knew_record))
        .and_then(|old| old.sample_age_us);
    // Uptimes are whole seconds, rounded down.
    let was_up =
        |age_us: u64| member.server.uptime_s.is_some_and(|uptime| uptime.saturating_mul(1_000_000) > age_us);
    member.keys != Some(0) && last_answer_us.is_some_and(was_up)
}
