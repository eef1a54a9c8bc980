//! Tasks that must not end: one that panics is logged, counted, and started again, after a delay that grows
//! while it keeps happening. So a fault in one place costs one task a moment, and neither the process nor,
//! unseen, the task.

use super::Metrics;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Drives one group.
    Group,
    /// Reconciles one resource.
    Reconciler,
    /// Publishes the master of one resource.
    Publish,
    /// Applies objects and configuration of one resource.
    Maintain,
    /// Reads the Secrets of one resource.
    Secrets,
    /// Reconciles one policy.
    Policy,
    /// Writes events.
    Events,
    /// Reads names and files again, outside Kubernetes.
    Upkeep,
}

impl Task {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Group,
        Self::Reconciler,
        Self::Publish,
        Self::Maintain,
        Self::Secrets,
        Self::Policy,
        Self::Events,
        Self::Upkeep,
    ];

    /// As a label and in the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Reconciler => "reconciler",
            Self::Publish => "publish",
            Self::Maintain => "maintain",
            Self::Secrets => "secrets",
            Self::Policy => "policy",
            Self::Events => "events",
            Self::Upkeep => "upkeep",
        }
    }
}

/// The delays between the ends of a task and its next starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    ends: u32,
}

impl Backoff {
    /// The delay before the next start of a task that ran for so long: 100 ms, doubled with each early end,
    /// 10 s at most.
    pub fn next(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= STEADY {
            self.ends = 0;
        }
        let delay = FIRST_DELAY.saturating_mul(1 << self.ends.min(16)).min(DELAY_MAX);
        self.ends = self.ends.saturating_add(1);
        delay
    }
}

/// Runs a task until it ends by itself, which it does when its inputs have ended; starts it again after a
/// panic. `of`: whose task it is, for the log.
pub async fn supervise<F: Future<Output = ()>>(
    task: Task,
    of: &str,
    metrics: &Metrics,
    mut start: impl FnMut() -> F,
) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        // The task is dropped with all that it held; what it shares with others is behind locks that survive.
        let run = AssertUnwindSafe(async { start().await });
        if run.catch_unwind().await.is_ok() {
            return;
        }
        let delay = backoff.next(began.elapsed());
        restarts(task, of, metrics, delay);
        tokio::time::sleep(delay).await;
    }
}

/// Logs and counts that a task ended which must not.
pub fn restarts(task: Task, of: &str, metrics: &Metrics, delay: Duration) {
    metrics.task_restarts(task);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    tracing::error!(task = task.label(), of, delay_ms, "task ended by a fault, will start again");
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);
/// A task that ran for this long ended for another reason than the time before.
const STEADY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_started_again_until_it_ends_by_itself() {
        let (metrics, runs) = (Metrics::new("1.2.3"), Cell::new(0));
        let began = Instant::now();
        supervise(Task::Publish, "shop/cart", &metrics, || {
            runs.set(runs.get() + 1);
            let run = runs.get();
            // The first panics before its future exists, the next ones within it.
            assert_ne!(run, 1, "a fault, for the test");
            async move {
                tokio::task::yield_now().await;
                assert!(run > 3, "another fault, for the test");
            }
        })
        .await;
        assert_eq!(runs.get(), 4);
        assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400));
        let text = metrics.text();
        assert!(text.contains(r#"redis_operator_task_restarts_total{task="publish"} 3"#), "{text}");
        assert!(text.contains(r#"redis_operator_task_restarts_total{task="group"} 0"#), "{text}");
    }

    #[test]
    fn the_delay_grows_with_early_ends_and_starts_anew_after_a_steady_run() {
        let mut backoff = Backoff::default();
        let early: Vec<u128> = (0..9).map(|_| backoff.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(early, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(backoff.next(STEADY), FIRST_DELAY);
        let mut backoff = Backoff { ends: u32::MAX };
        assert_eq!(backoff.next(Duration::ZERO), DELAY_MAX);
    }
}
