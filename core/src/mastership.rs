//! Who is master, by proof: claims of answering masters, weighed by the record and by lineage, never by list
//! order or by the number of replicas. Says what is; what to do about it is in `topology/`.

use crate::facts::{Place, Relation};
use crate::health::{Life, life};
use crate::topology::replication::proof::{Proof, proof};
use crate::view::{Member, Names, View};

/// The state of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mastership {
    /// This member has it by right. Others that say the same are wrong.
    Held(usize),
    /// Masters with unrelated data, and no record that tells which is right.
    Contested(Vec<usize>),
    /// Somebody had it and is not what he was.
    Lost(Lost),
    /// A member follows a server that is not of this group, and nobody else has the role.
    External {
        /// Who follows.
        follower: usize,
        /// Whom.
        place: Place,
    },
    /// Nobody has it and nobody is known to have had it.
    Vacant,
}

/// Who had the role, and how that is known to be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Index into `View::members`. None: not among them any more.
    pub index: Option<usize>,
    /// For people and for the record. None: members name each other in a ring.
    pub id: Option<String>,
    /// How.
    pub how: How,
}

/// How the role was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// He does not answer: to be proven.
    OutOfSight,
    /// He is not among the members any more.
    Vanished,
    /// He answers, and not as the others' master.
    Abdicated,
    /// He came back without what this member has.
    Amnesic {
        /// Who has it.
        witness: usize,
    },
    /// He came back with less than there was, and who may have the rest is still to come.
    Bare,
}

/// Finds out.
pub fn mastership(view: &View) -> Mastership {
    let mut claimants: Vec<usize> = view
        .answering()
        .filter(|(index, member)| member.is_master() && is_valid_claim(view, *index))
        .map(|(index, _)| index)
        .collect();
    // The user's word about unrelated data, unless it would leave nobody.
    if claimants.iter().any(|&index| !view.is_discarded(index)) {
        claimants.retain(|&index| !view.is_discarded(index));
    }
    match claimants.as_slice() {
        [] => lost(view),
        [_, ..] => rightful(view, &claimants)
            .map_or_else(|| Mastership::Contested(claimants.clone()), |master| held(view, master)),
    }
}

fn held(view: &View, master: usize) -> Mastership {
    let unproven = |index: usize| {
        let lost = Lost { index: Some(index), id: Some(view.id(index).to_owned()), how: How::OutOfSight };
        matches!(proof(view, &lost), Proof::Pending { .. }).then_some(lost)
    };
    predecessor(view, master).and_then(unproven).map_or(Mastership::Held(master), Mastership::Lost)
}

/// A master that is still loading is none; nor is one that lacks what its group has.
fn is_valid_claim(view: &View, index: usize) -> bool {
    !view.members[index].is_loading()
        && amnesia_witness(view, index).is_none()
        && !is_bare(view, index)
        && !is_outdated(view, index)
        && !is_stray(view, index)
}

/// The recorded master as a new process, with no data, or with less than somebody's last words tell, and
/// nobody answers with the history on record: its copies may all be restarting with it, and have what it
/// lost.
fn is_bare(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    let has_less = || view.members.iter().any(|other| !other.answers && other.keys > member.keys);
    is_recorded_name(view, index)
        && !view.is_recorded(index)
        && !member.is_loading()
        && !view.answering().any(|(other, _)| knows_recorded_history(view, other))
        && member.keys.is_some_and(|keys| keys == 0 || has_less())
        && !view.has_waited_for_members()
}

/// An answering member that has data which this master lost in a restart: less data in a history that its
/// replicas do not know, or an earlier place in theirs, as from an old snapshot. What loads has not lost
/// anything yet.
fn amnesia_witness(view: &View, index: usize) -> Option<usize> {
    let master = &view.members[index];
    if master.is_loading() || master.history().is_none() {
        return None;
    }
    let is_on_record = is_recorded_name(view, index);
    if is_on_record && (view.is_recorded(index) || master.server.run_id.is_none()) {
        return None;
    }
    let knows = |member: &Member| {
        view.published()
            .zip(member.history())
            .is_some_and(|(published, history)| history.knows(&published.replid))
    };
    let others = || view.answering().filter(|(other, _)| *other != index);
    let keeps_a_copy =
        || others().any(|(_, copy)| copy.has_data() && copy.relation(master) != Relation::Unrelated);
    // Only where nobody has the history on record does another one bear witness.
    let heirs_answer = view.published().is_some() && view.answering().any(|(_, member)| knows(member));
    let witness = |copy: &Member| {
        let (has_less, was_wound_back) = match copy.relation(master) {
            Relation::Unrelated => (master.keys.is_some() && master.keys < copy.keys, false),
            // Within one replication id a larger offset is only the younger sample.
            Relation::Ahead(_) => {
                (false, copy.history().map(|at| at.replid) != master.history().map(|at| at.replid))
            }
            // What it took since must not be less than what it lost.
            Relation::Forked { own, theirs, .. } => (false, own > theirs),
            Relation::Equal | Relation::Behind(_) => (false, false),
        };
        // A copy that still reads its data has at least what it counts so far.
        let is_whole = !copy.replication.is_syncing && !copy.is_loading();
        let lost_data = copy.has_data() && (has_less || was_wound_back && is_whole);
        let names_it = copy.names == Names::Member(index);
        lost_data
            && match heirs_answer {
                true if is_on_record => knows(copy),
                true => has_less && knows(copy) && !knows(master) && !keeps_a_copy(),
                false if is_on_record => has_less && (names_it || master.keys == Some(0)) && !keeps_a_copy(),
                // No record tells: then a process younger than its replica's broken link is the restart.
                false => {
                    let ages = master.server.uptime_s.zip(copy.replication.link_down_s);
                    let is_younger = ages.is_some_and(|(uptime, down)| uptime <= down.saturating_add(2));
                    names_it
                        && is_younger
                        && (was_wound_back && view.published().is_none() || has_less && !keeps_a_copy())
                }
            }
    };
    others().find(|(_, copy)| witness(copy)).map(|(other, _)| other)
}

