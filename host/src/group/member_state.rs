//! The state of one member: its connection, and per command the last good reply and the present failure.
//! Facts carry their moments; ages are computed when an Observation is built. Must not judge.

use super::event::{Answer, Failed, Member, Moment, Reply};
use crate::contract::{
    Failure, FailureKind, Instance, InstanceKind, Link, LinkState, Refusals, Reply as ContractReply, Sample,
    Value,
};
use crate::topology::{self, Shown};
use failover_core::facts::{
    CLIENT_INFO, ClientFacts, History, INFO_REPLICATION, INFO_SERVER, Place, ReplicationFacts, ReportedRole,
    ServerFacts,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A member and its latest facts.
pub struct MemberState {
    pub identity: Member,
    /// The number of the connection that answers. None: no connection.
    pub link: Option<u64>,
    /// When the probe in flight was sent. None: no probe in flight.
    pub probing: Option<Moment>,
    state: LinkState,
    state_since: Moment,
    closed: Option<Moment>,
    refusals: Option<(u16, Moment, Moment)>,
    alive: Option<Moment>,
    /// An action changed its role then, and no later probe was answered: earlier replies do not show it.
    superseded: Option<Moment>,
    /// Sorted by command. No tree: a node reserves room for eleven values, and a host runs many groups.
    replies: Vec<CommandState>,
}

/// The last good reply to one command, and the failure since.
struct CommandState {
    command: Arc<str>,
    newest: Option<(Value, Moment)>,
    /// The first reply that showed the stream position of `newest`.
    unmoved: Option<Box<(Value, Moment)>>,
    failure: Option<Box<(Failed, Moment)>>,
    /// Of `newest`: the fingerprint of what a decision may turn on, and the offset that it shows.
    fingerprint: u64,
    offset: Option<u64>,
}

impl MemberState {
    pub fn new(identity: Member, now: Moment) -> Self {
        let (closed, refusals, alive) = (None, None, None);
        // Every Observation lists the standard commands: a server that never replied has failures to show.
        let mut commands = topology::standard_commands(identity.kind).to_vec();
        commands.sort_unstable();
        let replies = commands.into_iter().map(|command| CommandState::new(command.into())).collect();
        Self {
            identity,
            link: None,
            probing: None,
            state: LinkState::Unknown,
            state_since: now,
            closed,
            refusals,
            alive,
            superseded: None,
            replies,
        }
    }

    /// The same server with its newest identity; its facts are kept.
    pub fn with_identity(self, member: Member) -> Self {
        Self { identity: member, ..self }
    }

    /// Applies the result of a probe.
    pub fn apply_reply(&mut self, now: Moment, reply: Reply) {
        self.probing = None;
        match reply.answer {
            Ok(answer) if self.is_of_another(&answer) => {
                self.link = None;
                self.enter(now, LinkState::Unreachable);
            }
            Ok(answer) => {
                self.superseded = self.superseded.filter(|changed| reply.sent < *changed);
                self.apply_answer(now, reply.sent, answer);
            }
            Err(failed) => {
                if let FailureKind::Refused = failed.kind {
                    let (count, first) = self.refusals.map_or((0, now), |(count, first, _)| (count, first));
                    self.refusals = Some((u16::saturating_add(count, 1), first, now));
                } else {
                    self.refusals = None;
                }
                if let FailureKind::Unauthorized | FailureKind::Loading | FailureKind::Busy = failed.kind {
                    self.alive = Some(now);
                }
                self.enter(now, state_of(failed.kind));
                for state in &mut self.replies {
                    state.apply_failure(now, &failed);
                }
            }
        }
    }

    /// Whether an answer at the address of a former Pod comes from another process than that Pod's.
    fn is_of_another(&self, answer: &Answer) -> bool {
        let run_id = |(command, reply): &(Arc<str>, Result<Value, Failed>)| {
            let text = reply.as_ref().ok().and_then(text).filter(|_| **command == *INFO_SERVER)?;
            ServerFacts::parse(text).run_id.map(str::to_owned)
        };
        let known = self.run_id();
        self.identity.is_former
            && (known.is_none() || answer.replies.iter().find_map(run_id).as_deref() != known)
    }

    /// Whether it is a server with data, and no Sentinel.
    pub fn is_server(&self) -> bool {
        self.identity.kind == InstanceKind::Redis
    }

    /// Whether an Observation lists it: a former Pod's process only while it answers.
    pub fn is_observed(&self) -> bool {
        !self.identity.is_former || self.state == LinkState::Answering
    }

    /// An action changed its role. Until it answers a later probe, it counts as one that is late: what it
    /// said before is no word about what it is.
    pub fn note_role_change(&mut self, now: Moment) {
        self.superseded = Some(now);
    }

    /// The connection of that number ended.
    pub fn close(&mut self, now: Moment, link: u64) {
        if self.link == Some(link) {
            self.link = None;
            self.probing = None;
            self.closed = Some(now);
            self.refusals = None;
            self.enter(now, LinkState::Closed);
        }
    }

    /// Marks the probe in flight as overdue. It stays in flight: its answer would be the first sign of life.
    pub fn mark_overdue(&mut self, now: Moment) {
        self.enter(now, LinkState::TimedOut);
    }

    pub fn state(&self) -> LinkState {
        self.state
    }

    fn apply_answer(&mut self, now: Moment, sent: Moment, answer: Answer) {
        self.link = Some(answer.link);
        self.alive = Some(now);
        self.closed = None;
        self.refusals = None;
        // A server that answers every command with LOADING, BUSY or NOAUTH is in that state; one good reply
        // makes it an answering server.
        let failed = answer
            .replies
            .iter()
            .all(|(_, reply)| reply.is_err())
            .then(|| answer.replies.iter().find_map(|(_, reply)| reply.as_ref().err()))
            .flatten();
        self.enter(now, failed.map_or(LinkState::Answering, |failed| state_of(failed.kind)));
        for (command, reply) in answer.replies {
            let state = self.command_state_mut(command);
            match reply {
                Ok(value) => state.apply_value(value, sent),
                Err(failed) => state.apply_failure(now, &failed),
            }
        }
    }

    fn enter(&mut self, now: Moment, state: LinkState) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }

    /// `INFO replication`, the newest good one.
    pub fn replication(&self) -> Option<ReplicationFacts<'_>> {
        self.text(INFO_REPLICATION).map(ReplicationFacts::parse)
    }

    /// `INFO server: run_id`, the newest good one.
    pub fn run_id(&self) -> Option<&str> {
        self.text(INFO_SERVER).and_then(|text| ServerFacts::parse(text).run_id)
    }

    /// `INFO server: tcp_port`, the newest good one.
    pub fn tcp_port(&self) -> Option<u16> {
        self.text(INFO_SERVER).and_then(|text| ServerFacts::parse(text).tcp_port)
    }

    /// `CLIENT INFO: laddr`: its own end of the host's connection. None: not asked, or before Redis 6.2.
    pub fn own_end(&self) -> Option<Place> {
        self.text(CLIENT_INFO).and_then(|text| ClientFacts::parse(text).at)
    }

    /// The replication offset of its newest reply, and when that probe was sent.
    pub fn offset(&self) -> Option<(u64, Moment)> {
        let state = self.command_state(INFO_REPLICATION)?;
        state.offset.zip(state.newest.as_ref().map(|(_, at)| *at))
    }

    /// True if its newest reply shows the same stream position as the reply before.
    pub fn stands_still(&self) -> bool {
        self.command_state(INFO_REPLICATION).is_some_and(|state| state.unmoved.is_some())
    }

    /// True if its connection answers and its newest reply says role master.
    pub fn answers_as_master(&self) -> bool {
        self.state == LinkState::Answering
            && self.replication().is_some_and(|facts| facts.role == ReportedRole::Master)
    }

    fn text(&self, command: &str) -> Option<&str> {
        text(&self.command_state(command)?.newest.as_ref()?.0)
    }

    fn command_state(&self, command: &str) -> Option<&CommandState> {
        self.replies.iter().find(|state| *state.command == *command)
    }

    fn command_state_mut(&mut self, command: Arc<str>) -> &mut CommandState {
        let index = match self.replies.binary_search_by(|state| state.command.cmp(&command)) {
            Ok(index) => {
                // The string of the probe, which all members share: frees this member's own copy.
                self.replies[index].command = command;
                index
            }
            Err(index) => {
                self.replies.reserve_exact(1);
                self.replies.insert(index, CommandState::new(command));
                index
            }
        };
        &mut self.replies[index]
    }

    /// A hash of everything that a decision may turn on, except offsets, lags and ages: those change all the
    /// time in a healthy group.
    pub fn fingerprint(&self) -> u64 {
        let mut fingerprint = DefaultHasher::new();
        (self.state as u8).hash(&mut fingerprint);
        self.replies.iter().for_each(|state| state.fingerprint.hash(&mut fingerprint));
        fingerprint.finish()
    }

    fn shown_state(&self) -> LinkState {
        match self.state {
            LinkState::Answering if self.superseded.is_some() => LinkState::TimedOut,
            state => state,
        }
    }

    /// The instance of an Observation, with ages as of `now`.
    pub fn instance(&self, now: Moment) -> Instance {
        let Member { id, kind, shard, address, aliases, pod, is_former: _ } = &self.identity;
        let sample = |(value, at): &(Value, Moment)| Sample { value: value.clone(), age_us: at.age_us(now) };
        Instance {
            id: id.clone(),
            kind: *kind,
            shard: *shard,
            address: address.clone(),
            aliases: aliases.clone(),
            link: Link {
                state: self.shown_state(),
                state_age_us: self.superseded.unwrap_or(self.state_since).age_us(now),
                closed_age_us: self.closed.map(|at| at.age_us(now)),
                refusals: self.refusals.map(|(count, first, last)| Refusals {
                    count,
                    first_age_us: first.age_us(now),
                    last_age_us: last.age_us(now),
                }),
                alive_age_us: self.alive.map(|at| at.age_us(now)),
            },
            replies: self
                .replies
                .iter()
                .map(|state| ContractReply {
                    command: state.command.to_string(),
                    newest: state.newest.as_ref().map(sample),
                    earlier: state.unmoved.as_deref().map(sample),
                    failure: state.failure.as_deref().map(|(failed, since)| Failure {
                        kind: failed.kind,
                        text: failed.text.clone(),
                        age_us: since.age_us(now),
                    }),
                })
                .collect(),
            pod: pod.clone(),
            extras: Vec::new(),
        }
    }
}

