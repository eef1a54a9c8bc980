//! The way of a group's reports to whoever tells people. Carries; reads nothing.

use crate::group::{Moment, Report};
use futures_channel::mpsc::{Receiver, Sender, TryRecvError, channel};
use futures_util::StreamExt;

/// The reports of one group, in order.
#[derive(Debug)]
pub struct Reports(Receiver<(Moment, Report)>);

/// Where they come from.
pub(super) struct Reporting(Sender<(Moment, Report)>);

pub(super) fn reports() -> (Reporting, Reports) {
    let (reporting, reports) = channel(REPORTS_MAX);
    (Reporting(reporting), Reports(reports))
}

impl Reporting {
    /// Whoever does not read in time misses some; a failover never waits for a terminal.
    pub(super) fn send(&mut self, now: Moment, report: Report) {
        drop(self.0.try_send((now, report)));
    }
}

impl Reports {
    /// The next one. None: the group has ended.
    pub async fn recv(&mut self) -> Option<(Moment, Report)> {
        self.0.next().await
    }

    /// The next one, if there is one already.
    ///
    /// # Errors
    /// There is none, yet or for ever.
    pub fn try_recv(&mut self) -> Result<(Moment, Report), TryRecvError> {
        self.0.try_recv()
    }
}

/// Some seconds of them, and 40 MB at most.
const REPORTS_MAX: usize = 4096;
