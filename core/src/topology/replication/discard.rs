//! What following a master would cost a member: a replica drops whatever its master does not have. A member
//! is pointed to a master only if that loses nothing, or a surplus that is proven to be one.

use super::claims::knows_recorded_history;
use super::in_sync::emptied;
use super::recorded::surplus_to_lineage;
use super::view::{Follows, Member, View};
use crate::contract::{Evidence, Position, Preference};
use crate::facts::Relation;

/// The cost of `follower` following `master`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Nothing, or this many bytes that are provably a surplus of the follower's own.
    Proven(u64),
    /// Data that was given up, or is a copy as far as can be known; how much of it is lost, is not known.
    Unknown,
    /// Data that may be the only copy; one sentence.
    Unproven(String),
}

/// Judges the cost by lineage, and by the record only where lineage proves nothing.
///
/// Let f be the follower's offset, m the master's, and s the last offset that both histories share. Following
/// drops f - s bytes of the follower. That is a proven surplus, and may be dropped, where
///
/// 1. the follower has no keys, or the user named it in `discard`: nothing to lose, or given up;
/// 2. f = s: the follower is a prefix of the master;
/// 3. both have one replication id, f > m, and the follower is a replica. Of a master that answers it is only
///    sampled later, which costs nothing; ahead of a replica that is to be promoted it loses f - m, and the
///    promotion is the fork;
/// 4. f > s, and the fork is provable ([`is_provable_fork`]): the other branch is the one that lives on;
/// 5. the follower's history is an earlier generation of the lineage on record: what it has beyond the place
///    where the next generation grew out of it was given up by that change of master.
///
/// It may be dropped too, but how much of it is lost cannot be computed, where the histories are unrelated,
/// and the follower lost the role by a recorded failover, or is a copy that restarted with AOF. With `prefer`
/// = consistency a person is asked first, unless the master has lived on.
///
/// Everything else may be the only copy. A former master that is ahead in the same history (3, but no
/// replica) has writes that it alone accepted: a person must decide about them.
pub fn discarded_by_following(view: &View, follower: usize, master: usize) -> Discard {
    let (member, right) = (&view.members[follower], &view.members[master]);
    if member.keys == Some(0) {
        return Discard::Proven(0);
    }
    if let Some(why) = emptied(right, member).filter(|_| !view.is_discarded(follower)) {
        return Discard::Unproven(format!(
            "{}, which {} is to follow: {why}",
            view.id(master),
            view.id(follower)
        ));
    }
    let (Some(history), Some(right_history)) = (member.history(), right.history()) else {
        if view.is_discarded(follower) {
            return Discard::Unknown;
        }
        let index = if right.history().is_none() { master } else { follower };
        return Discard::Unproven(format!("the history of {} is not known", view.id(index)));
    };
    if view.is_discarded(follower) {
        return match member.relation(right) {
            Relation::Unrelated => Discard::Unknown,
            Relation::Equal | Relation::Behind(_) => Discard::Proven(0),
            Relation::Ahead(own) | Relation::Forked { own, .. } => Discard::Proven(own),
        };
    }
    match member.relation(right) {
        Relation::Equal | Relation::Behind(_) => Discard::Proven(0),
        Relation::Ahead(own) if is_same_stream(view, follower, master) => {
            if member.is_replica() {
                Discard::Proven(if right.is_master() { 0 } else { own })
            } else {
                Discard::Unproven(format!(
                    "{} is {own} bytes ahead of {} in the same history",
                    view.id(follower),
                    view.id(master)
                ))
            }
        }
        Relation::Ahead(own) if !is_provable_fork(member, right) => Discard::Unproven(format!(
            "{} is {own} bytes ahead of {}, and where the two histories part is not proven",
            view.id(follower),
            view.id(master)
        )),
        Relation::Ahead(own) | Relation::Forked { own, .. } => Discard::Proven(own),
        Relation::Unrelated => {
            if let Some(surplus) = surplus_to_lineage(view, history, right_history) {
                return Discard::Proven(surplus);
            }
            let is_given_up =
                had_the_role(view, follower, master) || is_restarted_copy(view, follower, master);
            let is_contained = is_copy_of_living(view, follower, master);
            if is_given_up && (is_contained || view.group().prefer == Preference::Availability) {
                // An offset counts nothing that was taken before the first replica of a process.
                return Discard::Unknown;
            }
            let keys = member.keys.map_or_else(|| "an unknown number of".into(), |keys| keys.to_string());
            Discard::Unproven(format!(
                "{} holds {keys} keys of a history that {} does not know",
                view.id(follower),
                view.id(master)
            ))
        }
    }
}

/// One of the two left the other's history, and the master has everything up to that place: the master was
/// promoted out of the follower's history, or the follower out of the master's at an offset that the master
/// reached.
fn is_provable_fork(member: &Member, master: &Member) -> bool {
    let (Some(own), Some(right)) = (member.history(), master.history()) else { return false };
    let master_left = right.former.is_some_and(|(id, _)| own.knows(id));
    let member_left = own.former.is_some_and(|(id, end)| id == right.replid && end <= right.offset);
    master_left || member_left
}

