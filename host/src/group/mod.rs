//! One group of Redis servers: the loop, pure. `on(now, event) -> effects`, no I/O, no clock.
//!
//! ```text
//! event -> facts (member.rs) -> look: probe everybody, wait for the answers, but not for the hung
//!       -> Observation -> policy, guard (judge.rs) -> Decision
//!       -> first stage only (stage.rs) -> Act, Publish -> results are events -> look again
//! ```
//!
//! No plan is ever revised in flight, a policy can be swapped between any two looks, and a crash between two
//! effects is the normal case: whatever was left is what the next look sees. An action that was sent and not
//! answered is in doubt: it is never cancelled, and its target counts as possibly changed until seen again.

mod event;
mod in_flight;
mod judge;
mod member_state;
mod pace;
mod round;

pub use event::{
    Answer, Changed, Decided, Effect, Event, Failed, Member, Moment, Order, Outcome, Record, Reply, Report,
    Request,
};

use crate::contract::{Decision, Group as Wanted, Observation, Published, Switchover, Verdict};
use crate::policy::PolicyChain;
use in_flight::InFlight;
use member_state::MemberState;
use round::ProbeRound;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a group starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a person wants, until [`Event::Wanted`] says otherwise.
    pub wanted: Wanted,
    /// JSON text for the policy.
    pub parameters: String,
    /// Between two looks when nothing is wrong, in microseconds; up to four times that while nothing is
    /// written, and longer in a crowd ([`Group::set_groups_on_thread`]).
    pub interval_us: u64,
    /// What a predecessor made known.
    pub record: Option<Record>,
}

/// The state of one group.
pub struct Group {
    settings: Settings,
    /// In boxes: a tree's node has room for eleven.
    members: BTreeMap<String, Box<MemberState>>,
    round: ProbeRound,
    in_flight: InFlight,
    may_act: bool,
    silent_groups_permille: u16,
    switchover: Option<(Option<String>, Moment)>,
    published: Option<(Published, Moment)>,
    last_failover: Option<Changed>,
    last: Option<Arc<Decision>>,
    /// Since when every decision has been for a promotion because the master abdicated.
    abdicated: Option<Moment>,
    /// How many groups share our thread, and our place among them.
    groups: u64,
    offset_us: u64,
    /// What the last look showed, and until when the last decision stands if nothing else is shown.
    fingerprint: Vec<u64>,
    unchanged_until: Moment,
}

impl Group {
    /// A group without members; [`Event::Members`] brings them.
    pub fn new(settings: Settings, now: Moment) -> Self {
        let (published, last_failover) = settings
            .record
            .clone()
            .map_or((None, None), |record| (Some((record.published, now)), record.last_failover));
        let (round, in_flight) = (ProbeRound::new(now), InFlight::default());
        let (members, may_act, silent_groups_permille) = (BTreeMap::new(), false, 0);
        let offset_us = pace::offset_us(&settings.wanted);
        Self {
            settings,
            members,
            round,
            in_flight,
            may_act,
            silent_groups_permille,
            switchover: None,
            published,
            last_failover,
            last: None,
            abdicated: None,
            groups: 1,
            offset_us,
            fingerprint: Vec::new(),
            unchanged_until: now,
        }
    }

    /// The loop.
    pub fn on(&mut self, now: Moment, event: Event, policies: &PolicyChain) -> Vec<Effect> {
        let mut effects = Vec::new();
        let states: Vec<_> = self.members.values().map(|member| member.state()).collect();
        self.apply_event(now, event, &mut effects);
        self.report_links(&states, &mut effects);
        self.start_round(now, &mut effects);
        if self.round.is_complete(now, &self.members)
            && !self.in_flight.is_running(now)
            && !self.is_unchanged(now)
        {
            let observation = self.observation(now);
            match judge::judge(now, policies, observation, self.last.as_deref(), &mut effects) {
                Some(decided) => self.on_decision(now, decided, &mut effects),
                None => self.round.decided(now, HELD_LOOK_US),
            }
        }
        effects.push(Effect::WakeAt(self.wake(now)));
        effects
    }

