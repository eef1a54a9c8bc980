//! An Observation indexed once: every reply parsed, every name resolved, instances in the order of their ids.
//! Sole constructor of [`Member`]. Nothing here judges.

use crate::contract::{
    Address, Failover, Group, Instance, InstanceKind, LinkState, Observation, Published, Reply, Shard, Value,
};
use crate::facts::{self, History, PersistenceFacts, Place, Relation, ReplicationFacts, ServerFacts, Speaks};
use crate::parameters::Parameters;
use std::cmp::Ordering;

/// The observation, ready to be judged.
pub struct View<'a> {
    /// What the host sent.
    pub observation: &'a Observation,
    /// The user's settings.
    pub parameters: &'a Parameters,
    /// The Redis instances, sorted by id.
    pub members: Vec<Member<'a>>,
}

/// One Redis instance.
pub struct Member<'a> {
    /// What the host sent.
    pub instance: &'a Instance,
    /// `INFO replication`, the newest good one, however old.
    pub replication: ReplicationFacts<'a>,
    /// Age of that sample. None: there is none.
    pub sample_age_us: Option<u64>,
    /// The offset in the earlier sample, if it is of the same history as the newest.
    pub earlier_offset: Option<(u64, u64)>,
    /// `INFO server`.
    pub server: ServerFacts<'a>,
    /// `INFO persistence`.
    pub persistence: PersistenceFacts,
    /// `INFO keyspace`.
    pub keys: Option<u64>,
    /// Its link answers, its newest sample of `INFO replication` is fresh, and it says what it is.
    pub answers: bool,
    /// It answers, whatever it says.
    pub is_there: bool,
    /// Whom it names as its master.
    pub names: Names,
    /// Whose each of its rows of attached replicas is, and which row, sorted. None: nobody's that is dialled
    /// here.
    pub rows: Vec<(Option<usize>, usize)>,
}

/// Whom a replica names as its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// No master, itself, or a loopback address where no member is dialled.
    Nobody,
    /// Index into `View::members`.
    Member(usize),
    /// Somebody who is not of this group.
    Stranger(Place),
}

impl<'a> View<'a> {
    /// Parses and indexes. Total.
    pub fn new(observation: &'a Observation, parameters: &'a Parameters) -> Self {
        let instances: Vec<&Instance> =
            observation.instances.iter().filter(|instance| instance.kind == InstanceKind::Redis).collect();
        let instances: Vec<&Instance> =
            sorted(instances.len(), &|one, other| instances[one].id.cmp(&instances[other].id))
                .into_iter()
                .map(|index| instances[index])
                .collect();
        let places = Places::new(&instances);
        let hang_limit_us = hang_limit_us(&observation.group);
        let members = instances
            .into_iter()
            .enumerate()
            .map(|(index, instance)| Member::new(index, instance, &places, hang_limit_us))
            .collect();
        Self { observation, parameters, members }
    }

