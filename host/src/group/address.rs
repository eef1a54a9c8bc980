//! The address under which the servers of a group reach one of them: what REPLICAOF must say. Behind mapped
//! ports, proxies or address translation that is not the one that the host dials. Pure; must not choose a
//! master.

use super::member_state::MemberState;
use crate::contract::Address;
use failover_core::facts::{History, Place, ReplicationFacts, ReportedRole};

/// The address of `target` for its peers. By what they use already, in this order:
///
/// 1. A peer names it at an address of the list (`master_host`, or a `slaveN` row): that list is theirs, too.
/// 2. It is master, and all replicas that stream its history name it at one other address: that one.
/// 3. It is a replica, and a master of its history lists an online replica at an address of no member: the
///    one that is the target's own end of the host's connection, else the only one with its `tcp_port`.
/// 4. The servers use other addresses than the list's, and its own end of the host's connection is another
///    address than the dialled one: its own end.
/// 5. Nothing is known: the address of the list.
pub fn among_servers<'m>(members: impl Iterator<Item = &'m MemberState>, target: &MemberState) -> Address {
    let members: Vec<Peer<'m>> = members.map(Peer::of).collect();
    let Some(target_peer) = members.iter().find(|peer| peer.id == target.identity.id) else {
        return target.identity.address.clone();
    };
    let listed = || target.identity.address.clone();
    let is_of_target = |place: &&Place| target_peer.dialled.contains(place);
    let used = || members.iter().flat_map(Peer::names);
    if used().any(|place| is_of_target(&place)) {
        return listed();
    }
    let is_listed = |place: &Place| members.iter().any(|peer| peer.dialled.contains(place));
    let is_same_stream = |peer: &Peer<'_>| match (&peer.facts.history, &target_peer.facts.history) {
        (Some(History { replid: one, .. }), Some(History { replid: other, .. })) => one == other,
        (Some(_) | None, Some(_) | None) => false,
    };
    let peers = || members.iter().filter(|peer| peer.id != target_peer.id && is_same_stream(peer));
    let shown = match target_peer.facts.role {
        ReportedRole::Master => only(
            peers()
                .filter(|peer| peer.facts.link_up == Some(true))
                .filter_map(|peer| peer.facts.master.as_ref())
                .filter(|place| !is_listed(place)),
        ),
        ReportedRole::Replica => {
            let rows = || {
                peers()
                    .filter(|peer| peer.facts.role == ReportedRole::Master)
                    .flat_map(|peer| &peer.facts.attached)
                    .filter(|row| row.online && row.place.port != 0 && !is_listed(&row.place))
                    .map(|row| &row.place)
            };
            let own_end = rows().find(|place| target_peer.own_end.as_ref() == Some(place));
            own_end.or_else(|| only(rows().filter(|place| Some(place.port) == target_peer.tcp_port)))
        }
        ReportedRole::Unknown => None,
    };
    let own_end = || {
        let is_foreign_list = used().next().is_some() && !used().any(is_listed);
        let may_stand =
            |place: &&Place| !place.is_nowhere() || target_peer.dialled.iter().any(Place::is_nowhere);
        target_peer.own_end.as_ref().filter(|_| is_foreign_list).filter(may_stand)
    };
    shown.or_else(own_end).map_or_else(listed, |place| Address { host: place.host(), port: place.port })
}

/// What one member shows.
struct Peer<'m> {
    id: &'m str,
    dialled: Vec<Place>,
    facts: ReplicationFacts<'m>,
    own_end: Option<Place>,
    tcp_port: Option<u16>,
}

impl<'m> Peer<'m> {
    fn of(member: &'m MemberState) -> Self {
        let addresses = std::iter::once(&member.identity.address).chain(&member.identity.aliases);
        Self {
            id: &member.identity.id,
            dialled: addresses.map(|address| Place::new(&address.host, address.port)).collect(),
            facts: member.replication().unwrap_or_default(),
            own_end: member.own_end(),
            tcp_port: member.tcp_port(),
        }
    }

    /// The addresses that it names: its master's, and those of its replicas. None of its own host.
    fn names(&self) -> impl Iterator<Item = &Place> {
        let is_own = |place: &&Place| self.dialled.contains(place);
        let attached = self.facts.attached.iter().filter(|row| row.place.port != 0).map(|row| &row.place);
        self.facts.master.iter().filter(move |place| !is_own(place)).chain(attached)
    }
}

/// The one that all are. None: there is none, or they differ.
fn only<'p>(mut places: impl Iterator<Item = &'p Place>) -> Option<&'p Place> {
    let first = places.next()?;
    places.all(|place| place == first).then_some(first)
}
