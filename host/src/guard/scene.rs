//! The guard's own reading of an Observation: each member's newest replies, whether they still count, and
//! which master each replica names.
//!
//! Reads replies only through `failover_core::facts`, and shares no judgement with any policy. Must never
//! fail: what cannot be read is unknown, and unknown proves nothing.

use super::identity;
use super::sentinel::appointed;
use super::sentinel::reading::Sentinel;
use crate::contract::{self, InstanceKind, Link, LinkState, Observation, Pod, Sample, Value};
use failover_core::facts::{
    CLIENT_INFO, FUNCTION_LIST, HEARTBEAT, HEARTBEAT_DEFAULT_S, History, INFO_KEYSPACE,
};
use failover_core::facts::{
    ClientFacts, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER, PersistenceFacts, Place, Relation,
    ReplicationFacts, ReportedRole, ServerFacts, config_pairs, heartbeat_s, is_direct,
    is_more_than_heartbeats, keys, libraries as libraries_of, whole_rows,
};
use std::collections::{BTreeMap, BTreeSet};

/// An observation, read once.
pub(super) struct Scene<'a> {
    pub observation: &'a Observation,
    /// The Redis servers, in the order of the Observation.
    pub instances: Vec<Instance<'a>>,
    /// The Sentinels that watch the group; none in another topology.
    pub sentinels: Vec<Sentinel<'a>>,
    /// The member that a majority of them made master, in place of the recorded one.
    pub appointed: Option<usize>,
    by_id: BTreeMap<&'a str, usize>,
    pub(super) by_place: BTreeMap<Place, Vec<usize>>,
}

/// A member and its newest replies.
pub(super) struct Instance<'a> {
    pub id: &'a str,
    pub link: &'a Link,
    pub pod: Option<&'a Pod>,
    /// The newest `INFO replication`, however old.
    pub facts: ReplicationFacts<'a>,
    /// Age of that reply, from the sending of its probe. None: no reply yet.
    pub age_us: Option<u64>,
    /// Replication id, offset and age of the earlier sample.
    earlier: Option<(&'a str, u64, u64)>,
    pub run_id: Option<&'a str>,
    pub uptime_s: Option<u64>,
    pub is_loading: bool,
    /// It writes an append-only file.
    pub has_aof: bool,
    /// How many keys it read from a snapshot when it started.
    pub keys_loaded: Option<u64>,
    has_no_files: bool,
    pub disk: Disk,
    /// The self-fence, as it last showed it. None: it never did.
    pub fence: Option<Fence>,
    /// Rows of its last list of replicas whose address is no member's.
    unknown_replicas: usize,
    listed_replicas: usize,
    /// Number of keys and of libraries of functions. None unless the reply is as fresh as `answers` demands.
    pub keys: Option<u64>,
    /// The same of its last reply, however old.
    pub last_keys: Option<u64>,
    /// The places at which the host dials it.
    pub dialled: Vec<Place>,
    /// Its own end of the host's connection.
    pub own_end: Option<Place>,
    /// The host's connection ends at its process. None: nothing tells.
    pub is_direct: Option<bool>,
    /// `repl-ping-replica-period`, as it last replied.
    pub heartbeat_s: Option<u64>,
    /// A `slaveN` row that is online has an address that is no member's.
    pub lists_unknown_replica: bool,
    /// True if a server in another mode (cluster, Sentinel) replies at its address: the member's own process
    /// does not listen there any more; or if it is another member under a second id. Nothing else of those
    /// replies is read.
    pub is_replaced: bool,
    /// True if its newest reply is not older than the hang limit (or a second, if that is longer).
    pub answers: bool,
    pub names: Named,
}

/// `min-replicas-to-write` and `min-replicas-max-lag`. Redis has no fence where either is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub to_write: u64,
    pub lag_s: u64,
}

impl Fence {
    fn read(instance: &contract::Instance) -> Option<Self> {
        let replies = instance.replies.iter().filter(|reply| reply.command.starts_with("CONFIG GET "));
        let value = |name: &str| {
            replies.clone().find_map(|reply| {
                let pairs = config_pairs(nested(instance, &reply.command)?);
                pairs.into_iter().find(|(known, _)| *known == name)?.1.parse().ok()
            })
        };
        Some(Self { to_write: value("min-replicas-to-write")?, lag_s: value("min-replicas-max-lag")? })
    }
}

