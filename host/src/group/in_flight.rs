//! The stage under way and the actions in doubt.

use super::Group;
use super::event::{Changed, Decided, Effect, Moment, Order, Outcome, Record, Report};
use crate::contract::{Action, Decision, Evidence, Expectation, InDoubt, Published, Verdict};
use failover_core::facts::Speaks;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was sent and is not settled.
#[derive(Default)]
pub struct InFlight {
    next: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    action: Action,
    sent: Moment,
    /// No answer will come any more.
    is_lost: bool,
}

impl InFlight {
    /// Actions are on their way and have had little time: their answers come first.
    pub fn is_running(&self, now: Moment) -> bool {
        self.open.values().any(|open| !open.is_lost && open.sent.age_us(now) < patience_us(&open.action))
    }

    /// When [`Self::is_running`] ends by itself.
    pub fn patience_ends(&self, now: Moment) -> Option<Moment> {
        self.open
            .values()
            .filter(|open| !open.is_lost)
            .map(|open| open.sent.after_us(patience_us(&open.action)))
            .filter(|end| *end > now)
            .min()
    }

    /// Nothing is under way or in doubt.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What may have happened, or may still happen.
    pub fn in_doubt(&self, now: Moment) -> Vec<InDoubt> {
        self.open
            .values()
            .map(|open| InDoubt { action: open.action.clone(), age_us: open.sent.age_us(now) })
            .collect()
    }

    /// A member answered a question that was sent then: what was lost on the way to it before is settled, one
    /// way or the other.
    pub fn seen(&mut self, member: &str, asked: Moment) {
        self.open.retain(|_, open| !(open.is_lost && target(&open.action) == member && asked > open.sent));
    }

    fn is_busy(&self, id: &str) -> bool {
        self.open.values().any(|open| !open.is_lost && target(&open.action) == id)
    }
}

impl Group {
    /// Reports a decision, makes its truth known, carries out its first stage.
    pub(super) fn on_decision(&mut self, now: Moment, decided: Decided, effects: &mut Vec<Effect>) {
        let decision = Arc::clone(&decided.decision);
        self.round.decided(now, decision.next_look_us.min(self.next_us(now)));
        self.unchanged_until = now.after_us(self.unchanged_us(&decision));
        self.settle_request(&decision);
        if let Some(master) = &decision.master {
            self.publish_master(now, master, effects);
        }
        effects.push(Effect::Report(Report::Decided(Box::new(decided))));
        let is_held = self.is_held(now, &decision);
        if decision.verdict == Verdict::Act && self.may_act && !self.settings.wanted.paused && !is_held {
            for action in decision.stages.first().map(|stage| stage.actions.clone()).unwrap_or_default() {
                self.send(now, action, effects);
            }
        }
        self.last = Some(decision);
    }

    /// In somebody else's handover nobody is master for a round trip or two, and his links tell it in any
    /// order: that a master has abdicated is acted on when all looks of a while have said so.
    fn is_held(&mut self, now: Moment, decision: &Decision) -> bool {
        let promotes_for_abdication = |action: &Action| matches!(action, Action::Promote(promote) if promote.evidence == Evidence::Abdicated);
        if !decision.stages.first().is_some_and(|stage| stage.actions.iter().any(promotes_for_abdication)) {
            self.abdicated = None;
            return false;
        }
        let since = *self.abdicated.get_or_insert(now);
        let held_us = since.age_us(now);
        if held_us < ABDICATION_US {
            self.round.decided(now, (ABDICATION_US - held_us).min(self.settings.interval_us));
        }
        held_us < ABDICATION_US
    }

    fn send(&mut self, now: Moment, action: Action, effects: &mut Vec<Effect>) {
        if self.in_flight.is_busy(target(&action)) {
            return;
        }
        let number = self.in_flight.next;
        match self.order(number, &action) {
            Ok(order) => {
                self.in_flight.next += 1;
                self.in_flight
                    .open
                    .insert(number, Open { action: action.clone(), sent: now, is_lost: false });
                // An unpromoted replica only answers READONLY, so the new role goes out beside the promotion.
                if let Action::Promote(promote) = &action {
                    self.publish(now, &promote.id, effects);
                }
                effects.push(Effect::Report(Report::Sent { order: number, action }));
                effects.push(Effect::Act(order));
            }
            Err(why) => effects.push(Effect::Report(Report::Withheld { action, why })),
        }
    }

    fn order(&self, number: u64, action: &Action) -> Result<Order, String> {
        let link = |id: &str, expect: &Expectation| self.link(id, expect);
        let place = |id: &str| {
            self.members
                .get(id)
                .map(|member| member.identity.address.clone())
                .ok_or_else(|| format!("{id} is not a member"))
        };
        let (links, place) = match action {
            Action::Promote(promote) => (vec![link(&promote.id, &promote.expect)?], None),
            Action::Follow(follow) => (vec![link(&follow.id, &follow.expect)?], Some(place(&follow.master)?)),
            Action::Handover(handover) => (
                vec![
                    link(&handover.source, &handover.expect_source)?,
                    link(&handover.target, &handover.expect_target)?,
                ],
                Some(place(&handover.target)?),
            ),
            Action::Fence(fence) => (vec![link(&fence.id, &fence.expect)?], None),
            Action::Unfence(unfence) => (vec![link(&unfence.id, &unfence.expect)?], None),
            Action::KickClients(kick) => (vec![link(&kick.id, &kick.expect)?], None),
            Action::Configure(configure) => (vec![link(&configure.id, &configure.expect)?], None),
            Action::Command(command) => (vec![link(&command.id, &command.expect)?], None),
            Action::Restart(restart) => (vec![(restart.id.clone(), 0)], None),
        };
        Ok(Order { number, action: action.clone(), links, place })
    }

