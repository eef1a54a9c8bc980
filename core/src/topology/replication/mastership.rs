//! Which member is master, by proof: claims of answering masters, weighed by the record and by lineage, never
//! by list order or by the number of replicas. Says what is; what to do about it stands in `rules/`.

use super::claims::{is_followed, is_recorded_name, is_valid_claim, knows_recorded_history};
use super::holder::holder;
use super::proof::is_proven;
use super::role::{LossKind, Lost, Mastership};
use super::view::{Follows, View};
use crate::facts::Relation;
use crate::health::Life;

/// The state of the role:
///
/// 0. The member that Sentinels appointed has it, if its claim is valid: what they decided is done.
/// 1. The claimants are the members that answer as masters and whose claim is valid ([`is_valid_claim`]), but
///    for those that the user gave up (`discard`), unless no other is left.
/// 2. No claimant: the role is lost, external or vacant ([`holder`]).
/// 3. The claimant that beats every other ([`beats`]) is the master. None does: contested.
/// 4. Where an earlier master may still be at work ([`predecessor`]), its loss must be proven first.
pub fn mastership(view: &View) -> Mastership {
    let is_appointed = |index: &usize| view.members[*index].is_master() && is_valid_claim(view, *index);
    if let Some(master) = view.appointed.filter(is_appointed) {
        return Mastership::Held(master);
    }
    let mut claimants: Vec<usize> = view
        .answering()
        .filter(|(index, member)| member.is_master() && is_valid_claim(view, *index))
        .map(|(index, _)| index)
        .collect();
    if claimants.iter().any(|&index| !view.is_discarded(index)) {
        claimants.retain(|&index| !view.is_discarded(index));
    }
    if claimants.is_empty() {
        return holder(view);
    }
    match rightful(view, &claimants) {
        Some(master) => held(view, master),
        None => Mastership::Contested(claimants),
    }
}

fn held(view: &View, master: usize) -> Mastership {
    let unproven = |index: usize| {
        let kind = LossKind::OutOfSight;
        let lost = Lost { index: Some(index), id: Some(view.id(index).to_owned()), kind };
        (!is_proven(view, &lost)).then_some(lost)
    };
    predecessor(view, master).and_then(unproven).map_or(Mastership::Held(master), Mastership::Lost)
}

/// A possible earlier master, whose loss must be proven before `master` is accepted: the one on record,
/// unless its replicas left it for `master`; else one that a replica still reports link up to. Without this a
/// replica that was promoted by mistake would be accepted while the master on record still takes writes.
/// Skipped where `master` is itself on record and the other one is silent: a link to a process that hangs
/// stays up for long.
fn predecessor(view: &View, master: usize) -> Option<usize> {
    let is_settled =
        |index: usize| view.is_recorded(master) && matches!(view.life(index), Life::Silent { .. });
    let is_absent = |index: &usize| *index != master && !view.members[*index].answers && !is_settled(*index);
    let recorded = view.published().and_then(|published| view.find(&published.master));
    recorded
        .filter(is_absent)
        .filter(|&recorded| is_followed(view, recorded) || !is_followed(view, master))
        .or_else(|| {
            let mut heard = view
                .answering()
                .filter(|(_, member)| member.is_replica() && member.replication.link_up == Some(true));
            heard.find_map(|(_, member)| match member.follows {
                Follows::Member(followed) => Some(followed).filter(is_absent),
                Follows::NoMaster | Follows::Outsider(_) => None,
            })
        })
}

/// The one claimant that beats every other. None: two of them cannot be ranked without a loss of data.
fn rightful(view: &View, claimants: &[usize]) -> Option<usize> {
    claimants
        .iter()
        .copied()
        .find(|&one| claimants.iter().all(|&other| one == other || beats(view, one, other) == Some(true)))
}

/// Whether `one` is master rather than `other`. The first line in which they differ decides:
///
/// 1. It has all bytes of the other, and more: whichever the record means, nothing is lost.
/// 2. It is the very process on record.
/// 3. It knows the history on record: it is that master's heir.
/// 4. The record names it, as a former process.
/// 5. Unrelated data on both sides, or it is unknown whether: None, because a machine must not choose which
///    data to drop. Data against known emptiness: the data.
/// 6. One lineage that forked: the longer branch.
/// 7. The smaller id, so that every observer says the same.
///
/// Each line says the opposite when the two are exchanged: so at most one claimant beats all others.
fn beats(view: &View, one: usize, other: usize) -> Option<bool> {
    let (a, b) = (&view.members[one], &view.members[other]);
    let relation = a.relation(b);
    match relation {
        Relation::Ahead(_) => return Some(true),
        Relation::Behind(_) => return Some(false),
        Relation::Equal | Relation::Forked { .. } | Relation::Unrelated => {}
    }
    let recorded = |claim: fn(&View, usize) -> bool| {
        let (mine, theirs) = (claim(view, one), claim(view, other));
        (mine != theirs).then_some(mine)
    };
    if let Some(wins) = recorded(|view, index| view.is_recorded(index))
        .or_else(|| recorded(knows_recorded_history))
        .or_else(|| recorded(is_recorded_name))
    {
        return Some(wins);
    }
    match relation {
        Relation::Unrelated if a.has_data() && b.has_data() => None,
        // An unknown amount of data is not "none": only a known emptiness yields.
        Relation::Unrelated if a.keys != Some(0) && b.keys != Some(0) => None,
        Relation::Unrelated if a.has_data() != b.has_data() => Some(a.has_data()),
        Relation::Forked { own, theirs, .. } if own != theirs => Some(own > theirs),
        Relation::Ahead(_)
        | Relation::Behind(_)
        | Relation::Equal
        | Relation::Forked { .. }
        | Relation::Unrelated => Some(one < other),
    }
}
