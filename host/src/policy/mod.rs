//! Policies: load, prove, limit, decide, swap. The only place that knows wasmtime.

pub mod check;
pub mod contract;

use contract::{Decision, Observation};

/// Whatever answers an observation with a decision: a component, or the engine compiled natively.
pub trait Policy: Send + Sync {
    /// Name and version, for people: `default 0.1.0`.
    fn title(&self) -> &str;

    /// SHA-256 of the component file, lower-case hex. Names the policy in every plan, event and metric.
    fn digest(&self) -> &str;

    /// Answers, in a fresh instance.
    ///
    /// # Errors
    /// [`PolicyFault`] when the component trapped, exceeded a limit or gave what is no decision. No action may follow; the
    /// same observation goes to the next policy in line.
    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault>;
}

/// Why a policy gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// A bug in the component.
    #[error("policy trapped: {0}")]
    Trap(String),
    /// It computed for too long.
    #[error("policy used up its fuel of {limit}")]
    Fuel {
        /// The limit, in wasmtime's units; never part of a decision.
        limit: u64,
    },
    /// It wanted more memory than it may have.
    #[error("policy exceeded its memory of {limit_bytes} bytes")]
    Memory {
        /// The limit.
        limit_bytes: u64,
    },
    /// It broke hard invariants; the guard's words.
    #[error("policy breached the guard: {}", .0.join("; "))]
    Breach(Vec<String>),
}
