//! One group of Redis servers: the loop, pure. `on(now, event) -> effects`, no I/O, no clock.
//!
//! ```text
//! event -> facts (member_state.rs) -> round: probe all members, wait for replies (round.rs)
//!       -> Observation -> policy, guard (judge.rs) -> Decision
//!       -> first stage only (in_flight.rs) -> Act, Publish -> results are events -> next round
//! ```
//!
//! No plan is revised in flight, a policy can be swapped between any two rounds, and a crash between two
//! effects is the ordinary case: the next round shows the result. An action that was sent and not answered is
//! in doubt: it is never cancelled, and its target counts as possibly changed until it answers a later probe.
//!
//! # The driver's duties
//!
//! The caller of [`Group::on`] keeps these rules, or the arguments in `round.rs` and `in_flight.rs` fail:
//!
//! 1. Call `on` with events one at a time, in the order in which they happened, with a `now` that never
//!    decreases.
//! 2. Apply all effects of one call, in their order, before the next call. No effect may block: a probe or an
//!    action runs beside the loop, and its result is a later event.
//! 3. Answer each [`Effect::Act`] with exactly one [`Event::Finished`] with the number of its [`Order`], also
//!    when the connection ends: [`Outcome::Failed`] or [`Outcome::NotSent`] only if the target is certainly
//!    unchanged,
//!    [`Outcome::InDoubt`] if the action was sent and its answer is missing. Never send an order twice.
//! 4. Send an order only on the connections that it lists. If one of them has ended, the order has failed;
//!    one of a Sentinel that only votes or is only told is left out.
//! 5. Have at most one probe in flight per connection. [`Effect::Probe`] on a busy connection sends nothing,
//!    but may dial a second connection. [`Reply::sent`] is the moment before the command was sent, never the
//!    moment of its reply.
//! 6. Send [`Event::Closed`] once per connection that had answered, with its number; numbers are not reused.
//! 7. Each [`Effect::WakeAt`] replaces the one before: one timer per group. An early or late
//!    [`Event::Tick`] does no harm but delay.
//! 8. Publish each [`Record`] beside the plan and retry until it is stored; a newer record of the same shard
//!    replaces an older one. Neither [`Effect::Publish`] nor [`Effect::Report`] may delay an action.

mod address;
mod event;
mod in_flight;
mod judge;
mod member_state;
mod pace;
mod rate;
mod record;
mod refusals;
mod round;
mod sentinels;
mod stored_record;
mod watchdog;

pub use event::{
    Answer, Changed, Decided, Effect, Event, Failed, Member, Moment, Order, Outcome, Record, Reply, Report,
    Request, ToName, Watch,
};
pub use stored_record::StoredRecord;

/// The guard's own view of a group, which comes with every decision.
pub use crate::guard::Picture;

use crate::contract::{Action, Decision, FailureKind, Group as Wanted, Observation, Switchover, Verdict};
use crate::policy::PolicyChain;
use in_flight::InFlight;
use member_state::MemberState;
use rate::Rate;
use record::ShardMemory;
use refusals::Refusals;
use round::ProbeRound;
use std::collections::BTreeMap;
use std::sync::Arc;
use watchdog::Watchdog;

/// What a group starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The desired state of the group, until [`Event::Wanted`] replaces it.
    pub wanted: Wanted,
    /// The policy's parameters, as JSON text.
    pub parameters: String,
    /// Between two rounds of a healthy group, in microseconds; up to four times that while nothing is
    /// written, and longer if many groups share the thread ([`Group::set_groups_on_thread`]).
    pub interval_us: u64,
    /// The records that an earlier operator published, at most one per shard.
    pub records: Vec<Record>,
}

/// The state of one group.
pub struct Group {
    settings: Settings,
    /// Boxed: a node of the tree reserves room for eleven values.
    members: BTreeMap<String, Box<MemberState>>,
    round: ProbeRound,
    in_flight: InFlight,
    may_act: bool,
    silent_groups_permille: u16,
    switchover: Option<(Option<String>, Moment)>,
    /// Sorted by index; one in a group of one master.
    shards: Vec<ShardMemory>,
    refusals: Refusals,
    rate: Rate,
    watchdog: Watchdog,
    last: Option<Arc<Decision>>,
    /// The last decision that was more than another attempt of what was refused.
    last_shown: Option<Arc<Decision>>,
    /// How many groups share the thread, and where in the interval this group starts its rounds.
    groups: u64,
    offset_us: u64,
    /// Fingerprint per member of the last round, and until when the last decision stands if none changes.
    fingerprint: Vec<u64>,
    unchanged_until: Moment,
}

