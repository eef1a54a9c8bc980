//! Actions in flight and in doubt, and what a decision sends and publishes. Must not choose an action.
//!
//! # Doubt
//!
//! An action is open from its sending to one of three ends:
//!
//! 1. `Done`: the server confirmed it. The change of master is recorded and published.
//! 2. `Failed`: the target is unchanged. The refusal stays in the Observations of the next minute. `NotSent`:
//!    the same, but nothing was refused. A master that was published beside the sending is taken back.
//! 3. `InDoubt`: it was sent and its answer is lost. It may have been executed, or may still be: the command
//!    can lie in the receive buffer of a hung server, and run when that server wakes up.
//!
//! So an action in doubt is never "failed", is never cancelled and is never sent again by itself. It stays in
//! each Observation (`in_doubt`) until the target answers a probe that was sent after the action. That reply
//! shows the target's state with or without the action, and the policy decides from that state. A reply to an
//! earlier probe settles nothing: the server may have written it before it read the action.
//!
//! Bounds on a late execution: an action is sent on the connection that reported its precondition, and a
//! server executes the commands of one connection in order, so a probe on the same connection is answered
//! after the action. A probe on a second connection, opened beside a hung one, can be answered first; the
//! round after that shows the late action's effect, and is decided on like any other change.

use super::Group;
use super::address::among_servers;
use super::event::{Changed, Decided, Effect, Moment, Order, Outcome, Report};
use super::member_state::MemberState;
use super::record::ShardMemory;
use super::sentinels;
use crate::contract::{
    Action, Decision, Evidence, Expectation, InDoubt, RequestState, RoleChange, ShardVerdict, Succession,
    Verdict,
};
use failover_core::mutant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The actions that were sent and are not settled.
#[derive(Default)]
pub struct InFlight {
    next: u64,
    open: BTreeMap<u64, OpenAction>,
}

struct OpenAction {
    action: Action,
    sent: Moment,
    /// Ended in doubt: no answer can arrive any more.
    is_lost: bool,
}

impl InFlight {
    /// True while an action was sent so recently that its answer is awaited before the next decision.
    pub fn is_running(&self, now: Moment) -> bool {
        self.open.values().any(|open| !open.is_lost && open.sent.age_us(now) < patience_us(&open.action))
    }

    /// When [`Self::is_running`] ends without an answer.
    pub fn patience_ends(&self, now: Moment) -> Option<Moment> {
        self.open
            .values()
            .filter(|open| !open.is_lost)
            .map(|open| open.sent.after_us(patience_us(&open.action)))
            .filter(|end| *end > now)
            .min()
    }

    /// True if no action is in flight or in doubt.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The actions that may have happened, or may still happen.
    pub fn in_doubt(&self, now: Moment) -> Vec<InDoubt> {
        self.open
            .values()
            .map(|open| InDoubt { action: open.action.clone(), age_us: open.sent.age_us(now) })
            .collect()
    }

    /// A member answered a probe that was sent at `probe_sent`: its reply shows the effect of lost actions
    /// that were sent before, so they are in doubt no more. Returns them.
    pub fn settle_lost(&mut self, member: &str, probe_sent: Moment) -> Vec<Action> {
        let is_after = |sent: Moment| probe_sent > sent || mutant::is_left_out("act", "asked-after");
        let is_settled =
            |open: &OpenAction| open.is_lost && open.action.target() == member && is_after(open.sent);
        self.open.extract_if(.., |_, open| is_settled(open)).map(|(_, open)| open.action).collect()
    }

    fn is_busy(&self, id: &str) -> bool {
        self.open.values().any(|open| !open.is_lost && open.action.target() == id)
    }
}

impl Group {
    /// Publishes the master that a decision names, reports the decision, and sends its first stage.
    pub(super) fn on_decision(&mut self, now: Moment, decided: Decided, effects: &mut Vec<Effect>) {
        let decision = Arc::clone(&decided.decision);
        let (only_repeats, picture) = (decided.only_repeats(), Arc::clone(&decided.picture));
        self.round.finish(now, decision.next_look_us.min(self.next_us(now)));
        self.unchanged_until = now.after_us(self.unchanged_us(&decision));
        self.settle_request(&decision);
        for verdict in &decision.shards {
            self.publish_master(now, verdict, effects);
        }
        effects.push(Effect::Report(Report::Decided(Box::new(decided))));
        if decision.verdict == Verdict::Act && self.may_act && !self.settings.wanted.paused {
            self.watchdog.note_sent(now, &decision, &picture);
            for action in decision.stages.first().map(|stage| stage.actions.clone()).unwrap_or_default() {
                self.send(now, action, effects);
            }
        }
        if !only_repeats {
            self.last_shown = Some(Arc::clone(&decision));
        }
        self.last = Some(decision);
    }

