//! One group of Redis servers: the loop, pure. `on(now, event) -> effects`, no I/O, no clock.
//!
//! ```text
//! event -> facts (seat.rs) -> look: probe everybody, wait for the answers, but not for the hung
//!       -> Observation -> policy, guard (judge.rs) -> Decision
//!       -> first stage only (stage.rs) -> Act, Publish -> results are events -> look again
//! ```
//!
//! No plan is ever revised in flight, a policy can be swapped between any two looks, and a crash between two effects is the
//! normal case: whatever was left is what the next look sees. An action that was sent and not answered is in doubt: it is never
//! cancelled, and its target counts as possibly changed until seen again.

mod event;
mod judge;
mod look;
mod pace;
mod seat;
mod stage;

pub use event::{Answer, Changed, Decided, Effect, Event, Failed, Member, Moment, Order, Outcome, Record, Reply, Report, Request};

use crate::policy::Line;
use crate::policy::contract::{Decision, Group as Wanted, Observation, Published, Switchover, Verdict};
use look::Look;
use seat::Seat;
use stage::Stage;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a group starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a person wants, until [`Event::Wanted`] says otherwise.
    pub wanted: Wanted,
    /// JSON text for the policy.
    pub parameters: String,
    /// Between two looks when nothing is wrong, in microseconds; up to four times that while nothing is written, and longer in a crowd
    /// ([`Group::among`]).
    pub interval_us: u64,
    /// What a predecessor made known.
    pub record: Option<Record>,
}

/// The state of one group.
pub struct Group {
    settings: Settings,
    /// In boxes: a tree's node has room for eleven.
    seats: BTreeMap<String, Box<Seat>>,
    look: Look,
    stage: Stage,
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
    phase: u64,
    /// What the last look showed, and until when the last decision stands if nothing else is shown.
    gist: Vec<u64>,
    quiet_until: Moment,
}

impl Group {
    /// A group without members; [`Event::Members`] brings them.
    pub fn new(settings: Settings, now: Moment) -> Self {
        let (published, last_failover) = settings.record.clone().map_or((None, None), |record| (Some((record.published, now)), record.last_failover));
        let (look, stage) = (Look::new(now), Stage::default());
        let (seats, may_act, silent_groups_permille) = (BTreeMap::new(), false, 0);
        let phase = pace::phase(&settings.wanted);
        Self {
            settings,
            seats,
            look,
            stage,
            may_act,
            silent_groups_permille,
            switchover: None,
            published,
            last_failover,
            last: None,
            abdicated: None,
            groups: 1,
            phase,
            gist: Vec::new(),
            quiet_until: now,
        }
    }

    /// The loop.
    pub fn on(&mut self, now: Moment, event: Event, policies: &Line) -> Vec<Effect> {
        let mut effects = Vec::new();
        let states: Vec<_> = self.seats.values().map(|seat| seat.state()).collect();
        self.take_in(now, event, &mut effects);
        self.report_links(&states, &mut effects);
        self.look_around(now, &mut effects);
        if self.look.is_complete(now, &self.seats) && !self.stage.is_running(now) && !self.is_quiet(now) {
            let observation = self.observation(now);
            match judge::judge(now, policies, observation, self.last.as_deref(), &mut effects) {
                Some(decided) => self.follow_up(now, decided, &mut effects),
                None => self.look.decided(now, HELD_LOOK_US),
            }
        }
        effects.push(Effect::WakeAt(self.wake(now)));
        effects
    }

    /// A look at a healthy group that shows what the last decision was made from: nothing is decided until the policy's own time.
    fn is_quiet(&mut self, now: Moment) -> bool {
        let gist: Vec<u64> = self.seats.values().map(|seat| seat.gist()).collect();
        let is_healthy = self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Healthy);
        let is_quiet = is_healthy && now < self.quiet_until && gist == self.gist && self.stage.is_empty();
        self.gist = gist;
        if is_quiet {
            self.look.decided(now, self.rest_us(now));
        }
        is_quiet
    }

    /// What would be handed to the policy now.
    pub fn observation(&self, now: Moment) -> Observation {
        Observation {
            group: self.settings.wanted.clone(),
            instances: self.seats.values().map(|seat| seat.instance(now)).collect(),
            published: self
                .published
                .as_ref()
                .map(|(published, at)| Published { age_us: published.age_us.saturating_add(at.age_us(now)), ..published.clone() }),
            last_failover: self.last_failover.as_ref().map(|changed| changed.failover(now)),
            switchover: self.switchover.as_ref().map(|(target, at)| Switchover { target: target.clone(), age_us: at.age_us(now) }),
            in_doubt: self.stage.in_doubt(now),
            silent_groups_permille: self.silent_groups_permille,
            authority: self.may_act,
            parameters: self.settings.parameters.clone(),
            extras: Vec::new(),
        }
    }

    fn take_in(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Policy => self.demand(now),
            Event::Members(members) => self.seat(now, members),
            Event::Reply(reply) => self.take_reply(now, reply, effects),
            Event::Closed { member, link } => {
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.close(now, link);
                    // Dialled at once; the refusal starts the round whose answers count.
                    effects.push(Effect::Probe { member });
                    self.look.hurry(now);
                }
            }
            Event::Finished { order, outcome } => self.finish(now, order, outcome, effects),
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

    fn seat(&mut self, now: Moment, members: Vec<Member>) {
        let mut before = std::mem::take(&mut self.seats);
        for member in members {
            let id = member.id.clone();
            let seat = match before.remove(&id) {
                Some(seat) => seat.renamed(member),
                None => Seat::new(member, now),
            };
            self.seats.insert(id, Box::new(seat));
        }
        self.demand(now);
    }

    /// Look now, and decide whatever is seen.
    fn demand(&mut self, now: Moment) {
        self.quiet_until = now;
        self.look.demand(now);
    }

    fn take_reply(&mut self, now: Moment, reply: Reply, effects: &mut Vec<Effect>) {
        let Some(seat) = self.seats.get_mut(&reply.member) else { return };
        let member = reply.member.clone();
        let (before, sent) = (seat.state(), reply.sent);
        seat.take(now, reply);
        self.stage.seen(&member, sent);
        if self.look.answered(now, &member, sent, before, seat.state()) {
            seat.probing = Some(now);
            effects.push(Effect::Probe { member });
        }
    }

    fn report_links(&self, before: &[crate::policy::contract::LinkState], effects: &mut Vec<Effect>) {
        if before.len() == self.seats.len() {
            let changed = self.seats.values().zip(before).filter(|(seat, before)| seat.state() != **before);
            effects.extend(changed.map(|(seat, _)| Effect::Report(Report::Link { member: seat.member.id.clone(), state: seat.state() })));
        }
    }
}

impl Changed {
    fn failover(&self, now: Moment) -> crate::policy::contract::Failover {
        let Self { at, age_us, source, target, meant_for, evidence } = self.clone();
        crate::policy::contract::Failover { age_us: age_us.saturating_add(at.age_us(now)), source, target, meant_for, evidence }
    }
}

/// No policy gave a usable answer: ask again soon, with a newer observation.
const HELD_LOOK_US: u64 = 100_000;
