//! Worker processes: the wall around foreign policies. A policy may loop, swell, or find a fault in the
//! engine or its compiler; then its process ends, and no more. This ensures:
//!
//! - A foreign component is checked, compiled and called in a process of this very program (`program.rs`),
//!   which has no environment, no files, and limits on memory, addresses and CPU time (`confine.rs`).
//! - Every answer is waited for within bounds (`bounds.rs`); beyond them the process is killed.
//! - No worker outlives the operator, and none is left unwaited for (`nursery.rs`).
//!
//! A process that compiles lives for one component; one that decides, for as long as its policy is asked.
//! What a worker says is foreign text: bounded and checked like a policy's answer.

mod confine;
mod cpu;
mod nursery;
mod process;
mod program;
mod turns;
mod watchdog;
mod wire;

pub(super) use nursery::{Nursery, Rest};
pub(super) use process::{Lost, Refused, Worker};
pub use program::worker_main;
pub(super) use turns::Turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a worker process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Checks and compiles one component.
    Compile,
    /// Decides.
    Decide,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Compile => "compile",
            Role::Decide => "decide",
        }
    }
}

/// Ends work that nobody wants any more: loading and proving a policy that was replaced meanwhile. Clones
/// stop together.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the work within some milliseconds, with an error.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stops when dropped: for work on another thread, whose result is awaited here.
#[derive(Debug, Default)]
pub struct StopOnDrop(Stop);

impl StopOnDrop {
    /// For the work.
    pub fn token(&self) -> Stop {
        self.0.clone()
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The first argument of a worker process.
const ARGUMENT: &str = "policy-worker";
