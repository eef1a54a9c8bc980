//! The Sentinels of an Observation, indexed once: what each says of the master, of its replicas and of the
//! other Sentinels, and what that makes of it. Sole constructor of [`Sentinel`].

use crate::contract::{Instance, InstanceKind, LinkState, SentinelSettings, Value};
use crate::facts::{
    self, ClientFacts, INFO_SENTINEL, Place, SENTINEL_MASTERS, SENTINEL_MYID, SENTINEL_PEERS,
    SENTINEL_REPLICAS, SentinelFacts, ServerFacts, Watched,
};
use crate::health::{Gone, Life, Replies, life};
use crate::observed::{reply, sorted, text};
use crate::topology::replication::view::View;

/// The Sentinels that watch the group.
pub struct Sentinels<'a> {
    /// How they are to watch it.
    pub settings: &'a SentinelSettings,
    /// Sorted by id.
    pub all: Vec<Sentinel<'a>>,
}

/// One Sentinel.
pub struct Sentinel<'a> {
    /// What the host sent.
    pub instance: &'a Instance,
    /// `INFO server: run_id`.
    pub run_id: Option<&'a str>,
    /// How it is, as far as its link and its orchestrator tell.
    pub life: Life,
    /// Its link answers, and so does it to `SENTINEL MASTERS`, within the hang limit or a second.
    pub answers: bool,
    /// Age of that reply. None: there is none.
    pub age_us: Option<u64>,
    /// That reply is one that the host still waits for: the newest is too old to say what it does now.
    pub is_asked: bool,
    /// `INFO sentinel`.
    pub own: SentinelFacts,
    /// Its row of the group's master, in its last words. None: it watches no master of that name.
    pub master: Option<Watched<'a>>,
    /// The server that this row is about.
    pub names: Names,
    /// The replicas that it knows. None: not known.
    pub replicas: Option<Vec<Watched<'a>>>,
    /// The other Sentinels that it knows. None: not known.
    pub peers: Option<Vec<Watched<'a>>>,
    /// `SENTINEL MYID`. None: not known, as before Redis 6.2.
    pub my_id: Option<&'a str>,
}

/// The server that a Sentinel takes for the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// None, or a loopback or unspecified address where no member is dialled.
    Nothing,
    /// Index into `View::members`.
    Member(usize),
    /// A server that is no member of this group.
    Outsider(Place),
}

/// Sentinels tell each other what they decided every two seconds (`SENTINEL_PUBLISH_PERIOD`).
pub const SETTLED_MS: u64 = 3_000;
/// What a Sentinel does at this moment is in no reply that is older.
pub const FRESH_US: u64 = 200_000;

impl<'a> Sentinels<'a> {
    /// Reads them. None: no Sentinel watches the group, as it is in mode `served`.
    pub fn read(view: &View<'a>, settings: &'a SentinelSettings) -> Self {
        let instances = &view.observation.instances;
        let is_sentinel = |index: &usize| instances[*index].kind == InstanceKind::Sentinel;
        let order = sorted(instances.len(), &|one, other| instances[one].id.cmp(&instances[other].id));
        let all = order
            .into_iter()
            .filter(is_sentinel)
            .map(|index| Sentinel::read(view, settings, &instances[index]))
            .collect();
        Self { settings, all }
    }

    /// Those that answer and watch the group: each can give its vote, in TILT, too.
    pub fn voters(&self) -> impl Iterator<Item = &Sentinel<'a>> {
        self.all.iter().filter(|sentinel| sentinel.answers && sentinel.master.is_some())
    }

    /// Those that could fail the group over by themselves.
    pub fn capable(&self) -> impl Iterator<Item = &Sentinel<'a>> {
        self.all.iter().filter(|sentinel| sentinel.is_capable())
    }

    /// The votes that make a leader for every one of them: half of those that the most credulous of them
    /// counts, and one more. A Sentinel that is gone counts for those that knew it.
    pub fn majority(&self) -> usize {
        let claimed = self.voters().map(Sentinel::voters_claimed).max().unwrap_or(0);
        claimed.max(self.desired()) / 2 + 1
    }

    /// The votes that make a leader for the one of them that needs the fewest.
    pub fn smallest_majority(&self) -> usize {
        let claimed = self.voters().map(Sentinel::voters_claimed).min();
        claimed.unwrap_or(self.desired()) / 2 + 1
    }

    /// The votes of a majority can be asked for.
    pub fn can_elect(&self) -> bool {
        self.voters().count() >= self.majority()
    }

    /// Of the Sentinels without this one, as many can act as a majority of the desired ones needs. Of fewer
    /// than three no other majority is left, whatever is done.
    pub fn can_spare(&self, index: usize) -> bool {
        let others = (0..self.all.len()).filter(|&other| other != index && self.all[other].is_capable());
        self.desired() < 3 || others.count() > self.desired() / 2
    }

    /// How many there should be.
    pub fn desired(&self) -> usize {
        usize::from(self.settings.sentinels_desired)
    }

    /// The largest epoch that any of them shows: of a configuration, or of a vote.
    pub fn epoch(&self) -> u64 {
        let peers = self.all.iter().flat_map(|sentinel| sentinel.peers.iter().flatten());
        let votes = peers.filter_map(|peer| peer.voted_epoch);
        let configured = self.all.iter().filter_map(|sentinel| sentinel.master.as_ref()?.config_epoch);
        votes.chain(configured).max().unwrap_or(0)
    }

    /// Whether that server is one of them, by its id or its address.
    pub fn is_one(&self, peer: &Watched) -> bool {
        self.all.iter().any(|sentinel| sentinel.is(peer))
    }
}