fn is_same_stream(view: &View, one: usize, other: usize) -> bool {
    let replid = |index: usize| view.members[index].history().map(|history| history.replid);
    replid(one) == replid(other)
}

/// The record says that it lost the role: what it has of its own was given up by that failover, or lost in
/// its restart. A name is not the thing: another application's server may have got that address. So it must
/// be of the group by its Pod, or look like a copy of it: a restart with AOF makes a new history, one with a
/// snapshot keeps the old one, and a copy has no more than the master.
fn had_the_role(view: &View, index: usize, master: usize) -> bool {
    let (member, right) = (&view.members[index], &view.members[master]);
    if is_anothers(view, index) {
        return false;
    }
    let has_no_more = member.keys.is_some() && member.keys <= right.keys;
    // A dump of another application brings its keys along.
    let may_be_its_own =
        member.persistence.aof_enabled == Some(true) || member.persistence.keys_loaded.unwrap_or(0) == 0;
    let is_of_the_group = member.instance.pod.is_some() || has_no_more && may_be_its_own;
    let lost_the_role = is_of_the_group
        && view.last_failover().is_some_and(|failover| {
            failover.source.as_deref() == Some(view.id(index))
                && failover.target != view.id(index)
                && (has_no_more || failover.evidence != Evidence::Abdicated)
        });
    let restarted = view.published().is_some_and(|published| {
        published.master == view.id(index)
            && member.server.run_id.is_some_and(|run_id| run_id != published.run_id)
    });
    lost_the_role || restarted && has_no_more && is_of_the_group
}

/// A process at a member's address that cannot be that member, as far as it shows:
///
/// - replicas that are no members are attached to it: it is a master of others; or
/// - it was up already while the member still was: while a former master had not lost the role, or when the
///   record last saw the master at work, or the replica acknowledge.
///
/// A Pod of the group is one by its owner.
fn is_anothers(view: &View, index: usize) -> bool {
    let (member, id) = (&view.members[index], view.id(index));
    if member.instance.pod.is_some() {
        return false;
    }
    let has_replicas_of_others = view.unlisted(index) > 0;
    let failover = view.last_failover().filter(|failover| failover.source.as_deref() == Some(id));
    let replaced_us = failover.map(|failover| failover.age_us.saturating_add(DYING_US));
    let is_on_record = view.published().is_some_and(|published| published.master == id);
    let acknowledged = |position: &&Position| position.acknowledged_by.iter().any(|known| known == id);
    let seen = view.position().filter(|position| is_on_record || acknowledged(position));
    let seen_us = seen.map(|position| position.age_us.saturating_add(ROUNDING_US));
    let was_up_us = member.server.uptime_s.map(|uptime_s| uptime_s.saturating_mul(1_000_000));
    let is_older = |bound_us: u64| was_up_us.is_some_and(|was_up_us| was_up_us > bound_us);
    has_replicas_of_others || replaced_us.or(seen_us).is_some_and(is_older)
}

/// The master is the very process on record, and the follower's process began when it was: what a copy had,
/// it had from that master, which has lost nothing since. A follower that is older than the record may have
/// what the master lost in a restart before.
fn is_copy_of_living(view: &View, follower: usize, master: usize) -> bool {
    let uptime_us = |uptime_s: u64| uptime_s.saturating_add(1).saturating_mul(1_000_000);
    let record = view.published().filter(|_| view.is_recorded(master));
    let uptime_s = view.members[follower].server.uptime_s;
    uptime_s.zip(record).is_some_and(|(uptime_s, record)| uptime_us(uptime_s) < record.age_us)
        && is_restarted_copy(view, follower, master)
}

/// After a restart with AOF a copy has a history of its own. What sets it apart from a stranger: it is a
/// replica whose link is down, and of no server outside of the group, or it is a Pod that started since the
/// record was made; it received nothing since, or its master is the one on record; it writes an append-only
/// file, since a snapshot would have kept its history, or has the history on record; and it has no more keys
/// than the master.
fn is_restarted_copy(view: &View, follower: usize, master: usize) -> bool {
    let member = &view.members[follower];
    let started_since =
        |age_us: u64| member.server.uptime_s.is_some_and(|uptime| uptime.saturating_mul(1_000_000) < age_us);
    let is_orphan = member.is_replica()
        && member.replication.link_up == Some(false)
        && !matches!(member.follows, Follows::Outsider(_));
    let is_restarted_pod = member.instance.pod.is_some()
        && view.published().is_some_and(|published| started_since(published.age_us));
    let is_on_record = view.published().is_some_and(|published| published.master == view.id(master));
    (is_orphan || is_restarted_pod)
        && !is_anothers(view, follower)
        && (member.persistence.aof_enabled == Some(true) || knows_recorded_history(view, follower))
        && member.history().is_some_and(|history| is_on_record || history.offset <= 1)
        && member.keys.is_some()
        && member.keys <= view.members[master].keys
}

/// From the death of a master to the failover, at most: the wait for the restart of many, by default.
const DYING_US: u64 = 60_000_000;
/// Uptimes are whole seconds, and positions are as old as their sample.
const ROUNDING_US: u64 = 2_000_000;
