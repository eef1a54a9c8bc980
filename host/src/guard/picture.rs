//! What the guard itself sees of a group: which member serves as master, which replicas are in sync with it,
//! and which member the Sentinels name. For rollouts, the census and the watchdog, which must not rest on the
//! word of a policy.

use super::replication::evidence::{process_end, shows_life};
use super::replication::statement::outranks;
use super::scene::{Instance, Scene};
use crate::contract::Topology;
use failover_core::facts::Relation;
use std::collections::{BTreeMap, BTreeSet};

/// A group as the guard reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// `id` of the member that answers as a master with a claim that no other answering master outranks.
    /// None: there is none, or the topology is not served.
    pub master: Option<String>,
    /// `id`s of the replicas that answer and name that master.
    pub followers: BTreeSet<String>,
    /// A member that answers is neither the master nor one of its followers.
    pub has_misplaced: bool,
    /// `uid`s of the Pods of the master and of the replicas in sync.
    pub pods: BTreeSet<String>,
    /// Every desired member is the master or in sync, and no second master answers.
    pub is_whole: bool,
    /// Several members answer as masters.
    pub has_second_master: bool,
    /// The Sentinels that answer, by `id`: the member that each takes for the master. None: none of the
    /// group.
    pub sentinels: BTreeMap<String, Option<String>>,
    /// The recorded master gives no valid reply, and its process is not proven to have ended.
    pub is_master_silent: bool,
}

impl Picture {
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        let observation = scene.observation;
        let is_master_silent = observation
            .published()
            .and_then(|record| scene.instance(&record.master))
            .is_some_and(|instance| is_out_of_sight(scene, instance));
        match observation.group.topology {
            Topology::Replication | Topology::Sentinel => {}
            Topology::Cluster => return Self::default(),
        }
        let sentinels = sentinels(scene);
        let masters = scene.answering().filter(|instance| instance.answers_as_master()).count();
        let has_second_master = masters > 1;
        let Some(master) = serving(scene) else {
            return Self { has_second_master, sentinels, is_master_silent, ..Self::default() };
        };
        let follows =
            |replica: &&Instance<'_>| replica.answers_as_replica() && scene.names(replica, master.id);
        let is_in_sync = |replica: &&Instance<'_>| {
            replica.facts.link_up == Some(true)
                && !replica.is_loading
                && !replica.facts.is_syncing
                && replica.relation(master).is_some_and(|relation| relation != Relation::Unrelated)
        };
        let followers: Vec<&Instance<'_>> = scene.answering().filter(follows).collect();
        let has_misplaced = followers.len() + 1 < scene.answering().count();
        let in_sync: Vec<&Instance<'_>> = followers.iter().copied().filter(is_in_sync).collect();
        let pods = in_sync.iter().chain([&master]).filter_map(|instance| instance.pod);
        let pods = pods.map(|pod| pod.uid.clone()).collect();
        let desired = usize::from(observation.group.members_desired);
        let is_whole =
            masters == 1 && in_sync.len() + 1 >= desired && in_sync.len() + 1 == scene.instances.len();
        Self {
            master: Some(master.id.to_owned()),
            followers: followers.iter().map(|replica| replica.id.to_owned()).collect(),
            has_misplaced,
            pods,
            is_whole,
            has_second_master,
            sentinels,
            is_master_silent,
        }
    }
}

/// Those that answer, with the member that each takes for the master.
fn sentinels(scene: &Scene<'_>) -> BTreeMap<String, Option<String>> {
    let answering = scene.sentinels.iter().filter(|sentinel| sentinel.answers);
    let named = |index: usize| scene.instances[index].id.to_owned();
    answering.map(|sentinel| (sentinel.id.to_owned(), sentinel.names.map(named))).collect()
}

/// The answering master that has its data, and that no other one outranks.
fn serving<'s, 'a>(scene: &'s Scene<'a>) -> Option<&'s Instance<'a>> {
    let masters =
        || scene.answering().filter(|instance| instance.answers_as_master() && !scene.is_amnesic(instance));
    let is_first = |master: &&Instance<'a>| !masters().any(|other| outranks(scene, other, master));
    masters().find(|master| scene.is_appointed(master)).or_else(|| masters().find(is_first))
}

/// It shows no life, and its end is not proven.
fn is_out_of_sight(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    !shows_life(instance) && process_end(scene, instance).is_none()
}