    /// What the user wants.
    pub fn group(&self) -> &'a Group {
        &self.observation.group
    }

    /// The host's record.
    pub fn published(&self) -> Option<&'a Published> {
        self.shard()?.published.as_ref()
    }

    /// The last change of master.
    pub fn last_failover(&self) -> Option<&'a Failover> {
        self.shard()?.last_failover.as_ref()
    }

    /// For how long the decisions have named no master.
    pub fn no_master_age_us(&self) -> u64 {
        self.shard().map_or(0, |shard| shard.no_master_age_us)
    }

    /// The only shard of a replication group.
    fn shard(&self) -> Option<&'a Shard> {
        self.observation.shards.first()
    }

    /// The id of a member.
    pub fn id(&self, index: usize) -> &'a str {
        &self.members[index].instance.id
    }

    /// The member of that id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.members.binary_search_by(|member| member.instance.id.as_str().cmp(id)).ok()
    }

    /// Members that answer now.
    pub fn answering(&self) -> impl Iterator<Item = (usize, &Member<'a>)> {
        self.members.iter().enumerate().filter(|(_, member)| member.answers)
    }

    /// How many of them.
    pub fn answering_count(&self) -> usize {
        self.answering().count()
    }

    /// Fewer answering members than this: hands off. The rule of the seed for three and more, and two members
    /// can fail over.
    pub fn answering_min(&self) -> usize {
        let desired = self.group().members_desired;
        usize::from(self.group().members_min.unwrap_or_else(|| desired.saturating_sub(1).clamp(1, 2)))
    }

    /// `hang_limit_ms` in the unit of ages.
    pub fn hang_limit_us(&self) -> u64 {
        hang_limit_us(self.group()).max(1)
    }

    /// The user gives up its data where it is no copy.
    pub fn is_discarded(&self, index: usize) -> bool {
        self.parameters.discard.iter().any(|id| id == self.id(index))
    }

    /// Whether this very incarnation is the recorded master.
    pub fn is_recorded(&self, index: usize) -> bool {
        self.published().is_some_and(|published| {
            published.master == self.id(index) && self.members[index].server.run_id == Some(&published.run_id)
        })
    }

    /// Nobody is known to read its data, which ends by itself; and all desired members answer, or the
    /// youngest process that answers has been up for the bootstrap wait.
    pub fn has_waited_for_members(&self) -> bool {
        if self.members.iter().any(|member| {
            member.instance.link.state == LinkState::Loading || member.answers && member.is_loading()
        }) {
            return false;
        }
        let youngest = self.answering().filter_map(|(_, member)| member.server.uptime_s).min();
        self.answering_count() >= usize::from(self.group().members_desired)
            || youngest.is_some_and(|uptime| uptime >= self.parameters.bootstrap_wait_s)
    }
}

impl<'a> Member<'a> {
    fn new(index: usize, instance: &'a Instance, places: &Places, hang_limit_us: u64) -> Self {
        let reply = find(instance, facts::INFO_REPLICATION);
        let newest = reply.and_then(|reply| reply.newest.as_ref());
        let replication = newest.and_then(text_of).map(ReplicationFacts::parse).unwrap_or_default();
        let sample_age_us = newest.map(|sample| sample.age_us);
        let earlier_offset = reply.and_then(|reply| reply.earlier.as_ref()).and_then(|earlier| {
            let before = ReplicationFacts::parse(text_of(earlier)?).history?;
            (before.replid == replication.history?.replid).then_some((before.offset, earlier.age_us))
        });
        let is_fresh = |reply: Option<&Reply>| {
            let age_us = reply
                .filter(|reply| reply.failure.is_none())
                .and_then(|reply| reply.newest.as_ref())
                .map(|sample| sample.age_us);
            age_us.is_some_and(|age_us| age_us <= hang_limit_us.max(1_000_000))
        };
        let names = match &replication.master {
            None => Names::Nobody,
            Some(place) => match places.find(place) {
                Some(named) if named == index => Names::Nobody,
                Some(named) => Names::Member(named),
                None if place.is_nowhere() => Names::Nobody,
                None => Names::Stranger(place.clone()),
            },
        };
        let owners: Vec<Option<usize>> =
            replication.attached.iter().map(|row| places.find(&row.place)).collect();
        let order = sorted(owners.len(), &|one, other| owners[one].cmp(&owners[other]));
        let rows = order.into_iter().map(|row| (owners[row], row)).collect();
        let is_there = instance.link.state == LinkState::Answering && is_fresh(reply);
        let answers = is_there && replication.role != Speaks::AsNeither;
        // Of one that answers, keys count only if they are as fresh as its role; of one that does not, its
        // last words.
        let keyspace = find(instance, facts::INFO_KEYSPACE).filter(|reply| !answers || is_fresh(Some(reply)));
        Self {
            instance,
            rows,
            answers,
            is_there,
            replication,
            sample_age_us,
            earlier_offset,
            server: text(instance, facts::INFO_SERVER).map(ServerFacts::parse).unwrap_or_default(),
            persistence: text(instance, facts::INFO_PERSISTENCE)
                .map(PersistenceFacts::parse)
                .unwrap_or_default(),
            keys: keyspace.and_then(|reply| reply.newest.as_ref()).and_then(text_of).and_then(facts::keys),
            names,
        }
    }

