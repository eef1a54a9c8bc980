//! Which member takes over: the argument stands above [`elect`].

mod lineage;
mod passing;
mod restart;
mod succession;

pub use super::role::{Elected, Election};
pub use succession::succession;

use super::in_sync::emptied;
use super::ineligible::{Ineligible, unfit};
use super::recorded::{has_waited_for_restart, is_from_file};
use super::role::{LossKind, Lost};
use super::view::{Follows, Member, View};
use crate::facts::ReportedRole;
use crate::facts::{History, Relation};
use lineage::{is_amnesic, is_heir, passed_over, reference, rival};
use passing::pass_over_refusals;
use restart::{elect_without_lineage, restarted_with_more};
use succession::{furthest, reached};

/// Elects for a role that was lost.
///
/// Filters and order are those of Sentinel (`sentinel.c`, `sentinelSelectSlave`), with two differences that
/// its users paid for: offsets count only within one history, and data comes before priority.
///
/// 1. Candidates: a member that answers as a replica, has a replica-priority and not 0, is announced, is not
///    in a FAILOVER of its own, neither syncs nor loads, and shows its run id and history ([`unfit`]). A
///    master that came back without data is none.
/// 2. The reference is the history that was lost: the last words of the old master, or the record
///    ([`reference`]). The heirs are the candidates that share it.
/// 3. The former master restarted, and has more data than every heir: it gets the role back.
/// 4. No heirs, but a member that shares the reference and is no candidate: it is waited for while it reads
///    its data; else nobody is eligible, because a foreign history must not replace the one that was lost.
/// 5. No member shares the reference: as after a restart of all ([`elect_without_lineage`]).
/// 6. The heirs are sorted by data, then by priority, then by id ([`succession`]); the first leads.
/// 7. A member of another history holds more than the leader, and neither record nor lineage speaks for the
///    leader: the election stops ([`passed_over`]).
/// 8. The winner is the leader, or the candidate that has all that the leader has, and more. If what it has
///    comes from its files, those that may have newer data are waited for ([`is_from_file`]).
/// 9. The role is meant for the heir with the best priority that is not about to stop. If that is not the
///    winner, the winner only bridges: the other one catches up, and gets the role by handover.
/// 10. The known loss is what the reference has beyond the winner's place in it. It is unknown where the old
///     master's last words, or without any the record, are of another life than the reference; and where the
///     winner restarted from its files: what it lost itself, no offset shows; or was cut off before the old
///     master restarted.
/// 11. The winner refused its promotion a moment ago: the next in line is asked ([`pass_over_refusals`]).
pub fn elect(view: &View, lost: &Lost) -> Election {
    pass_over_refusals(view, &|refusing| elect_without(view, lost, refusing))
}

/// Steps 1 to 10.
fn elect_without(view: &View, lost: &Lost, refusing: &[usize]) -> Election {
    let may_stand =
        |index: &usize| is_fit(view, lost, *index) && !is_amnesic(lost, *index) && !refusing.contains(index);
    let fit: Vec<usize> = (0..view.members.len()).filter(may_stand).collect();
    let reference = reference(view, lost);
    let shares_it = |index: &usize| match (&reference, view.members[*index].history()) {
        (Some(reference), Some(history)) => reference.relation(history) != Relation::Unrelated,
        (None, _) | (_, None) => false,
    };
    let heirs: Vec<usize> = fit.iter().copied().filter(shares_it).collect();
    let keeps = |index: &usize| !is_emptied(view, lost, *index);
    let heirs: Vec<usize> = heirs.iter().copied().filter(keeps).collect();
    let fit: Vec<usize> = fit.into_iter().filter(keeps).collect();
    if let Some(richer) = restarted_with_more(view, lost, &fit, &heirs) {
        if is_from_file(view, richer) && !has_waited_for_restart(view) {
            return Election::Recovering(richer);
        }
        return Election::Elected(Elected { winner: richer, meant_for: richer, known_loss_bytes: None });
    }
    let heirs = succession(view, reference.as_ref(), &heirs);
    let Some(&leader) = heirs.first() else {
        return unfit_heir(view, lost).unwrap_or_else(|| elect_without_lineage(view, lost, &fit));
    };
    if let Some(stopped) = passed_over(view, lost, leader) {
        return stopped;
    }
    let winner = furthest(view, leader, &fit);
    if let Some(rival) = rival(view, lost, winner) {
        return Election::Contested(vec![winner, rival]);
    }
    if is_from_file(view, winner) && !has_waited_for_restart(view) {
        return Election::Recovering(winner);
    }
    Election::Elected(Elected {
        winner,
        meant_for: meant_for(view, &heirs, winner),
        known_loss_bytes: known_loss_bytes(view, lost, reference.as_ref(), winner),
    })
}

