//! Rounds of probes: when one starts, what completes it, when the next one is due. Must not judge replies.
//!
//! # What completes a round
//!
//! 1. A round probes all members at once, and waits for those that have no probe in flight, or one that was
//!    sent less than [`PATIENCE_US`] ago.
//! 2. It is complete when each of those has answered a probe that was sent after the round began, or
//!    [`PATIENCE_US`] after its begin. So a hung server delays one decision by at most that: from the next
//!    round on it is not waited for.
//! 3. A decision is also due without a complete round when a member that is not waited for answers, or when a
//!    probe becomes overdue.
//! 4. No decision while a member that an action changed has not answered a later probe, for at most
//!    [`CHANGED_US`] ([`ProbeRound::on_action_ended`]).
//!
//! # Late answers
//!
//! An answer shows a server as of the sending of its probe, not as of its arrival (the ABA hazard). Redis-1
//! is the master, redis-2 and redis-3 are its replicas. Three cases, each with the rule that prevents it:
//!
//! *An answer that is older than the event.*
//! 1. A probe is sent to redis-2.
//! 2. Redis-1 dies. Its closed socket starts a round.
//! 3. The answer of redis-2 arrives: link to redis-1 up, as of step 1.
//! 4. If it completed the round, a replica would speak for the dead master.
//!
//! Rule: an answer to a probe from before the round's begin does not count for the round; that member is
//! probed again ([`ProbeRound::on_reply`]).
//!
//! *A former master that wakes up after its replacement.*
//! 1. Redis-1 hangs. Redis-2 answers the last round: role replica.
//! 2. The policy promotes redis-2; the action ends with OK.
//! 3. Redis-1 wakes up and answers an old probe: role master.
//! 4. The newest reply of redis-2 is from step 1. The Observation has one master, redis-1, and a policy would
//!    make redis-2 its replica again.
//!
//! Rule: after an action on a member, no decision until it has answered a probe that was sent after the
//! action's end ([`ProbeRound::on_action_ended`]).
//!
//! *The first answer of a server that hung.*
//! 1. A probe is sent to redis-1, which hangs for a second and wakes up.
//! 2. Its answer proves that it lives now; its role and offset may be a second old.
//!
//! Rule: the first answer after an overdue probe, like the first refused connection of a server that has
//! died, starts a round at once, and the decision rests on that round.

use super::in_flight::InFlight;
use super::member_state::MemberState;
use super::{Effect, Group, Moment};
use crate::contract::LinkState;
use std::collections::{BTreeMap, BTreeSet};

pub struct ProbeRound {
    /// When the next round starts.
    next: Moment,
    /// The round in progress: when it started, and the members that have yet to answer.
    in_progress: Option<(Moment, BTreeSet<String>)>,
    /// A member's facts changed outside of a round: a decision is due.
    is_due: bool,
    /// The next round starts at once: an event was heard in this one, whose replies may be from before it.
    is_heard: bool,
    /// Members that an action changed, and when it ended: replies to earlier probes do not hold any more.
    changed: BTreeMap<String, Moment>,
}

impl ProbeRound {
    pub fn new(now: Moment) -> Self {
        Self { next: now, in_progress: None, is_due: false, is_heard: false, changed: BTreeMap::new() }
    }

    /// Starts a round now; a decision that was due waits for its replies.
    pub fn start_now(&mut self, now: Moment) {
        self.next = now;
        self.in_progress = None;
        self.is_due = false;
    }

    /// An action on this member ended. No decision until it has answered a later probe, or for
    /// [`CHANGED_US`]: its last reply predates the action, so deciding on it could pick a stale master.
    pub fn on_action_ended(&mut self, now: Moment, member: &str) {
        self.changed.insert(member.to_owned(), now);
        self.start_now(now);
    }

    /// Starts a round soon, after a connection ended: replicas that are probed in the same instant may still
    /// report the dead master's link as up.
    pub fn start_soon(&mut self, now: Moment) {
        self.next = self.next.min(now.after_us(SOON_US));
        self.in_progress = None;
    }

    /// Starts a round now, or once the one in progress has ended: whatever is published, rounds come to their
    /// end, and a decision to its time.
    pub fn hear(&mut self, now: Moment) {
        match &self.in_progress {
            Some(_) => self.is_heard = true,
            None => self.next = self.next.min(now),
        }
    }

