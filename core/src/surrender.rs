//! What following a master would cost a member: a replica gives up whatever its master has not. Only what
//! loses nothing that is not known to be discarded is ever asked of anybody.

use crate::contract::Evidence;
use crate::facts::Relation;
use crate::view::{Member, Names, View};

/// The cost of `follower` following `master`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surrender {
    /// Nothing, or this many bytes that are provably a surplus of the follower's own.
    Discards(u64),
    /// Data that may be the only copy; one sentence.
    Unproven(String),
}

/// Judges the cost by lineage; by the record only where lineage proves nothing.
pub fn surrender(view: &View, follower: usize, master: usize) -> Surrender {
    let (member, right) = (&view.members[follower], &view.members[master]);
    if member.keys == Some(0) {
        return Surrender::Discards(0);
    }
    let own_bytes = member.history().map_or(0, |history| history.offset);
    if view.is_discarded(follower) {
        return Surrender::Discards(own_bytes);
    }
    if right.history().is_none() {
        return Surrender::Unproven(format!("the history of {} is not known", view.id(master)));
    }
    match member.relation(right) {
        Relation::Equal | Relation::Behind(_) => Surrender::Discards(0),
        Relation::Ahead(own) if is_same_stream(view, follower, master) => {
            // A replica sampled after its living master shows a larger offset of the same stream; ahead of
            // another replica that is to be promoted, it is ahead indeed, and the promotion
            // proves the fork.
            if member.is_replica() {
                Surrender::Discards(if right.is_master() { 0 } else { own })
            } else {
                Surrender::Unproven(format!(
                    "{} is {own} bytes ahead of {} in the same history",
                    view.id(follower),
                    view.id(master)
                ))
            }
        }
        Relation::Ahead(own) if !is_provable_fork(member, right) => Surrender::Unproven(format!(
            "{} is {own} bytes ahead of {}, which never had the place where the two part",
            view.id(follower),
            view.id(master)
        )),
        Relation::Ahead(own) | Relation::Forked { own, .. } => Surrender::Discards(own),
        Relation::Unrelated
            if had_the_role(view, follower, master) || is_restarted_copy(view, follower, master) =>
        {
            Surrender::Discards(own_bytes)
        }
        Relation::Unrelated => {
            let keys = member.keys.map_or_else(|| "an unknown number of".into(), |keys| keys.to_string());
            Surrender::Unproven(format!(
                "{} holds {keys} keys of a history that {} does not know",
                view.id(follower),
                view.id(master)
            ))
        }
    }
}

/// One of the two left the other's history, and the master has all up to there.
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

/// The record says that its role was taken: what it has of its own was given up then, or lost in its restart.
/// Not so if it has more than the master all the same, and was not dead then: it restarted with a file that
/// nobody counted on.
fn had_the_role(view: &View, index: usize, master: usize) -> bool {
    let (member, right) = (&view.members[index], &view.members[master]);
    let has_no_more = member.keys.is_some() && member.keys <= right.keys;
    let taken = view.last_failover().is_some_and(|failover| {
        failover.source.as_deref() == Some(view.id(index))
            && failover.target != view.id(index)
            && (has_no_more || failover.evidence != Evidence::Abdicated)
    });
    let restarted = view.published().is_some_and(|published| {
        published.master == view.id(index)
            && member.server.run_id.is_some_and(|run_id| run_id != published.run_id)
    });
    taken || restarted && has_no_more
}

/// After a restart with AOF a copy has a history of its own. What tells it from a stranger: it says that it
/// is a replica, and of nobody outside of the group, or it is a Pod of the group that started since the
/// record was made; nothing came to it since, or it is the recorded master that restarted; and it has no more
/// data than the master, so it is not the only complete copy.
fn is_restarted_copy(view: &View, follower: usize, master: usize) -> bool {
    let member = &view.members[follower];
    let started_since =
        |age_us: u64| member.server.uptime_s.is_some_and(|uptime| uptime.saturating_mul(1_000_000) < age_us);
    let is_orphan = member.is_replica()
        && member.replication.link_up == Some(false)
        && !matches!(member.names, Names::Stranger(_));
    let is_restarted_pod = member.instance.pod.is_some()
        && view.published().is_some_and(|published| started_since(published.age_us));
    let is_on_record = view.published().is_some_and(|published| published.master == view.id(master));
    (is_orphan || is_restarted_pod)
        && member.history().is_some_and(|history| is_on_record || history.offset <= 1)
        && member.keys.is_some()
        && member.keys <= view.members[master].keys
}
