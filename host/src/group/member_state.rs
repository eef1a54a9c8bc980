//! What is known of one member: its connection's story, and the last good reply to each command beside what
//! has gone wrong since. Facts with their moments; ages only when an observation is made.

use super::event::{Answer, Failed, Member, Moment, Reply};
use crate::contract::{
    Failure, FailureKind, Instance, Link, LinkState, Refusals, Reply as KnownReply, Sample, Value,
};
use crate::topology::{self, Shown};
use failover_core::facts::{
    History, INFO_REPLICATION, INFO_SERVER, ReplicationFacts, ReportedRole, ServerFacts,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A member and what was seen of it.
pub struct MemberState {
    pub identity: Member,
    /// The number of the connection that answers. None: none does.
    pub link: Option<u64>,
    /// A probe is on its way since.
    pub probing: Option<Moment>,
    state: LinkState,
    state_since: Moment,
    closed: Option<Moment>,
    refusals: Option<(u16, Moment, Moment)>,
    alive: Option<Moment>,
    /// By command, sorted. No tree: its node has room for eleven, and groups are many.
    replies: Vec<Known>,
}

struct Known {
    command: Arc<str>,
    newest: Option<(Value, Moment)>,
    /// The first reply with the position of `newest`.
    unmoved: Option<Box<(Value, Moment)>>,
    failure: Option<Box<(Failed, Moment)>>,
    /// Of `newest`: what a decision may turn on in it, and the place in the stream that it shows.
    fingerprint: u64,
    offset: Option<u64>,
}

impl MemberState {
    pub fn new(identity: Member, now: Moment) -> Self {
        let (closed, refusals, alive) = (None, None, None);
        // Standard replies stand in every observation: also of a server that never gave one there is a
        // failure to tell.
        let mut commands = topology::standard_commands(identity.kind).to_vec();
        commands.sort_unstable();
        let replies = commands.into_iter().map(|command| Known::new(command.into())).collect();
        Self {
            identity,
            link: None,
            probing: None,
            state: LinkState::Unknown,
            state_since: now,
            closed,
            refusals,
            alive,
            replies,
        }
    }

    /// The same server under what is said of it now.
    pub fn renamed(self, member: Member) -> Self {
        Self { identity: member, ..self }
    }

    /// Takes in the result of a probe.
    pub fn take(&mut self, now: Moment, reply: Reply) {
        self.probing = None;
        match reply.answer {
            Ok(answer) => self.take_answer(now, reply.sent, answer),
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
                for known in &mut self.replies {
                    known.fail(now, &failed);
                }
            }
        }
    }

    /// Its connection ended.
    pub fn close(&mut self, now: Moment, link: u64) {
        if self.link == Some(link) {
            self.link = None;
            self.probing = None;
            self.closed = Some(now);
            self.refusals = None;
            self.enter(now, LinkState::Closed);
        }
    }

    /// Its probe has been on its way for too long. The probe stays: its answer is the first sign of life.
    pub fn overdue(&mut self, now: Moment) {
        self.enter(now, LinkState::TimedOut);
    }

    pub fn state(&self) -> LinkState {
        self.state
    }

    fn take_answer(&mut self, now: Moment, sent: Moment, answer: Answer) {
        self.link = Some(answer.link);
        self.alive = Some(now);
        self.closed = None;
        self.refusals = None;
        // A server that answers nothing but LOADING, BUSY or NOAUTH is in that state; one good reply is an
        // answer.
        let failed = answer
            .replies
            .iter()
            .all(|(_, reply)| reply.is_err())
            .then(|| answer.replies.iter().find_map(|(_, reply)| reply.as_ref().err()))
            .flatten();
        self.enter(now, failed.map_or(LinkState::Answering, |failed| state_of(failed.kind)));
        for (command, reply) in answer.replies {
            let known = self.known_of(command);
            match reply {
                Ok(value) => known.renew(value, sent),
                Err(failed) => known.fail(now, &failed),
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

    /// The place in the replication stream that it showed last, and when it was asked.
    pub fn offset(&self) -> Option<(u64, Moment)> {
        let known = self.known(INFO_REPLICATION)?;
        known.offset.zip(known.newest.as_ref().map(|(_, at)| *at))
    }

    /// Its newest reply shows the same place in the stream as the one before.
    pub fn stands_still(&self) -> bool {
        self.known(INFO_REPLICATION).is_some_and(|known| known.unmoved.is_some())
    }

    /// Its connection answers, and said master.
    pub fn answers_as_master(&self) -> bool {
        self.state == LinkState::Answering
            && self.replication().is_some_and(|facts| facts.role == ReportedRole::Master)
    }

    fn text(&self, command: &str) -> Option<&str> {
        text(&self.known(command)?.newest.as_ref()?.0)
    }

    fn known(&self, command: &str) -> Option<&Known> {
        self.replies.iter().find(|known| *known.command == *command)
    }

    fn known_of(&mut self, command: Arc<str>) -> &mut Known {
        let place = match self.replies.binary_search_by(|known| known.command.cmp(&command)) {
            Ok(place) => {
                // The words of a probe, which all members share.
                self.replies[place].command = command;
                place
            }
            Err(place) => {
                self.replies.reserve_exact(1);
                self.replies.insert(place, Known::new(command));
                place
            }
        };
        &mut self.replies[place]
    }

    /// What a decision turns on, in one number: everything that it may turn on but for offsets, lags and
    /// ages, which move all the time in a healthy group.
    pub fn fingerprint(&self) -> u64 {
        let mut fingerprint = DefaultHasher::new();
        (self.state as u8).hash(&mut fingerprint);
        self.replies.iter().for_each(|known| known.fingerprint.hash(&mut fingerprint));
        fingerprint.finish()
    }

    /// As the contract has it, with ages that count back from `now`.
    pub fn instance(&self, now: Moment) -> Instance {
        let Member { id, kind, shard, address, aliases, pod } = &self.identity;
        let sample = |(value, at): &(Value, Moment)| Sample { value: value.clone(), age_us: at.age_us(now) };
        Instance {
            id: id.clone(),
            kind: *kind,
            shard: *shard,
            address: address.clone(),
            aliases: aliases.clone(),
            link: Link {
                state: self.state,
                state_age_us: self.state_since.age_us(now),
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
                .map(|known| KnownReply {
                    command: known.command.to_string(),
                    newest: known.newest.as_ref().map(sample),
                    earlier: known.unmoved.as_deref().map(sample),
                    failure: known.failure.as_deref().map(|(failed, since)| Failure {
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

impl Known {
    fn new(command: Arc<str>) -> Self {
        Self { command, newest: None, unmoved: None, failure: None, fingerprint: 0, offset: None }
    }

    /// Each reply is read once, when it comes, and one that says the same as before is not read at all: looks
    /// are many.
    fn renew(&mut self, value: Value, sent: Moment) {
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

    fn fail(&mut self, now: Moment, failed: &Failed) {
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
