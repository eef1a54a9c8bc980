//! Who is who: which ids are one server, and which member a server means by an address that is not listed.
//! Servers behind mapped ports, proxies or address translation know each other by other addresses than the
//! operator does, so an address alone is never proof that a server is no member.

use super::view::{Follows, Member};
use crate::contract::{Instance, LinkState, Observation};
use crate::facts::{self, ClientFacts, Place, ReportedRole, ServerFacts};
use crate::observed::{sorted, text};

/// Per instance, the one that counts for it: the same process, known by its run id, under another id. None:
/// it counts itself. Of several that count alike: one that answers, the one on record, the first by id.
pub fn twins(observation: &Observation, instances: &[&Instance]) -> Vec<Option<usize>> {
    let run_id = |index: usize| -> Option<&str> {
        text(instances[index], facts::INFO_SERVER).and_then(|text| ServerFacts::parse(text).run_id)
    };
    let runs: Vec<Option<&str>> = (0..instances.len()).map(run_id).collect();
    let recorded = observation.shards.first().and_then(|shard| shard.published.as_ref());
    let rank = |index: usize| {
        let instance = instances[index];
        let is_recorded = recorded.is_some_and(|record| record.master == instance.id);
        (instance.link.state != LinkState::Answering, !is_recorded, index)
    };
    let order = sorted(runs.len(), &|one, other| {
        runs[one].cmp(&runs[other]).then_with(|| rank(one).cmp(&rank(other)))
    });
    let mut twins = vec![None; runs.len()];
    for same in order.chunk_by(|one, other| runs[*one].is_some() && runs[*one] == runs[*other]) {
        same[1..].iter().for_each(|&index| twins[index] = Some(same[0]));
    }
    twins
}

/// Per instance, its own end of the host's connection, where that is an address that may stand for it: no
/// other instance shows the same, and it is no loopback address, unless the instance is dialled at one, too.
pub fn own_ends(instances: &[&Instance], twins: &[Option<usize>]) -> Vec<Option<Place>> {
    let shown: Vec<Option<Place>> =
        instances.iter().map(|instance| client(instance).at.filter(|at| may_stand(instance, at))).collect();
    let order = sorted(shown.len(), &|one, other| shown[one].cmp(&shown[other]));
    let counted = |index: usize| twins[index].unwrap_or(index);
    let mut own_ends = vec![None; shown.len()];
    for same in order.chunk_by(|one, other| shown[*one] == shown[*other]) {
        if same.iter().all(|index| counted(*index) == counted(same[0])) {
            same.iter().for_each(|&index| own_ends[index].clone_from(&shown[index]));
        }
    }
    own_ends
}

fn may_stand(instance: &Instance, at: &Place) -> bool {
    !at.is_nowhere() || dialled(instance).iter().any(Place::is_nowhere)
}

/// Whether the host's connection ends at the server itself. None: nothing tells.
pub fn is_direct(instance: &Instance, tcp_port: Option<u16>) -> Option<bool> {
    facts::is_direct(&dialled(instance), &client(instance), tcp_port)
}

fn client(instance: &Instance) -> ClientFacts {
    text(instance, facts::CLIENT_INFO).map(ClientFacts::parse).unwrap_or_default()
}

fn dialled(instance: &Instance) -> Vec<Place> {
    let addresses = [&instance.address].into_iter().chain(&instance.aliases);
    addresses.map(|address| Place::new(&address.host, address.port)).collect()
}

/// Learns from working replication which member a replica means by an address that is not listed:
///
/// 1. A replica names a place where no member is known, and its link is up.
/// 2. Exactly one other member reports role master under the very replication id that the replica has. No two
///    masters have one: each promotion and each start makes a new one.
/// 3. That master lists a replica as online at a place where no member is known.
///
/// Then the place is that master's. Of a master that does not answer, its last words count, and the link need
/// not be up any more. A loopback address means another server on each host, so of it nothing is learnt about
/// the other replicas.
pub fn learn(members: &mut [Member]) {
    let learnt: Vec<(Place, usize, usize)> = (0..members.len())
        .filter_map(|replica| {
            let place = unknown_place(&members[replica])?;
            Some((place.clone(), replica, master_of(members, replica, place)?))
        })
        .collect();
    for (place, _, master) in &learnt {
        // Servers reach it elsewhere than the operator: something is between.
        let member = &mut members[*master];
        if !member.is_dialled_at(place) && member.own_end.is_none() {
            member.is_direct = Some(false);
        }
    }
    for (index, member) in members.iter_mut().enumerate() {
        let Some(place) = unknown_place(member) else { continue };
        let known = learnt
            .iter()
            .find(|(known, replica, _)| known == place && (*replica == index || !place.is_nowhere()));
        if let Some((_, _, master)) = known.filter(|(_, _, master)| *master != index) {
            member.follows = Follows::Member(*master);
        }
    }
}

/// The place that a replica names as its master's, where it is no member's.
fn unknown_place<'m>(member: &'m Member) -> Option<&'m Place> {
    let place = member.replication.master.as_ref().filter(|_| member.is_replica())?;
    let is_unknown = match member.follows {
        Follows::Outsider(_) => true,
        Follows::NoMaster => !member.is_dialled_at(place),
        Follows::Member(_) => false,
    };
    is_unknown.then_some(place)
}

fn master_of(members: &[Member], replica: usize, place: &Place) -> Option<usize> {
    let follower = &members[replica];
    let replid = follower.history()?.replid;
    let is_up = follower.replication.link_up == Some(true) && !follower.replication.is_syncing;
    let feeds_it = |master: &Member| {
        master.replication.role == ReportedRole::Master
            && master.history().is_some_and(|history| history.replid == replid)
            && (is_up || !master.answers && !place.is_nowhere())
            && master.rows.iter().any(|row| {
                let attached = &master.replication.attached[row.row];
                row.owner.is_none() && attached.online && attached.place.port != 0
            })
    };
    let mut feeding = (0..members.len()).filter(|&index| index != replica && feeds_it(&members[index]));
    feeding.next().filter(|_| feeding.next().is_none())
}
