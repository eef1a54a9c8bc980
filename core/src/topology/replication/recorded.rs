//! What the record tells of a member's data: whether it comes from files alone, and where a history left the
//! lineage of the group.

use super::claims::loaded_nothing;
use super::view::{Follows, Member, View};
use crate::contract::{Generation, Position};
use crate::facts::History;

/// Age of the newest word of the record: of the master, or of the position that replicas reached.
fn record_age_us(view: &View) -> Option<u64> {
    let published_us = view.published()?.age_us;
    Some(view.position().map_or(published_us, |position| position.age_us.min(published_us)))
}

/// Whether what the member has comes from its files alone: its process started while the recorded master was
/// master, or after the last word of the record, and was linked to no master since. Such a copy may be older
/// than what it had, by as much as its files are.
///
/// 1. redis-1 is master; redis-2 lacks 500 writes, because its last snapshot is old.
/// 2. The power fails. Redis-2 is back first, and its history is the one on record.
/// 3. If it took over at once, redis-1 would come back and drop the 500 writes.
///
/// The same where redis-2 alone restarts, and redis-1 ends before its full copy is there.
///
/// A replica that restarted while its master lived, and was in sync again, is no such copy: what its files
/// lacked, its master sent. Its link shows that, or, after it was pointed elsewhere, the record.
pub fn is_from_file(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    let was_linked = member.replication.link_up == Some(true) || member.replication.link_down_s.is_some();
    let started = match record_age_us(view) {
        Some(age_us) => is_younger(member, age_us.max(mastership_age_us(view))) && !was_in_sync(view, index),
        None => is_of_unheard_master(view, member),
    };
    started && !was_linked && !view.is_recorded(index)
}

fn is_younger(member: &Member, age_us: u64) -> bool {
    member.server.uptime_s.is_some_and(|uptime_s| uptime_s.saturating_mul(1_000_000) <= age_us)
}

/// Since the generation on record began.
fn mastership_age_us(view: &View) -> u64 {
    let newest = view.lineage().first().zip(view.published());
    let newest = newest.filter(|(generation, published)| generation.replid == published.replid);
    newest.map_or(0, |(generation, _)| generation.age_us)
}

/// The record saw this very process reach a position.
fn was_in_sync(view: &View, index: usize) -> bool {
    position_reached(view, index).is_some_and(|position| !is_younger(&view.members[index], position.age_us))
}

/// The position on record, if the record saw the member reach it.
pub fn position_reached<'a>(view: &View<'a>, index: usize) -> Option<&'a Position> {
    let id = view.id(index);
    view.position().filter(|position| position.acknowledged_by.iter().any(|known| known == id))
}

/// Without a record: nobody here has ever heard the master that it follows, so nothing tells what it lacks.
fn is_of_unheard_master(view: &View, member: &Member) -> bool {
    match member.follows {
        Follows::Member(master) => !view.members[master].answers && view.members[master].history().is_none(),
        Follows::NoMaster | Follows::Outsider(_) => false,
    }
}

/// Whether those that may have more than a copy from a file had their time: all desired members answer, none
/// is reading its data, or the first that answered has been up for `restart_wait_s`. A member that restarts
/// again and again does not prolong it. Without a record, as for a first master.
pub fn has_waited_for_restart(view: &View) -> bool {
    if view.published().is_none() {
        return view.has_waited_for_members();
    }
    let oldest_s = view.answering().filter_map(|(_, member)| member.server.uptime_s).max();
    !view.is_any_loading()
        && (view.answering_count() >= usize::from(view.group().members_desired)
            || oldest_s.is_some_and(|uptime_s| uptime_s >= view.parameters.restart_wait_s))
}

/// Whether the record saw it reach the last position of the stream, or names it: it had what the group had.
/// What a new process of the recorded master has that read no file, it took since it started.
pub fn had_the_position(view: &View, index: usize) -> bool {
    let id = view.id(index);
    let has_its_data = view.is_recorded(index) || !loaded_nothing(&view.members[index]);
    view.published().is_some_and(|published| published.master == id && has_its_data)
        || position_reached(view, index).is_some()
}

/// Bytes that `history` has beyond the lineage of the group, if `master` is of that lineage.
///
/// A server remembers one history before its own; the record remembers all generations. Let g be the
/// generation whose id the history has, and e the offset at which the next one grew out of it. Up to e both
/// have the same bytes; what the history has beyond e is its own, and was given up by the change of master.
/// A server that read an old file continues its history under a new id: what it has of the generation ends
/// where its own begins, and all after that is its own, too.
pub fn surplus_to_lineage(view: &View, history: &History, master: &History) -> Option<u64> {
    let lineage = view.lineage();
    let is_of_it = |generation: &Generation| master.knows(&generation.replid);
    let newest = lineage.iter().position(is_of_it)?;
    let older = || lineage.iter().skip(newest + 1);
    let end_of = |id: &str| older().find(|generation| generation.replid == id)?.end_offset;
    if let Some(end) = end_of(history.replid) {
        return Some(history.offset.saturating_sub(end));
    }
    let (former, left_at) = history.former?;
    Some(history.offset.saturating_sub(end_of(former)?.min(left_at)))
}