    /// A look at a healthy group that shows what the last decision was made from: nothing is decided until
    /// the policy's own time.
    fn is_unchanged(&mut self, now: Moment) -> bool {
        let fingerprint: Vec<u64> = self.members.values().map(|member| member.fingerprint()).collect();
        let is_healthy = self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Healthy);
        let is_unchanged = is_healthy
            && now < self.unchanged_until
            && fingerprint == self.fingerprint
            && self.in_flight.is_empty();
        self.fingerprint = fingerprint;
        if is_unchanged {
            self.round.decided(now, self.rest_us(now));
        }
        is_unchanged
    }

    /// What would be handed to the policy now.
    pub fn observation(&self, now: Moment) -> Observation {
        Observation {
            group: self.settings.wanted.clone(),
            instances: self.members.values().map(|member| member.instance(now)).collect(),
            published: self.published.as_ref().map(|(published, at)| Published {
                age_us: published.age_us.saturating_add(at.age_us(now)),
                ..published.clone()
            }),
            last_failover: self.last_failover.as_ref().map(|changed| changed.failover(now)),
            switchover: self
                .switchover
                .as_ref()
                .map(|(target, at)| Switchover { target: target.clone(), age_us: at.age_us(now) }),
            in_doubt: self.in_flight.in_doubt(now),
            silent_groups_permille: self.silent_groups_permille,
            authority: self.may_act,
            parameters: self.settings.parameters.clone(),
            extras: Vec::new(),
        }
    }

    fn apply_event(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Policy => self.demand(now),
            Event::Members(members) => self.set_members(now, members),
            Event::Reply(reply) => self.take_reply(now, reply, effects),
            Event::Closed { member, link } => {
                if let Some(state) = self.members.get_mut(&member) {
                    state.close(now, link);
                    // Dialled at once; the refusal starts the round whose answers count.
                    effects.push(Effect::Probe { member });
                    self.round.hurry(now);
                }
            }
            Event::Finished { order, outcome } => self.on_action_finished(now, order, outcome, effects),
            Event::Authority { may_act, silent_groups_permille } => {
                (self.may_act, self.silent_groups_permille) = (may_act, silent_groups_permille);
                self.demand(now);
            }
            Event::Request(Request::Switchover(target)) => {
                self.switchover = Some((target, now));
                self.demand(now);
            }
            Event::Wanted { wanted, parameters } => {
                (self.settings.wanted, self.settings.parameters) = (*wanted, parameters);
                self.demand(now);
            }
        }
    }

    fn set_members(&mut self, now: Moment, members: Vec<Member>) {
        let mut before = std::mem::take(&mut self.members);
        for member in members {
            let id = member.id.clone();
            let state = match before.remove(&id) {
                Some(known) => known.renamed(member),
                None => MemberState::new(member, now),
            };
            self.members.insert(id, Box::new(state));
        }
        self.demand(now);
    }

    /// Look now, and decide whatever is seen.
    fn demand(&mut self, now: Moment) {
        self.unchanged_until = now;
        self.round.demand(now);
    }

    fn take_reply(&mut self, now: Moment, reply: Reply, effects: &mut Vec<Effect>) {
        let Some(state) = self.members.get_mut(&reply.member) else { return };
        let member = reply.member.clone();
        let (before, sent) = (state.state(), reply.sent);
        state.take(now, reply);
        self.in_flight.seen(&member, sent);
        if self.round.answered(now, &member, sent, before, state.state()) {
            state.probing = Some(now);
            effects.push(Effect::Probe { member });
        }
    }

    fn report_links(&self, before: &[crate::contract::LinkState], effects: &mut Vec<Effect>) {
        if before.len() == self.members.len() {
            let changed =
                self.members.values().zip(before).filter(|(member, before)| member.state() != **before);
            effects.extend(changed.map(|(member, _)| {
                Effect::Report(Report::Link { member: member.identity.id.clone(), state: member.state() })
            }));
        }
    }
}

impl Changed {
    fn failover(&self, now: Moment) -> crate::contract::Failover {
        let Self { at, age_us, source, target, meant_for, evidence } = self.clone();
        crate::contract::Failover {
            age_us: age_us.saturating_add(at.age_us(now)),
            source,
            target,
            meant_for,
            evidence,
        }
    }
}

/// No policy gave a usable answer: ask again soon, with a newer observation.
const HELD_LOOK_US: u64 = 100_000;
