//! Policies: load, check, limit, decide, swap. The only room that knows wasmtime.

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

/// A function from an Observation to a Decision: a component, or the engine compiled natively.
pub trait Policy: Send + Sync {
    /// Name and version: `default 0.1.0`.
    fn title(&self) -> &str;

    /// SHA-256 of the component file, lower-case hex. Names the policy in every plan, event and metric.
    fn digest(&self) -> &str;

    /// The commands that it wants replies to in groups of that topology, beyond the standard ones.
    fn wants(&self, topology: Topology) -> Vec<Want>;

    /// Decides, in a fresh instance.
    ///
    /// # Errors
    /// [`PolicyFault`] if the component trapped, exceeded a limit, or gave a malformed decision. No action
    /// may follow; the next policy of the chain is asked about the same Observation.
    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault>;
}

/// Why a policy gave no usable decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// A bug in the component.
    #[error("policy trapped: {0}")]
    Trap(String),
    /// It executed too many instructions.
    #[error("policy exceeded its limit of {limit} units of fuel (about one per instruction)")]
    Fuel {
        /// The limit, in wasmtime's units; never part of a decision.
        limit: u64,
    },
    /// It asked for more memory than it may have.
    #[error("policy exceeded its memory limit of {limit_bytes} bytes")]
    Memory {
        /// The limit.
        limit_bytes: u64,
    },
    /// Its answer is too large, or not of the contract's types, or breaks a bound of the contract.
    #[error("policy gave a malformed decision: {0}")]
    Malformed(String),
    /// It broke hard invariants; the texts of the guard.
    #[error("policy breached the guard: {}", .0.join("; "))]
    Breach(Vec<String>),
}