    fn send(&mut self, now: Moment, action: Action, effects: &mut Vec<Effect>) {
        if self.in_flight.is_busy(action.target()) && !mutant::is_left_out("act", "busy") {
            return;
        }
        let number = self.in_flight.next;
        let is_too_soon = self.refusals.is_too_soon(now, &action) && !mutant::is_left_out("act", "pace");
        let order = if is_too_soon {
            Err("the same process refused it less than a second ago".into())
        } else {
            self.rate.check(now, &action).and_then(|()| self.order(number, &action))
        };
        match order {
            Ok(order) => {
                self.in_flight.next += 1;
                self.in_flight
                    .open
                    .insert(number, OpenAction { action: action.clone(), sent: now, is_lost: false });
                self.rate.note_sent(now, &action, self.settings.wanted.hang_limit_ms);
                let is_repeat = self.refusals.note_sent(now, &action);
                // Published beside the promotion, to save clients a round trip: a client that comes too early
                // gets READONLY. What was refused before, or needs votes first, is published when it is done.
                if let (Action::Promote(promote), false) = (&action, is_repeat)
                    && !sentinels::needs_votes(promote.how)
                {
                    let shard = self.shard_of(&promote.id);
                    self.publish(now, shard, &promote.id, effects, ShardMemory::publish_ahead);
                }
                effects.push(Effect::Report(Report::Sent { order: number, action, is_repeat }));
                effects.push(Effect::Act(order));
            }
            Err(why) => {
                let is_repeat = self.refusals.note_withheld(&action, &why);
                effects.push(Effect::Report(Report::Withheld { action, why, is_repeat }));
            }
        }
    }

    fn order(&self, number: u64, action: &Action) -> Result<Order, String> {
        let place = |id: &str| {
            self.members
                .get(id)
                .map(|member| among_servers(self.servers(), member))
                .ok_or_else(|| format!("{id} is not a member"))
        };
        let expectations = action.expectations();
        let links =
            expectations.into_iter().map(|(id, expect)| self.link(id, expect)).collect::<Result<_, _>>()?;
        let place = match action.role_change() {
            Some(RoleChange::Follow { master, .. }) => Some(place(master)?),
            Some(RoleChange::Handover { target, .. }) => Some(place(target)?),
            Some(RoleChange::Promote { .. } | RoleChange::Demote { .. }) | None => None,
        };
        let watch = self.watch(action)?.map(Box::new);
        Ok(Order { number, action: action.clone(), links, place, watch })
    }

    /// The connection that reported the expected run id. Sending on it is the only atomic check that Redis
    /// offers: a restarted process has no such connection.
    fn link(&self, id: &str, expect: &Expectation) -> Result<(String, u64), String> {
        let member = self.members.get(id).ok_or_else(|| format!("{id} is not a member"))?;
        let link = member.link.ok_or_else(|| format!("{id} has no connection"))?;
        if member.run_id() != Some(&expect.run_id) && !mutant::is_left_out("act", "run-id") {
            return Err(format!("{id} has another run id by now"));
        }
        Ok((id.to_owned(), link))
    }

    pub(super) fn on_action_finished(
        &mut self,
        now: Moment,
        order: u64,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.in_flight.open.get_mut(&order) else { return };
        let (action, sent) = (open.action.clone(), open.sent);
        match &outcome {
            Outcome::InDoubt(_) => open.is_lost = true,
            Outcome::Done { .. } | Outcome::Failed(_) | Outcome::NotSent(_) => {
                self.in_flight.open.remove(&order);
            }
        }
        let is_repeat = match &outcome {
            Outcome::Done { .. } => {
                self.refusals.note_done(&action);
                self.note_role_changes(now, &action);
                self.record_change(now, &action, effects);
                false
            }
            Outcome::Failed(why) => {
                self.take_back(now, &action, effects);
                self.refusals.note(now, action.clone(), why.clone())
            }
            Outcome::NotSent(_) => {
                self.take_back(now, &action, effects);
                false
            }
            Outcome::InDoubt(_) => false,
        };
        self.start_round_now(now);
        self.round.on_action_ended(now, action.target());
        if let Action::Handover(handover) = &action {
            self.round.on_action_ended(now, &handover.source);
        }
        let elapsed_us = sent.age_us(now);
        effects.push(Effect::Report(Report::Finished { action, outcome, elapsed_us, is_repeat }));
    }

