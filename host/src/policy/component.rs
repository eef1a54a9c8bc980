//! A policy that is a WebAssembly component. This ensures:
//!
//! - Each decision runs in a fresh, bounded instance, so no state passes from one decision to the next.
//! - The component is compiled once, and never on the decision path.
//! - It runs with an empty linker: a component with an import is refused, and the error names the import.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

use super::engine::{Admission, Sandbox};
use super::form::{DescriptionError, check_decision, check_description};
use super::limits::{self, Limits};
use super::proposals::{self, Unusable};
use super::{Policy, PolicyFault};
use crate::contract::{
    Decision, Description, FailoverPolicy, FailoverPolicyPre, Observation, Topology, Want,
};

/// A component with the interface of a policy. Its decisions are not checked yet.
pub struct Component {
    sandbox: Arc<Sandbox>,
    pre: FailoverPolicyPre<Limits>,
    digest: String,
    title: String,
    size_bytes: usize,
    exports: Vec<String>,
    description: Description,
}

/// Why a file is no policy. Every text is one line and ends with the way out.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Larger than any known tool chain makes.
    #[error(
        "it has more than {COMPONENT_BYTES_MAX} bytes; strip it, or use a tool chain with smaller output"
    )]
    TooLarge,
    /// Native code; it would run outside the sandbox.
    #[error(
        "it is precompiled native code, which is never run; use the .wasm component that it was compiled from"
    )]
    Precompiled,
    /// Not WebAssembly.
    #[error("it is not a WebAssembly component; build one for {POLICY} (see `redis-operator policy --help`)")]
    NotWasm,
    /// A core module.
    #[error(
        "it is a core module, not a component; wrap it with `redis-operator policy wrap FILE --output \
         COMPONENT`"
    )]
    CoreModule,
    /// It has the header of a component, but is invalid.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// It uses a proposal that no compiler for Rust, C or JavaScript needs.
    #[error(
        "it uses the WebAssembly proposal {0}, but a policy may use only those of WebAssembly 2.0 and \
         extended-const; build it without {0}"
    )]
    Proposal(String),
    /// It is not pure.
    #[error(
        "it imports {}, and a policy imports nothing; build it without WASI, for example for \
         wasm32-unknown-unknown",
        .0.join(", ")
    )]
    Imports(Vec<String>),
    /// It is a component for something else, or for another version of the contract.
    #[error(
        "it exports {}, and a policy exports {POLICY}",
        if .0.is_empty() { "nothing".into() } else { .0.join(", ") }
    )]
    World(Vec<String>),
    /// The right name with other types.
    #[error("it exports {POLICY} with other types than this version has: {0}")]
    Types(String),
    /// `describe` failed.
    #[error("its function describe failed: {0}")]
    Describe(#[source] PolicyFault),
    /// `describe` gave an invalid answer.
    #[error("its function describe gave an invalid answer: {0}")]
    Description(#[from] DescriptionError),
}

impl Component {
    /// Makes a policy from the bytes of a component file. Compiles, unless the sandbox's cache has the code:
    /// 0.1 s for the embedded one, a minute for an interpreter. Never call it on the decision path.
    ///
    /// # Errors
    /// [`LoadError`], in the order of its variants.
    pub fn load(sandbox: &Arc<Sandbox>, bytes: &[u8]) -> Result<Component, LoadError> {
        check_kind(bytes)?;
        proposals::check(bytes).map_err(|unusable| match unusable {
            Unusable::Proposal(name) => LoadError::Proposal(name.to_ascii_lowercase().replace('_', "-")),
            Unusable::Invalid(why) => LoadError::Invalid(why),
        })?;
        let digest = digest_of(bytes);
        let engine = &sandbox.engine;
        let code = match &sandbox.cache {
            Some(cache) => cache.component(engine, &digest, bytes),
            None => wasmtime::component::Component::from_binary(engine, bytes),
        };
        let code = code.map_err(|error| LoadError::Invalid(limits::one_line(&error)))?;
        let exports = check_world(engine, &code)?;
        let types = |error: wasmtime::Error| LoadError::Types(limits::one_line(&error));
        let pre = FailoverPolicyPre::new(Linker::new(engine).instantiate_pre(&code).map_err(types)?)
            .map_err(types)?;
        let description = describe(sandbox, &pre).map_err(LoadError::Describe)?;
        check_description(&description)?;
        let title = format!("{} {}", description.name, description.version);
        Ok(Component {
            sandbox: Arc::clone(sandbox),
            pre,
            digest,
            title,
            size_bytes: bytes.len(),
            exports,
            description,
        })
    }

    /// The answer of its `describe`.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The size of its file.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The names of its exports, with versions. It has no imports.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// One instance for many decisions, to measure the cost of a fresh one. Never use it to decide: state in
    /// its memory would make a decision depend on earlier ones.
    ///
    /// # Errors
    /// [`PolicyFault`] if it cannot be instantiated.
    pub fn reused(&self) -> Result<Reused<'_>, PolicyFault> {
        let admission = self.sandbox.admit();
        let mut store = limits::store(&self.sandbox.engine, 0);
        let instance = instantiate(&mut store, &self.pre, 0)?;
        Ok(Reused { store, instance, _admission: admission })
    }
}

