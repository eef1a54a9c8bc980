//! Policies: load, prove, limit, decide, swap. The only place that knows wasmtime.

mod cache;
mod chain;
mod component;
mod embedded;
mod engine;
mod fallback;
mod form;
mod limits;
mod proposals;
mod specimen;
mod watch;
mod wrap;

pub use cache::{Cache, CacheError};
pub use chain::{PolicyChain, Quarantined};
pub use component::{COMPONENT_BYTES_MAX, Component, LoadError, POLICY, POLICY_WORLD, Reused, digest_of};
pub use embedded::{EMBEDDED, embedded};
pub use engine::{Sandbox, SandboxError};
pub use fallback::FallbackPolicy;
pub use form::{DescriptionError, check_decision, check_description};
pub use specimen::healthy_group;
pub use watch::{Change, FileStamps, Prove, SwapError, Watch, load_file, read_file};
pub use wrap::wrap;

use crate::contract::{Decision, Observation, Topology, Want};

/// Whatever answers an observation with a decision: a component, or the engine compiled natively.
pub trait Policy: Send + Sync {
    /// Name and version, for people: `default 0.1.0`.
    fn title(&self) -> &str;

    /// SHA-256 of the component file, lower-case hex. Names the policy in every plan, event and metric.
    fn digest(&self) -> &str;

    /// The commands whose replies it wants in groups of that topology, beyond the standard ones.
    fn wants(&self, topology: Topology) -> Vec<Want>;

    /// Answers, in a fresh instance.
    ///
    /// # Errors
    /// [`PolicyFault`] when the component trapped, exceeded a limit or gave what is no decision. No action
    /// may follow; the same observation goes to the next policy in line.
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
    /// Its answer is no decision: too large, not of the contract's types, or not of its form.
    #[error("policy gave a malformed decision: {0}")]
    Malformed(String),
    /// It broke hard invariants; the guard's words.
    #[error("policy breached the guard: {}", .0.join("; "))]
    Breach(Vec<String>),
}