/// The newest nested reply to a command, as RESP2 text.
fn nested<'a>(instance: &'a contract::Instance, command: &str) -> Option<&'a str> {
    let reply = instance.replies.iter().find(|reply| reply.command == command)?;
    match &reply.newest.as_ref()?.value {
        Value::Nested(nested) => Some(&nested.resp),
        Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
    }
}

/// Whether an instance refuses writes because it cannot write its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// Nothing shows that.
    Works,
    /// Its last snapshot failed; whether that stops writes, its directives do not show.
    MayStopWrites,
    /// It does.
    StopsWrites,
}

impl Disk {
    /// An append-only file that cannot be written stops writes always; a failed snapshot where `save` is set
    /// and `stop-writes-on-bgsave-error` is yes.
    fn read(instance: &contract::Instance, persistence: PersistenceFacts) -> Self {
        let config =
            instance.replies.iter().filter(|reply| reply.command.starts_with("CONFIG GET ")).find_map(
                |reply| match &reply.newest.as_ref()?.value {
                    Value::Nested(nested) => Some(config_pairs(&nested.resp))
                        .filter(|pairs| pairs.iter().any(|(name, _)| *name == STOP_WRITES)),
                    Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
                },
            );
        let is =
            |name: &str, value: &str| config.as_ref().is_some_and(|pairs| pairs.contains(&(name, value)));
        let is_aof_broken =
            persistence.aof_enabled == Some(true) && persistence.is_aof_written == Some(false);
        match persistence.is_rdb_saved {
            _ if is_aof_broken => Self::StopsWrites,
            Some(false) if config.is_none() => Self::MayStopWrites,
            Some(false) if is(STOP_WRITES, "yes") && !is("save", "") => Self::StopsWrites,
            Some(_) | None => Self::Works,
        }
    }
}

const STOP_WRITES: &str = "stop-writes-on-bgsave-error";

/// The master that an instance names in `master_host` and `master_port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// No address, or a loopback or unspecified one, which says nothing outside of its host.
    Nothing,
    Itself,
    /// Indices of members; more than one if members share an address.
    Members(Vec<usize>),
    /// An address that is no member's.
    Outsider,
}

impl Named {
    fn by(facts: &ReplicationFacts<'_>, index: usize, places: &BTreeMap<Place, Vec<usize>>) -> Self {
        match &facts.master {
            None => Self::Nothing,
            Some(place) => match places.get(place) {
                Some(there) if there[..] == [index] => Self::Itself,
                Some(there) => Self::Members(there.clone()),
                None if place.is_nowhere() => Self::Nothing,
                None => Self::Outsider,
            },
        }
    }
}

impl<'a> Scene<'a> {
    pub fn read(observation: &'a Observation) -> Self {
        let limit_us = answer_age_max_us(observation);
        let redis = || observation.instances.iter().filter(|instance| instance.kind == InstanceKind::Redis);
        let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (index, contract::Instance { address, .. }) in redis().enumerate() {
            places.entry(Place::new(&address.host, address.port)).or_default().push(index);
        }
        // A member's own address wins over another member's alias.
        let mut by_alias: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (index, alias) in redis()
            .enumerate()
            .flat_map(|(index, instance)| instance.aliases.iter().map(move |alias| (index, alias)))
        {
            let there = by_alias.entry(Place::new(&alias.host, alias.port)).or_default();
            if there.last() != Some(&index) {
                there.push(index);
            }
        }
        by_alias.append(&mut places);
        let places = by_alias;
        let mut instances: Vec<_> = redis()
            .enumerate()
            .map(|(index, instance)| Instance::read(instance, index, &places, limit_us))
            .collect();
        let stands_for = identity::representatives(observation, &instances);
        let mut scene = Self {
            observation,
            instances: Vec::new(),
            sentinels: Vec::new(),
            appointed: None,
            by_id: BTreeMap::new(),
            by_place: places,
        };
        for there in scene.by_place.values_mut() {
            there.iter_mut().for_each(|index| *index = stands_for[*index]);
            there.sort_unstable();
            there.dedup();
        }
        for (index, instance) in instances.iter_mut().enumerate() {
            scene.by_id.insert(instance.id, stands_for[index]);
            if stands_for[index] != index {
                instance.be_none();
            }
        }
        for (index, instance) in instances.iter_mut().enumerate() {
            instance.names = Named::by(&instance.facts, index, &scene.by_place);
        }
        for index in 0..instances.len() {
            if instances[index].names == Named::Outsider && identity::names_itself(&instances, index) {
                instances[index].names = Named::Itself;
            }
        }
        for (index, master) in identity::named_by_replication(&instances).into_iter().enumerate() {
            if let Some(master) = master {
                instances[index].names = Named::Members(vec![stands_for[master]]);
            }
        }
        scene.instances = instances;
        scene.sentinels = Sentinel::read_all(&scene, limit_us);
        scene.appointed = appointed(&scene);
        scene
    }

