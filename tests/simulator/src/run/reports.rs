//! What the operators of a run report, and the records that they publish.

use super::{Later, Run};
use crate::operator::Stored;
use redis_operator::group::Report;
use redis_operator::policy::PolicyFault;
use std::sync::PoisonError;

impl Run<'_> {
    /// Takes in what the operators reported.
    pub(super) fn read_reports(&mut self) {
        let leader = self.leader();
        let mut reports = vec![];
        for operator in &mut self.operators {
            while let Ok((at, report)) = operator.reports.try_recv() {
                reports.push((operator.number, at, report));
            }
        }
        for (number, at, report) in reports {
            let operator = self.operators.iter_mut().find(|operator| operator.number == number);
            if let (Some(operator), Report::Link { member, state }) = (operator, &report) {
                operator.see_link(&self.world, member, *state);
            }
            let operator = self.operators.iter().find(|operator| operator.number == number);
            let server_of = |id: &str| operator.and_then(|operator| operator.server_of(&self.world, id));
            self.checks.on_report(number, at.0, &report, server_of);
            self.actions += u64::from(matches!(report, Report::Sent { .. }));
            if let Report::Decided(decided) = &report {
                self.outcome.decisions += 1;
                *self.outcome.reasons.entry(decided.decision.reason.clone()).or_default() += 1;
                if Some(number) == leader {
                    self.last = Some((decided.decision.verdict, decided.decision.reason.clone()));
                }
            }
            if let Report::Fault { fault: PolicyFault::Breach(breaches), .. } = &report {
                for check in breaches.iter().filter_map(|breach| breach.split(':').next()) {
                    *self.outcome.refusals.entry(check.to_owned()).or_default() += 1;
                }
            }
            if self.is_told {
                let text = match &report {
                    Report::Decided(decided) if decided.is_news => {
                        let decision = &decided.decision;
                        Some(format!("{:?} {}: {}", decision.verdict, decision.reason, decision.explanation))
                    }
                    Report::Decided(_) | Report::Link { .. } => None,
                    Report::Fault { fault, .. } => Some(format!("fault {fault}")),
                    other => Some(format!("{other:?}")),
                };
                if let Some(text) = text {
                    let line = format!("{:>10.3} ms  operator {number}: {text}", at.0 as f64 / 1000.0);
                    self.outcome.timeline.push(line);
                }
            }
        }
    }

    /// Records reach the storage after a while, in their order.
    pub(super) fn read_records(&mut self) {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner));
        for (number, made_us, record) in sent {
            if self.operators.iter().any(|operator| operator.number == number) {
                let stored = Stored { record, made_us };
                self.later.push((made_us + self.record_delay_us, Later::Store(Box::new(stored))));
            }
        }
    }
}
