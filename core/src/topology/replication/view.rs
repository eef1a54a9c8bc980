//! An Observation indexed once: every reply parsed, every name resolved, instances in the order of their ids.
//! Sole constructor of [`Member`]. Nothing here judges.

use super::identity;
use super::parameters::Parameters;
use crate::contract::{
    Failover, Generation, Group, Instance, InstanceKind, LinkState, Observation, Position, Published, Reply,
    Shard,
};
use crate::facts::{
    self, History, PersistenceFacts, Place, Relation, ReplicationFacts, ReportedRole, ServerFacts,
};
use crate::health::{Gone, Life, Replies, life};
use crate::observed::{hang_limit_us, nested, reply, sorted, text, text_of};
use crate::places::Places;

/// The observation, ready to be judged.
pub struct View<'a> {
    /// What the host sent.
    pub observation: &'a Observation,
    /// The user's settings.
    pub parameters: &'a Parameters,
    /// The Redis instances, sorted by id.
    pub members: Vec<Member<'a>>,
    /// Which member an address means.
    pub places: Places,
    /// The member that the group's Sentinels made master, in topology `sentinel`: none is before it, as long
    /// as it answers as one and has lost nothing.
    pub appointed: Option<usize>,
    /// Something passes the bytes on between the host and one of them: see [`Self::is_behind_hop`].
    is_any_passed_on: bool,
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
    /// Keys, by `INFO keyspace`, and libraries of functions: how much data there is.
    pub keys: Option<u64>,
    /// Its link answers, its newest sample of `INFO replication` is fresh, and it says what it is.
    pub answers: bool,
    /// Its link answers and that sample is fresh, whatever role it reports.
    pub is_there: bool,
    /// `redis_mode` of the server at its address, where that is no member of a replication group (`cluster`,
    /// `sentinel`): of its replies nothing else is read.
    pub other_mode: Option<&'a str>,
    /// The member that counts for it: the same process under another id. Nothing else is read of this one.
    pub twin: Option<usize>,
    /// The host's connection ends at the server itself. None: nothing tells.
    pub is_direct: Option<bool>,
    /// Its own end of that connection, where that may stand for it.
    pub own_end: Option<Place>,
    /// The master that it follows, by `master_host` and `master_port`.
    pub follows: Follows,
    /// The rows of its attached replicas, sorted by owner.
    pub rows: Vec<Row>,
}

/// A row of `ReplicationFacts::attached`, and the member that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index into `View::members`. None: no member is known at the row's address.
    pub owner: Option<usize>,
    /// Index into `ReplicationFacts::attached`.
    pub row: usize,
}

