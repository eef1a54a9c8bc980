//! Tells people: turns the reports of a group into log, metrics and recording. Sees only what a group
//! reports; chooses nothing, and nothing waits for it.
//!
//! | file | owns |
//! |--|--|
//! | `words` | the names of things, the same in every log line and label |
//! | `shadow` | what a policy says beside the one that decides |
//! | `timeline` | how long each phase of a change of master took |
//! | `log` | one event a report |
//! | `metrics` | what is counted and measured |
//! | `roles` | whether the labels of Pods say who is master |
//! | `recording` | decisions as JSON lines, to be decided again |
//! | `health` | whether the loops run, and who else is needed |
//! | `inspect` | a look at any group |
//! | `listen` | metrics, health and group observations over HTTP |

mod health;
mod inspect;
mod listen;
mod log;
mod metrics;
#[cfg(test)]
mod monitoring;
mod recording;
mod roles;
#[cfg(test)]
pub(crate) mod script;
mod shadow;
mod timeline;
pub(crate) mod words;

pub use health::{Dependency, Health, Heartbeat};
pub use inspect::{DecisionRef, GroupInspector, ObserveFn, PublishedView};
pub use listen::{Listen, ListenError};
pub use metrics::Metrics;
pub use recording::{Recording, RecordingError};
pub use roles::RoleMetrics;
pub use shadow::{ShadowOutcome, ShadowReporter};
pub use timeline::{MasterChange, Phase, Timeline};

use crate::contract::{Topology, Verdict};
use crate::group::{Moment, Report};
use log::Log;
use metrics::GroupMetrics;
use std::sync::Arc;

/// What every line and label says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNames {
    /// Kubernetes namespace; empty outside Kubernetes.
    pub namespace: String,
    /// The group's own name.
    pub name: String,
    /// How its servers relate to each other.
    pub topology: Topology,
}

/// Tells of one group.
pub struct Reporter {
    log: Log,
    metrics: GroupMetrics,
    recording: Option<Recording>,
    timeline: Timeline,
    news: News,
}

impl Reporter {
    /// Of a group that has reported nothing yet.
    pub fn new(names: GroupNames, metrics: Arc<Metrics>, recording: Option<Recording>) -> Self {
        let (log, metrics) = (Log::new(names.clone()), GroupMetrics::new(names, metrics));
        Self { log, metrics, recording, timeline: Timeline::default(), news: News::default() }
    }

    /// Tells of one report. Reports come in the order in which they were made. Never on the group's own
    /// thread: a terminal that somebody holds, or a slow disk, would hold up a failover.
    /// A change of master that ended with it is told back.
    pub fn take(&mut self, now: Moment, report: &Report) -> Option<MasterChange> {
        let is_news = self.news.is_news(report);
        self.log.report(report, is_news);
        self.metrics.report(report);
        if let Some(recording) = self.recording.as_mut().filter(|_| is_news) {
            recording.report(now, report);
        }
        let takeover = self.timeline.take(now, report);
        if let Some(takeover) = &takeover {
            self.log.takeover(takeover);
            self.metrics.takeover(takeover);
        }
        takeover
    }
}

/// Tells what is new from what was said a moment ago: a group that can do nothing says so many times a
/// second.
#[derive(Default)]
struct News {
    /// Whose fault was told, and of what kind.
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
                // A plan that is carried out changes something every time; one that is only thought of, once.
                decided.is_news || (decided.decision.verdict == Verdict::Act && decided.observation.authority)
            }
            Report::Fault { digest, fault, .. } => {
                let before = self.fault.replace((digest.clone(), words::fault(fault)));
                before != self.fault
            }
            Report::Held => !std::mem::replace(&mut self.is_held, true),
            Report::Link { .. } | Report::Sent { .. } | Report::Withheld { .. } | Report::Finished { .. } => {
                true
            }
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
        let mut thought = repeated(plan.clone());
        observed(&mut thought, |observation| observation.authority = false);
        let healthy = decided(Verdict::Healthy, "healthy", "cart-0000", vec![]);
        let told = [&healthy, &repeated(healthy.clone()), &plan, &repeated(plan.clone()), &thought]
            .map(|report| news.is_news(report));
        assert_eq!(told, [true, false, true, true, false]);
    }

    #[test]
    fn held_and_a_policy_s_fault_are_news_once_until_it_answers_again() {
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
