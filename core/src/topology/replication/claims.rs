//! Whether the claim of an answering master is valid: it has not lost what its group has, and it belongs to
//! the group.

use super::recorded::{has_waited_for_restart, is_from_file, position_reached};
use super::view::{Follows, Member, View};
use crate::facts::{History, Relation};
use crate::health::Life;

/// Whether a member that answers as a master may be the group's. One that is still loading is none; nor is
/// one that lacks what its group has.
pub fn is_valid_claim(view: &View, index: usize) -> bool {
    !view.members[index].is_loading()
        && amnesia_witness(view, index).is_none()
        && !came_back_empty(view, index)
        && !is_beside_restarted(view, index)
        && !is_outdated(view, index)
        && !is_stray(view, index)
        && !is_untimely(view, index)
}

/// An answering member with data that this master lost in a restart.
///
/// Why such a master must not be believed:
///
/// 1. redis-1 is master, at offset 900 of history A with 1000 keys; redis-2 and redis-3 are its replicas.
/// 2. The process of redis-1 ends and starts again within the hang limit, without its file: a new run id, a
///    new history B, 0 keys. It answers as a master, so no rule for a lost master applies.
/// 3. The links of the replicas broke. They connect to the same address and ask for A from offset 901.
/// 4. redis-1 does not know A and sends a full copy, of nothing. Both replicas drop the 1000 keys first.
///
/// Between 2 and 4 the replicas still have the data, and one of them must become master. A count of keys is
/// no proof by itself, because a master expires and evicts: it counts between unrelated histories only, and
/// only with a second sign of a restart. Which one, depends on the record ([`testifies`]).
pub fn amnesia_witness(view: &View, index: usize) -> Option<usize> {
    let master = &view.members[index];
    // What loads has not lost anything yet; and a process that is on record, or may be, did not restart.
    let is_same_process =
        is_recorded_name(view, index) && (view.is_recorded(index) || master.server.run_id.is_none());
    if master.is_loading() || master.history().is_none() || is_same_process {
        return None;
    }
    view.answering().map(|(other, _)| other).find(|&other| other != index && testifies(view, other, index))
}

/// What a copy shows that a master lost.
enum ShownLoss {
    Nothing,
    /// Its history is not the copy's, and it has fewer keys.
    Keys,
    /// It stands at an earlier place of the copy's history, as from an old snapshot, or may.
    Tail,
}

fn shown_loss(view: &View, witness: usize, master: &Member) -> ShownLoss {
    let copy = &view.members[witness];
    let is_loss = match copy.relation(master) {
        _ if !copy.has_data() => false,
        // Keys of a copy that restarted, too, prove nothing beside what the master read from its own files:
        // the copy counts what has expired since.
        Relation::Unrelated if master.keys.is_some() && master.keys < copy.keys => {
            let is_hint = is_from_file(view, witness) && master.has_data() && !loaded_nothing(master);
            return if is_hint { ShownLoss::Nothing } else { ShownLoss::Keys };
        }
        // Within one replication id a larger offset is only the younger sample.
        Relation::Ahead(_) => copy.history().map(|at| at.replid) != master.history().map(|at| at.replid),
        // What the master received since must not be less than what it lost.
        Relation::Forked { own, theirs, .. } => own > theirs,
        Relation::Unrelated => has_what_restart_lost(view, witness, master),
        Relation::Equal | Relation::Behind(_) => false,
    };
    // Of a copy that still reads its data only the keys count: it has at least those.
    let is_whole = !copy.replication.is_syncing && !copy.is_loading();
    if is_loss && is_whole { ShownLoss::Tail } else { ShownLoss::Nothing }
}

/// A process that did not restart has the recorded history at the position that the record saw it reach, and
/// lost its link when the recorded master ended, which is back with a history that nobody knows, as after a
/// restart with an append-only file:
///
/// 1. redis-1 is master; redis-2 acknowledges each of a hundred overwrites.
/// 2. The host of redis-1 fails and loses the last second of the file. Redis-1 is back before its death is
///    proven, with as many keys.
/// 3. If it stayed master, redis-2 would copy it, and the overwrites would be gone everywhere.
///
/// Whether the file is whole, nothing shows; so it is decided as if the death had been seen. The link must
/// not have broken long before: what the master took since would be lost.
fn has_what_restart_lost(view: &View, witness: usize, master: &Member) -> bool {
    let copy = &view.members[witness];
    let was_last = |(down_s, up_s): (u64, u64)| down_s <= up_s.saturating_add(RESTART_MAX_S);
    let is_at_it =
        position_reached(view, witness).zip(view.published()).is_some_and(|(position, published)| {
            let is_further =
                |history: &History| history.knows(&position.replid) && history.offset >= position.offset;
            position.replid == published.replid && copy.history().is_some_and(is_further)
        });
    is_at_it
        && copy.replication.link_up == Some(false)
        && broke_at_restart(copy, master)
        && copy.replication.link_down_s.zip(master.server.uptime_s).is_some_and(was_last)
        && !is_from_file(view, witness)
}