    /// What its members said before the action is no word about their roles.
    fn note_role_changes(&mut self, now: Moment, action: &Action) {
        let changed: [Option<&str>; 2] = match action.role_change() {
            Some(RoleChange::Handover { source, target }) => [Some(source), Some(target)],
            Some(RoleChange::Promote { id } | RoleChange::Demote { id } | RoleChange::Follow { id, .. }) => {
                [Some(id), None]
            }
            None => [None, None],
        };
        for id in changed.into_iter().flatten() {
            if let Some(member) = self.members.get_mut(id) {
                member.note_role_change(now);
            }
        }
    }

    fn record_change(&mut self, now: Moment, action: &Action, effects: &mut Vec<Effect>) {
        let Some(Succession { source, target, meant_for, evidence }) = action.succession() else { return };
        let shard = self.shard_of(target);
        let changed = Changed {
            at: now,
            age_us: 0,
            source: source.cloned(),
            target: target.clone(),
            meant_for: meant_for.clone(),
            evidence,
        };
        if let Some(memory) = self.shards.iter_mut().find(|memory| memory.index() == shard) {
            memory.note_change(changed);
        }
        let is_asked_for = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == target);
        if evidence == Evidence::Requested
            && self.switchover.as_ref().is_some_and(|(wanted, _)| is_asked_for(wanted))
        {
            self.switchover = None;
        }
        self.publish(now, shard, target, effects, ShardMemory::publish);
    }

    /// Publishes the master that a decision names, if that member reports role master itself.
    fn publish_master(&mut self, now: Moment, verdict: &ShardVerdict, effects: &mut Vec<Effect>) {
        let Some(memory) = self.shards.iter_mut().find(|memory| memory.index() == verdict.index) else {
            return;
        };
        memory.note_master(now, verdict.master.is_some());
        let Some(id) = &verdict.master else { return };
        let Some(master) = self.members.get(id).filter(|member| member.answers_as_master()) else { return };
        if !memory.confirm(now, id, master) {
            self.publish(now, verdict.index, id, effects, ShardMemory::publish);
        }
    }

    /// A promotion was not carried out.
    pub(super) fn take_back(&mut self, now: Moment, action: &Action, effects: &mut Vec<Effect>) {
        if let Action::Promote(promote) = action {
            let shard = self.shard_of(&promote.id);
            self.publish(now, shard, &promote.id, effects, |memory, _, _, _| memory.take_back());
        }
    }

    fn publish(
        &mut self,
        now: Moment,
        shard: u16,
        id: &str,
        effects: &mut Vec<Effect>,
        publish: fn(&mut ShardMemory, Moment, &str, &MemberState) -> bool,
    ) {
        let memory = self.shards.iter_mut().find(|memory| memory.index() == shard && self.may_act);
        let Some((memory, master)) = memory.zip(self.members.get(id)) else { return };
        if publish(memory, now, id, master) {
            effects.extend(memory.record(now).map(Effect::Publish));
        }
    }

    /// The shard that a member is assigned to; the first one if it has no assignment.
    fn shard_of(&self, id: &str) -> u16 {
        self.members.get(id).and_then(|member| member.identity.shard).unwrap_or(0)
    }

    /// Drops a request that the decision answers as done or refused, so that it is answered once.
    fn settle_request(&mut self, decision: &Decision) {
        match decision.request.as_ref().map(|answer| answer.state) {
            Some(RequestState::Done | RequestState::Refused) => self.switchover = None,
            Some(RequestState::Waiting) | None => {}
        }
    }
}

/// How long a group waits for an action's answer before it decides without it.
fn patience_us(action: &Action) -> u64 {
    match action {
        // A handover ends within its own pause; a handover that must be undone takes as long again.
        Action::Handover(handover) => u64::from(handover.pause_max_ms) * 2000,
        // What a Sentinel does not answer before it is on its disk.
        Action::Promote(promote) if sentinels::needs_votes(promote.how) => 300_000,
        Action::Sentinel(_) => 300_000,
        Action::Promote(_)
        | Action::Follow(_)
        | Action::Demote(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Cluster(_) => 50_000,
    }
}
