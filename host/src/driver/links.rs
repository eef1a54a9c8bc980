//! The links of one group, by member, and the subscriptions to its Sentinels: connects them, and turns their
//! events into the group's events. Must not judge a reply.

use crate::contract::{Address, InstanceKind, Topology, Want};
use crate::group::{Answer, Event, Failed, Member, Moment, Reply};
use crate::redis::act::sentinel::own_id;
use crate::redis::{
    CommandFailure, Connection, Credentials, Dial, Endpoint, Heard, Link, LinkEvent, LinkSettings, Listener,
    Logins, Probe, Subscription, SubscriptionSettings, Tls,
};
use crate::topology;
use crate::topology::sentinel::is_about;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How to connect to the members of a group.
#[derive(Clone, Debug)]
pub struct Access {
    /// The logins to try.
    pub logins: Logins,
    /// None: plain TCP.
    pub tls: Option<Tls>,
    /// How to connect to its Sentinels.
    pub sentinels: Entry,
    /// The hang limit: the deadline of a dial, and the time until a second connection is dialled beside a
    /// hung one.
    pub hang_limit: Duration,
    /// The network to dial on. None: the machine's.
    pub network: Option<Arc<dyn Dial>>,
}

/// How to connect to Sentinels, and how they log in to the servers.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The logins to try.
    pub logins: Logins,
    /// None: plain TCP.
    pub tls: Option<Tls>,
    /// The login of Sentinels to the servers, for the one that is written anew. None: without a password.
    pub to_servers: Option<Credentials>,
    /// The id under which they elect this operator. Two operators never have the same.
    pub own_id: Arc<str>,
}

impl Default for Entry {
    /// Without a password, and with the id of this process.
    fn default() -> Self {
        Self { logins: None.into(), tls: None, to_servers: None, own_id: own_id() }
    }
}

/// The links of one group.
pub struct Links {
    access: Access,
    topology: Topology,
    /// The name under which Sentinels watch the group. Empty: they do not.
    master_name: String,
    wants: Vec<Want>,
    probes: Probes,
    listener: Listener,
    /// Called when a Sentinel published something about the group.
    heard: Heard,
    /// Sorted by member.
    links: Vec<MemberLink>,
}

struct MemberLink {
    kind: InstanceKind,
    link: Link,
    /// To a Sentinel that is asked about a master. None in a simulation: its Sentinels publish nothing.
    subscription: Option<Subscription>,
}

/// The probe of each kind of instance.
struct Probes {
    redis: Arc<Probe>,
    sentinel: Arc<Probe>,
}

impl Probes {
    fn new(topology: Topology, wants: &[Want], master_name: &str) -> Self {
        let probe =
            |kind| Arc::new(Probe::of_master(&topology::commands(topology, kind, wants), master_name));
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
    pub fn new(access: Access, topology: Topology, listener: Listener, heard: Heard) -> Self {
        let (master_name, wants) = (String::new(), Vec::new());
        let probes = Probes::new(topology, &wants, &master_name);
        Self { access, topology, master_name, wants, probes, listener, heard, links: Vec::new() }
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
        let Access { logins, tls, sentinels, hang_limit, network } = &self.access;
        let (logins, tls) = match member.kind {
            InstanceKind::Redis => (logins, tls),
            InstanceKind::Sentinel => (&sentinels.logins, &sentinels.tls),
        };
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
        let subscription = self.subscription(member.kind, link.endpoint());
        MemberLink { kind: member.kind, link, subscription }
    }

    fn subscription(&self, kind: InstanceKind, endpoint: &Endpoint) -> Option<Subscription> {
        let Access { sentinels, hang_limit, network, .. } = &self.access;
        let is_wanted = match kind {
            InstanceKind::Redis => false,
            InstanceKind::Sentinel => !self.master_name.is_empty() && network.is_none(),
        };
        let name = self.master_name.clone();
        is_wanted.then(|| {
            let settings = SubscriptionSettings {
                endpoint: endpoint.clone(),
                logins: sentinels.logins.clone(),
                tls: sentinels.tls.clone(),
                dial_deadline: *hang_limit,
                concerns: Arc::new(move |channel, text| is_about(channel, text, &name)),
            };
            Subscription::new(settings, Arc::clone(&self.heard))
        })
    }

    /// Sets the read-only commands that policies want beyond the standard ones, each for instances of its
    /// kind.
    pub fn set_extra_commands(&mut self, wants: Vec<Want>) {
        self.wants = wants;
        self.set_probes();
    }

    /// Sets the name under which Sentinels watch the group. None: they do not.
    pub fn set_master_name(&mut self, name: Option<&str>) {
        let name = name.unwrap_or_default();
        if self.master_name != name {
            name.clone_into(&mut self.master_name);
            self.set_probes();
            let mut links = std::mem::take(&mut self.links);
            for MemberLink { kind, link, subscription } in &mut links {
                *subscription = self.subscription(*kind, link.endpoint());
            }
            self.links = links;
        }
    }

    fn set_probes(&mut self) {
        self.probes = Probes::new(self.topology, &self.wants, &self.master_name);
        for MemberLink { kind, link, .. } in &self.links {
            link.set_probe(self.probes.of(*kind));
        }
    }

    /// Sets logins and certificates, for servers that change them now or soon.
    pub fn log_in_as(&mut self, logins: Logins, tls: Option<Tls>) {
        for MemberLink { link, .. } in self.of_kind(InstanceKind::Redis) {
            link.log_in_as(logins.clone(), tls.clone());
        }
        (self.access.logins, self.access.tls) = (logins, tls);
    }

    /// The same for Sentinels.
    pub fn enter_sentinels_as(&mut self, entry: Entry) {
        for MemberLink { link, subscription, .. } in self.of_kind(InstanceKind::Sentinel) {
            link.log_in_as(entry.logins.clone(), entry.tls.clone());
            if let Some(subscription) = subscription {
                subscription.log_in_as(entry.logins.clone(), entry.tls.clone());
            }
        }
        self.access.sentinels = entry;
    }

    /// The login of Sentinels to the servers.
    pub fn login_of_sentinels(&self) -> Option<Credentials> {
        self.access.sentinels.to_servers.clone()
    }

    /// The id under which Sentinels elect this operator.
    pub fn own_id(&self) -> Arc<str> {
        Arc::clone(&self.access.sentinels.own_id)
    }

    fn of_kind(&self, wanted: InstanceKind) -> impl Iterator<Item = &MemberLink> {
        self.links.iter().filter(move |it| it.kind == wanted)
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