    /// A member answered a probe that was sent at `sent`. True if it must be probed again: the probe was sent
    /// before the round began, so the answer may predate the event that the round is for.
    pub fn on_reply(
        &mut self,
        now: Moment,
        member: &str,
        sent: Moment,
        before: LinkState,
        after: LinkState,
    ) -> bool {
        if self.changed.get(member).is_some_and(|ended| *ended <= sent) {
            self.changed.remove(member);
        }
        // The first answer after silence is as old as its probe: it proves life, and its role and offset may
        // be out of date. A first refusal proves that the process is gone. Both call for a new round.
        let is_awake = before == LinkState::TimedOut && after == LinkState::Answering;
        if is_awake || after == LinkState::Refused && before != LinkState::Refused {
            self.start_now(now);
            return false;
        }
        match &mut self.in_progress {
            Some((started, waiting)) if sent < *started && waiting.contains(member) => return true,
            Some((_, waiting)) => self.is_due |= !waiting.remove(member),
            None => self.is_due = true,
        }
        false
    }

    /// True when the policy is to be asked: the round is complete, or a decision is due without one.
    pub fn is_complete(&self, now: Moment, members: &BTreeMap<String, Box<MemberState>>) -> bool {
        let over = |(started, waiting): &(Moment, BTreeSet<String>)| {
            waiting.is_empty()
                || started.age_us(now) >= PATIENCE_US
                || waiting.iter().all(|id| is_hung(members, id, now))
        };
        let is_awaited =
            self.changed.iter().any(|(id, ended)| members.contains_key(id) && ended.age_us(now) < CHANGED_US);
        !is_awaited && (self.is_due || self.in_progress.as_ref().is_some_and(over))
    }

    /// Ends the round; the next one starts after this long.
    pub fn finish(&mut self, now: Moment, next_us: u64) {
        self.in_progress = None;
        self.is_due = false;
        let next_us = if std::mem::take(&mut self.is_heard) { 0 } else { next_us };
        self.next = now.after_us(next_us.max(BETWEEN_ROUNDS_MIN_US));
    }

    /// The next moment at which time alone changes the state of the rounds.
    pub fn wake(&self, now: Moment, overdue: Option<Moment>, in_flight: &InFlight) -> Moment {
        let round = self.in_progress.as_ref().map_or(self.next, |(started, _)| started.after_us(PATIENCE_US));
        let awaited =
            self.changed.values().map(|ended| ended.after_us(CHANGED_US)).filter(|end| *end > now).min();
        [Some(round), overdue, awaited, in_flight.patience_ends(now)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(round)
            .max(now.after_us(1))
    }
}

fn is_hung(members: &BTreeMap<String, Box<MemberState>>, id: &str, now: Moment) -> bool {
    members.get(id).is_none_or(|member| member.probing.is_some_and(|sent| sent.age_us(now) >= PATIENCE_US))
}

impl Group {
    /// A probe that is unanswered for this long is overdue: its server is suspect, and not yet silent.
    fn overdue_us(&self) -> u64 {
        u64::from(self.settings.wanted.hang_limit_ms) * 1000 / 4
    }

    /// The next moment at which the loop has work without an event.
    pub(super) fn wake(&self, now: Moment) -> Moment {
        let answering = self.members.values().filter(|member| member.state() == LinkState::Answering);
        let overdue =
            answering.filter_map(|member| member.probing).map(|sent| sent.after_us(self.overdue_us())).min();
        self.round.wake(now, overdue, &self.in_flight)
    }

    /// Starts a round when it is due, and marks probes that are overdue.
    pub(super) fn start_round(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let overdue_us = self.overdue_us();
        for member in self.members.values_mut() {
            if member.state() == LinkState::Answering
                && member.probing.is_some_and(|sent| sent.age_us(now) >= overdue_us)
            {
                member.mark_overdue(now);
                self.round.is_due = true;
            }
        }
        if self.round.in_progress.is_some() || now < self.round.next {
            return;
        }
        self.round.is_heard = false;
        let mut waiting = BTreeSet::new();
        for (id, member) in &mut self.members {
            // A link has one probe in flight per connection; a further one makes it dial beside a hung one.
            effects.push(Effect::Probe { member: id.clone() });
            if member.probing.is_none() {
                member.probing = Some(now);
            }
            if member.probing.is_none_or(|sent| sent.age_us(now) < PATIENCE_US) {
                waiting.insert(id.clone());
            }
        }
        self.round.in_progress = Some((now, waiting));
    }
}

/// A round waits this long for missing answers. Ten times a slow round trip within a zone.
const PATIENCE_US: u64 = 10_000;
/// A member that an action changed is waited for this long. It has just answered the action, so it answers a
/// probe within this time, or it hangs.
const CHANGED_US: u64 = 100_000;
/// After a connection's end, a fresh connect is refused within this (measured: 0.1 ms after it).
const SOON_US: u64 = 500;
/// The least time between two rounds, whatever a policy asks for: a round trip on a loopback.
const BETWEEN_ROUNDS_MIN_US: u64 = 200;