impl CommandState {
    fn new(command: Arc<str>) -> Self {
        Self { command, newest: None, unmoved: None, failure: None, fingerprint: 0, offset: None }
    }

    /// Parses each reply once, on arrival, and a reply with the same text as the last one not at all: there
    /// are many rounds.
    fn apply_value(&mut self, value: Value, sent: Moment) {
        let is_same = self.newest.as_ref().is_some_and(|(before, _)| *before == value);
        let before = Shown { fingerprint: self.fingerprint, offset: self.offset };
        let shown = if is_same { before } else { topology::shown(&self.command, &value) };
        let Shown { fingerprint, offset } = shown;
        let is_unmoved = |before: &Value| {
            offset.is_some() && offset == self.offset && (is_same || position(before) == position(&value))
        };
        let stands_still = self.newest.as_ref().is_some_and(|(before, _)| is_unmoved(before));
        self.unmoved = if stands_still {
            self.unmoved.take().or_else(|| self.newest.take().map(Box::new))
        } else {
            None
        };
        (self.newest, self.fingerprint, self.offset) = (Some((value, sent)), fingerprint, offset);
        self.failure = None;
    }

    fn apply_failure(&mut self, now: Moment, failed: &Failed) {
        let since = self
            .failure
            .as_deref()
            .filter(|(before, _)| before.kind == failed.kind)
            .map_or(now, |(_, since)| *since);
        self.failure = Some(Box::new((failed.clone(), since)));
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(&text.text),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}

fn position(value: &Value) -> Option<(&str, u64)> {
    let History { replid, offset, former: _ } = ReplicationFacts::parse(text(value)?).history?;
    Some((replid, offset))
}

fn state_of(kind: FailureKind) -> LinkState {
    match kind {
        FailureKind::Refused => LinkState::Refused,
        FailureKind::Reset => LinkState::Closed,
        FailureKind::Unreachable => LinkState::Unreachable,
        FailureKind::TimedOut => LinkState::TimedOut,
        FailureKind::Unauthorized => LinkState::Unauthorized,
        FailureKind::Loading => LinkState::Loading,
        FailureKind::Busy => LinkState::Busy,
        FailureKind::ErrorReply => LinkState::Answering,
        FailureKind::ProtocolError => LinkState::ProtocolError,
    }
}
