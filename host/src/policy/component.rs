//! A policy that is a WebAssembly component: loaded once, then a fresh, bounded instance for every decision,
//! so that nothing is carried from one to the next. It runs with an empty linker; a component that imports
//! anything is refused by name.

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

/// A component that was found to be a policy. What it decides is not proven yet.
pub struct Component {
    sandbox: Arc<Sandbox>,
    pre: FailoverPolicyPre<Limits>,
    digest: String,
    title: String,
    size_bytes: usize,
    exports: Vec<String>,
    description: Description,
}

/// Why a file is no policy. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Beyond what any known tool chain makes.
    #[error(
        "it has more than {COMPONENT_BYTES_MAX} bytes; strip it, or use a tool chain that makes smaller ones"
    )]
    TooLarge,
    /// Native code; it would run outside the sandbox.
    #[error(
        "it is precompiled native code, which is never run; give the .wasm component that it was made from"
    )]
    Precompiled,
    /// Not WebAssembly.
    #[error("it is no WebAssembly component; build one for {POLICY} (see `redis-operator policy --help`)")]
    NotWasm,
    /// A core module.
    #[error(
        "it is a core module, not a component; wrap it with `redis-operator policy wrap FILE --output \
         COMPONENT`"
    )]
    CoreModule,
    /// It has the header of a component, and then is none.
    #[error("it is no valid component: {0}")]
    Invalid(String),
    /// It uses what no compiler for Rust, C or JavaScript needs, and the engine therefore does not run.
    #[error(
        "it uses the WebAssembly proposal {0}, and a policy may use those of WebAssembly 2.0 and \
         extended-const only; build it without"
    )]
    Proposal(String),
    /// It is not pure.
    #[error("it imports {}, and a policy imports nothing; build it without WASI, for example for wasm32-unknown-unknown", .0.join(", "))]
    Imports(Vec<String>),
    /// It is a component for something else, or for another version of the contract.
    #[error("it exports {}, and a policy exports {POLICY}", if .0.is_empty() { "nothing".into() } else { .0.join(", ") })]
    World(Vec<String>),
    /// The right name with other types behind it.
    #[error("it exports {POLICY} with other types than this version has: {0}")]
    Types(String),
    /// `describe` gave no answer.
    #[error("it cannot describe itself: {0}")]
    Describe(#[source] PolicyFault),
    /// `describe` gave an unusable answer.
    #[error("it describes itself wrongly: {0}")]
    Description(#[from] DescriptionError),
}

impl Component {
    /// Makes a policy of the bytes of a component file. Compiles, unless the sandbox's cache has the code:
    /// 0.1 s for the embedded one, a minute for an interpreter. Keep it off the decision path.
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

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The size of its file.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The names of what it exports, with versions. It imports nothing.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// One instance for many decisions, to measure what a fresh one costs. Never use it to decide: what a
    /// policy keeps in its memory would make the answer depend on history.
    ///
    /// # Errors
    /// [`PolicyFault`] when it cannot be instantiated.
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

/// An instance that is asked again and again; see [`Component::reused`].
pub struct Reused<'a> {
    store: Store<Limits>,
    instance: FailoverPolicy,
    _admission: Admission<'a>,
}

impl Reused<'_> {
    /// Answers in the same instance as before. After a fault it answers no more.
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

/// What kind of file it is, by its first bytes; before anything expensive.
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

/// No imports, and the right export. Returns the names of all exports.
fn check_world(engine: &Engine, code: &wasmtime::component::Component) -> Result<Vec<String>, LoadError> {
    let shape = code.component_type();
    let imports: Vec<String> = shape.imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports));
    }
    let exports: Vec<String> = shape.exports(engine).map(|(name, _)| name.to_owned()).collect();
    // As wasmtime links them: every 0.2.z of the contract is this one.
    let family = POLICY.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if exports.iter().any(|name| name.starts_with(family)) {
        Ok(exports)
    } else {
        Err(LoadError::World(exports))
    }
}

/// SHA-256 of a component file, as [`Policy::digest`] has it.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The interface that makes a component a policy, with the version that this host serves.
pub const POLICY: &str = "redis-failover:policy/policy@0.2.0";

/// The world of `wit/failover.wit`: that export, and no import.
pub const POLICY_WORLD: &str = "redis-failover:policy/failover-policy@0.2.0";

/// Python's, the largest known, have 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