impl<'a> Sentinel<'a> {
    fn read(view: &View<'a>, settings: &SentinelSettings, instance: &'a Instance) -> Self {
        let limit_us = view.hang_limit_us().max(1_000_000);
        let own = reply(instance, SENTINEL_MASTERS);
        let rows = tables(instance, SENTINEL_MASTERS);
        let age_us = own.and_then(|reply| reply.newest.as_ref()).map(|sample| sample.age_us);
        let is_barred = own.is_some_and(|reply| reply.failure.is_some());
        let is_linked = instance.link.state == LinkState::Answering;
        let answers =
            is_linked && !is_barred && rows.is_some() && age_us.is_some_and(|age_us| age_us <= limit_us);
        let is_ours = |row: &Watched| row.name == settings.master_name;
        let master = rows.unwrap_or_default().into_iter().find(is_ours);
        let server = text(instance, facts::INFO_SERVER).map(ServerFacts::parse).unwrap_or_default();
        let dialled = [Place::new(&instance.address.host, instance.address.port)];
        let is_direct = facts::is_direct(&dialled, &ClientFacts::default(), server.tcp_port) == Some(true);
        let replies = if answers { Replies::Judged } else { Replies::Stale };
        // What answers anything else is alive, and a Sentinel without rights for the host still acts.
        let life = if is_linked && is_barred {
            Life::Locked
        } else {
            life(instance, replies, view.hang_limit_us(), is_direct)
        };
        Self {
            instance,
            run_id: server.run_id,
            life,
            answers,
            age_us,
            is_asked: is_linked
                && own.is_some()
                && !is_barred
                && age_us.is_none_or(|age_us| age_us > FRESH_US),
            own: text(instance, INFO_SENTINEL).map(SentinelFacts::parse).unwrap_or_default(),
            names: master.as_ref().map_or(Names::Nothing, |row| named(view, row)),
            master,
            replicas: tables(instance, SENTINEL_REPLICAS),
            peers: tables(instance, SENTINEL_PEERS),
            my_id: text(instance, SENTINEL_MYID).map(str::trim).filter(|id| !id.is_empty()),
        }
    }

    /// Its id in the observation.
    pub fn id(&self) -> &'a str {
        &self.instance.id
    }

    /// It could be elected and fail the group over: it answers, is not in TILT, watches a member, and reaches
    /// as many of its peers as make a majority of those that it knows.
    pub fn is_capable(&self) -> bool {
        let reached = self.peers.iter().flatten().filter(|peer| !peer.is_lost()).count();
        self.answers
            && self.own.is_in_tilt != Some(true)
            && matches!(self.names, Names::Member(_))
            && reached + 1 > self.voters_claimed() / 2
    }

    /// The Sentinels that vote by its word, itself included.
    fn voters_claimed(&self) -> usize {
        let peers = self.master.as_ref().and_then(|row| row.peers).unwrap_or(0);
        usize::try_from(peers).map_or(usize::MAX, |peers| peers.saturating_add(1))
    }

    /// Its reply is one of this moment and shows a failover of its own.
    pub fn is_failing_over(&self) -> bool {
        self.shows_failover() && self.answers && self.age_us.is_some_and(|age_us| age_us <= FRESH_US)
    }

    /// Its last words, however old, show a failover of its own.
    pub fn shows_failover(&self) -> bool {
        self.master.as_ref().is_some_and(|row| row.is_in_failover)
    }

    /// In TILT for longer than one that passes. A Sentinel before 7.0 does not say since when.
    pub fn is_stuck_in_tilt(&self) -> bool {
        self.own.is_in_tilt == Some(true) && self.own.tilt_s.is_some_and(|tilt_s| tilt_s >= TILT_MAX_S)
    }

    /// A row of another Sentinel is about this one.
    fn is(&self, peer: &Watched) -> bool {
        let addresses = [&self.instance.address].into_iter().chain(&self.instance.aliases);
        let mut places = addresses.map(|address| Place::new(&address.host, address.port));
        match (self.my_id, peer.run_id) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (Some(_) | None, Some(_) | None) => places.any(|place| Some(&place) == peer.place.as_ref()),
        }
    }

    /// For how long it gave no valid reply.
    pub fn silent_us(&self) -> Option<u64> {
        match self.life {
            Life::Silent { for_us } => Some(for_us),
            Life::Answers
            | Life::Occupied(_)
            | Life::Locked
            | Life::Gone(Gone { .. })
            | Life::Suspect { .. } => None,
        }
    }
}

/// The server that a row is about. By its address; where that is no member's, by its run id, because a
/// Sentinel may know a member by a name of its own. A loopback address means another server on each host.
pub fn named(view: &View, row: &Watched) -> Names {
    let Some(place) = &row.place else { return Names::Nothing };
    let by_run = || {
        let is_it = |index: &usize| row.run_id.is_some() && view.members[*index].server.run_id == row.run_id;
        (0..view.members.len()).find(is_it)
    };
    match view.places.find(place) {
        Some(member) => Names::Member(member),
        None if place.is_nowhere() => Names::Nothing,
        None => by_run().map_or_else(|| Names::Outsider(place.clone()), Names::Member),
    }
}

/// The rows of a reply that is whole.
fn tables<'a>(instance: &'a Instance, command: &str) -> Option<Vec<Watched<'a>>> {
    match &reply(instance, command)?.newest.as_ref()?.value {
        Value::Nested(nested) if !nested.truncated => Watched::parse(&nested.resp),
        Value::Nested(_) | Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
    }
}

/// A TILT lasts thirty seconds after its last cause (`SENTINEL_TILT_PERIOD`), and is looked at each second.
const TILT_MAX_S: u64 = 35;