    /// True if a majority of the Sentinels made it master in place of the recorded one.
    pub fn is_appointed(&self, instance: &Instance<'_>) -> bool {
        self.appointed.is_some_and(|index| self.instances[index].id == instance.id)
    }

    /// True unless the connections to it are known to end at its own process. A refusal by anything between
    /// is no word of that process. Where nothing tells, what is known of the others counts.
    pub fn is_behind_hop(&self, instance: &Instance<'_>) -> bool {
        let is_passed_on = |instance: &Instance<'_>| instance.is_direct == Some(false);
        instance.is_direct.map_or_else(|| self.instances.iter().any(is_passed_on), |is_direct| !is_direct)
    }

    /// How many replicas of its last list are no members. Where something is between, no address in it is a
    /// member's: then as many as are more than the other members.
    pub fn strange_replicas(&self, instance: &Instance<'_>) -> usize {
        let others = usize::from(self.observation.group.members_desired).saturating_sub(1);
        if self.instances.iter().any(|instance| instance.is_direct == Some(false)) {
            instance.listed_replicas.saturating_sub(others)
        } else {
            instance.unknown_replicas
        }
    }

    /// No link of a replica of this master is silent before this: the hang limit; and, unless the master took
    /// writes up to its last reply, until a heartbeat is overdue by a period of `serverCron` (`hz` 10).
    pub fn quiet_limit_us(&self, master: &Instance<'_>) -> u64 {
        let position = self.observation.shard().and_then(|shard| shard.position.as_ref());
        let was_writing = master.earlier.is_none()
            && position.zip(master.facts.history).zip(master.age_us).is_some_and(
                |((at, history), age_us)| {
                    let grown = history.offset.saturating_sub(at.offset);
                    at.replid == history.replid
                        && is_more_than_heartbeats(grown, at.age_us.saturating_sub(age_us))
                },
            );
        let heartbeat_us = master.heartbeat_s.unwrap_or(HEARTBEAT_DEFAULT_S).saturating_mul(1_000_000);
        self.hang_limit_us().max(if was_writing { 0 } else { heartbeat_us.saturating_add(100_000) })
    }