/// With `appendfsync no` Linux writes a file within thirty seconds, as a rule.
const AOF_LACKS_US: u64 = 60_000_000;
/// Ages are whole seconds, so two of them may be rounding.
const ROUNDING_S: u64 = 2;
/// From the end of a process to the start of the next one, where nobody took over.
const RESTART_MAX_S: u64 = 10;

/// Whether what `witness` has proves that `master` restarted without it. By the record where there is one:
///
/// | the history on record answers | the master is on record | what counts |
/// |--|--|--|
/// | yes | yes | any loss, shown by a member that knows that history |
/// | yes | no | fewer keys, shown by such a member, of a master that does not know it and that none copies |
/// | no | yes | fewer keys, of a master that started empty or that the witness follows; none copies it |
/// | no | no | a loss shown by its own replica, whose link broke when the master's process started |
fn testifies(view: &View, witness: usize, master: usize) -> bool {
    let (copy, claimant) = (&view.members[witness], &view.members[master]);
    let is_copied = || {
        view.answering().any(|(other, member)| {
            other != master && member.has_data() && member.relation(claimant) != Relation::Unrelated
        })
    };
    let history_answers = view.answering().any(|(other, _)| knows_recorded_history(view, other));
    let knows = |index: usize| knows_recorded_history(view, index);
    let follows_it = copy.follows == Follows::Member(master);
    match (shown_loss(view, witness, claimant), history_answers, is_recorded_name(view, master)) {
        (ShownLoss::Nothing, _, _) => false,
        (ShownLoss::Keys | ShownLoss::Tail, true, true) => knows(witness),
        (ShownLoss::Keys, true, false) => knows(witness) && !knows(master) && !is_copied(),
        (ShownLoss::Keys, false, true) => {
            let started_empty = claimant.keys == Some(0) || loaded_nothing(claimant);
            (follows_it || started_empty) && !is_copied()
        }
        (ShownLoss::Tail, true, false) | (ShownLoss::Tail, false, true) => false,
        (ShownLoss::Keys, false, false) => follows_it && broke_at_restart(copy, claimant) && !is_copied(),
        (ShownLoss::Tail, false, false) => {
            follows_it && broke_at_restart(copy, claimant) && view.published().is_none()
        }
    }
}

/// The master's process is younger than the replica's broken link.
fn broke_at_restart(replica: &Member, master: &Member) -> bool {
    let ages = master.server.uptime_s.zip(replica.replication.link_down_s);
    ages.is_some_and(|(uptime_s, down_s)| uptime_s <= down_s.saturating_add(ROUNDING_S))
}

/// The recorded master as a new process, with no data, or with less than the last words of a member that does
/// not answer, while no member answers with the history on record: the copies may all be restarting with it,
/// and have what it lost.
pub fn came_back_empty(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    // A member that was gone long before the master's last word has nothing that its append-only file lacks.
    let was_outlived = |other: &Member| {
        let ages = other.sample_age_us.zip(view.published());
        member.persistence.has_read_aof == Some(true)
            && ages.is_some_and(|(word_us, record)| word_us > record.age_us.saturating_add(AOF_LACKS_US))
    };
    let is_more = |other: &Member| !other.answers && other.keys > member.keys && !was_outlived(other);
    let has_less = || view.members.iter().any(is_more);
    // Where all are known to have none, nothing was lost.
    let may_have = |(other, it): (usize, &Member)| other != index && it.keys != Some(0);
    let any_may_have =
        view.members.len() < view.members_desired() || view.members.iter().enumerate().any(may_have);
    is_recorded_name(view, index)
        && !view.is_recorded(index)
        && !member.is_loading()
        && !view.answering().any(|(other, _)| knows_recorded_history(view, other))
        && any_may_have
        && member.keys.is_some_and(|keys| keys == 0 || has_less() || loaded_nothing(member))
        && !has_waited_for_restart(view)
}

/// All that it can have, it took since its start: it read no file, and copied no master, which would have
/// left a history before its own.
pub fn loaded_nothing(member: &Member) -> bool {
    member.persistence.loaded_nothing() && member.history().is_some_and(|history| history.former.is_none())
}

/// Another one than the master on record, without its history and with no more keys, while that one came back
/// with less: which of them has what is left of the data, is decided when the members that may have more were
/// waited for.
fn is_beside_restarted(view: &View, index: usize) -> bool {
    let has_no_more = |recorded: usize| view.members[index].keys <= view.members[recorded].keys;
    let recorded = view.published().and_then(|published| view.find(&published.master));
    let recorded = recorded.filter(|&recorded| {
        recorded != index && view.members[recorded].is_master() && came_back_empty(view, recorded)
    });
    recorded.is_some_and(has_no_more) && !knows_recorded_history(view, index)
}

