//! Actions on Sentinels, with their preconditions.

use super::scene::Scene;
use super::sentinels::{Sentinel, Sentinels};
use crate::contract::{
    Action, Announce, Expectation, Rewrite, Role, SentinelAction, SentinelChange, SetOption,
};
use crate::topology::replication::refused::refusal;

/// What is to be changed at a Sentinel. None: its run id is not known, or it refused the same a moment ago.
pub fn change(scene: &Scene, sentinel: &Sentinel, change: SentinelChange) -> Option<Action> {
    let expect =
        Expectation { run_id: sentinel.run_id?.to_owned(), role: Role::Unknown, replid: None, node: None };
    let action = Action::Sentinel(SentinelAction { id: sentinel.id().to_owned(), change, expect });
    refusal(scene.view(), &action).is_none_or(|refusal| !refusal.holds()).then_some(action)
}

/// Hello: this member is master, in an epoch that none of them has seen. A message in an older one is
/// ignored.
pub fn announce(scene: &Scene, sentinels: &Sentinels, sentinel: &Sentinel, master: usize) -> Option<Action> {
    let announce = Announce {
        master: scene.view().id(master).to_owned(),
        config_epoch: sentinels.epoch().saturating_add(1),
    };
    change(scene, sentinel, SentinelChange::Announce(announce))
}

/// It begins anew with this master: what it knows of replicas and other Sentinels is gone.
pub fn rewrite(scene: &Scene, sentinel: &Sentinel, master: usize) -> Option<Action> {
    let rewrite = Rewrite { master: scene.view().id(master).to_owned() };
    change(scene, sentinel, SentinelChange::Rewrite(rewrite))
}

/// SENTINEL SET.
pub fn set_option(scene: &Scene, sentinel: &Sentinel, name: &str, to: u64) -> Option<Action> {
    let set = SetOption { name: name.to_owned(), to: to.to_string() };
    change(scene, sentinel, SentinelChange::SetOption(set))
}
