//! A policy that runs inside this process: the embedded one, and in a worker process the foreign one. It is
//! compiled once, and never on the decision path.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component as Code;

use super::about::About;
use super::engine::Sandbox;
use super::limits;
use super::linked::{self, Linked, Reused};
use super::load_error::{LoadError, check_kind};
use super::{Policy, PolicyFault};
use crate::contract::{Decision, Observation, Topology, Want};

/// A component with the interface of a policy, inside this process. Its decisions are not checked yet.
pub struct Component {
    linked: Linked,
    about: About,
}

impl Component {
    /// Makes a policy from the bytes of a component file, inside this process: for the embedded policy, and
    /// for tests. A foreign one is [`super::load`]ed into a process of its own. Compiles: never call it on
    /// the decision path.
    ///
    /// # Errors
    /// [`LoadError`], in the order of its variants.
    pub fn load(sandbox: &Arc<Sandbox>, bytes: &[u8]) -> Result<Component, LoadError> {
        check_kind(bytes)?;
        linked::check(bytes)?;
        let code = Code::from_binary(&sandbox.engine, bytes);
        let code = code.map_err(|error| LoadError::Invalid(limits::one_line(&error)))?;
        Self::of_code(sandbox, bytes, &code)
    }

    /// Makes a policy from the bytes of a checked component file and the code that was compiled from them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(super) fn of_code(sandbox: &Arc<Sandbox>, bytes: &[u8], code: &Code) -> Result<Component, LoadError> {
        let digest = digest_of(bytes);
        let linked = Linked::new(sandbox, code)?;
        let description = linked.describe().map_err(LoadError::Describe)?;
        let about = About::new(digest, bytes.len(), linked.exports().to_vec(), description)?;
        Ok(Component { linked, about })
    }

    /// What is known of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// One instance for many decisions, to measure the cost of a fresh one. Never use it to decide: state in
    /// its memory would make a decision depend on earlier ones.
    ///
    /// # Errors
    /// [`PolicyFault`] if it cannot be instantiated.
    pub fn reused(&self) -> Result<Reused<'_>, PolicyFault> {
        self.linked.reused()
    }
}

impl Policy for Component {
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

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        self.linked.decide(observation)
    }
}

/// SHA-256 of a component file, as in [`Policy::digest`].
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The interface that makes a component a policy, with the version that this host serves.
pub const POLICY: &str = "redis-failover:policy/policy@0.2.0";

/// The world of `wit/failover.wit`: that export and no import.
pub const POLICY_WORLD: &str = "redis-failover:policy/failover-policy@0.2.0";

/// The largest known components, made from Python, have 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
