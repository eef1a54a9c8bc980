//! Duration of each phase of a change of master, computed from the reports of a group. Pure: all moments come
//! from the reports, and the moment of a fault from the process that caused it. Log, metrics and demo only
//! show the result.
//!
//! ```text
//! fault --detect--> first sign --decide--> promotion sent --promote--> confirmed --repoint--> all follow
//! ```
//!
//! A change begins when its promotion is sent and ends with the first decision after it that wants no further
//! action.

use crate::contract::{Action, Evidence, Instance, LinkState, Succession, Verdict};
use crate::group::{Decided, Moment, Outcome, Report};
use std::collections::BTreeMap;

/// Follows the reports of one group.
#[derive(Default)]
pub struct Timeline {
    fault: Option<Moment>,
    /// Since when a member is lost: its connection left [`LinkState::Answering`], and no later decision named
    /// it as an answering master.
    lost: BTreeMap<String, Moment>,
    /// The last sign of life of each member, as of the last decision.
    lived: Vec<(String, Moment)>,
    /// The known loss of the last decision.
    known_loss_bytes: Option<u64>,
    open: Option<Open>,
}

/// A completed change of master, with its phases in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterChange {
    /// The former master. None: there was none.
    pub source: Option<String>,
    /// The new master.
    pub target: String,
    /// The master in the end, where `target` only bridges.
    pub meant_for: String,
    /// The evidence of the promotion.
    pub evidence: Evidence,
    /// Whether the old master handed over.
    pub is_handover: bool,
    /// Bytes that the old master had and the new one has not. None: unknown.
    pub known_loss_bytes: Option<u64>,
    /// From the fault to its first sign. The fault of a silent master is its last sign of life; any other is
    /// known only to the process that caused it ([`Timeline::fault`]). None: unknown.
    pub detect_us: Option<u64>,
    /// From the first sign, the loss of the source's connection, to the sending of the promotion. None: the
    /// connection was never lost.
    pub decide_us: Option<u64>,
    /// From there to the confirmed promotion.
    pub promote_us: u64,
    /// From there until the last of the other replicas follows. None: there was none.
    pub repoint_us: Option<u64>,
    /// Write pause of a handover.
    pub pause_us: Option<u64>,
}

/// A phase of a change of master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// [`MasterChange::detect_us`].
    Detect,
    /// [`MasterChange::decide_us`].
    Decide,
    /// [`MasterChange::promote_us`].
    Promote,
    /// [`MasterChange::repoint_us`].
    Repoint,
}

struct Open {
    /// Its `promote_us` and `repoint_us` are not known yet.
    change: MasterChange,
    ordered: Moment,
    promoted: Option<Moment>,
}

impl Timeline {
    /// The caller has just caused a fault, so its moment is known.
    pub fn fault(&mut self, at: Moment) {
        self.fault = Some(at);
    }

    /// Processes a report. Returns a change of master that ended with it, or that is overdue.
    pub fn take(&mut self, now: Moment, report: &Report) -> Option<MasterChange> {
        let is_overdue = self
            .open
            .as_ref()
            .and_then(|open| open.promoted)
            .is_some_and(|promoted| promoted.age_us(now) >= REPOINT_MAX_US);
        let overdue = if is_overdue { self.end() } else { None };
        let ended = match report {
            Report::Link { member, state } => {
                if *state != LinkState::Answering {
                    self.lost.entry(member.clone()).or_insert(now);
                }
                None
            }
            Report::Decided(decided) => self.decided(now, decided),
            Report::Sent { action, .. } => self.sent(now, action),
            Report::Finished { action, outcome, .. } => {
                self.finished(now, action, outcome);
                None
            }
            Report::Fault { .. } | Report::Held | Report::Withheld { .. } => None,
        };
        overdue.or(ended)
    }

    fn decided(&mut self, now: Moment, decided: &Decided) -> Option<MasterChange> {
        let Decided { observation, decision, .. } = decided;
        self.lost.retain(|id, _| {
            let state = observation
                .instances
                .iter()
                .find(|instance| instance.id == *id)
                .map(|instance| instance.link.state);
            let is_master =
                decision.masters().any(|master| master == id) && state == Some(LinkState::Answering);
            state.is_some() && !is_master
        });
        let lived = |instance: &Instance| {
            Some((instance.id.clone(), Moment(now.0.checked_sub(instance.link.alive_age_us?)?)))
        };
        self.lived = observation.instances.iter().filter_map(lived).collect();
        self.known_loss_bytes = decision.loss().and_then(|loss| loss.bytes);
        let open = self.open.as_mut()?;
        if open.promoted.is_none() && decision.masters().any(|master| master == open.change.target) {
            // The promotion was in doubt, and happened.
            open.promote(now);
        }
        match (decision.verdict, open.promoted) {
            (Verdict::Act, _) | (Verdict::Wait | Verdict::Refuse, None) => None,
            (Verdict::Healthy | Verdict::Wait | Verdict::Refuse, Some(_)) => self.end(),
            (Verdict::Healthy, None) => {
                self.open = None;
                None
            }
        }
    }