/// The master that a replica follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follows {
    /// No master, itself, or a loopback address where no member is dialled.
    NoMaster,
    /// Index into `View::members`.
    Member(usize),
    /// A server that is no member of this group.
    Outsider(Place),
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
        let twins = identity::twins(observation, &instances);
        let own_ends = identity::own_ends(&instances, &twins);
        let places = Places::new(&instances, &own_ends, &|index| twins[index].unwrap_or(index));
        let hang_limit_us = hang_limit_us(&observation.group);
        let mut members: Vec<Member> = instances
            .into_iter()
            .zip(own_ends)
            .enumerate()
            .map(|(index, (instance, own_end))| {
                let twin = twins[index];
                Member { own_end, ..Member::new(index, instance, twin, &places, hang_limit_us) }
            })
            .collect();
        identity::learn(&mut members);
        let is_any_passed_on = members.iter().any(|member| member.is_direct == Some(false));
        Self { observation, parameters, members, places, appointed: None, is_any_passed_on }
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

    /// The generations of the group's data, newest first.
    pub fn lineage(&self) -> &'a [Generation] {
        self.shard().map_or(&[], |shard| &shard.lineage)
    }

    /// The last position of the stream that replicas were seen to reach.
    pub fn position(&self) -> Option<&'a Position> {
        self.shard()?.position.as_ref()
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

    /// The member of that id, or the one that counts for it.
    pub fn find(&self, id: &str) -> Option<usize> {
        let index = self.members.binary_search_by(|member| member.instance.id.as_str().cmp(id)).ok()?;
        Some(self.members[index].twin.unwrap_or(index))
    }

    /// Members that answer now.
    pub fn answering(&self) -> impl Iterator<Item = (usize, &Member<'a>)> {
        self.members.iter().enumerate().filter(|(_, member)| member.answers)
    }

    /// How many of them.
    pub fn answering_count(&self) -> usize {
        self.answering().count()
    }

    /// With fewer answering members than this nothing is done: two, or one of two members, so that two can
    /// fail over.
    pub fn answering_min(&self) -> usize {
        let unless_set = || self.members_desired().saturating_sub(1).clamp(1, 2);
        self.group().members_min.map_or_else(unless_set, usize::from)
    }

    /// How many members there should be, less those at whose address a server in another mode answers, and
    /// those that are another member under a second id: such a member is not out of sight, but none of this
    /// group.
    pub fn members_desired(&self) -> usize {
        let is_none = |index: &usize| self.is_replaced(*index) || self.members[*index].twin.is_some();
        let replaced = (0..self.members.len()).filter(is_none).count();
        usize::from(self.group().members_desired).saturating_sub(replaced).max(1)
    }

    /// A server in another mode answers at its address.
    pub fn is_replaced(&self, index: usize) -> bool {
        self.members[index].replaced().is_some()
    }

    /// `hang_limit_ms` in the unit of ages.
    pub fn hang_limit_us(&self) -> u64 {
        hang_limit_us(self.group()).max(1)
    }

    /// How this member is, as far as its link and its orchestrator tell.
    pub fn life(&self, index: usize) -> Life {
        let member = &self.members[index];
        if let Some(twin) = member.twin {
            let proof = format!("it is the same process as {}", self.id(twin));
            return Life::Gone(Gone { since_us: None, proof });
        }
        if let Some(gone) = member.replaced() {
            return Life::Gone(gone);
        }
        let replies = match (member.answers, member.is_there) {
            (true, _) => Replies::Judged,
            (false, true) => Replies::Unclear,
            (false, false) => Replies::Stale,
        };
        life(member.instance, replies, self.hang_limit_us(), !self.is_behind_hop(index))
    }

    /// Something passes the bytes on between the host and this member, as a proxy, a mapped port or a sidecar
    /// does: that nothing accepts connections there says nothing about the server's process. Of a member of
    /// which nothing tells, what is known of the others counts.
    pub fn is_behind_hop(&self, index: usize) -> bool {
        self.members[index].is_direct.map_or(self.is_any_passed_on, |is_direct| !is_direct)
    }

    /// The longest time that the links of a master's replicas are quiet while it is alive: its heartbeat
    /// (`repl-ping-replica-period`), and one period of its `serverCron` at the default `hz` of 10, which
    /// sends it. None: the period is not known.
    pub fn heartbeat_us(&self, master: usize) -> Option<u64> {
        let seconds = nested(self.members[master].instance, facts::HEARTBEAT).and_then(facts::heartbeat_s)?;
        Some(seconds.saturating_mul(1_000_000).saturating_add(100_000))
    }

    /// A replica's link that brought nothing for this long is silent. From a master that took writes up to
    /// its last reply: the hang limit. From any other: no sooner than a heartbeat of it is overdue.
    pub fn quiet_limit_us(&self, master: usize) -> u64 {
        let unknown_us = facts::HEARTBEAT_DEFAULT_S * 1_000_000 + 100_000;
        let heartbeat_us = || self.heartbeat_us(master).unwrap_or(unknown_us);
        self.hang_limit_us().max(if self.was_writing(master) { 0 } else { heartbeat_us() })
    }

    /// How many replicas of its last list are no members. Where something is between the host and the
    /// servers, no row has an address that is known here: then as many as are more than the other members.
    pub fn unlisted(&self, index: usize) -> usize {
        let rows = &self.members[index].rows;
        if self.is_any_passed_on {
            return rows.len().saturating_sub(self.members_desired().saturating_sub(1));
        }
        rows.iter().filter(|row| row.owner.is_none()).count()
    }

    /// Its stream grew between its last two replies, and since the last position on record by more than
    /// heartbeats: that it stands still since then is no idle hour.
    fn was_writing(&self, master: usize) -> bool {
        let member = &self.members[master];
        let position = self.shard().and_then(|shard| shard.position.as_ref());
        match (position, member.history(), member.sample_age_us) {
            (Some(position), Some(history), Some(age_us)) if member.earlier_offset.is_none() => {
                let grown = history.offset.saturating_sub(position.offset);
                position.replid == history.replid
                    && facts::is_more_than_heartbeats(grown, position.age_us.saturating_sub(age_us))
            }
            (Some(_) | None, Some(_) | None, Some(_) | None) => false,
        }
    }

    /// The user gave up its data, whether it is a copy or not: by the id of that very history or process,
    /// which has no effect in the next incident, or by its name. Never the master on record.
    pub fn is_discarded(&self, index: usize) -> bool {
        let member = &self.members[index];
        let is_it = |id: &str| {
            member.history().is_some_and(|history| history.replid == id)
                || member.server.run_id == Some(id)
                || member.instance.id == id
        };
        let is_on_record = self.published().is_some_and(|published| published.master == self.id(index));
        !is_on_record && self.parameters.discard.iter().any(|id| is_it(id))
    }

    /// Whether this very incarnation is the recorded master.
    pub fn is_recorded(&self, index: usize) -> bool {
        self.published().is_some_and(|published| {
            published.master == self.id(index) && self.members[index].server.run_id == Some(&published.run_id)
        })
    }

    /// A member is reading its data, which ends by itself.
    pub fn is_any_loading(&self) -> bool {
        self.members.iter().any(|member| {
            member.instance.link.state == LinkState::Loading || member.answers && member.is_loading()
        })
    }

    /// Members that may have more data had their time: none is reading its data, which ends by itself; and
    /// all desired members answer, or the youngest process that answers has been up for the bootstrap wait.
    pub fn has_waited_for_members(&self) -> bool {
        if self.is_any_loading() {
            return false;
        }
        let youngest = self.answering().filter_map(|(_, member)| member.server.uptime_s).min();
        self.answering_count() >= self.members_desired()
            || youngest.is_some_and(|uptime| uptime >= self.parameters.bootstrap_wait_s)
    }
}

