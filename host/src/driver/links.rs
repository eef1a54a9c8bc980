//! The links of one group, by member: connects them, and turns their events into the group's events. Must not
//! judge a reply.

use crate::contract::{Address, InstanceKind, Topology, Want};
use crate::group::{Answer, Event, Failed, Member, Moment, Reply};
use crate::redis::{
    CommandFailure, Connection, Dial, Endpoint, Link, LinkEvent, LinkSettings, Listener, Logins, Probe, Tls,
};
use crate::topology;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How to connect to the members of a group.
#[derive(Clone, Debug)]
pub struct Access {
    /// The logins to try.
    pub logins: Logins,
    /// None: plain TCP.
    pub tls: Option<Tls>,
    /// The hang limit: the deadline of a dial, and the time until a second connection is dialled beside a
    /// hung one.
    pub hang_limit: Duration,
    /// The network to dial on. None: the machine's.
    pub network: Option<Arc<dyn Dial>>,
}

/// The links of one group.
pub struct Links {
    access: Access,
    topology: Topology,
    probes: Probes,
    listener: Listener,
    /// Sorted by member.
    links: Vec<MemberLink>,
}

struct MemberLink {
    kind: InstanceKind,
    link: Link,
}

/// The probe of each kind of instance.
struct Probes {
    redis: Arc<Probe>,
    sentinel: Arc<Probe>,
}

impl Probes {
    fn new(topology: Topology, wants: &[Want]) -> Self {
        let probe = |kind| Arc::new(Probe::new(&topology::commands(topology, kind, wants)));
        Self { redis: probe(InstanceKind::Redis), sentinel: probe(InstanceKind::Sentinel) }
    }

    fn of(&self, kind: InstanceKind) -> Arc<Probe> {
        Arc::clone(match kind {
            InstanceKind::Redis => &self.redis,
            InstanceKind::Sentinel => &self.sentinel,
        })
    }
}

impl Links {
    /// No members yet. The probes have the standard commands.
    pub fn new(access: Access, topology: Topology, listener: Listener) -> Self {
        Self { access, topology, probes: Probes::new(topology, &[]), listener, links: Vec::new() }
    }

    /// Keeps the links of members with an unchanged address, drops the others, adds new ones.
    pub fn set_members(&mut self, members: &[Member]) {
        let mut before = std::mem::take(&mut self.links);
        let link = |member: &Member| {
            let endpoint = Endpoint { host: member.address.host.clone(), port: member.address.port };
            let kept = place(&before, &member.id)
                .map(|place| before.remove(place))
                .filter(|known| known.kind == member.kind && *known.link.endpoint() == endpoint);
            kept.unwrap_or_else(|| self.link(member, endpoint))
        };
        let mut links: Vec<MemberLink> = members.iter().map(link).collect();
        links.sort_by(|one, other| one.link.member().cmp(other.link.member()));
        self.links = links;
    }

    fn link(&self, member: &Member, endpoint: Endpoint) -> MemberLink {
        let Access { logins, tls, hang_limit, network } = &self.access;
        let settings = LinkSettings {
            endpoint,
            logins: logins.clone(),
            tls: tls.clone(),
            network: network.clone(),
            dial_deadline: *hang_limit,
            redial_after: *hang_limit,
            probe: self.probes.of(member.kind),
        };
        let link = Link::new(Arc::from(member.id.as_str()), settings, Arc::clone(&self.listener));
        MemberLink { kind: member.kind, link }
    }

    /// Sets the read-only commands that policies want beyond the standard ones, each for instances of its
    /// kind.
    pub fn set_extra_commands(&mut self, wants: &[Want]) {
        self.probes = Probes::new(self.topology, wants);
        for MemberLink { kind, link } in &self.links {
            link.set_probe(self.probes.of(*kind));
        }
    }

    /// Sets logins and certificates, for members that change them now or soon.
    pub fn log_in_as(&mut self, logins: Logins, tls: Option<Tls>) {
        for MemberLink { link, .. } in &self.links {
            link.log_in_as(logins.clone(), tls.clone());
        }
        (self.access.logins, self.access.tls) = (logins, tls);
    }

    /// Probes a member.
    pub fn probe(&self, id: &str) {
        if let Some(place) = place(&self.links, id) {
            self.links[place].link.probe();
        }
    }

    /// The connection with that number, if it is still open.
    pub fn connection(&self, id: &str, number: u64) -> Option<Connection> {
        self.links[place(&self.links, id)?].link.connection(number)
    }
}

fn place(links: &[MemberLink], id: &str) -> Option<usize> {
    links.binary_search_by(|known| known.link.member().cmp(id)).ok()
}

/// The group's event for an event of a link.
pub(super) fn event(event: LinkEvent, moment: impl Fn(Instant) -> Moment) -> Event {
    match event {
        LinkEvent::Answered { member, link, sent, replies } => {
            let failed = |failure: CommandFailure| Failed { kind: failure.kind, text: failure.text };
            let replies =
                replies.into_iter().map(|(command, reply)| (command, reply.map_err(failed))).collect();
            Event::Reply(Reply {
                member: member.to_string(),
                sent: moment(sent),
                answer: Ok(Answer { link, replies }),
            })
        }
        LinkEvent::Failed { member, sent, kind, text } => Event::Reply(Reply {
            member: member.to_string(),
            sent: moment(sent),
            answer: Err(Failed { kind, text }),
        }),
        LinkEvent::Closed { member, link } => Event::Closed { member: member.to_string(), link },
    }
}

/// A member that is known only by its address, with the addresses that its name resolves to as aliases.
///
/// # Errors
/// One sentence, if the name does not resolve.
pub async fn member(endpoint: &Endpoint) -> Result<Member, String> {
    let Endpoint { host, port } = endpoint;
    let resolved = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .map_err(|error| format!("{endpoint} does not resolve: {error}"))?;
    let mut aliases: Vec<Address> = resolved
        .map(|at| Address { host: at.ip().to_string(), port: *port })
        .filter(|alias| alias.host != *host)
        .collect();
    aliases.sort_by(|one, other| one.host.cmp(&other.host));
    aliases.dedup();
    Ok(Member { aliases, ..unresolved_member(endpoint) })
}

/// The same without aliases: its name does not resolve yet. Each dial resolves it again.
pub fn unresolved_member(endpoint: &Endpoint) -> Member {
    let Endpoint { host, port } = endpoint;
    Member {
        id: endpoint.to_string(),
        kind: InstanceKind::Redis,
        shard: Some(0),
        address: Address { host: host.clone(), port: *port },
        aliases: Vec::new(),
        pod: None,
        is_former: false,
    }
}
