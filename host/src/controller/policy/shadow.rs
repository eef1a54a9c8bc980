//! Shadows: policies that are asked the same as those that decide, on one thread of their own, later. Nothing
//! waits for them, and nothing comes of what they say but counts and log lines.

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

/// The way to the thread.
#[derive(Clone)]
pub struct Shadows(SyncSender<Question>);

/// Who is asked beside whoever decides for a group, and with what parameters.
pub struct ShadowTarget {
    parameters: String,
    slot: Arc<PolicySlot>,
}

/// The shadow of one group.
pub struct Shadow {
    shadows: Shadows,
    target: Arc<ShadowTarget>,
    told: Arc<Told>,
}

/// What came of the shadow of one group.
struct Told {
    reporter: Mutex<ShadowReporter>,
    shadow_stats: ShadowStats,
}

struct Question {
    target: Arc<ShadowTarget>,
    told: Arc<Told>,
    observation: Arc<Observation>,
    decision: Arc<Decision>,
}

impl Shadows {
    /// Starts the thread. It ends with the last way to it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(QUESTIONS_MAX);
        std::thread::Builder::new().name("shadows".into()).spawn(move || answer_all(&asked))?;
        Ok(Self(ask))
    }
}

impl ShadowTarget {
    /// `parameters` are those that it would have if it decided.
    pub(super) fn new(parameters: String, slot: Arc<PolicySlot>) -> Self {
        Self { parameters, slot }
    }

    /// Tells two of them apart.
    pub fn name(&self) -> (&str, &str) {
        (&self.slot.key.1, &self.parameters)
    }
}

impl Shadow {
    /// Of a group that has not decided anything yet.
    pub fn new(shadows: &Shadows, target: ShadowTarget, names: GroupNames, metrics: Arc<Metrics>) -> Self {
        let policy = target.slot.key.1.clone();
        let told = Told {
            reporter: Mutex::new(ShadowReporter::new(names, policy.clone(), metrics)),
            shadow_stats: ShadowStats::new(policy),
        };
        Self { shadows: shadows.clone(), target: Arc::new(target), told: Arc::new(told) }
    }

    /// Whom it asks.
    pub fn target(&self) -> &ShadowTarget {
        &self.target
    }

    /// Has the same asked, if there is room. Never waits.
    pub fn follow(&self, decided: &Decided) {
        let (target, told) = (Arc::clone(&self.target), Arc::clone(&self.told));
        let question = Question {
            target,
            told,
            observation: Arc::clone(&decided.observation),
            decision: Arc::clone(&decided.decision),
        };
        if self.shadows.0.try_send(question).is_err() {
            self.told.tell(&self.target.slot, |reporter| reporter.dropped());
        }
    }

    /// How it has answered. None: it was not asked yet.
    pub fn shown(&self) -> Option<ShadowStatus> {
        self.told.shadow_stats.shown()
    }
}

impl Told {
    fn tell(&self, slot: &PolicySlot, tell: impl FnOnce(&mut ShadowReporter) -> ShadowOutcome) {
        let outcome = tell(&mut self.reporter.lock().unwrap_or_else(PoisonError::into_inner));
        self.shadow_stats.count(&outcome);
        slot.shadow_stats.count(&outcome);
    }
}

fn answer_all(asked: &Receiver<Question>) {
    let start = Instant::now();
    while let Ok(Question { target, told, observation, decision }) = asked.recv() {
        let slot = &target.slot;
        let Some(policy) = slot.candidate() else { continue };
        // As it would be asked if it decided.
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
        told.tell(slot, |reporter| reporter.answered(&decision, policy.digest(), &answer));
    }
}

/// An answer takes a tenth of a millisecond, so this is a burst of all groups of a large fleet, and 20 MB at
/// most.
const QUESTIONS_MAX: usize = 1024;
