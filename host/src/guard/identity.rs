//! Which instances are one server, and which member an address means that no list has. Reads facts only; an
//! identity that is not certain is none, and the address stays an outsider's.

use super::scene::{Instance, Named};
use crate::contract::{self, LinkState, Observation};
use failover_core::facts::{Place, ReportedRole};

/// The places at which the host dials an instance.
pub(super) fn dialled(instance: &contract::Instance) -> Vec<Place> {
    let addresses = std::iter::once(&instance.address).chain(&instance.aliases);
    addresses.map(|address| Place::new(&address.host, address.port)).collect()
}

/// For each instance, the index of the one that stands for its process: itself, unless another has the same
/// run id and answers, is the recorded master, or comes first.
pub(super) fn representatives(observation: &Observation, instances: &[Instance<'_>]) -> Vec<usize> {
    let recorded = observation.published().map(|record| record.master.as_str());
    let order = |index: &usize| {
        let instance = &instances[*index];
        (instance.link.state != LinkState::Answering, recorded != Some(instance.id), *index)
    };
    let one = |index: usize| {
        let run = instances[index].run_id;
        let same = (0..instances.len()).filter(|&other| run.is_some() && instances[other].run_id == run);
        same.min_by_key(order).unwrap_or(index)
    };
    (0..instances.len()).map(one).collect()
}

/// The master that each replica certainly names by an address that is no member's. In order:
///
/// 1. The address is one instance's own end of the host's connection, and no other's. A loopback address
///    counts only for an instance that is dialled at one.
/// 2. The replica has the replication id of exactly one instance that reports role master, its link is up (or
///    that master does not answer), and that master lists an online replica at an address that is no
///    member's: the replica streams from it, whatever the address.
pub(super) fn named_by_replication(instances: &[Instance<'_>]) -> Vec<Option<usize>> {
    let is_open = |instance: &Instance<'_>| {
        instance.is_replica()
            && instance.facts.master.as_ref().is_some_and(|place| !instance.dialled.contains(place))
            && matches!(instance.names, Named::Outsider | Named::Nothing)
    };
    let by_stream = |replica: usize, place: &Place| {
        let replid = instances[replica].history()?.replid;
        let is_up = instances[replica].facts.link_up == Some(true) && !instances[replica].facts.is_syncing;
        let feeds = |index: &usize| {
            let master = &instances[*index];
            *index != replica
                && master.facts.role == ReportedRole::Master
                && master.history().is_some_and(|history| history.replid == replid)
                && (is_up || !master.answers && !place.is_nowhere())
                && master.lists_unknown_replica
        };
        only((0..instances.len()).filter(feeds))
    };
    let found: Vec<Option<usize>> = (0..instances.len())
        .map(|index| {
            let place = instances[index].facts.master.as_ref().filter(|_| is_open(&instances[index]))?;
            by_own_end(instances, place).or_else(|| by_stream(index, place)).filter(|master| *master != index)
        })
        .collect();
    // What one replica shows of an address holds for the others that name it, on whatever host.
    let of_another = |index: usize| {
        let place = instances[index].facts.master.as_ref().filter(|place| !place.is_nowhere())?;
        is_open(&instances[index]).then_some(())?;
        let same =
            (0..instances.len()).filter(|&other| instances[other].facts.master.as_ref() == Some(place));
        same.filter_map(|other| found[other]).find(|master| *master != index)
    };
    (0..instances.len()).map(|index| found[index].or_else(|| of_another(index))).collect()
}

/// Whether an instance names the place that is its own, where the host dials it elsewhere: a replica of
/// itself behind a hop.
pub(super) fn names_itself(instances: &[Instance<'_>], index: usize) -> bool {
    let named = instances[index].facts.master.as_ref().and_then(|place| by_own_end(instances, place));
    instances[index].is_replica() && named == Some(index)
}

/// The one instance whose own end of the host's connection is that place.
fn by_own_end(instances: &[Instance<'_>], place: &Place) -> Option<usize> {
    let is_there = |instance: &Instance<'_>| {
        instance.own_end.as_ref() == Some(place)
            && (!place.is_nowhere() || instance.dialled.iter().any(Place::is_nowhere))
    };
    only((0..instances.len()).filter(|&index| !instances[index].is_replaced && is_there(&instances[index])))
}

fn only(mut candidates: impl Iterator<Item = usize>) -> Option<usize> {
    candidates.next().filter(|_| candidates.next().is_none())
}