impl Policy for Component {
    fn title(&self) -> &str {
        &self.title
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.description.wants.iter().filter(|want| want.topology == topology).cloned().collect()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let members = observation.instances.len();
        let _admission = self.sandbox.admit();
        let mut store = limits::store(&self.sandbox.engine, members);
        let instance = instantiate(&mut store, &self.pre, members)?;
        call(&mut store, &instance, observation)
    }
}

/// An instance for many decisions; see [`Component::reused`].
pub struct Reused<'a> {
    store: Store<Limits>,
    instance: FailoverPolicy,
    _admission: Admission<'a>,
}

impl Reused<'_> {
    /// Decides in the same instance as before. After a fault every call fails.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    pub fn decide(&mut self, observation: &Observation) -> Result<Decision, PolicyFault> {
        limits::refuel(&mut self.store, observation.instances.len());
        call(&mut self.store, &self.instance, observation)
    }
}

fn describe(sandbox: &Sandbox, pre: &FailoverPolicyPre<Limits>) -> Result<Description, PolicyFault> {
    let _admission = sandbox.admit();
    let mut store = limits::store(&sandbox.engine, 0);
    let instance = instantiate(&mut store, pre, 0)?;
    instance
        .redis_failover_policy_policy()
        .call_describe(&mut store)
        .map_err(|error| limits::fault(&error, 0))
}

fn instantiate(
    store: &mut Store<Limits>,
    pre: &FailoverPolicyPre<Limits>,
    members: usize,
) -> Result<FailoverPolicy, PolicyFault> {
    pre.instantiate(&mut *store).map_err(|error| match limits::fault(&error, members) {
        PolicyFault::Malformed(why) => PolicyFault::Trap(why),
        fault @ (PolicyFault::Trap(_)
        | PolicyFault::Fuel { .. }
        | PolicyFault::Memory { .. }
        | PolicyFault::Breach(_)) => fault,
    })
}

fn call(
    store: &mut Store<Limits>,
    instance: &FailoverPolicy,
    observation: &Observation,
) -> Result<Decision, PolicyFault> {
    let decision = instance.redis_failover_policy_policy().call_decide(&mut *store, observation);
    let decision = decision.map_err(|error| limits::fault(&error, observation.instances.len()))?;
    check_decision(observation, &decision).map_err(PolicyFault::Malformed)?;
    Ok(decision)
}

/// Checks size and kind of a file by its first bytes, before any expensive step.
fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge);
    }
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Precompiled);
    }
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => Err(LoadError::CoreModule),
        Some(_) | None => Err(LoadError::NotWasm),
    }
}

/// Checks that there is no import, and the right export. Returns the names of all exports.
fn check_world(engine: &Engine, code: &wasmtime::component::Component) -> Result<Vec<String>, LoadError> {
    let shape = code.component_type();
    let imports: Vec<String> = shape.imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports));
    }
    let exports: Vec<String> = shape.exports(engine).map(|(name, _)| name.to_owned()).collect();
    // As wasmtime links: every version 0.2.z of the contract is compatible.
    let family = POLICY.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if exports.iter().any(|name| name.starts_with(family)) {
        Ok(exports)
    } else {
        Err(LoadError::World(exports))
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
