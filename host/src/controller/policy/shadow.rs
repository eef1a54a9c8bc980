//! Shadows: policies that get the same observations as the policies that decide, on one separate thread,
//! after the decision. No decision waits for a shadow, and its answers change only counts and log lines.

use super::shadow_stats::ShadowStats;
use super::slot::PolicySlot;
use crate::contract::{Decision, Observation};
use crate::group::Decided;
use crate::guard;
use crate::kubernetes::crd::ShadowStatus;
use crate::policy::PolicyFault;
use crate::report::{GroupNames, Metrics, ShadowOutcome, ShadowReporter};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Sends observations to the shadow thread.
#[derive(Clone)]
pub struct Shadows(SyncSender<Question>);

/// The policy that is the shadow of a group, and its parameters.
pub struct ShadowTarget {
    parameters: String,
    slot: Arc<PolicySlot>,
}

/// The shadow of one group.
pub struct Shadow {
    shadows: Shadows,
    target: Arc<ShadowTarget>,
    reporters: Arc<ShadowReporters>,
}

/// The log, metrics and counts of the shadow of one group.
struct ShadowReporters {
    reporter: Mutex<ShadowReporter>,
    shadow_stats: ShadowStats,
}

struct Question {
    target: Arc<ShadowTarget>,
    reporters: Arc<ShadowReporters>,
    observation: Arc<Observation>,
    decision: Arc<Decision>,
}

impl Shadows {
    /// Starts the thread. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start() -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(QUESTIONS_MAX);
        std::thread::Builder::new().name("shadows".into()).spawn(move || answer_all(&asked))?;
        Ok(Self(ask))
    }
}

impl ShadowTarget {
    /// `parameters`: as the policy would get them if it decided.
    pub(super) fn new(parameters: String, slot: Arc<PolicySlot>) -> Self {
        Self { parameters, slot }
    }

    /// The policy's name and its parameters: equal targets have equal names.
    pub fn name(&self) -> (&str, &str) {
        (&self.slot.key.1, &self.parameters)
    }
}

impl Shadow {
    /// For a group without a decision yet.
    pub fn new(shadows: &Shadows, target: ShadowTarget, names: GroupNames, metrics: Arc<Metrics>) -> Self {
        let policy = target.slot.key.1.clone();
        let reporters = ShadowReporters {
            reporter: Mutex::new(ShadowReporter::new(names, policy.clone(), metrics)),
            shadow_stats: ShadowStats::new(policy),
        };
        Self { shadows: shadows.clone(), target: Arc::new(target), reporters: Arc::new(reporters) }
    }

    /// The policy that it asks.
    pub fn target(&self) -> &ShadowTarget {
        &self.target
    }

    /// Sends the observation of a decision to the shadow; counts it as dropped if the queue is full. Never
    /// waits.
    pub fn follow(&self, decided: &Decided) {
        let (target, reporters) = (Arc::clone(&self.target), Arc::clone(&self.reporters));
        let question = Question {
            target,
            reporters,
            observation: Arc::clone(&decided.observation),
            decision: Arc::clone(&decided.decision),
        };
        if self.shadows.0.try_send(question).is_err() {
            self.reporters.report(&self.target.slot, |reporter| reporter.dropped());
        }
    }

    /// The counts of its answers. None: no answer yet.
    pub fn shown(&self) -> Option<ShadowStatus> {
        self.reporters.shadow_stats.shown()
    }
}

impl ShadowReporters {
    fn report(&self, slot: &PolicySlot, report: impl FnOnce(&mut ShadowReporter) -> ShadowOutcome) {
        let outcome = report(&mut self.reporter.lock().unwrap_or_else(PoisonError::into_inner));
        self.shadow_stats.count(&outcome);
        slot.shadow_stats.count(&outcome);
    }
}

fn answer_all(asked: &Receiver<Question>) {
    let start = Instant::now();
    while let Ok(Question { target, reporters, observation, decision }) = asked.recv() {
        let slot = &target.slot;
        let Some(policy) = slot.candidate() else { continue };
        if !policy.serves(observation.group.topology) {
            continue;
        }
        if !policy.is_ready() {
            reporters.report(slot, |reporter| reporter.dropped());
            continue;
        }
        // The shadow gets its own parameters, as if it decided.
        let observation =
            Observation { parameters: target.parameters.clone(), ..Observation::clone(&observation) };
        let answer =
            policy.decide(&observation).and_then(|answer| match guard::judge(&observation, &answer) {
                Ok(()) => Ok(answer),
                Err(breaches) => Err(PolicyFault::Breach(breaches.iter().map(ToString::to_string).collect())),
            });
        if let Err(fault) = &answer {
            slot.shadow_fault(start.elapsed(), policy.digest(), fault);
        }
        reporters.report(slot, |reporter| reporter.answered(&decision, policy.digest(), &answer));
    }
}

/// An answer takes about 0.1 ms, so the queue holds a burst of all groups of a large fleet; at most 20 MB.
const QUESTIONS_MAX: usize = 1024;
