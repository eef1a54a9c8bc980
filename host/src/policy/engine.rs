//! The one WebAssembly engine of the process: the number of instances at a time, and the cache of compiled
//! code. Knows nothing of policies.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::Engine;

use super::bounds;
use super::cache::Cache;
use super::configuration::{self, INSTANCES_MAX};
use super::worker::{Nursery, Turns};

/// The sandbox of all policies. Deterministic: no computation of a policy differs between two machines.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) cache: Option<Cache>,
    pub(super) nursery: Arc<Nursery>,
    /// For processes that compile.
    pub(super) turns: Turns,
    pooled: bool,
    slots: Mutex<Slots>,
    freed: Condvar,
}

struct Slots {
    free: u32,
    waiting: u32,
}

/// No engine can run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine cannot run WebAssembly: {0}")]
pub struct SandboxError(String);

impl Sandbox {
    /// An engine with pooled instances if the address space has room for them, which halves the cost of a
    /// fresh one (measured: 25 µs instead of 46), else without. Without a `cache` every load compiles.
    ///
    /// # Errors
    /// [`SandboxError`] on a processor that Cranelift does not know.
    pub fn new(cache: Option<Cache>) -> Result<Sandbox, SandboxError> {
        // Reserving the pool is the test: it fails at once if a 39-bit kernel or `ulimit -v` leaves too
        // little address space.
        let (engine, pooled) = match Engine::new(&configuration::pooled()) {
            Ok(engine) => (engine, true),
            Err(_) => (
                Engine::new(&configuration::on_demand())
                    .map_err(|error| SandboxError(format!("{error:#}")))?,
                false,
            ),
        };
        Ok(Sandbox {
            engine,
            cache,
            nursery: Arc::new(Nursery::new(PathBuf::from(OWN_PROGRAM))),
            turns: Turns::new(bounds::COMPILES_AT_ONCE),
            pooled,
            slots: Mutex::new(Slots { free: INSTANCES_MAX, waiting: 0 }),
            freed: Condvar::new(),
        })
    }

    /// The same, with another program for worker processes than that of this process: for programs that are
    /// not the operator, such as tests.
    pub fn with_worker_program(mut self, program: PathBuf) -> Sandbox {
        self.nursery = Arc::new(Nursery::new(program));
        self
    }

    /// The engine of a worker process: for one instance at a time, and small enough for its limits.
    ///
    /// # Errors
    /// As for [`Sandbox::new`].
    pub(super) fn of_worker() -> Result<Sandbox, SandboxError> {
        let engine =
            Engine::new(&configuration::in_worker()).map_err(|error| SandboxError(format!("{error:#}")))?;
        Ok(Sandbox {
            engine,
            cache: None,
            nursery: Arc::new(Nursery::new(PathBuf::new())),
            turns: Turns::new(0),
            pooled: true,
            slots: Mutex::new(Slots { free: 1, waiting: 0 }),
            freed: Condvar::new(),
        })
    }

    /// True if instances come from a pool.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Waits for a free slot. So the pool is never empty when a policy is asked, and load on the host does
    /// not look like a fault of the policy. Fuel bounds the wait.
    pub(super) fn admit(&self) -> Admission<'_> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.waiting += 1;
        let mut slots =
            self.freed.wait_while(slots, |slots| slots.free == 0).unwrap_or_else(PoisonError::into_inner);
        slots.waiting -= 1;
        slots.free -= 1;
        Admission(self)
    }
}

/// One slot of the pool, until dropped.
pub(super) struct Admission<'a>(&'a Sandbox);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free += 1;
        // A notification without a waiter would be a system call per decision.
        if slots.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// The program of this process, replaced on disk or not.
const OWN_PROGRAM: &str = "/proc/self/exe";
