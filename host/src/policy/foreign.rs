//! A policy in a worker process of its own. This ensures:
//!
//! - A call ends within its bounds, whatever the process does (`worker/`).
//! - The end of a process costs one fault: until another one is ready, [`Policy::is_ready`] is false and the
//!   next policy in line is asked instead. Another one is started on a thread of its own, with a pace.
//! - All calls together take a bounded share of the groups' time (`budget.rs`): beyond it the policy is not
//!   ready, either.
//! - The process is shared by all who ask for the same file, one at a time. It is ended when it was not asked
//!   for [`bounds::IDLE`], and started again by the next question, which takes 20 ms.
//!
//! A process that is started again gets the code that was compiled at first: nothing is compiled twice, and
//! nothing that the operator would run itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::about::About;
use super::bounds::{self, Patience};
use super::budget::Budget;
use super::engine::Sandbox;
use super::form::check_decision;
use super::load_error::{LoadError, one_line};
use super::worker::{Lost, Nursery, Refused, Rest, Role, Stop, Worker};
use super::{Policy, PolicyFault};
use crate::contract::{Decision, Observation, Topology, Want};

/// A policy in a worker process.
pub struct Foreign {
    about: About,
    seat: Arc<Seat>,
}

/// The place of the process.
struct Seat {
    nursery: Arc<Nursery>,
    title: String,
    digest: String,
    code: Vec<u8>,
    is_ready: AtomicBool,
    state: Mutex<State>,
    budget: Mutex<Budget>,
}

struct State {
    /// None: none was started yet, or it was ended.
    worker: Option<Worker>,
    /// Another process is being started, on a thread of its own.
    is_starting: bool,
    asked_at: Instant,
    started_at: Instant,
    /// Processes lost in a row.
    failures: u32,
    /// CPU time of the processes before this one.
    cpu_before: Duration,
}

impl Foreign {
    /// Starts a process with compiled code of the file, and asks it for its description.
    ///
    /// # Errors
    /// Stale code, or why it is no policy.
    pub(super) fn start(
        sandbox: &Sandbox,
        digest: String,
        size_bytes: usize,
        code: Vec<u8>,
        stop: &Stop,
    ) -> Result<Self, Refused> {
        let lost = |lost: Lost| Refused::Component(LoadError::Worker(lost.to_string()));
        let nursery = Arc::clone(&sandbox.nursery);
        let mut worker = Worker::start(&nursery, Role::Decide).map_err(lost)?;
        let exports = worker.load(&code, &bounds::LOAD, stop).map_err(lost)??;
        let description = worker.describe(stop).unwrap_or_else(|lost| Err(fault(&lost)));
        let description =
            description.map_err(|fault| Refused::Component(LoadError::Describe(tidied(fault))))?;
        let about = About::new(digest.clone(), size_bytes, exports, description)
            .map_err(|error| Refused::Component(error.into()))?;
        let now = Instant::now();
        let state = State {
            worker: Some(worker),
            is_starting: false,
            asked_at: now,
            started_at: now,
            failures: 0,
            cpu_before: Duration::ZERO,
        };
        let seat = Arc::new(Seat {
            nursery: Arc::clone(&nursery),
            title: about.title.clone(),
            digest,
            code,
            is_ready: AtomicBool::new(true),
            state: Mutex::new(state),
            budget: Mutex::new(Budget::new(now)),
        });
        let resting = Arc::downgrade(&seat);
        nursery.let_rest(resting);
        Ok(Self { about, seat })
    }

    /// What is known of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The process id of its worker. None: it has none at the moment.
    pub(super) fn process(&self) -> Option<u32> {
        self.seat.lock().worker.as_ref().map(Worker::pid)
    }

    /// The compiled code, for the cache.
    pub(super) fn code(&self) -> &[u8] {
        &self.seat.code
    }

    /// CPU time of its processes so far.
    pub(super) fn cpu(&self) -> Duration {
        let state = self.seat.lock();
        state.cpu_before + state.worker.as_ref().map(Worker::cpu).unwrap_or_default()
    }

    /// Decides for a proof or a command: no group waits, so a busy machine has its time, and a process that
    /// ended is replaced at once.
    pub(super) fn decide_on_trial(
        &self,
        observation: &Observation,
        stop: &Stop,
    ) -> Result<Decision, PolicyFault> {
        let mut state = self.seat.lock();
        let patience = bounds::decide_on_trial(observation.instances.len());
        self.seat
            .ask(&mut state, observation, (&bounds::LOAD, &patience), stop)
            .unwrap_or_else(|lost| Err(fault(&lost)))
            .and_then(|decision| checked(observation, decision))
    }
}

impl Policy for Foreign {
    fn title(&self) -> &str {
        &self.about.title
    }

    fn digest(&self) -> &str {
        &self.about.digest
    }

    fn serves(&self, topology: Topology) -> bool {
        self.about.serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.about.wants(topology)
    }

    fn is_ready(&self) -> bool {
        self.seat.is_ready.load(Ordering::Acquire) && self.seat.budget().is_left(Instant::now())
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let mut state = self.seat.lock();
        if state.is_starting {
            return Err(PolicyFault::Worker("its worker process is being started again".into()));
        }
        let patience = bounds::decide(observation.instances.len());
        let begun = Instant::now();
        let asked =
            self.seat.ask(&mut state, observation, (&bounds::LOAD_WAITED_FOR, &patience), &Stop::default());
        self.seat.spend(begun.elapsed());
        match asked {
            Ok(answer) => answer.and_then(|decision| checked(observation, decision)),
            Err(lost) => {
                self.seat.start_again(&mut state);
                Err(fault(&lost))
            }
        }
    }
}

