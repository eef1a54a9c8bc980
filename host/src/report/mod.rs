//! Turns the reports of a group into log, metrics and recording. It chooses nothing, and nothing waits for
//! it.
//!
//! | file | owns |
//! |--|--|
//! | `words` | the names of things, equal in all log lines and labels |
//! | `shadow` | the answers of a shadow policy |
//! | `timeline` | how long each phase of a change of master took |
//! | `log` | one event per report |
//! | `metrics` | counters, gauges and histograms |
//! | `roles` | whether the role labels of Pods show the master |
//! | `recording` | decisions as JSON lines, which can be decided again |
//! | `supervise` | tasks that are started again when they panic |
//! | `health` | liveness of the loops, answers of dependencies |
//! | `inspect` | any group on request |
//! | `listen` | metrics and health over HTTP, to any client |
//! | `group_pages` | one group over HTTPS, to those who may see it |
//! | `http`, `certificate`, `rate` | the server of both; its TLS; a bound on requests |

mod certificate;
mod group_pages;
mod health;
mod http;
mod inspect;
mod listen;
mod log;
mod metrics;
#[cfg(test)]
mod monitoring;
mod rate;
mod recording;
mod roles;
#[cfg(test)]
pub(crate) mod script;
mod shadow;
mod supervise;
mod timeline;
pub(crate) mod words;

pub use group_pages::{ANSWERED_BY, Admission, Admit, GroupListen, PROXIED_AUTHORIZATION};
pub use health::{Dependency, Health, Heartbeat};
pub use http::ListenError;
pub use inspect::{DecisionRef, GroupInspector, ObserveFn, PublishedView};
pub use listen::Listen;
pub use metrics::Metrics;
pub use rate::RateLimit;
pub use recording::{Recording, RecordingError};
pub use roles::RoleMetrics;
pub use shadow::{ShadowOutcome, ShadowReporter};
pub use supervise::{Backoff, Task, restarts, supervise};
pub use timeline::{MasterChange, Phase, Timeline};

use crate::contract::{Topology, Verdict};
use crate::group::{Moment, Report};
use log::Log;
use metrics::GroupMetrics;
use std::sync::Arc;

/// The names of a group in every log line and label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNames {
    /// Kubernetes namespace; empty outside Kubernetes.
    pub namespace: String,
    /// The group's own name.
    pub name: String,
    /// How its servers relate to each other.
    pub topology: Topology,
}

/// Reports on one group.
pub struct Reporter {
    log: Log,
    metrics: GroupMetrics,
    recording: Option<Recording>,
    timeline: Timeline,
    news: News,
}

impl Reporter {
    /// For a group without reports so far.
    pub fn new(names: GroupNames, metrics: Arc<Metrics>, recording: Option<Recording>) -> Self {
        let (log, metrics) = (Log::new(names.clone()), GroupMetrics::new(names, metrics));
        Self { log, metrics, recording, timeline: Timeline::default(), news: News::default() }
    }

    /// Logs, counts and records one report, in the order in which reports are made. Never called on the
    /// thread of the group: a blocked terminal or a slow disk would delay a failover. Returns a change of
    /// master that ended with this report.
    pub fn take(&mut self, now: Moment, report: &Report) -> Option<MasterChange> {
        let is_news = self.news.is_news(report);
        self.log.report(report, is_news);
        self.metrics.report(report);
        if let Some(recording) = self.recording.as_mut().filter(|_| is_news) {
            recording.report(now, report);
        }
        let change = self.timeline.take(now, report);
        if let Some(change) = &change {
            self.log.master_change(change);
            self.metrics.master_change(change);
        }
        change
    }
}

/// Separates news from repeats: a group that cannot act reports the same many times a second.
#[derive(Default)]
struct News {
    /// Digest and kind of the last fault.
    fault: Option<(String, &'static str)>,
    is_held: bool,
}

impl News {
    fn is_news(&mut self, report: &Report) -> bool {
        match report {
            Report::Decided(decided) => {
                self.is_held = false;
                if self.fault.as_ref().is_some_and(|(digest, _)| *digest == decided.digest) {
                    self.fault = None;
                }
                // A plan that is carried out changes the group every time; a plan without authority is news
                // once.
                let is_carried_out = decided.decision.verdict == Verdict::Act
                    && decided.observation.authority
                    && !decided.only_repeats();
                decided.is_news || is_carried_out
            }
            Report::Fault { digest, fault, .. } => {
                let before = self.fault.replace((digest.clone(), words::fault(fault)));
                before != self.fault
            }
            Report::Held => !std::mem::replace(&mut self.is_held, true),
            Report::Sent { is_repeat, .. }
            | Report::Withheld { is_repeat, .. }
            | Report::Finished { is_repeat, .. } => !is_repeat,
            Report::Link { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::script::{act, decided, failover, fault, observed, promote, repeated};
    use super::*;
    use crate::contract::Evidence;
    use std::time::SystemTime;

    fn names() -> GroupNames {
        GroupNames { namespace: String::new(), name: "cart".into(), topology: Topology::Replication }
    }

    #[test]
    fn a_repeat_is_no_news_and_a_plan_that_is_carried_out_always_is() {
        let mut news = News::default();
        let plan = act(vec![promote(Evidence::Dead)]);
        let mut without_authority = repeated(plan.clone());
        observed(&mut without_authority, |observation| observation.authority = false);
        let healthy = decided(Verdict::Healthy, "healthy", "cart-0000", vec![]);
        let reports =
            [&healthy, &repeated(healthy.clone()), &plan, &repeated(plan.clone()), &without_authority];
        assert_eq!(reports.map(|report| news.is_news(report)), [true, false, true, true, false]);
    }

    #[test]
    fn no_usable_answer_and_a_fault_are_news_once_until_the_policy_answers_again() {
        let mut news = News::default();
        let answer = decided(Verdict::Healthy, "healthy", "cart-0000", vec![]);
        let script = [&fault(), &Report::Held, &fault(), &Report::Held, &answer, &fault(), &Report::Held];
        assert_eq!(script.map(|report| news.is_news(report)), [true, true, false, false, true, true, true]);
    }

    #[test]
    fn a_failover_reaches_every_sink() {
        let path = std::env::temp_dir().join(format!("redis-operator-reporter-{}.jsonl", std::process::id()));
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let recording = Recording::open(&path, SystemTime::UNIX_EPOCH).unwrap();
        let mut reporter = Reporter::new(names(), Arc::clone(&metrics), Some(recording));
        for (at, report) in failover(5_000) {
            reporter.take(Moment(at), &report);
        }
        assert!(
            metrics.text().contains(
                r#"redis_operator_master_changes_total{namespace="",name="cart",evidence="dead"} 1"#
            )
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        std::fs::remove_file(path).unwrap();
    }
}