    /// Its place in the stream. None when it told none.
    pub fn history(&self) -> Option<&History<'a>> {
        self.replication.history.as_ref()
    }

    /// How its data stands to another's; unknown is unrelated.
    pub fn relation(&self, other: &Self) -> Relation {
        self.history()
            .zip(other.history())
            .map_or(Relation::Unrelated, |(mine, theirs)| mine.relation(theirs))
    }

    /// It answers as a master.
    pub fn is_master(&self) -> bool {
        self.answers && self.replication.role == Speaks::AsMaster
    }

    /// It answers as a replica.
    pub fn is_replica(&self) -> bool {
        self.answers && self.replication.role == Speaks::AsReplica
    }

    /// It has not read all its data yet.
    pub fn is_loading(&self) -> bool {
        self.persistence.loading == Some(true)
    }

    /// It is known to have data.
    pub fn has_data(&self) -> bool {
        self.keys.is_some_and(|keys| keys > 0)
    }

    /// Kubernetes asked it to stop.
    pub fn is_terminating(&self) -> bool {
        self.instance.pod.as_ref().is_some_and(|pod| pod.terminating)
    }
}

/// Where members are dialled, and their other names. Of two members at one place, the first by id is meant.
struct Places {
    all: Vec<(Place, usize)>,
    /// Indices into `all`, sorted.
    order: Vec<usize>,
}

impl Places {
    fn new(instances: &[&Instance]) -> Self {
        let mut all = Vec::new();
        // Where somebody is dialled, nobody else is known by another name: of equal places the first stands.
        let mut add =
            |index: usize, address: &Address| all.push((Place::new(&address.host, address.port), index));
        instances.iter().enumerate().for_each(|(index, instance)| add(index, &instance.address));
        instances
            .iter()
            .enumerate()
            .for_each(|(index, instance)| instance.aliases.iter().for_each(|alias| add(index, alias)));
        let order = sorted(all.len(), &|one, other| all[one].0.cmp(&all[other].0));
        Self { all, order }
    }

    fn find(&self, place: &Place) -> Option<usize> {
        let first = self.order.partition_point(|&index| self.all[index].0 < *place);
        self.order
            .get(first)
            .map(|&index| &self.all[index])
            .filter(|(known, _)| known == place)
            .map(|(_, index)| *index)
    }
}

/// The numbers below `count` in the order of `compare`. All sorting is done here: each instantiation of a
/// sort would be 8 KiB of the component.
pub fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.sort_unstable_by(|&one, &other| compare(one, other).then(one.cmp(&other)));
    numbers
}

fn hang_limit_us(group: &Group) -> u64 {
    u64::from(group.hang_limit_ms) * 1000
}

fn find<'a>(instance: &'a Instance, command: &str) -> Option<&'a Reply> {
    instance.replies.iter().find(|reply| reply.command == command)
}

fn text<'a>(instance: &'a Instance, command: &str) -> Option<&'a str> {
    text_of(find(instance, command)?.newest.as_ref()?)
}

fn text_of(sample: &crate::contract::Sample) -> Option<&str> {
    match &sample.value {
        Value::Text(text) => Some(facts::whole_rows(&text.text, text.truncated)),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}

/// The newest nested reply to a wanted command, as RESP2 text.
pub fn nested<'a>(instance: &'a Instance, command: &str) -> Option<&'a str> {
    let reply = find(instance, command)?;
    match &reply.newest.as_ref()?.value {
        Value::Nested(nested) => Some(&nested.resp),
        Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
    }
}