    pub fn instance(&self, id: &str) -> Option<&Instance<'a>> {
        self.by_id.get(id).map(|&index| &self.instances[index])
    }

    pub fn answering(&self) -> impl Iterator<Item = &Instance<'a>> {
        self.instances.iter().filter(|instance| instance.answers)
    }

    pub fn hang_limit_us(&self) -> u64 {
        u64::from(self.observation.group.hang_limit_ms) * 1000
    }

    /// Answering replicas that name this member as their master.
    pub fn followers(&self, master: &'a str) -> impl Iterator<Item = &Instance<'a>> {
        self.answering().filter(move |instance| instance.is_replica() && self.names(instance, master))
    }

    pub fn names(&self, instance: &Instance<'_>, master: &str) -> bool {
        match &instance.names {
            Named::Members(there) => there.iter().any(|&index| self.instances[index].id == master),
            Named::Nothing | Named::Itself | Named::Outsider => false,
        }
    }

    /// The members that it names as its master: more than one if they share an address.
    pub fn named_by(&self, instance: &Instance<'_>) -> impl Iterator<Item = &Instance<'a>> {
        let there = if let Named::Members(there) = &instance.names { &there[..] } else { &[] };
        there.iter().map(|&index| &self.instances[index])
    }

    /// The members at the addresses that a master's `slaveN` rows list.
    pub fn attached(&self, master: &Instance<'_>) -> impl Iterator<Item = &Instance<'a>> {
        master
            .facts
            .attached
            .iter()
            .filter_map(|row| self.by_place.get(&row.place))
            .flatten()
            .map(|&index| &self.instances[index])
    }

    /// The end of the chain of masters that starts at this replica, by the newest reply of each: a member
    /// that does not report role replica, or the last one before a ring, an outsider or no address. None: the
    /// replica names no other member.
    pub fn chain_end(&self, start: &Instance<'_>) -> Option<&Instance<'a>> {
        let mut here = self.by_id.get(start.id).copied()?;
        let mut visited = BTreeSet::from([here]);
        while self.instances[here].is_replica() {
            match self.instances[here].names {
                Named::Members(ref there) if there.len() == 1 && visited.insert(there[0]) => here = there[0],
                Named::Members(_) | Named::Nothing | Named::Itself | Named::Outsider => break,
            }
        }
        (visited.len() > 1).then(|| &self.instances[here])
    }

    /// True if the user lists its replication id, its run id or its name in the parameter `discard`, and it
    /// is not the recorded master: its data may be deleted.
    pub fn may_be_discarded(&self, instance: &Instance<'_>) -> bool {
        let own = [instance.history().map(|history| history.replid), instance.run_id, Some(instance.id)];
        let listed = self.parameter("discard");
        listed
            .as_ref()
            .and_then(serde_json::Value::as_array)
            .is_some_and(|ids| ids.iter().any(|id| own.contains(&id.as_str()) && id.is_string()))
            && self.observation.published().is_none_or(|record| record.master != instance.id)
    }

    /// A parameter of the policy. None: not set, or the parameters are no JSON object.
    pub fn parameter(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_str::<serde_json::Value>(&self.observation.parameters)
            .ok()?
            .get_mut(name)
            .map(serde_json::Value::take)
    }
}

impl<'a> Instance<'a> {
    fn read(
        instance: &'a contract::Instance,
        index: usize,
        places: &BTreeMap<Place, Vec<usize>>,
        limit_us: u64,
    ) -> Self {
        let any_reply = |command: &str| instance.replies.iter().find(|reply| reply.command == command);
        let text_of = |reply: &'a contract::Reply| reply.newest.as_ref().and_then(text);
        let server = any_reply(INFO_SERVER).and_then(text_of).map(ServerFacts::parse).unwrap_or_default();
        let is_other = server.mode.is_some_and(|mode| mode != "standalone");
        let reply = |command: &str| any_reply(command).filter(|_| !is_other);
        let newest = |command: &str| reply(command).and_then(text_of);
        let is_fresh = |command: &str| {
            reply(command).is_some_and(|reply| {
                reply.failure.is_none()
                    && reply.newest.as_ref().is_some_and(|sample| sample.age_us <= limit_us)
            })
        };
        let facts = newest(INFO_REPLICATION).map(ReplicationFacts::parse).unwrap_or_default();
        let earlier = reply(INFO_REPLICATION).and_then(|reply| reply.earlier.as_ref()).and_then(|sample| {
            let history = ReplicationFacts::parse(text(sample)?).history?;
            Some((history.replid, history.offset, sample.age_us))
        });
        let persistence = newest(INFO_PERSISTENCE).map(PersistenceFacts::parse).unwrap_or_default();
        let client = any_reply(CLIENT_INFO).and_then(text_of).map(ClientFacts::parse).unwrap_or_default();
        let dialled = identity::dialled(instance);
        let heartbeat = any_reply(HEARTBEAT).and_then(|reply| match &reply.newest.as_ref()?.value {
            Value::Nested(nested) => heartbeat_s(&nested.resp),
            Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
        });
        let is_unknown = |place: &Place| place.port != 0 && !places.contains_key(place);
        let libraries = || nested(instance, FUNCTION_LIST).and_then(libraries_of).unwrap_or(0);
        let newest_keys = newest(INFO_KEYSPACE).and_then(keys);
        let fresh_libraries = if is_fresh(FUNCTION_LIST) { libraries() } else { 0 };
        Self {
            id: &instance.id,
            link: &instance.link,
            pod: instance.pod.as_ref(),
            age_us: reply(INFO_REPLICATION)
                .and_then(|reply| reply.newest.as_ref())
                .map(|sample| sample.age_us),
            earlier,
            run_id: server.run_id.filter(|_| !is_other),
            uptime_s: server.uptime_s.filter(|_| !is_other),
            is_replaced: is_other && instance.link.state == LinkState::Answering,
            is_loading: persistence.loading == Some(true),
            has_aof: persistence.aof_enabled == Some(true),
            keys_loaded: persistence.keys_loaded,
            has_no_files: persistence.loaded_nothing(),
            disk: Disk::read(instance, persistence),
            keys: newest_keys
                .filter(|_| is_fresh(INFO_KEYSPACE))
                .map(|keys| keys.saturating_add(fresh_libraries)),
            last_keys: newest_keys.map(|keys| keys.saturating_add(libraries())),
            fence: Fence::read(instance),
            unknown_replicas: facts.attached.iter().filter(|row| is_unknown(&row.place)).count(),
            listed_replicas: facts.attached.len(),
            answers: instance.link.state == LinkState::Answering && is_fresh(INFO_REPLICATION),
            is_direct: is_direct(&dialled, &client, server.tcp_port),
            dialled,
            own_end: client.at,
            heartbeat_s: heartbeat,
            lists_unknown_replica: facts.attached.iter().any(|row| row.online && is_unknown(&row.place)),
            names: Named::by(&facts, index, places),
            facts,
        }
    }

    /// Another instance stands for its process: of this one nothing is read.
    fn be_none(&mut self) {
        (self.facts, self.earlier, self.age_us) = (ReplicationFacts::default(), None, None);
        (self.run_id, self.uptime_s, self.keys, self.last_keys) = (None, None, None, None);
        (self.is_loading, self.answers, self.is_replaced) = (false, false, true);
    }

    /// True if its newest reply says role replica, however old.
    pub fn is_replica(&self) -> bool {
        self.facts.role == ReportedRole::Replica
    }

    pub fn answers_as_replica(&self) -> bool {
        self.answers && self.is_replica()
    }

    pub fn answers_as_master(&self) -> bool {
        self.answers && self.facts.role == ReportedRole::Master && !self.is_loading
    }

    pub fn has_keys(&self) -> bool {
        self.keys.is_some_and(|keys| keys > 0)
    }

    /// True if all that it can have, it took since its start: it read no file, and no history before its own
    /// shows that it copied a master.
    pub fn loaded_nothing(&self) -> bool {
        let was_replica = self.history().is_some_and(|history| history.former.is_some());
        self.has_no_files && !was_replica
    }

    pub fn history(&self) -> Option<History<'a>> {
        self.facts.history
    }

    /// Its history compared with another's. None: one of them is unknown.
    pub fn relation(&self, other: &Instance<'_>) -> Option<Relation> {
        Some(self.facts.history?.relation(&other.facts.history?))
    }

    /// Time since its last sign of life; since the first probe, if it never gave one.
    pub fn silence_us(&self) -> u64 {
        self.link.alive_age_us.unwrap_or(self.link.state_age_us)
    }

    /// Time between two samples with the same stream position. 0 if it moved, or only one sample is known.
    pub fn standstill_us(&self) -> u64 {
        match (self.earlier, self.facts.history, self.age_us) {
            (Some((replid, offset, earlier_us)), Some(now), Some(age_us))
                if (replid, offset) == (now.replid, now.offset) =>
            {
                earlier_us.saturating_sub(age_us)
            }
            (Some(_) | None, Some(_) | None, Some(_) | None) => 0,
        }
    }
}

/// A reply that is older than this is no evidence about the present.
fn answer_age_max_us(observation: &Observation) -> u64 {
    u64::from(observation.group.hang_limit_ms.max(1000)) * 1000
}

/// A text reply.
pub(super) fn text(sample: &Sample) -> Option<&str> {
    match &sample.value {
        Value::Text(text) => Some(whole_rows(&text.text, text.truncated)),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}
