//! The way of a group's reports to log, metrics and status. Carries; reads nothing but whether a report is a
//! decision.
//!
//! Reports are events: a reader that does not keep up misses some, since a failover never waits for a
//! terminal. The newest decision is a state: it has a place of its own, where nothing is lost.

use crate::contract::Decision;
use crate::group::{Moment, Picture, Report};
use futures_channel::mpsc::{Receiver, Sender, TryRecvError, channel};
use futures_util::StreamExt;
use std::sync::{Arc, Mutex, PoisonError};

/// The reports of one group, in order, and its newest decision.
#[derive(Debug)]
pub struct Reports {
    queue: Receiver<(Moment, Report)>,
    newest: Newest,
}

/// What a group decided last, without what it was decided from.
#[derive(Clone, Debug)]
pub struct NewestDecision {
    /// When.
    pub at: Moment,
    /// What.
    pub decision: Arc<Decision>,
    /// SHA-256 of the policy that decided.
    pub digest: String,
    /// What the guard itself saw.
    pub picture: Arc<Picture>,
    /// A switchover was requested, and has not ended.
    pub is_switching: bool,
}

/// Where reports come from.
pub(super) struct Reporting {
    queue: Sender<(Moment, Report)>,
    newest: Newest,
}

/// Not a `watch` channel: no reader waits on it, and that takes half a KiB a group.
type Newest = Arc<Mutex<Option<NewestDecision>>>;

pub(super) fn reports() -> (Reporting, Reports) {
    let (sender, receiver) = channel(REPORTS_MAX);
    let newest = Newest::default();
    (Reporting { queue: sender, newest: Arc::clone(&newest) }, Reports { queue: receiver, newest })
}

impl Reporting {
    /// Never waits. The newest decision is stored before its report is queued: when the queue is full, its
    /// reader has reports to receive, and finds the decision when it has.
    pub(super) fn send(&mut self, now: Moment, report: Report) {
        if let Report::Decided(decided) = &report {
            let newest = NewestDecision {
                at: now,
                decision: Arc::clone(&decided.decision),
                digest: decided.digest.clone(),
                picture: Arc::clone(&decided.picture),
                is_switching: decided.observation.switchover.is_some(),
            };
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest);
        }
        drop(self.queue.try_send((now, report)));
    }
}

impl Reports {
    /// The next report. None: the group has ended.
    pub async fn recv(&mut self) -> Option<(Moment, Report)> {
        self.queue.next().await
    }

    /// The next report, without waiting.
    ///
    /// # Errors
    /// The queue is empty, or the group has ended.
    pub fn try_recv(&mut self) -> Result<(Moment, Report), TryRecvError> {
        self.queue.try_recv()
    }

    /// The newest decision, whether or not its own report was dropped. To be read after each report. None: it
    /// was read before.
    pub fn newest_decision(&self) -> Option<NewestDecision> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reports of some seconds; 40 MB at most.
const REPORTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Verdict;
    use crate::report::script;

    fn decided(reason: &str) -> Report {
        script::decided(Verdict::Wait, reason, "cart-0000", vec![])
    }

    #[test]
    fn the_newest_decision_is_there_although_its_report_was_dropped() {
        let (mut reporting, mut reports) = reports();
        for at in 0..10_000 {
            reporting.send(Moment(at), Report::Held);
        }
        reporting.send(Moment(10_000), decided("master-dead"));
        reporting.send(Moment(10_001), Report::Held);
        let mut last = None;
        while let Ok((_, report)) = reports.try_recv() {
            assert!(matches!(report, Report::Held), "the queue was full");
            last = reports.newest_decision().or(last);
        }
        let last = last.unwrap();
        assert_eq!((last.at, last.decision.reason.as_str()), (Moment(10_000), "master-dead"));
    }

    #[test]
    fn of_several_decisions_the_newest_is_read_and_only_once() {
        let (mut reporting, reports) = reports();
        assert!(reports.newest_decision().is_none());
        reporting.send(Moment(1), decided("master-dead"));
        reporting.send(Moment(2), decided("healthy"));
        assert_eq!(reports.newest_decision().unwrap().decision.reason, "healthy");
        assert!(reports.newest_decision().is_none());
    }
}