/// Some member belongs to a later generation of the same history and follows somebody else, and neither the
/// record nor any replica knows this one: it is a former master.
fn is_outdated(view: &View, index: usize) -> bool {
    let Some(mine) = view.members[index].history() else { return false };
    !is_recorded_name(view, index)
        && !knows_recorded_history(view, index)
        && !is_named(view, index)
        && view.answering().any(|(_, member)| {
            let grown_out_of_mine = member
                .history()
                .is_some_and(|history| history.former.is_some_and(|(id, _)| id == mine.replid));
            member.is_replica() && grown_out_of_mine && matches!(member.names, Names::Member(_))
        })
}

/// Nobody names it, no record knows it, and it has nothing in common with anybody, last words included; and
/// the others belong together, or the recorded master is merely out of sight, or dead with the data that this
/// one has not.
fn is_stray(view: &View, index: usize) -> bool {
    let master = &view.members[index];
    if master.history().is_none()
        || is_recorded_name(view, index)
        || knows_recorded_history(view, index)
        || is_named(view, index)
    {
        return false;
    }
    let recorded = view
        .published()
        .and_then(|published| view.find(&published.master))
        .map(|recorded| &view.members[recorded]);
    let holders = || {
        view.answering()
            .filter(|(other, member)| *other != index && member.has_data())
            .map(|(_, member)| member)
    };
    let mut others = view.members.iter().enumerate().filter(|(other, _)| *other != index);
    if others.any(|(_, member)| member.relation(master) != Relation::Unrelated) {
        return false;
    }
    let is_no_heir = |recorded: &Member| !master.has_data() || !matches!(life(view, recorded), Life::Gone(_));
    recorded.is_some_and(is_no_heir)
        || holders().any(|member| {
            member.is_replica()
                && member.names != Names::Nobody
                && (view.published().is_some() || is_tied(view, index, member))
        })
}

/// It shares its history with somebody besides.
fn is_tied(view: &View, stray: usize, member: &Member) -> bool {
    view.answering().any(|(other, third)| {
        other != stray
            && third.instance.id != member.instance.id
            && third.relation(member) != Relation::Unrelated
    })
}

fn is_named(view: &View, index: usize) -> bool {
    view.answering().any(|(_, member)| member.is_replica() && member.names == Names::Member(index))
}

/// Who must be accounted for before `master`, which answers, can be believed: whom a replica may still hear,
/// and who is on record, unless all have left it for this one. A promotion that nobody made known is real
/// only if the loss before it was; one on record needs no second proof against who hangs, to whom a replica's
/// link stays up for long.
fn predecessor(view: &View, master: usize) -> Option<usize> {
    let is_settled = |index: usize| {
        view.is_recorded(master) && matches!(life(view, &view.members[index]), Life::Silent { .. })
    };
    let is_absent = |index: &usize| *index != master && !view.members[*index].answers && !is_settled(*index);
    let recorded = view.published().and_then(|published| view.find(&published.master));
    recorded
        .filter(is_absent)
        .filter(|&recorded| is_named(view, recorded) || !is_named(view, master))
        .or_else(|| {
            let mut heard = view
                .answering()
                .filter(|(_, member)| member.is_replica() && member.replication.link_up == Some(true));
            heard.find_map(|(_, member)| {
                if let Names::Member(named) = member.names { Some(named).filter(is_absent) } else { None }
            })
        })
}

/// The one claimant that beats every other. None: two of them cannot be told apart without losing somebody's
/// data.
fn rightful(view: &View, claimants: &[usize]) -> Option<usize> {
    claimants
        .iter()
        .copied()
        .find(|&one| claimants.iter().all(|&other| one == other || beats(view, one, other) == Some(true)))
}