/// A former master: a member belongs to a later generation of the same history and follows another one, and
/// neither the record nor any replica knows this one.
fn is_outdated(view: &View, index: usize) -> bool {
    let Some(mine) = view.members[index].history() else { return false };
    let grew_out_of_mine = |member: &Member| {
        member.history().is_some_and(|history| history.former.is_some_and(|(id, _)| id == mine.replid))
    };
    is_unknown(view, index)
        && view.answering().any(|(_, member)| {
            member.is_replica() && grew_out_of_mine(member) && matches!(member.follows, Follows::Member(_))
        })
}

/// A master that is not the group's, although no other answers. Why its claim must not be accepted:
///
/// 1. redis-1 is master on record; redis-2 is its replica with all data.
/// 2. redis-3 starts with another file, or another group's server got its address: it answers as a master of
///    a history that no member shares.
/// 3. redis-1 falls silent. redis-3 is the only master that answers.
/// 4. If it counted as master, redis-2 would be pointed to it and drop the data.
///
/// So a master is a stray if no replica follows it, no record mentions it, no member shares its history (the
/// last words of silent ones included), and one of:
/// (a) the stray has no data to offer, or the master on record is not dead; but where that answers without
///     data, and all had their time to come back, a copy that restarted from its files is what is left;
/// (b) a replica holds data and follows another server, and there is a record, or another member shares that
///     replica's history, or the stray has no data: then the group is there, and this is not it.
fn is_stray(view: &View, index: usize) -> bool {
    let master = &view.members[index];
    if master.history().is_none() || !is_unknown(view, index) {
        return false;
    }
    let mut others = view.members.iter().enumerate().filter(|(other, _)| *other != index);
    if others.any(|(_, member)| member.relation(master) != Relation::Unrelated) {
        return false;
    }
    let recorded = view.published().and_then(|published| view.find(&published.master));
    let is_group = |member: &Member| {
        member.has_data()
            && member.is_replica()
            && member.follows != Follows::NoMaster
            && (view.published().is_some() || shares_history(view, index, member) || master.keys == Some(0))
    };
    let is_left = |recorded: usize| {
        view.members[recorded].answers
            && view.members[recorded].keys == Some(0)
            && is_from_file(view, index)
            && has_waited_for_restart(view)
    };
    let may_hold = |recorded: usize| matches!(view.life(recorded), Life::Gone(_)) || is_left(recorded);
    recorded.is_some_and(|recorded| !master.has_data() || !may_hold(recorded))
        || view.answering().any(|(other, member)| other != index && is_group(member))
}

/// Another one than the master on record, which has what its files had and none of the history on record, as
/// long as those that may have newer data had not their time to come back:
///
/// 1. Three servers with append-only files, none of which follows another by its own configuration. redis-2
///    was down for an hour. The power fails.
/// 2. redis-2 is back first, and answers as a master of a new history.
/// 3. Believed, it takes writes, and the complete copies, back a second later, hold data that it does not
///    know.
///
/// A master whose history a copy shares that did not restart is none: who promoted it, had that copy's data.
pub fn is_untimely(view: &View, index: usize) -> bool {
    let is_replaced = |recorded: usize| !view.members[recorded].is_master();
    let recorded = view.published().and_then(|published| view.find(&published.master));
    recorded.is_some_and(is_replaced)
        && !is_recorded_name(view, index)
        && !knows_recorded_history(view, index)
        && !is_followed(view, index)
        && view.members[index].has_data()
        && is_from_file(view, index)
        && !has_waited_for_restart(view)
        && !is_of_a_living_history(view, index)
}

/// An answering member that did not restart since the record has data of the same history.
fn is_of_a_living_history(view: &View, index: usize) -> bool {
    view.answering().any(|(other, member)| {
        other != index
            && member.has_data()
            && !is_from_file(view, other)
            && member.relation(&view.members[index]) != Relation::Unrelated
    })
}

/// Neither the record nor any replica speaks for it.
fn is_unknown(view: &View, index: usize) -> bool {
    !is_recorded_name(view, index) && !knows_recorded_history(view, index) && !is_followed(view, index)
}

/// An answering member besides these two has the history of `member`.
fn shares_history(view: &View, stray: usize, member: &Member) -> bool {
    view.answering().any(|(other, third)| {
        other != stray
            && third.instance.id != member.instance.id
            && third.relation(member) != Relation::Unrelated
    })
}

/// An answering replica follows it.
pub fn is_followed(view: &View, index: usize) -> bool {
    view.answering().any(|(_, member)| member.is_replica() && member.follows == Follows::Member(index))
}

/// Its history is the one on record, or grew out of it.
pub fn knows_recorded_history(view: &View, index: usize) -> bool {
    view.published()
        .zip(view.members[index].history())
        .is_some_and(|(published, history)| history.knows(&published.replid))
}

/// The record names it, as whichever process.
pub fn is_recorded_name(view: &View, index: usize) -> bool {
    view.published().is_some_and(|published| published.master == view.id(index))
}
