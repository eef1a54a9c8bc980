//! What the Sentinels decided, by their own words.

use super::sentinels::{Names, Sentinel, Sentinels};
use crate::topology::replication::view::View;

/// The member that the Sentinels made master in place of the one on record:
///
/// 1. Those with the largest configuration epoch all name it, and they are a majority.
/// 2. It is not on record, and answers as a master.
/// 3. Its history is the one on record, or grew out of it.
/// 4. If the member on record answers as a master, this one grew out of what that one has now.
///
/// Without 1 a foreign Sentinel with a large epoch, or one that missed the last failover, moves the master.
/// Without 4, what an operator that ended between its promotion and its hello did is undone:
///
/// 1. The operator promotes redis-2 by the votes of epoch 6, and ends. The Sentinels name redis-1 in epoch 5.
/// 2. Redis-1 starts again, as a master, with the history on record. Redis-2 grew out of it.
/// 3. The record does not have redis-2's new replication id yet: redis-1 passes 1 to 3.
pub fn decided(view: &View, sentinels: &Sentinels) -> Option<usize> {
    let published = view.published()?;
    let member = named_by_majority(sentinels)?;
    let (candidate, history) = (&view.members[member], view.members[member].history()?);
    let grew_out_of = |recorded: usize| {
        let recorded = &view.members[recorded];
        let theirs = recorded.history().filter(|_| recorded.is_master());
        theirs.is_none_or(|theirs| history.former.is_some_and(|(former, _)| former == theirs.replid))
    };
    let is_decided = view.id(member) != published.master
        && candidate.is_master()
        && history.knows(&published.replid)
        && view.find(&published.master).is_none_or(grew_out_of);
    is_decided.then_some(member)
}

/// Whom a majority of the Sentinels names, in the largest epoch that any of them has.
pub fn named_by_majority(sentinels: &Sentinels) -> Option<usize> {
    let epoch = |sentinel: &Sentinel| sentinel.master.as_ref().and_then(|row| row.config_epoch).unwrap_or(0);
    let newest = sentinels.voters().map(epoch).max()?;
    let mut names = sentinels.voters().filter(|&sentinel| epoch(sentinel) == newest);
    let Names::Member(member) = names.next()?.names else { return None };
    let others = names
        .try_fold(1, |count, sentinel| (sentinel.names == Names::Member(member)).then_some(count + 1))?;
    (others >= sentinels.majority()).then_some(member)
}
