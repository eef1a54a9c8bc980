//! What following a master would cost a member: a replica gives up whatever its master has not. Only what loses nothing that
//! is not known to be discarded is ever asked of anybody.

use crate::facts::Relation;
use crate::view::View;

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
    let id = view.id(follower);
    if member.keys == Some(0) {
        return Surrender::Discards(0);
    }
    let own_bytes = member.history().map_or(0, |history| history.offset);
    if view.parameters.discard.iter().any(|listed| listed == id) {
        return Surrender::Discards(own_bytes);
    }
    match member.relation(right) {
        Relation::Equal | Relation::Behind(_) => Surrender::Discards(0),
        Relation::Ahead(own) if is_same_stream(view, follower, master) => {
            // A replica sampled after its living master shows a larger offset of the same stream.
            if member.is_replica() {
                Surrender::Discards(0)
            } else {
                Surrender::Unproven(format!("{id} is {own} bytes ahead of {} in the same history", view.id(master)))
            }
        }
        Relation::Ahead(own) | Relation::Forked { own, .. } => Surrender::Discards(own),
        Relation::Unrelated if had_the_role(view, follower) => Surrender::Discards(own_bytes),
        Relation::Unrelated => {
            let keys = member.keys.map_or_else(|| "an unknown number of".into(), |keys| keys.to_string());
            Surrender::Unproven(format!("{id} holds {keys} keys of a history that {} does not know", view.id(master)))
        }
    }
}

fn is_same_stream(view: &View, one: usize, other: usize) -> bool {
    let replid = |index: usize| view.members[index].history().map(|history| history.replid);
    replid(one) == replid(other)
}

/// The record says that its role was taken: what it has of its own was given up then, or lost in its restart.
fn had_the_role(view: &View, index: usize) -> bool {
    let taken = view.observation.last_failover.as_ref().is_some_and(|failover| failover.source.as_deref() == Some(view.id(index)));
    let restarted = view.published().is_some_and(|published| {
        published.master == view.id(index) && view.members[index].server.run_id.is_some_and(|run_id| run_id != published.run_id)
    });
    taken || restarted
}