    /// The connection that reported what is expected, which is the only atomic check that Redis offers.
    fn link(&self, id: &str, expect: &Expectation) -> Result<(String, u64), String> {
        let member = self.members.get(id).ok_or_else(|| format!("{id} is not a member"))?;
        let link = member.link.ok_or_else(|| format!("{id} has no connection"))?;
        if member.run_id() != Some(&expect.run_id) {
            return Err(format!("{id} runs under another run id by now"));
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
            Outcome::Done { .. } | Outcome::Failed(_) => {
                self.in_flight.open.remove(&order);
            }
        }
        if let Outcome::Done { .. } = outcome {
            self.record_change(now, &action, effects);
        }
        self.demand(now);
        self.round.changed(now, target(&action));
        if let Action::Handover(handover) = &action {
            self.round.changed(now, &handover.source);
        }
        effects.push(Effect::Report(Report::Finished { action, outcome, elapsed_us: sent.age_us(now) }));
    }

    fn record_change(&mut self, now: Moment, action: &Action, effects: &mut Vec<Effect>) {
        let (source, target, meant_for, evidence) = match action {
            Action::Promote(promote) => {
                (promote.source.clone(), &promote.id, &promote.meant_for, promote.evidence)
            }
            Action::Handover(handover) => {
                (Some(handover.source.clone()), &handover.target, &handover.meant_for, Evidence::Requested)
            }
            Action::Follow(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Command(_) => return,
        };
        self.last_failover = Some(Changed {
            at: now,
            age_us: 0,
            source,
            target: target.clone(),
            meant_for: meant_for.clone(),
            evidence,
        });
        let is_asked_for = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == target);
        if evidence == Evidence::Requested
            && self.switchover.as_ref().is_some_and(|(wanted, _)| is_asked_for(wanted))
        {
            self.switchover = None;
        }
        self.publish(now, target, effects);
    }

    /// The master that a decision names, if it says so itself.
    fn publish_master(&mut self, now: Moment, master: &str, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(master).filter(|member| member.answers_as_master()) else {
            return;
        };
        let Some((published, at)) = &mut self.published else { return self.publish(now, master, effects) };
        let history = member
            .replication()
            .and_then(|facts| facts.history.map(|history| (history.replid.to_owned(), history.offset)));
        let is_same = published.master == master
            && member.run_id() == Some(&published.run_id)
            && history.as_ref().is_some_and(|(replid, _)| *replid == published.replid);
        match history {
            // Known to all but for its offset, which only losses are counted from.
            Some((_, offset)) if is_same => (published.offset, published.age_us, *at) = (offset, 0, now),
            Some(_) | None => self.publish(now, master, effects),
        }
    }

    fn publish(&mut self, now: Moment, master: &str, effects: &mut Vec<Effect>) {
        if !self.may_act {
            return;
        }
        let Some(member) = self.members.get(master) else { return };
        let Some((run_id, history)) = member.run_id().zip(
            member
                .replication()
                .filter(|facts| facts.role != Speaks::AsNeither)
                .and_then(|facts| facts.history.map(|history| (history.replid.to_owned(), history.offset))),
        ) else {
            return;
        };
        let before = self.published.as_ref().map(|(published, _)| published);
        let epoch = before.map_or(1, |before| before.epoch + u64::from(before.master != master));
        let published = Published {
            master: master.to_owned(),
            run_id: run_id.to_owned(),
            replid: history.0,
            offset: history.1,
            epoch,
            age_us: 0,
        };
        effects.push(Effect::Publish(Record {
            published: published.clone(),
            last_failover: self.last_failover.clone(),
        }));
        self.published = Some((published, now));
    }

    /// A request that cannot be done, or that is done, is answered once and not for ever.
    fn settle_request(&mut self, decision: &Decision) {
        let is_done = self
            .switchover
            .as_ref()
            .is_some_and(|(target, _)| target.is_some() && *target == decision.master);
        if decision.reason == SWITCHOVER_REFUSED || is_done {
            self.switchover = None;
        }
    }
}

/// Some thirty times what the demotion and the promotion of a handover take on a loopback.
const ABDICATION_US: u64 = 100_000;

/// The reason by which a policy says that a switchover cannot be done.
const SWITCHOVER_REFUSED: &str = "switchover-refused";

/// Whose state an action changes: the one to look at first when it is in doubt.
fn target(action: &Action) -> &str {
    match action {
        Action::Promote(promote) => &promote.id,
        Action::Follow(follow) => &follow.id,
        Action::Handover(handover) => &handover.target,
        Action::Fence(fence) => &fence.id,
        Action::Unfence(unfence) => &unfence.id,
        Action::KickClients(kick) => &kick.id,
        Action::Configure(configure) => &configure.id,
        Action::Restart(restart) => &restart.id,
        Action::Command(command) => &command.id,
    }
}

/// How long a group waits for answers before it looks again regardless.
fn patience_us(action: &Action) -> u64 {
    match action {
        // Bounded by its own pause, in which it does nothing but wait.
        Action::Handover(handover) => u64::from(handover.pause_max_ms) * 2000,
        Action::Promote(_)
        | Action::Follow(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Command(_) => 50_000,
    }
}
