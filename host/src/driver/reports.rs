//! The queue of a group's reports. Bounded; must not read a report.

use crate::group::{Moment, Report};
use futures_channel::mpsc::{Receiver, Sender, TryRecvError, channel};
use futures_util::StreamExt;

/// The reports of one group, in order.
#[derive(Debug)]
pub struct Reports(Receiver<(Moment, Report)>);

/// The sending end.
pub(super) struct Reporting(Sender<(Moment, Report)>);

pub(super) fn reports() -> (Reporting, Reports) {
    let (reporting, reports) = channel(REPORTS_MAX);
    (Reporting(reporting), Reports(reports))
}

impl Reporting {
    /// Sends a report, or drops it if the queue is full: a failover never waits for a reader.
    pub(super) fn send(&mut self, now: Moment, report: Report) {
        drop(self.0.try_send((now, report)));
    }
}

impl Reports {
    /// The next report. None: the group has ended.
    pub async fn recv(&mut self) -> Option<(Moment, Report)> {
        self.0.next().await
    }

    /// The next report, without waiting.
    ///
    /// # Errors
    /// The queue is empty, or the group has ended.
    pub fn try_recv(&mut self) -> Result<(Moment, Report), TryRecvError> {
        self.0.try_recv()
    }
}

/// Reports of some seconds; 40 MB at most.
const REPORTS_MAX: usize = 4096;
