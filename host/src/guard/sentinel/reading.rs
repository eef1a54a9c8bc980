//! The guard's own reading of the Sentinels: what each says of the group's master and of the other Sentinels.

use crate::contract::{
    self, InstanceKind, Link, LinkState, Pod, SentinelMode, SentinelSettings, Topology, Value,
};
use crate::guard::scene::{Scene, text};
use failover_core::facts::{
    ClientFacts, INFO_SENTINEL, INFO_SERVER, Place, SENTINEL_MASTERS, SENTINEL_PEERS, SENTINEL_REPLICAS,
    SentinelFacts, ServerFacts, Watched, is_direct,
};

/// A Sentinel and its newest replies.
pub(in crate::guard) struct Sentinel<'a> {
    pub id: &'a str,
    pub link: &'a Link,
    pub pod: Option<&'a Pod>,
    pub run_id: Option<&'a str>,
    /// It answers `SENTINEL MASTERS`, within the hang limit or a second.
    pub answers: bool,
    /// The link answers, and its newest reply to that is older than [`FRESH_US`], or there is none.
    pub is_late: bool,
    /// The link answers, and the command brought an error.
    pub is_barred: bool,
    /// That reply is no older than [`FRESH_US`].
    pub is_fresh: bool,
    pub own: SentinelFacts,
    /// Its row of the group's master.
    pub row: Option<Watched<'a>>,
    /// The member that this row is about. None: none, or a server that is no member.
    pub names: Option<usize>,
    pub peers: Vec<Watched<'a>>,
    /// A replica of its own answers it, and is no member: a server of another group, at an address that was a
    /// member's.
    pub takes_stranger: bool,
    /// The host's connection ends at its process.
    pub is_direct: bool,
}

/// A reply that is older says nothing of what a Sentinel does now.
pub(in crate::guard) const FRESH_US: u64 = 200_000;

impl<'a> Sentinel<'a> {
    /// Reads those of an Observation whose members were read.
    pub fn read_all(scene: &Scene<'a>, limit_us: u64) -> Vec<Self> {
        let Some(settings) = watched_by(scene) else { return Vec::new() };
        let instances = scene.observation.instances.iter();
        instances
            .filter(|instance| instance.kind == InstanceKind::Sentinel)
            .map(|instance| Self::read(scene, settings, instance, limit_us))
            .collect()
    }

    fn read(
        scene: &Scene<'a>,
        settings: &SentinelSettings,
        instance: &'a contract::Instance,
        limit_us: u64,
    ) -> Self {
        let reply = |command: &str| instance.replies.iter().find(|reply| reply.command == command);
        let newest = |command: &str| reply(command).and_then(|reply| reply.newest.as_ref());
        let rows = |command: &str| match &newest(command)?.value {
            Value::Nested(nested) if !nested.truncated => Watched::parse(&nested.resp),
            Value::Nested(_) | Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
        };
        let masters = rows(SENTINEL_MASTERS);
        let age_us = newest(SENTINEL_MASTERS).map(|sample| sample.age_us);
        let is_within = |limit_us: u64| age_us.is_some_and(|age_us| age_us <= limit_us);
        let is_barred = reply(SENTINEL_MASTERS).is_some_and(|reply| reply.failure.is_some());
        let is_linked = instance.link.state == LinkState::Answering;
        let answers = is_linked && !is_barred && masters.is_some() && is_within(limit_us);
        let is_known = reply(SENTINEL_MASTERS).is_some();
        let row = masters.unwrap_or_default().into_iter().find(|row| row.name == settings.master_name);
        let server = newest(INFO_SERVER).and_then(text).map(ServerFacts::parse).unwrap_or_default();
        let dialled = [Place::new(&instance.address.host, instance.address.port)];
        Self {
            id: &instance.id,
            link: &instance.link,
            pod: instance.pod.as_ref(),
            run_id: server.run_id,
            answers,
            is_late: is_linked && is_known && !is_barred && !is_within(FRESH_US),
            is_barred: is_linked && is_barred,
            is_fresh: answers && is_within(FRESH_US),
            own: newest(INFO_SENTINEL).and_then(text).map(SentinelFacts::parse).unwrap_or_default(),
            names: row.as_ref().and_then(|row| member(scene, row)),
            row,
            peers: rows(SENTINEL_PEERS).unwrap_or_default(),
            takes_stranger: rows(SENTINEL_REPLICAS)
                .unwrap_or_default()
                .iter()
                .any(|row| !row.is_lost() && row.place.is_some() && member(scene, row).is_none()),
            is_direct: is_direct(&dialled, &ClientFacts::default(), server.tcp_port) == Some(true),
        }
    }

    /// Answers and watches the group.
    pub fn is_voter(&self) -> bool {
        self.answers && self.row.is_some()
    }

    /// How many vote by its word, itself included.
    pub fn voters(&self) -> u64 {
        self.row.as_ref().and_then(|row| row.peers).unwrap_or(0).saturating_add(1)
    }

    /// Could be elected: not in TILT, watches a member, and reaches a majority of those that it knows.
    pub fn is_capable(&self) -> bool {
        let reached = self.peers.iter().filter(|peer| !peer.is_lost()).count() as u64 + 1;
        self.answers
            && self.own.is_in_tilt != Some(true)
            && self.names.is_some()
            && reached > self.voters() / 2
    }

    pub fn epoch(&self) -> u64 {
        self.row.as_ref().and_then(|row| row.config_epoch).unwrap_or(0)
    }
}

impl<'a> Scene<'a> {
    pub fn sentinel(&self, id: &str) -> Option<&Sentinel<'a>> {
        self.sentinels.iter().find(|sentinel| sentinel.id == id)
    }

    /// The Sentinels that could be elected.
    pub fn capable(&self) -> impl Iterator<Item = &Sentinel<'a>> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_capable())
    }

    /// The Sentinels that can be asked for their votes.
    pub fn voters(&self) -> impl Iterator<Item = &Sentinel<'a>> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_voter())
    }

    /// Votes that are a majority for each of them.
    pub fn majority(&self) -> u64 {
        let claimed = self.voters().map(Sentinel::voters).max().unwrap_or(0);
        claimed.max(self.sentinels_desired()) / 2 + 1
    }

    pub fn sentinels_desired(&self) -> u64 {
        watched_by(self).map_or(0, |settings| u64::from(settings.sentinels_desired))
    }
}

/// How Sentinels watch the group. None: none do.
pub(in crate::guard) fn watched_by<'a>(scene: &Scene<'a>) -> Option<&'a SentinelSettings> {
    let group = &scene.observation.group;
    let settings = group.sentinel.as_ref().filter(|_| group.topology == Topology::Sentinel);
    settings.filter(|settings| settings.mode != SentinelMode::Served)
}

/// By its address, or by its run id where that is no member's; never by a loopback address of another host.
fn member(scene: &Scene<'_>, row: &Watched<'_>) -> Option<usize> {
    let place = row.place.as_ref()?;
    if let Some(there) = scene.by_place.get(place) {
        return there.first().copied().filter(|_| there.len() == 1);
    }
    let is_it = |index: &usize| row.run_id.is_some() && scene.instances[*index].run_id == row.run_id;
    (0..scene.instances.len()).find(is_it).filter(|_| !place.is_nowhere())
}
