//! When to look: rounds of probes, what completes one, when the next one starts.
//!
//! A round asks everybody at once and is complete when all have answered, or when its patience is over: a
//! hung server costs its own deadline and nobody else's. An answer that comes late may be the first sign of
//! life of a master that was replaced, and a fresh refusal a death: both start a round at once, because only
//! what is asked after them counts.

use super::in_flight::InFlight;
use super::member_state::MemberState;
use super::{Effect, Group, Moment};
use crate::contract::LinkState;
use std::collections::{BTreeMap, BTreeSet};

pub struct ProbeRound {
    /// When the next round starts.
    next: Moment,
    /// The round under way: when it started, and who has yet to answer.
    under_way: Option<(Moment, BTreeSet<String>)>,
    /// Somebody's facts changed outside of a round.
    is_due: bool,
    /// Whose state an action changed, and when it ended: what they said before does not hold any more.
    changed: BTreeMap<String, Moment>,
}

impl ProbeRound {
    pub fn new(now: Moment) -> Self {
        Self { next: now, under_way: None, is_due: false, changed: BTreeMap::new() }
    }

    /// Start a round now; what was due is decided on by its answers.
    pub fn demand(&mut self, now: Moment) {
        self.next = now;
        self.under_way = None;
        self.is_due = false;
    }

    /// An action on this member ended. Nothing is decided until it was asked after that, or has had its time
    /// to answer: by what it said before, a woken former master would be the only one.
    pub fn changed(&mut self, now: Moment, member: &str) {
        self.changed.insert(member.to_owned(), now);
        self.demand(now);
    }

    /// Start a round soon: something ended, and what is asked right now may still be answered with what was
    /// before.
    pub fn hurry(&mut self, now: Moment) {
        self.next = self.next.min(now.after_us(HURRY_US));
        self.under_way = None;
    }

    /// A member answered a question that was sent at `asked`. True when it must be asked again: it was asked
    /// before the round began, and what the round is for may have happened since.
    pub fn answered(
        &mut self,
        now: Moment,
        member: &str,
        asked: Moment,
        before: LinkState,
        after: LinkState,
    ) -> bool {
        if self.changed.get(member).is_some_and(|ended| *ended <= asked) {
            self.changed.remove(member);
        }
        // The first answer of who was silent is as old as its question, so it proves life and little else:
        // ask again at once.
        let is_awake = before == LinkState::TimedOut && after == LinkState::Answering;
        if is_awake || after == LinkState::Refused && before != LinkState::Refused {
            self.demand(now);
            return false;
        }
        match &mut self.under_way {
            Some((started, waiting)) if asked < *started && waiting.contains(member) => return true,
            Some((_, waiting)) => self.is_due |= !waiting.remove(member),
            None => self.is_due = true,
        }
        false
    }

    /// It is time to decide.
    pub fn is_complete(&self, now: Moment, members: &BTreeMap<String, Box<MemberState>>) -> bool {
        let over = |(started, waiting): &(Moment, BTreeSet<String>)| {
            waiting.is_empty()
                || started.age_us(now) >= PATIENCE_US
                || waiting.iter().all(|id| is_hung(members, id, now))
        };
        let is_awaited =
            self.changed.iter().any(|(id, ended)| members.contains_key(id) && ended.age_us(now) < CHANGED_US);
        !is_awaited && (self.is_due || self.under_way.as_ref().is_some_and(over))
    }

    /// The round has served; the next one starts after this long.
    pub fn decided(&mut self, now: Moment, next_look_us: u64) {
        self.under_way = None;
        self.is_due = false;
        self.next = now.after_us(next_look_us.max(LOOK_MIN_US));
    }

    /// When to be woken if nothing happens.
    pub fn wake(&self, now: Moment, overdue: Option<Moment>, in_flight: &InFlight) -> Moment {
        let round = self.under_way.as_ref().map_or(self.next, |(started, _)| started.after_us(PATIENCE_US));
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
    /// A probe without an answer for this long makes its server suspect, and nothing more.
    fn overdue_us(&self) -> u64 {
        u64::from(self.settings.wanted.hang_limit_ms) * 1000 / 4
    }

    /// When to be woken if nothing happens.
    pub(super) fn wake(&self, now: Moment) -> Moment {
        let answering = self.members.values().filter(|member| member.state() == LinkState::Answering);
        let overdue =
            answering.filter_map(|member| member.probing).map(|sent| sent.after_us(self.overdue_us())).min();
        self.round.wake(now, overdue, &self.in_flight)
    }

    /// Starts a round when it is time, and notes whose probe is overdue.
    pub(super) fn start_round(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let overdue_us = self.overdue_us();
        for member in self.members.values_mut() {
            if member.state() == LinkState::Answering
                && member.probing.is_some_and(|sent| sent.age_us(now) >= overdue_us)
            {
                member.overdue(now);
                self.round.is_due = true;
            }
        }
        if self.round.under_way.is_some() || now < self.round.next {
            return;
        }
        let mut waiting = BTreeSet::new();
        for (id, member) in &mut self.members {
            // The link asks once a connection; a further probe lets it dial anew beside one that hangs.
            effects.push(Effect::Probe { member: id.clone() });
            if member.probing.is_none() {
                member.probing = Some(now);
            }
            if member.probing.is_none_or(|sent| sent.age_us(now) < PATIENCE_US) {
                waiting.insert(id.clone());
            }
        }
        self.round.under_way = Some((now, waiting));
    }
}

/// A round waits this long for those that have not answered. Ten times a slow round trip within a zone.
const PATIENCE_US: u64 = 10_000;
/// A member that an action changed is waited for this long: it answered the action just now, so it answers
/// this, or it hangs.
const CHANGED_US: u64 = 100_000;
/// After a connection's end, a fresh connect is refused within this (measured: 0.1 ms after it).
const HURRY_US: u64 = 500;
/// No faster than this, whatever a policy asks for: a round trip on a loopback.
const LOOK_MIN_US: u64 = 200;