    /// The start of another change ends the one before.
    fn sent(&mut self, now: Moment, action: &Action) -> Option<MasterChange> {
        let Succession { source, target, meant_for, evidence } = action.succession()?;
        let (source, is_handover) = (source.cloned(), matches!(action, Action::Handover(_)));
        let is_same = |open: &Open| {
            open.promoted.is_some() && open.change.target == *target && open.change.source == source
        };
        if !is_handover && self.open.as_ref().is_some_and(is_same) {
            // Sent again, because the first promotion was in doubt.
            return None;
        }
        let before = self.open.take();
        let fault = if is_handover { None } else { self.fault.take() };
        let first_sign =
            source.as_ref().and_then(|source| self.lost.get(source)).copied().filter(|_| !is_handover);
        // A second attempt continues the clock of the first.
        let retried = before.as_ref().filter(|open| open.promoted.is_none() && open.change.source == source);
        let ordered = retried.map_or(now, |open| open.ordered);
        let detect_us = retried.and_then(|open| open.change.detect_us).or_else(|| {
            let last_life = || {
                let source = source.as_ref().filter(|_| evidence == Evidence::Silent)?;
                self.lived.iter().find(|(id, _)| id == source).map(|(_, at)| *at)
            };
            let (began, sign) = fault.or_else(last_life).zip(first_sign)?;
            sign.0.checked_sub(began.0)
        });
        let change = MasterChange {
            target: target.clone(),
            meant_for: meant_for.clone(),
            evidence,
            is_handover,
            known_loss_bytes: self.known_loss_bytes,
            detect_us,
            decide_us: first_sign.map(|sign| sign.age_us(ordered)),
            promote_us: 0,
            repoint_us: None,
            pause_us: None,
            source,
        };
        self.open = Some(Open { change, ordered, promoted: None });
        before.filter(|open| open.promoted.is_some()).map(|open| open.change)
    }

    fn finished(&mut self, now: Moment, action: &Action, outcome: &Outcome) {
        let (Some(open), Outcome::Done { pause_us, .. }) = (&mut self.open, outcome) else { return };
        match action {
            Action::Promote(promote) if promote.id == open.change.target => open.promote(now),
            Action::Handover(handover) if handover.target == open.change.target => {
                open.change.pause_us = *pause_us;
                open.promote(now);
            }
            // A former master that rejoins is not part of the change.
            Action::Follow(follow)
                if follow.master == open.change.target && Some(&follow.id) != open.change.source.as_ref() =>
            {
                open.change.repoint_us = open.promoted.map(|promoted| promoted.age_us(now));
            }
            Action::Promote(_)
            | Action::Handover(_)
            | Action::Follow(_)
            | Action::Demote(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Sentinel(_)
            | Action::Cluster(_) => {}
        }
    }

    fn end(&mut self) -> Option<MasterChange> {
        self.open.take().map(|open| open.change)
    }
}

impl Open {
    fn promote(&mut self, now: Moment) {
        if self.promoted.is_none() {
            self.promoted = Some(now);
            self.change.promote_us = self.ordered.age_us(now);
        }
    }
}

impl MasterChange {
    /// The master was replaced without a handover.
    pub fn is_failover(&self) -> bool {
        self.source.is_some() && !self.is_handover
    }

    /// The phases in order, with their microseconds where known.
    pub fn phases_us(&self) -> [(Phase, Option<u64>); 4] {
        let Self { detect_us, decide_us, promote_us, repoint_us, .. } = self;
        [
            (Phase::Detect, *detect_us),
            (Phase::Decide, *decide_us),
            (Phase::Promote, Some(*promote_us)),
            (Phase::Repoint, *repoint_us),
        ]
    }
}

impl Phase {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Decide => "decide",
            Self::Promote => "promote",
            Self::Repoint => "repoint",
        }
    }
}