impl Seat {
    /// Asks the process, or a new one if there is none. A lost one leaves the seat empty.
    fn ask(
        &self,
        state: &mut State,
        observation: &Observation,
        (load, decide): (&Patience, &Patience),
        stop: &Stop,
    ) -> Result<Result<Decision, PolicyFault>, Lost> {
        state.asked_at = Instant::now();
        let mut worker = match state.worker.take() {
            Some(worker) => worker,
            None => {
                state.started_at = Instant::now();
                self.new_worker(load, stop)?
            }
        };
        let answer = worker.decide(observation, decide, stop);
        match answer {
            Ok(answer) => {
                state.worker = Some(worker);
                Ok(answer.map_err(tidied))
            }
            Err(lost) => {
                state.cpu_before += worker.cpu();
                Err(lost)
            }
        }
    }

    fn new_worker(&self, patience: &Patience, stop: &Stop) -> Result<Worker, Lost> {
        let mut worker = Worker::start(&self.nursery, Role::Decide)?;
        match worker.load(&self.code, patience, stop)? {
            Ok(_) => Ok(worker),
            // The same program has loaded the same code before.
            Err(Refused::Component(_) | Refused::Stale) => Err(Lost::Garbled),
        }
    }

    /// Starts a process in place of a lost one, beside the groups.
    fn start_again(self: &Arc<Self>, state: &mut State) {
        state.failures =
            if state.started_at.elapsed() >= bounds::FORGIVEN { 1 } else { state.failures.saturating_add(1) };
        state.is_starting = true;
        self.is_ready.store(false, Ordering::Release);
        let (seat, pace) = (Arc::downgrade(self), bounds::pace(state.failures));
        let start = move || {
            std::thread::sleep(pace);
            // Without a policy there is nothing to start.
            if let Some(seat) = seat.upgrade() {
                seat.filled();
            }
        };
        if std::thread::Builder::new().name("policy-restart".into()).spawn(start).is_err() {
            // The next question starts it, then.
            state.is_starting = false;
            self.is_ready.store(true, Ordering::Release);
        }
    }

    fn filled(self: &Arc<Self>) {
        // Without the lock, so that nobody waits for it.
        let started = self.new_worker(&bounds::LOAD, &Stop::default());
        let mut state = self.lock();
        state.started_at = Instant::now();
        match started {
            Ok(worker) => {
                tracing::debug!(policy = self.title, digest = self.digest, "policy worker started again");
                state.worker = Some(worker);
                state.is_starting = false;
                self.is_ready.store(true, Ordering::Release);
            }
            Err(lost) => {
                tracing::warn!(
                    policy = self.title,
                    digest = self.digest,
                    error = %lost,
                    "policy worker not started, will retry"
                );
                self.start_again(&mut state);
            }
        }
    }

    /// Takes the time of a call out of the budget, and says so when it is used up.
    fn spend(&self, took: Duration) {
        let mut budget = self.budget();
        budget.spend(took);
        if !budget.is_left(Instant::now()) {
            tracing::debug!(
                policy = self.title,
                digest = self.digest,
                elapsed_ms = bounds::millis(took),
                "policy used up its share of time, passed over for a while"
            );
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        // No code that holds the lock panics halfway through a change.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest for Seat {
    fn rest(&self) {
        // A seat in use is not at rest.
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.asked_at.elapsed() < bounds::IDLE {
            return;
        }
        if let Some(worker) = state.worker.take() {
            state.cpu_before += worker.cpu();
            tracing::debug!(policy = self.title, digest = self.digest, "idle policy worker ended");
        }
    }
}

fn fault(lost: &Lost) -> PolicyFault {
    match lost {
        Lost::Cpu(limit) => PolicyFault::Time { limit_ms: bounds::millis(*limit) },
        Lost::NotStarted(_) | Lost::Ended(_) | Lost::Silent(_) | Lost::Garbled | Lost::Stopped => {
            PolicyFault::Worker(lost.to_string())
        }
    }
}

/// The worker has checked the answer's form as well; but what a worker says is foreign.
fn checked(observation: &Observation, decision: Decision) -> Result<Decision, PolicyFault> {
    check_decision(observation, &decision).map_err(PolicyFault::Malformed)?;
    Ok(decision)
}

/// A fault as a worker sent it, with its text as one line.
fn tidied(fault: PolicyFault) -> PolicyFault {
    match fault {
        PolicyFault::Trap(text) => PolicyFault::Trap(one_line(&text)),
        PolicyFault::Malformed(text) => PolicyFault::Malformed(one_line(&text)),
        PolicyFault::Worker(text) => PolicyFault::Worker(one_line(&text)),
        // No worker judges a decision.
        PolicyFault::Breach(texts) => PolicyFault::Trap(one_line(&texts.join("; "))),
        PolicyFault::Idle { reason, .. } => PolicyFault::Trap(one_line(&reason)),
        fault @ (PolicyFault::Fuel { .. } | PolicyFault::Time { .. } | PolicyFault::Memory { .. }) => fault,
    }
}
