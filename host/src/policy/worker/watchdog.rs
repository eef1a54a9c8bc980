//! Ends a call of a policy that uses too much CPU time, from a second thread, by the engine's epoch. Fuel
//! counts instructions; this counts time, and so bounds what fuel cannot see. Time can only make a fault:
//! decisions are as deterministic as before.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::cpu;

/// The thread, and the call that it watches.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    call: Option<Call>,
    /// When the thread looks next. None: when it is woken.
    looks_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Call {
    cpu_until: Duration,
}

impl Watchdog {
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(engine: Engine) -> io::Result<Self> {
        let state = State { call: None, looks_at: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(&watched, &engine))?;
        Ok(Self { shared })
    }

    /// Runs a call whose store traps at the next epoch, with so much CPU time from `used` on.
    pub fn during<T>(&self, used: Duration, cpu: Duration, call: impl FnOnce() -> T) -> T {
        {
            let mut state = self.shared.lock();
            state.call = Some(Call { cpu_until: used + cpu });
            // The thread mostly looks soon enough for an earlier call: then it is not woken, which would be a
            // system call per decision.
            let is_soon = state.looks_at.is_some_and(|at| at <= Instant::now() + cpu);
            if !is_soon {
                self.shared.changed.notify_one();
            }
        }
        let result = call();
        self.shared.lock().call = None;
        result
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(shared: &Shared, engine: &Engine) {
    let mut state = shared.lock();
    loop {
        let Some(call) = state.call else {
            state.looks_at = None;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let used = cpu::own();
        if used >= call.cpu_until {
            // With the lock held, so that it is this call that ends and not the next one.
            engine.increment_epoch();
            state.call = None;
            continue;
        }
        let wait = call.cpu_until - used;
        state.looks_at = Some(Instant::now() + wait);
        (state, _) = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
    }
}