/// A replica that cannot be re-pointed for this long is a fault of its own: the change counts as completed.
const REPOINT_MAX_US: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::super::script::{
        act, decided, done, failover, follow, handover, in_doubt, lost, promote, sent, silent_for,
    };
    use super::*;

    /// The changes that end during a list of reports, each with its microsecond.
    fn run(timeline: &mut Timeline, script: &[(u64, Report)]) -> Vec<MasterChange> {
        script.iter().filter_map(|(at, report)| timeline.take(Moment(*at), report)).collect()
    }

    fn phases(change: &MasterChange) -> [Option<u64>; 4] {
        change.phases_us().map(|(_, us)| us)
    }

    #[test]
    fn a_failover_has_a_time_for_each_phase() {
        let mut timeline = Timeline::default();
        timeline.fault(Moment(1_000));
        let ended = run(&mut timeline, &failover(1_000));
        assert_eq!(ended.len(), 1);
        assert_eq!(phases(&ended[0]), [Some(1_700), Some(600), Some(300), Some(900)]);
        assert!(ended[0].is_failover());
        assert_eq!(
            (ended[0].source.as_deref(), ended[0].target.as_str(), ended[0].known_loss_bytes),
            (Some("cart-0000"), "cart-0001", Some(42))
        );
    }

    #[test]
    fn a_death_of_unknown_time_has_no_detection_phase() {
        let ended = run(&mut Timeline::default(), &failover(1_000));
        assert_eq!(phases(&ended[0]), [None, Some(600), Some(300), Some(900)]);
    }

    #[test]
    fn a_silent_master_is_detected_from_its_last_sign_of_life() {
        let mut plan = act(vec![promote(Evidence::Silent)]);
        silent_for(&mut plan, 1_000_000);
        let script = [
            (1_250_000, lost("cart-0000")),
            (2_000_000, plan),
            (2_000_000, sent(promote(Evidence::Silent))),
            (2_000_400, done(promote(Evidence::Silent))),
            (2_001_000, decided(Verdict::Healthy, "healthy", "cart-0001", vec![])),
        ];
        let ended = run(&mut Timeline::default(), &script);
        assert_eq!(phases(&ended[0]), [Some(250_000), Some(750_000), Some(400), None]);
    }

    #[test]
    fn a_promotion_that_is_sent_once_more_is_one_change() {
        let sent = || sent(promote(Evidence::Dead));
        let done = || done(promote(Evidence::Dead));
        let healthy = decided(Verdict::Healthy, "healthy", "cart-0001", vec![]);
        let script =
            [(10, lost("cart-0000")), (20, sent()), (30, done()), (40, sent()), (50, done()), (60, healthy)];
        let ended = run(&mut Timeline::default(), &script);
        assert_eq!(ended.iter().map(phases).collect::<Vec<_>>(), [[None, Some(10), Some(10), None]]);
    }

    #[test]
    fn a_plan_that_is_not_sent_is_no_failover() {
        let script = [
            (10, lost("cart-0000")),
            (20, act(vec![promote(Evidence::Dead)])),
            (30, decided(Verdict::Healthy, "healthy", "cart-0000", vec![])),
        ];
        assert_eq!(run(&mut Timeline::default(), &script), []);
    }

    #[test]
    fn a_lost_link_that_came_back_as_master_is_no_sign_of_the_next_failover() {
        let mut timeline = Timeline::default();
        run(
            &mut timeline,
            &[(10, lost("cart-0000")), (20, decided(Verdict::Healthy, "healthy", "cart-0000", vec![]))],
        );
        let ended = run(&mut timeline, &failover(1_000_000));
        assert_eq!(ended[0].decide_us, Some(600));
    }

    #[test]
    fn a_promotion_in_doubt_counts_until_it_is_observed() {
        let script = [
            (100, lost("cart-0000")),
            (200, sent(promote(Evidence::Dead))),
            (1_200, in_doubt(promote(Evidence::Dead))),
            (1_500, decided(Verdict::Wait, "replica-missing", "cart-0001", vec![])),
        ];
        let ended = run(&mut Timeline::default(), &script);
        assert_eq!(phases(&ended[0]), [None, Some(100), Some(1_300), None]);
    }

    #[test]
    fn a_second_attempt_counts_from_the_first_and_a_failed_one_alone_is_nothing() {
        let mut script = vec![
            (100, lost("cart-0000")),
            (200, sent(promote(Evidence::Dead))),
            (300, in_doubt(promote(Evidence::Dead))),
        ];
        let given_up = (400, decided(Verdict::Healthy, "healthy", "cart-0000", vec![]));
        assert_eq!(run(&mut Timeline::default(), &[&script[..], &[given_up]].concat()), []);
        script.extend([(400, sent(promote(Evidence::Dead))), (500, done(promote(Evidence::Dead)))]);
        script.push((600, decided(Verdict::Healthy, "healthy", "cart-0001", vec![])));
        assert_eq!(phases(&run(&mut Timeline::default(), &script)[0]), [None, Some(100), Some(300), None]);
    }

    #[test]
    fn a_handover_has_its_pause_and_no_detection() {
        let script = [
            (100, sent(handover())),
            (3_100, super::super::script::handed_over(2_500)),
            (3_200, act(vec![follow("cart-0002")])),
            (3_200, sent(follow("cart-0002"))),
            (3_600, done(follow("cart-0002"))),
            (3_700, decided(Verdict::Healthy, "healthy", "cart-0001", vec![])),
        ];
        let ended = run(&mut Timeline::default(), &script);
        assert!(ended[0].is_handover && !ended[0].is_failover());
        assert_eq!(
            (phases(&ended[0]), ended[0].pause_us),
            ([None, None, Some(3_000), Some(500)], Some(2_500))
        );
    }

    #[test]
    fn a_failover_whose_replicas_never_follow_ends_after_ten_seconds() {
        let script = [
            (200, sent(promote(Evidence::Dead))),
            (300, done(promote(Evidence::Dead))),
            (400, act(vec![follow("cart-0002")])),
            (10_000_299, act(vec![follow("cart-0002")])),
        ];
        let mut timeline = Timeline::default();
        assert_eq!(run(&mut timeline, &script), []);
        assert_eq!(run(&mut timeline, &[(10_000_300, act(vec![follow("cart-0002")]))]).len(), 1);
    }
}
