//! The guard's own reading of an observation: what each member said last, whether that still counts, and whom
//! it names.
//!
//! It knows the replies through `failover_core::facts` only and shares no judgement with any policy. It must
//! never fail: what cannot be read is unknown, and unknown proves nothing.

use crate::contract::{self, InstanceKind, Link, LinkState, Observation, Pod, Sample, Value};
use failover_core::facts::{History, INFO_KEYSPACE, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER};
use failover_core::facts::{
    PersistenceFacts, Place, Relation, ReplicationFacts, ReportedRole, ServerFacts, keys, whole_rows,
};
use std::collections::{BTreeMap, BTreeSet};

/// An observation, read once.
pub(super) struct Scene<'a> {
    pub observation: &'a Observation,
    /// The Redis servers, in the order of the observation. Sentinels are no members.
    pub instances: Vec<Instance<'a>>,
    by_id: BTreeMap<&'a str, usize>,
    by_place: BTreeMap<Place, Vec<usize>>,
}

/// A member and its last words.
pub(super) struct Instance<'a> {
    pub id: &'a str,
    pub link: &'a Link,
    pub pod: Option<&'a Pod>,
    /// The newest `INFO replication`, however old.
    pub facts: ReplicationFacts<'a>,
    /// Since that was asked for. None: never.
    pub age_us: Option<u64>,
    /// Replication id, offset and age of the sample before.
    earlier: Option<(&'a str, u64, u64)>,
    pub run_id: Option<&'a str>,
    pub uptime_s: Option<u64>,
    pub is_loading: bool,
    /// Known only from a reply that is as fresh as `answers` demands.
    pub keys: Option<u64>,
    /// It answers now: what it said is not older than the hang limit (or a second, if that is longer).
    pub answers: bool,
    pub names: Named,
}

/// Whom a replica names as its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// No master is named, or a place that is nowhere.
    Nobody,
    Itself,
    /// Indices of members; more than one where members share a place.
    Members(Vec<usize>),
    /// A place where no member is dialled.
    Stranger,
}

impl<'a> Scene<'a> {
    pub fn read(observation: &'a Observation) -> Self {
        let limit_us = answer_age_max_us(observation);
        let redis = || observation.instances.iter().filter(|instance| instance.kind == InstanceKind::Redis);
        let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (index, contract::Instance { address, .. }) in redis().enumerate() {
            places.entry(Place::new(&address.host, address.port)).or_default().push(index);
        }
        // Where somebody is dialled, nobody else is known by another name.
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
        let instances: Vec<_> = redis()
            .enumerate()
            .map(|(index, instance)| Instance::read(instance, index, &places, limit_us))
            .collect();
        let by_id = instances.iter().enumerate().map(|(index, instance)| (instance.id, index)).collect();
        Self { observation, instances, by_id, by_place: places }
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
            Named::Nobody | Named::Itself | Named::Stranger => false,
        }
    }

    /// The members whom it names as its master: more than one where they share a place.
    pub fn named_by(&self, instance: &Instance<'_>) -> impl Iterator<Item = &Instance<'a>> {
        let there = if let Named::Members(there) = &instance.names { &there[..] } else { &[] };
        there.iter().map(|&index| &self.instances[index])
    }

    /// Members at the places that a master's rows list as its replicas.
    pub fn attached(&self, master: &Instance<'_>) -> impl Iterator<Item = &Instance<'a>> {
        master
            .facts
            .attached
            .iter()
            .filter_map(|row| self.by_place.get(&row.place))
            .flatten()
            .map(|&index| &self.instances[index])
    }

    /// Where the chain of masters ends that starts at this replica, by the last words of each: a member that
    /// does not call itself a replica, or the last one before a ring, a stranger or nobody. None: it
    /// names no other member.
    pub fn chain_end(&self, start: &Instance<'_>) -> Option<&Instance<'a>> {
        let mut here = self.by_id.get(start.id).copied()?;
        let mut visited = BTreeSet::from([here]);
        while self.instances[here].is_replica() {
            match self.instances[here].names {
                Named::Members(ref there) if there.len() == 1 && visited.insert(there[0]) => here = there[0],
                Named::Members(_) | Named::Nobody | Named::Itself | Named::Stranger => break,
            }
        }
        (visited.len() > 1).then(|| &self.instances[here])
    }

    /// A person says that its data may be thrown away.
    pub fn may_be_discarded(&self, instance: &Instance<'_>) -> bool {
        let listed = self.parameter("discard");
        listed
            .as_ref()
            .and_then(serde_json::Value::as_array)
            .is_some_and(|ids| ids.iter().any(|id| id == instance.id))
    }

    /// A parameter of the policy that the guard knows, too. Absent when the parameters are no JSON object.
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
        let reply = |command: &str| instance.replies.iter().find(|reply| reply.command == command);
        let newest = |command: &str| reply(command).and_then(|reply| reply.newest.as_ref()).and_then(text);
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
        let server = newest(INFO_SERVER).map(ServerFacts::parse).unwrap_or_default();
        let names = match &facts.master {
            None => Named::Nobody,
            Some(place) => match places.get(place) {
                Some(there) if there[..] == [index] => Named::Itself,
                Some(there) => Named::Members(there.clone()),
                None if place.is_nowhere() => Named::Nobody,
                None => Named::Stranger,
            },
        };
        Self {
            id: &instance.id,
            link: &instance.link,
            pod: instance.pod.as_ref(),
            age_us: reply(INFO_REPLICATION)
                .and_then(|reply| reply.newest.as_ref())
                .map(|sample| sample.age_us),
            earlier,
            run_id: server.run_id,
            uptime_s: server.uptime_s,
            is_loading: newest(INFO_PERSISTENCE)
                .is_some_and(|text| PersistenceFacts::parse(text).loading == Some(true)),
            keys: if is_fresh(INFO_KEYSPACE) { newest(INFO_KEYSPACE).and_then(keys) } else { None },
            answers: instance.link.state == LinkState::Answering && is_fresh(INFO_REPLICATION),
            names,
            facts,
        }
    }

    /// By its last words.
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

    pub fn history(&self) -> Option<History<'a>> {
        self.facts.history
    }

    /// How its history stands to another's. None: one of them is unknown.
    pub fn relation(&self, other: &Instance<'_>) -> Option<Relation> {
        Some(self.facts.history?.relation(&other.facts.history?))
    }

    /// Since it last gave a sign of life; since the host has looked, if it never did.
    pub fn silence_us(&self) -> u64 {
        self.link.alive_age_us.unwrap_or(self.link.state_age_us)
    }

    /// For how long its stream stood still between two samples. 0 when it moved, or only one is known.
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

/// Older than this, a reply says nothing about now.
fn answer_age_max_us(observation: &Observation) -> u64 {
    u64::from(observation.group.hang_limit_ms.max(1000)) * 1000
}

/// A text reply.
fn text(sample: &Sample) -> Option<&str> {
    match &sample.value {
        Value::Text(text) => Some(whole_rows(&text.text, text.truncated)),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}