/// A first master: no member is known to have had the role, and a member that is still to come may hold the
/// data.
pub fn elect_first(view: &View) -> Election {
    if !view.has_waited_for_members() {
        return Election::TooEarly;
    }
    elect(view, &Lost { index: None, id: None, kind: LossKind::Abdicated })
}

/// Step 1. A replica that was promised a full copy of a master without data still has its own, until it reads
/// that copy: a promotion saves it.
fn is_fit(view: &View, lost: &Lost, index: usize) -> bool {
    let member = &view.members[index];
    match unfit(member) {
        None => true,
        Some(Ineligible::Syncing) => {
            let lost_its_data = matches!(lost.kind, LossKind::Amnesic { .. } | LossKind::CameBackEmpty);
            lost_its_data
                && lost.index.is_some_and(|master| member.follows == Follows::Member(master))
                && member.replication.role == ReportedRole::Replica
                && !member.is_loading()
                && member.has_data()
                && member.server.run_id.is_some()
                && member.history().is_some()
        }
        Some(_) => false,
    }
}

/// A replica whose data is gone, whatever its offset says ([`emptied`]): beside a whole copy, or beside the
/// last words of the old master. Of a replica whose load failed no byte counts: it shows offset 0 or 1.
fn is_emptied(view: &View, lost: &Lost, index: usize) -> bool {
    let member = &view.members[index];
    let is_whole = |other: &Member| !other.is_loading() && !other.replication.is_syncing;
    let contradicts = |other: &Member| is_whole(other) && emptied(member, other).is_some();
    let has_lost_them = |old: &Member| {
        let was_reset = member.history().is_some_and(|history| history.offset <= 1)
            && matches!(member.relation(old), Relation::Behind(_))
            && old.has_data();
        was_reset || emptied(member, old).is_some()
    };
    let others = || view.answering().filter(|(other, _)| *other != index);
    let old = lost.index.filter(|old| *old != index).map(|old| &view.members[old]);
    member.keys == Some(0)
        && (others().any(|(_, other)| contradicts(other)) || old.is_some_and(has_lost_them))
}

/// Step 4.
fn unfit_heir(view: &View, lost: &Lost) -> Option<Election> {
    // Where all data is gone, an empty heir that may not take over stops nothing.
    let any_data = view.answering().any(|(_, member)| member.keys != Some(0));
    let (heir, member) = view
        .answering()
        .filter(|(_, member)| any_data || member.is_loading() || member.replication.is_syncing)
        .find(|(index, _)| is_heir(view, lost, *index))?;
    let comes = member.is_loading() || member.replication.is_syncing;
    Some(if comes { Election::Awaited(heir) } else { Election::NobodyEligible })
}

/// Step 9.
fn meant_for(view: &View, heirs: &[usize], winner: usize) -> usize {
    let priority = |index: usize| view.members[index].replication.priority;
    let preferred = heirs
        .iter()
        .copied()
        .filter(|&index| !view.members[index].is_terminating())
        .min_by_key(|&index| priority(index))
        .unwrap_or(winner);
    if priority(preferred) < priority(winner) { preferred } else { winner }
}