/// Whether `one` is master rather than `other`. What holds all the other's bytes and more wins: nothing is
/// lost. Then the record, by incarnation, lineage, name; then data against none; then, in one lineage, the
/// longer branch; then the name.
fn beats(view: &View, one: usize, other: usize) -> Option<bool> {
    let (a, b) = (&view.members[one], &view.members[other]);
    let relation = a.relation(b);
    match relation {
        Relation::Ahead(_) => return Some(true),
        Relation::Behind(_) => return Some(false),
        Relation::Equal | Relation::Forked { .. } | Relation::Unrelated => {}
    }
    let recorded = |claim: fn(&View, usize) -> bool| {
        Some((claim(view, one), claim(view, other)))
            .filter(|(mine, theirs)| mine != theirs)
            .map(|(mine, _)| mine)
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

fn knows_recorded_history(view: &View, index: usize) -> bool {
    view.published()
        .zip(view.members[index].history())
        .is_some_and(|(published, history)| history.knows(&published.replid))
}

fn is_recorded_name(view: &View, index: usize) -> bool {
    view.published().is_some_and(|published| published.master == view.id(index))
}

/// Where the naming of masters ends.
enum End {
    Member(usize),
    Ring,
    Nowhere,
    Stranger(Place),
}

/// Nobody answers as a rightful master: who was it?
fn lost(view: &View) -> Mastership {
    // Per member, how far the most advanced replica that names it got.
    let mut named: Vec<Option<u64>> = vec![None; view.members.len()];
    let (mut ring, mut stranger) = (false, None);
    for (index, member) in view.answering().filter(|(_, member)| member.is_replica()) {
        match end_of_chain(view, index) {
            End::Member(end) => {
                let reached = member.history().map_or(0, |history| history.offset);
                named[end] = named[end].max(Some(reached));
            }
            End::Ring => ring = true,
            End::Stranger(place) => stranger = stranger.or(Some((index, place))),
            End::Nowhere => {}
        }
    }
    let recorded = view.published().map(|published| (published.master.clone(), view.find(&published.master)));
    // The record, if anybody still follows it or nobody follows another; else whom the most advanced replica
    // names.
    let index = match &recorded {
        Some((_, Some(index)))
            if named[*index].is_some()
                || named.iter().all(Option::is_none) && !streams_from_outside(view, *index) =>
        {
            Some(*index)
        }
        Some(_) | None => (0..named.len())
            .filter(|&index| named[index].is_some())
            .max_by_key(|&index| (named[index], std::cmp::Reverse(index))),
    };
    // An orchestrator gives new addresses to new Pods: nobody is at the old one any more. A list keeps its
    // addresses.
    let is_pod = |follower: usize| view.members[follower].instance.pod.is_some();
    let is_majority = view.answering_count() * 2 > usize::from(view.group().members_desired);
    let is_heard = |follower: usize| view.members[follower].replication.link_up == Some(true);
    match (index, stranger, recorded) {
        (Some(index), _, _) => Mastership::Lost(Lost {
            index: Some(index),
            id: Some(view.id(index).to_owned()),
            how: how(view, index),
        }),
        // A place that no member has any more is where the recorded master was.
        (None, stranger, Some((id, None)))
            if stranger.as_ref().is_none_or(|(follower, _)| is_pod(*follower) || !is_heard(*follower)) =>
        {
            Mastership::Lost(Lost { index: None, id: Some(id), how: How::Vanished })
        }
        // The recorded one is a member and no master, and whom it follows is gone.
        (None, Some((follower, _)), Some((id, Some(index)))) if is_pod(follower) && !is_heard(follower) => {
            Mastership::Lost(Lost { index: Some(index), id: Some(id), how: how(view, index) })
        }
        // Without a record such a place can be anywhere: a majority must be there to say it.
        (None, Some((follower, _)), None) if is_pod(follower) && !is_heard(follower) && is_majority => {
            Mastership::Lost(Lost { index: None, id: None, how: How::Vanished })
        }
        (None, Some((follower, place)), _) => Mastership::External { follower, place },
        (None, None, _) if ring => Mastership::Lost(Lost { index: None, id: None, how: How::Abdicated }),
        (None, None, _) => Mastership::Vacant,
    }
}

/// Somebody told it to copy a server outside of the group, and it does.
fn streams_from_outside(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    member.is_replica()
        && member.replication.link_up == Some(true)
        && matches!(end_of_chain(view, index), End::Stranger(_))
}

fn how(view: &View, index: usize) -> How {
    let member = &view.members[index];
    match amnesia_witness(view, index) {
        Some(witness) if member.is_master() => How::Amnesic { witness },
        Some(_) | None if member.is_master() && is_bare(view, index) => How::Bare,
        Some(_) | None if member.answers => How::Abdicated,
        Some(_) | None => How::OutOfSight,
    }
}

/// Follows the names from a replica to somebody who is no answering replica, or to nowhere.
fn end_of_chain(view: &View, from: usize) -> End {
    let mut at = from;
    for _ in 0..=view.members.len() {
        match &view.members[at].names {
            Names::Member(next) if view.members[*next].is_replica() => at = *next,
            Names::Member(next) => return End::Member(*next),
            Names::Stranger(place) => return End::Stranger(place.clone()),
            // A replica of itself is not a master; those that follow it name it all the same.
            Names::Nobody if at != from => return End::Member(at),
            Names::Nobody => return End::Nowhere,
        }
    }
    End::Ring
}
