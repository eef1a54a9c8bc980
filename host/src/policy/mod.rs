//! Policies: load, check, limit, decide, swap. The only room that knows wasmtime.
//!
//! The embedded policy runs in this process, every other one in a worker process of its own (`worker/`):
//! nothing that such a policy is or does can end, slow or read the operator.

mod about;
mod bounds;
mod budget;
mod cache;
mod chain;
mod component;
mod configuration;
mod embedded;
mod engine;
mod fallback;
mod foreign;
mod form;
mod limits;
mod linked;
mod load_error;
mod loaded;
mod proposals;
mod shape;
mod specimen;
mod watch;
mod worker;
mod wrap;

pub use about::About;
pub use cache::{Cache, CacheError};
pub use chain::{PolicyChain, Quarantined};
pub use component::{COMPONENT_BYTES_MAX, Component, POLICY, POLICY_WORLD, digest_of};
pub use embedded::{EMBEDDED, embedded};
pub use engine::{Sandbox, SandboxError};
pub use fallback::FallbackPolicy;
pub use foreign::Foreign;
pub use form::{DescriptionError, check_decision, check_description};
pub use linked::Reused;
pub use load_error::LoadError;
pub use loaded::{Loaded, OnTrial, load};
pub use shape::ShapeError;
pub use specimen::healthy_group;
pub use watch::{Change, FileStamps, Prove, SwapError, Watch, load_file, read_file};
pub use worker::{Stop, StopOnDrop, worker_main};
pub use wrap::wrap;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::{Decision, Observation, Topology, Want};

/// A function from an Observation to a Decision: a component, or the engine compiled natively.
pub trait Policy: Send + Sync {
    /// Name and version: `default 0.1.0`.
    fn title(&self) -> &str;

    /// SHA-256 of the component file, lower-case hex. Names the policy in every plan, event and metric.
    fn digest(&self) -> &str;

    /// The commands that it wants replies to in groups of that topology, beyond the standard ones.
    fn wants(&self, topology: Topology) -> Vec<Want>;

    /// Whether it decides for groups of that topology. One that does not is passed over, which is no fault.
    fn serves(&self, topology: Topology) -> bool;

    /// Whether it can be asked now. False: its worker process is being started again, or it has used up its
    /// share of the groups' time, and the next policy in line is asked instead, which is no fault.
    fn is_ready(&self) -> bool {
        true
    }

    /// The CPU time that its decisions took so far outside of the threads that asked.
    fn cpu(&self) -> Duration {
        Duration::ZERO
    }

    /// Decides, in a fresh instance.
    ///
    /// # Errors
    /// [`PolicyFault`] if the component trapped, exceeded a limit, or gave a malformed decision. No action
    /// may follow; the next policy of the chain is asked about the same Observation.
    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault>;
}

/// Why a policy gave no usable decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
    /// It took too much time.
    #[error("policy exceeded its limit of {limit_ms} ms of CPU time")]
    Time {
        /// The limit.
        limit_ms: u64,
    },
    /// Its worker process gave no answer: it ended, hung, or is being started again.
    #[error("policy gave no answer: {0}")]
    Worker(String),
    /// It asked for more memory than it may have.
    #[error("policy exceeded its memory limit of {limit_bytes} bytes")]
    Memory {
        /// The limit.
        limit_bytes: u64,
    },
    /// Its answer is too large, or not of the contract's types, or breaks a bound of the contract.
    #[error("policy gave a malformed decision: {0}")]
    Malformed(String),
    /// It left a group without one master of all members that answer for too long, and another policy would
    /// act.
    #[error(
        "policy left the group without one master of all members for {hang_limits} hang limits ({reason}), and {next} acts"
    )]
    Idle {
        /// The reason that it gave.
        reason: String,
        /// How long, in hang limits of the group.
        hang_limits: u64,
        /// Name and version of the policy that acts.
        next: String,
    },
    /// It broke hard invariants; the texts of the guard.
    #[error("policy breached the guard: {}", .0.join("; "))]
    Breach(Vec<String>),
}
