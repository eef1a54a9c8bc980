//! What Sentinels are told: a member of the group that answers as its master, in an epoch that follows the
//! last one, and the group's own settings.

use super::reading::watched_by;
use crate::contract::{Action, SentinelAction, SentinelChange};
use crate::guard::{Case, ensure};

pub(in crate::guard) fn told_master(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for (action, master) in masters_told(case) {
        let is_master = scene.instance(master).is_some_and(|instance| instance.answers_as_master());
        ensure(is_master, || {
            format!("{} is to be told that {master} is master, which does not answer as one", action.id)
        })?;
        ensure(case.decision.master() == Some(master), || {
            format!("{} is to be told that {master} is master, and the decision names another", action.id)
        })?;
        let theirs = scene.appointed.map(|index| scene.instances[index].id);
        ensure(theirs.is_none_or(|theirs| theirs == master), || {
            format!(
                "{} is to be told that {master} is master, and the Sentinels made {theirs:?} master",
                action.id
            )
        })?;
    }
    Ok(())
}

pub(in crate::guard) fn told_epoch(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    let configured = scene.sentinels.iter().map(|sentinel| sentinel.epoch());
    let voted =
        scene.sentinels.iter().flat_map(|sentinel| &sentinel.peers).filter_map(|peer| peer.voted_epoch);
    let known = configured.chain(voted).max().unwrap_or(0);
    for action in sentinel_actions(case) {
        let SentinelChange::Announce(announce) = &action.change else { continue };
        let Some(sentinel) = scene.sentinel(&action.id) else { continue };
        // Hello leaves what it named as a replica, and a Sentinel makes a replica of whatever it finds there.
        ensure(sentinel.names.is_some(), || {
            format!("{} names no member: hello would leave that address as a replica", action.id)
        })?;
        // Teaching the present master takes no new epoch.
        let names_it = sentinel.names.is_some_and(|index| scene.instances[index].id == announce.master);
        let is_next = announce.config_epoch == known.saturating_add(1);
        ensure(is_next || names_it && announce.config_epoch == sentinel.epoch(), || {
            format!(
                "{} would be told epoch {}, and the largest known one is {known}",
                action.id, announce.config_epoch
            )
        })?;
    }
    Ok(())
}

pub(in crate::guard) fn settings(case: &Case<'_>) -> Result<(), String> {
    let Some(settings) = watched_by(case.scene) else { return Ok(()) };
    let own = [
        ("quorum", u64::from(settings.quorum)),
        ("down-after-milliseconds", u64::from(settings.down_after_ms)),
        ("failover-timeout", u64::from(settings.failover_timeout_ms)),
        ("parallel-syncs", u64::from(settings.parallel_syncs)),
    ];
    for action in sentinel_actions(case) {
        let SentinelChange::SetOption(set) = &action.change else { continue };
        let is_own = own.iter().any(|(name, value)| *name == set.name && value.to_string() == set.to);
        ensure(is_own, || {
            format!("{} would get {} {}, which is none of the group's settings", action.id, set.name, set.to)
        })?;
    }
    Ok(())
}

fn masters_told<'c>(case: &'c Case<'_>) -> impl Iterator<Item = (&'c SentinelAction, &'c str)> {
    sentinel_actions(case).filter_map(|action| match &action.change {
        SentinelChange::Announce(announce) => Some((action, announce.master.as_str())),
        SentinelChange::Rewrite(rewrite) => Some((action, rewrite.master.as_str())),
        SentinelChange::SetOption(_) => None,
    })
}

pub(super) fn sentinel_actions<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c SentinelAction> {
    case.first().filter_map(|action| if let Action::Sentinel(action) = action { Some(action) } else { None })
}