/// Libraries of functions; of a server that answers only if it says so now. Before Redis 7 there are none.
fn libraries(instance: &Instance, answers: bool) -> u64 {
    let is_told =
        reply(instance, facts::FUNCTION_LIST).is_some_and(|reply| !answers || reply.failure.is_none());
    let list = nested(instance, facts::FUNCTION_LIST).filter(|_| is_told);
    list.and_then(facts::libraries).unwrap_or(0)
}

impl<'a> Member<'a> {
    fn new(
        index: usize,
        instance: &'a Instance,
        twin: Option<usize>,
        places: &Places,
        hang_limit_us: u64,
    ) -> Self {
        let server = text(instance, facts::INFO_SERVER).map(ServerFacts::parse).unwrap_or_default();
        let other_mode = server.mode.filter(|mode| *mode != "standalone");
        let tcp_port = server.tcp_port;
        // Of a server in another mode nothing is a fact about this group, and of a second id nothing is new.
        let is_read = other_mode.is_none() && twin.is_none();
        let reply = |instance, command| reply(instance, command).filter(|_| is_read);
        let own = reply(instance, facts::INFO_REPLICATION);
        let newest = own.and_then(|reply| reply.newest.as_ref());
        let replication = newest.and_then(text_of).map(ReplicationFacts::parse).unwrap_or_default();
        let sample_age_us = newest.map(|sample| sample.age_us);
        let earlier_offset = own.and_then(|reply| reply.earlier.as_ref()).and_then(|earlier| {
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
        let follows = match &replication.master {
            None => Follows::NoMaster,
            Some(place) => match places.find(place) {
                Some(named) if named == index => Follows::NoMaster,
                Some(named) => Follows::Member(named),
                None if place.is_nowhere() => Follows::NoMaster,
                None => Follows::Outsider(place.clone()),
            },
        };
        let owners: Vec<Option<usize>> =
            replication.attached.iter().map(|row| places.find(&row.place)).collect();
        let order = sorted(owners.len(), &|one, other| owners[one].cmp(&owners[other]));
        let rows = order.into_iter().map(|row| Row { owner: owners[row], row }).collect();
        let is_there = instance.link.state == LinkState::Answering && is_fresh(own);
        let answers = is_there && replication.role != ReportedRole::Unknown;
        // Of one that answers, keys count only if they are as fresh as its role; of one that does not, its
        // last words.
        let keyspace =
            reply(instance, facts::INFO_KEYSPACE).filter(|reply| !answers || is_fresh(Some(reply)));
        Self {
            instance,
            rows,
            answers,
            is_there,
            replication,
            sample_age_us,
            earlier_offset,
            other_mode,
            twin,
            is_direct: identity::is_direct(instance, tcp_port),
            own_end: None,
            server: if is_read { server } else { ServerFacts::default() },
            persistence: text(instance, facts::INFO_PERSISTENCE)
                .filter(|_| is_read)
                .map(PersistenceFacts::parse)
                .unwrap_or_default(),
            keys: keyspace
                .and_then(|reply| reply.newest.as_ref())
                .and_then(text_of)
                .and_then(facts::keys)
                .map(|keys| keys.saturating_add(libraries(instance, answers))),
            follows,
        }
    }

    /// It is dialled there, or an alias of it is that place.
    pub fn is_dialled_at(&self, place: &Place) -> bool {
        let addresses = [&self.instance.address].into_iter().chain(&self.instance.aliases);
        addresses.into_iter().any(|address| Place::new(&address.host, address.port) == *place)
    }

    /// A server in another mode answers at its address: the process that was the member does not listen
    /// there any more. Its data and its role are as unknown as those of any process that ended.
    fn replaced(&self) -> Option<Gone> {
        let mode = self.other_mode.filter(|_| self.instance.link.state == LinkState::Answering)?;
        let proof = format!("a server in {mode} mode answers at its address");
        Some(Gone { since_us: None, proof })
    }

    /// Its place in the stream. None: it reported none.
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
        self.answers && self.replication.role == ReportedRole::Master
    }

    /// It answers as a replica.
    pub fn is_replica(&self) -> bool {
        self.answers && self.replication.role == ReportedRole::Replica
    }

    /// It answers as a replica of that very master.
    pub fn is_replica_of(&self, master: usize) -> bool {
        self.is_replica() && self.follows == Follows::Member(master)
    }

    /// It would accept commands: Redis refuses REPLICAOF while it loads or fails over by itself.
    pub fn accepts_commands(&self) -> bool {
        self.answers && !self.is_loading() && !self.replication.in_failover && self.server.run_id.is_some()
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