/// Step 10. The recorded master answers as a new process, so its last words are those of another life. What
/// it took before its end is with the winner only if the winner's link broke no earlier than that, and no
/// position on record speaks against it: for most of a second after a full copy the link is up, and a master
/// sends nothing yet.
fn received_until_the_end(view: &View, lost: &Lost, winner: usize) -> bool {
    let is_next_run = |index: &usize| {
        *index != winner
            && view.members[*index].answers
            && view.published().is_some_and(|published| published.master == view.id(*index))
            && !view.is_recorded(*index)
    };
    let Some(old) = lost.index.filter(is_next_run) else { return true };
    let saw_it = view.published().zip(view.position()).is_none_or(|(published, position)| {
        position.replid == published.replid
            && position.acknowledged_by.iter().any(|known| known == view.id(winner))
    });
    let replication = &view.members[winner].replication;
    let ages = replication.link_down_s.zip(view.members[old].server.uptime_s);
    saw_it
        && replication.link_up == Some(false)
        && ages.is_some_and(|(down_s, up_s)| down_s <= up_s.saturating_add(2))
}

/// Step 10. Where this host never heard the old master, the record is all that it knows, and the master may
/// have gone on after it:
///
/// 1. The links of all replicas break. The master goes on taking writes; the operator reaches it, and ends.
/// 2. Another operator starts from the record, which is a moment older than the writes. The master dies.
/// 3. A replica has all that the record knows, and none of the writes.
fn was_heard(view: &View, lost: &Lost) -> bool {
    let never = |index: usize| !view.members[index].answers && view.members[index].history().is_none();
    lost.kind != LossKind::OutOfSight || !lost.index.is_some_and(never)
}

/// Step 10. A replica whose link never came up has what a full copy brought, and nothing that its master took
/// since that copy was made. How much that is, only the master's own words tell, where this host heard them.
///
/// 1. Redis-1 becomes master; redis-2 asks for a full copy, which takes four seconds.
/// 2. Clients write. Redis-1 ends, and so does the operator.
/// 3. Redis-2 has the recorded history at the recorded offset, and none of the writes.
fn has_a_copy_alone(view: &View, lost: &Lost, winner: usize) -> bool {
    let replication = &view.members[winner].replication;
    let was_heard = lost.index.is_some_and(|old| view.members[old].history().is_some());
    replication.link_up == Some(false) && replication.link_down_s.is_none() && !was_heard
}

/// Step 10.
fn known_loss_bytes(view: &View, lost: &Lost, reference: Option<&History>, winner: usize) -> Option<u64> {
    let is_known = !is_from_file(view, winner)
        && was_heard(view, lost)
        && !has_a_copy_alone(view, lost, winner)
        && received_until_the_end(view, lost, winner);
    let reference = reference.filter(|_| is_known)?;
    let last_words = lost
        .index
        .filter(|_| lost.kind == LossKind::OutOfSight)
        .and_then(|index| view.members[index].history());
    let recorded = view.published().map(|published| History {
        replid: &published.replid,
        offset: published.offset,
        former: None,
    });
    let lost = last_words.or(recorded.as_ref());
    let is_related = |history: &History| reference.relation(history) != Relation::Unrelated;
    // A copy of a copy may have the data, and no id of the reference.
    let is_counted = lost.is_none_or(is_related) && view.members[winner].history().is_some_and(is_related);
    let beyond =
        |history: &History| history.offset.saturating_sub(reached(&view.members[winner], Some(history)));
    // Whoever else does not answer may have been the last master. What has a history of its own beside the
    // reference and the winner was given up before.
    let silent = view.members.iter().filter(|member| !member.answers).filter_map(|member| member.history());
    let its_own = view.members[winner].history().map(|history| history.replid);
    let silent =
        silent.filter(|history| history.replid == reference.replid || Some(history.replid) == its_own);
    is_counted.then(|| silent.map(beyond).fold(beyond(reference), u64::max))
}
