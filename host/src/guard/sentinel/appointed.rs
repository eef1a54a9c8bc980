//! The member that a majority of the Sentinels made master in place of the recorded one. What they decided is
//! done; the record follows.
//!
//! Why a name is not enough. An operator promotes redis-2 and ends before it tells the Sentinels; they name
//! redis-1, which comes back as a master with the recorded history. Redis-2 grew out of it, and so cannot
//! have been replaced by it: the appointed one must have grown out of the recorded one, if that one answers.

use crate::guard::scene::Scene;

/// Its index. None: there is none.
pub(in crate::guard) fn appointed(scene: &Scene<'_>) -> Option<usize> {
    let record = scene.observation.published()?;
    let newest = scene.voters().map(|sentinel| sentinel.epoch()).max()?;
    let named: Vec<_> = scene.voters().filter(|sentinel| sentinel.epoch() == newest).collect();
    let index = named.first()?.names?;
    let is_agreed = named.iter().all(|sentinel| sentinel.names == Some(index));
    let member = &scene.instances[index];
    let history = member.history()?;
    let recorded = scene.instance(&record.master).filter(|recorded| recorded.answers_as_master());
    let grew_out_of_it = recorded.is_none_or(|recorded| {
        let theirs = recorded.history().map(|theirs| theirs.replid);
        theirs.is_none() || history.former.map(|(former, _)| former) == theirs
    });
    let is_appointed = is_agreed
        && named.len() as u64 >= scene.majority()
        && record.master != member.id
        && member.answers_as_master()
        && history.knows(&record.replid)
        && !scene.is_amnesic(member)
        && grew_out_of_it;
    is_appointed.then_some(index)
}
