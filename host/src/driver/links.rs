//! The links of one group, by member: dials them, and turns what happens on them into the group's events.

use crate::contract::{Address, InstanceKind};
use crate::group::{Answer, Event, Failed, Member, Moment, Reply};
use crate::redis::{
    CommandFailure, Connection, Endpoint, Link, LinkEvent, LinkSettings, Listener, Logins, Probe, Tls,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How all members of a group are reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who we are to them.
    pub logins: Logins,
    /// None: in the clear.
    pub tls: Option<Tls>,
    /// The hang limit: the deadline of a dial, and when a hung connection is dialled beside.
    pub hang_limit: Duration,
}

/// The links.
pub struct Links {
    access: Access,
    /// One for all of them.
    probe: Arc<Probe>,
    listener: Listener,
    /// Sorted by member.
    links: Vec<Link>,
}

impl Links {
    /// Without members, asked for what every member is.
    pub fn new(access: Access, listener: Listener) -> Self {
        Self { access, probe: Arc::new(Probe::new(&[])), listener, links: Vec::new() }
    }

    /// Keeps the links of those that stay where they are, drops the others, makes new ones.
    pub fn set_members(&mut self, members: &[Member]) {
        let mut before = std::mem::take(&mut self.links);
        let link = |member: &Member| {
            let endpoint = Endpoint { host: member.address.host.clone(), port: member.address.port };
            let kept = place(&before, &member.id)
                .map(|place| before.remove(place))
                .filter(|link| *link.endpoint() == endpoint);
            kept.unwrap_or_else(|| self.link(&member.id, endpoint))
        };
        let mut links: Vec<Link> = members.iter().map(link).collect();
        links.sort_by(|one, other| one.member().cmp(other.member()));
        self.links = links;
    }

    fn link(&self, id: &str, endpoint: Endpoint) -> Link {
        let Access { logins, tls, hang_limit } = &self.access;
        let (logins, tls, probe) = (logins.clone(), tls.clone(), Arc::clone(&self.probe));
        let settings = LinkSettings {
            endpoint,
            logins,
            tls,
            dial_deadline: *hang_limit,
            redial_after: *hang_limit,
            probe,
        };
        Link::new(Arc::from(id), settings, Arc::clone(&self.listener))
    }

    /// The read-only commands that the policy wants beyond the standard ones.
    pub fn set_extra_commands(&mut self, wants: &[Vec<String>]) {
        self.probe = Arc::new(Probe::new(wants));
        for link in &self.links {
            link.ask_for(Arc::clone(&self.probe));
        }
    }

    /// They have another password or certificate, or are about to.
    pub fn log_in_as(&mut self, logins: Logins, tls: Option<Tls>) {
        for link in &self.links {
            link.log_in_as(logins.clone(), tls.clone());
        }
        (self.access.logins, self.access.tls) = (logins, tls);
    }

    /// Asks a member.
    pub fn probe(&self, id: &str) {
        if let Some(place) = place(&self.links, id) {
            self.links[place].probe();
        }
    }

    /// The very connection of that number.
    pub fn connection(&self, id: &str, number: u64) -> Option<Connection> {
        self.links[place(&self.links, id)?].connection(number)
    }
}

fn place(links: &[Link], id: &str) -> Option<usize> {
    links.binary_search_by(|link| link.member().cmp(id)).ok()
}

/// What happened on a link, in the group's messages.
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

/// A member that is known by its address only, with the addresses that its name resolves to.
///
/// # Errors
/// When the name does not resolve: one sentence.
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
    Ok(Member {
        id: endpoint.to_string(),
        kind: InstanceKind::Redis,
        address: Address { host: host.clone(), port: *port },
        aliases,
        pod: None,
    })
}