impl Group {
    /// A group without members; [`Event::Members`] brings them.
    pub fn new(settings: Settings, now: Moment) -> Self {
        let mut records = settings.records.clone();
        let shards = 0..settings.wanted.cluster.as_ref().map_or(1, |cluster| cluster.shards);
        let shards = shards.map(|index| {
            let record =
                records.iter().position(|record| record.shard == index).map(|at| records.swap_remove(at));
            ShardMemory::new(index, record, now)
        });
        let shards = shards.collect();
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
            shards,
            refusals: Refusals::default(),
            rate: Rate::default(),
            watchdog: Watchdog::default(),
            last: None,
            last_shown: None,
            groups: 1,
            offset_us,
            fingerprint: Vec::new(),
            unchanged_until: now,
        }
    }

    /// The loop: applies one event, and returns the effects that the driver must apply, in order.
    pub fn on(&mut self, now: Moment, event: Event, policies: &PolicyChain) -> Vec<Effect> {
        let mut effects = Vec::new();
        let states: Vec<_> = self.members.values().map(|member| member.state()).collect();
        self.apply_event(now, event, &mut effects);
        self.report_links(&states, &mut effects);
        self.start_round(now, &mut effects);
        self.follow_positions(now, &mut effects);
        if self.round.is_complete(now, &self.members)
            && !self.in_flight.is_running(now)
            && !self.is_unchanged(now)
        {
            let observation = self.observation(now);
            let (last, watchdog) = (self.last_shown.as_deref(), &mut self.watchdog);
            match judge::judge(now, policies, observation, last, watchdog, &mut effects) {
                Some(decided) => self.on_decision(now, decided, &mut effects),
                None => self.round.finish(now, NO_DECISION_RETRY_US),
            }
        }
        effects.push(Effect::WakeAt(self.wake(now)));
        effects
    }

    /// True if the group is healthy and this round shows what the last decision was made from: no policy is
    /// asked until that decision's own time is over.
    fn is_unchanged(&mut self, now: Moment) -> bool {
        let fingerprint: Vec<u64> = self.members.values().map(|member| member.fingerprint()).collect();
        let is_healthy = self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Healthy);
        let is_unchanged = is_healthy
            && now < self.unchanged_until
            && fingerprint == self.fingerprint
            && self.in_flight.is_empty();
        self.fingerprint = fingerprint;
        if is_unchanged {
            self.round.finish(now, self.rest_us(now));
        }
        is_unchanged
    }

    /// The Observation as of `now`.
    pub fn observation(&self, now: Moment) -> Observation {
        Observation {
            group: self.settings.wanted.clone(),
            instances: self
                .members
                .values()
                .filter(|member| member.is_observed())
                .map(|member| member.instance(now))
                .collect(),
            shards: self.shards.iter().map(|shard| shard.shard(now)).collect(),
            switchover: self.switchover.as_ref().map(|(target, at)| Switchover {
                shard: 0,
                target: target.clone(),
                age_us: at.age_us(now),
            }),
            in_doubt: self.in_flight.in_doubt(now),
            refused: self.refusals.observed(now),
            silent_groups_permille: self.silent_groups_permille,
            authority: self.may_act,
            parameters: self.settings.parameters.clone(),
            extras: Vec::new(),
        }
    }

    /// Publishes a replicated position of the stream every few seconds, with the replicas that reached it.
    fn follow_positions(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let every_us = self.position_every_us();
        for shard in &mut self.shards {
            if shard.follow_position(now, every_us, &self.members) && self.may_act {
                effects.extend(shard.record(now).map(Effect::Publish));
            }
        }
    }

    fn apply_event(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Policy => self.start_round_now(now),
            Event::Heard => self.round.hear(now),
            Event::Members(members) => self.set_members(now, members),
            Event::Reply(reply) => self.apply_reply(now, reply, effects),
            Event::Closed { member, link } => {
                if let Some(state) = self.members.get_mut(&member) {
                    state.close(now, link);
                    // Dialled at once: a refusal starts a round with replies that are later than the death.
                    effects.push(Effect::Probe { member });
                    self.round.start_soon(now);
                }
            }
            Event::Finished { order, outcome } => self.on_action_finished(now, order, outcome, effects),
            Event::Authority { may_act, silent_groups_permille } => {
                (self.may_act, self.silent_groups_permille) = (may_act, silent_groups_permille);
                self.start_round_now(now);
            }
            Event::Records(records) => self.adopt_records(now, records),
            Event::Request(Request::Switchover(target)) => {
                self.switchover = Some((target, now));
                self.start_round_now(now);
            }
            Event::Wanted { wanted, parameters } => {
                (self.settings.wanted, self.settings.parameters) = (*wanted, parameters);
                self.start_round_now(now);
            }
        }
    }

    /// Takes what another operator published. Its records count while this one may not act, and later only if
    /// they are of a later change of master: the epoch grows with each one.
    fn adopt_records(&mut self, now: Moment, records: Vec<Record>) {
        for record in records {
            let memory = self.shards.iter_mut().find(|memory| memory.index() == record.shard);
            let Some(memory) = memory else { continue };
            let is_later = memory.epoch() < Some(record.published.epoch);
            if is_later || (!self.may_act && memory.epoch() == Some(record.published.epoch)) {
                memory.adopt(now, record);
            }
            if is_later {
                self.unchanged_until = now;
            }
        }
    }

    /// What is known of a member stays. The process of a former Pod takes it along when a Pod that came later
    /// gets its name.
    fn set_members(&mut self, now: Moment, members: Vec<Member>) {
        let mut before = std::mem::take(&mut self.members);
        let (former, present): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.is_former);
        for member in former.into_iter().chain(present) {
            let id = member.id.clone();
            let known = place(&before, &member).and_then(|id| before.remove(&id));
            let state = match known {
                Some(known) => known.with_identity(member),
                None => MemberState::new(member, now),
            };
            self.members.insert(id, Box::new(state));
        }
        self.start_round_now(now);
    }

    /// Starts a round now and asks the policy afterwards, also if nothing has changed.
    fn start_round_now(&mut self, now: Moment) {
        self.unchanged_until = now;
        self.round.start_now(now);
    }

    fn apply_reply(&mut self, now: Moment, reply: Reply, effects: &mut Vec<Effect>) {
        let member = reply.member.clone();
        let Some(state) = self.members.get_mut(&member) else { return };
        let (before, sent) = (state.state(), reply.sent);
        // A failed probe shows no effect of an action, unless that its process is gone.
        let shows_effects = match &reply.answer {
            Ok(_) => true,
            Err(failed) => failed.kind == FailureKind::Refused,
        };
        state.apply_reply(now, reply);
        let settled = if shows_effects { self.in_flight.settle_lost(&member, sent) } else { Vec::new() };
        let (is_master, run_id) = (state.answers_as_master(), state.run_id().map(str::to_owned));
        if self.round.on_reply(now, &member, sent, before, state.state()) {
            state.probing = Some(now);
            effects.push(Effect::Probe { member: member.clone() });
        }
        // Of what a process did that has ended, the next one of its name says nothing.
        let is_same_process = |action: &Action| {
            let mut processes = action.expectations().into_iter();
            processes.any(|(id, expect)| id == member && Some(&expect.run_id) == run_id.as_ref())
        };
        for action in settled.iter().filter(|action| !is_master && is_same_process(action)) {
            self.take_back(now, action, effects);
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

/// The id under which a member was known: its own, or that of the Pod whose former process it is.
fn place(before: &BTreeMap<String, Box<MemberState>>, member: &Member) -> Option<String> {
    let uid = |member: &Member| member.pod.as_ref().map(|pod| pod.uid.clone());
    let is_it = |known: &Member| known.id == member.id || member.is_former && uid(known) == uid(member);
    before.values().map(|state| &state.identity).find(|known| is_it(known)).map(|known| known.id.clone())
}

/// No policy gave a usable decision: ask again soon, with a newer Observation.
const NO_DECISION_RETRY_US: u64 = 100_000;
