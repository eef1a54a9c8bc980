//! Compiled code with the interface of a policy, ready to be called. This ensures:
//!
//! - Each call runs in a fresh, bounded instance, so no state passes from one decision to the next.
//! - It is linked with an empty linker: a component with an import is refused, and the error names the
//!   import.

use std::sync::Arc;

use wasmtime::component::{Component as Code, Linker};
use wasmtime::{Engine, Store};

use super::component::POLICY;
use super::engine::{Admission, Sandbox};
use super::form::check_decision;
use super::limits::{self, Limits};
use super::load_error::LoadError;
use super::proposals::{self, Unusable};
use super::shape::{self, Unfit};
use super::{PolicyFault, bounds};
use crate::contract::{Decision, Description, FailoverPolicy, FailoverPolicyPre, Observation};

/// A component that can be called.
pub(super) struct Linked {
    sandbox: Arc<Sandbox>,
    pre: FailoverPolicyPre<Limits>,
    exports: Vec<String>,
}

impl Linked {
    /// Of compiled code.
    ///
    /// # Errors
    /// [`LoadError::Imports`], [`LoadError::World`], [`LoadError::Types`].
    pub fn new(sandbox: &Arc<Sandbox>, code: &Code) -> Result<Self, LoadError> {
        let engine = &sandbox.engine;
        let shape = code.component_type();
        let names = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect::<Vec<_>>();
        let imports = names(&mut shape.imports(engine).map(|(name, _)| name));
        let exports = names(&mut shape.exports(engine).map(|(name, _)| name));
        check_world(&imports, &exports)?;
        let types = |error: wasmtime::Error| LoadError::Types(limits::one_line(&error));
        let pre = FailoverPolicyPre::new(Linker::new(engine).instantiate_pre(code).map_err(types)?)
            .map_err(types)?;
        Ok(Self { sandbox: Arc::clone(sandbox), pre, exports })
    }

    /// The names of its exports, with versions.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// Its answer is not checked.
    pub fn describe(&self) -> Result<Description, PolicyFault> {
        let _admission = self.sandbox.admit();
        let mut store = limits::store(&self.sandbox.engine, 0);
        let instance = instantiate(&mut store, &self.pre, 0).map_err(describe_fault)?;
        instance
            .redis_failover_policy_policy()
            .call_describe(&mut store)
            .map_err(|error| describe_fault(limits::fault(&error, 0)))
    }

    pub fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let members = observation.instances.len();
        let _admission = self.sandbox.admit();
        let mut store = limits::store(&self.sandbox.engine, members);
        let instance = instantiate(&mut store, &self.pre, members)?;
        call(&mut store, &instance, observation)
    }

    pub fn reused(&self) -> Result<Reused<'_>, PolicyFault> {
        let admission = self.sandbox.admit();
        let mut store = limits::store(&self.sandbox.engine, 0);
        let instance = instantiate(&mut store, &self.pre, 0)?;
        Ok(Reused { store, instance, _admission: admission })
    }
}

/// An instance for many decisions; see [`super::Component::reused`].
pub struct Reused<'a> {
    store: Store<Limits>,
    instance: FailoverPolicy,
    _admission: Admission<'a>,
}

impl Reused<'_> {
    /// Decides in the same instance as before. After a fault every call fails.
    ///
    /// # Errors
    /// As [`super::Policy::decide`].
    pub fn decide(&mut self, observation: &Observation) -> Result<Decision, PolicyFault> {
        limits::refuel(&mut self.store, observation.instances.len());
        call(&mut self.store, &self.instance, observation)
    }
}

/// Checks everything that can be known of a component before it is compiled.
///
/// # Errors
/// [`LoadError`], in the order of its variants.
pub(super) fn check(component: &[u8]) -> Result<(), LoadError> {
    let border = shape::survey(component).map_err(|unfit| match unfit {
        Unfit::Shape(error) => LoadError::Shape(error),
        Unfit::Unreadable(why) => LoadError::Invalid(why),
    })?;
    proposals::check(component).map_err(|unusable| match unusable {
        Unusable::Proposal(name) => LoadError::Proposal(name.to_ascii_lowercase().replace('_', "-")),
        Unusable::Invalid(why) => LoadError::Invalid(why),
    })?;
    check_world(&border.imports, &border.exports)
}

/// Compiles a component after its checks.
///
/// # Errors
/// [`LoadError`].
pub(super) fn compile(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    check(component)?;
    engine.precompile_component(component).map_err(|error| LoadError::Invalid(limits::one_line(&error)))
}

/// Checks that there is no import, and the right export.
fn check_world(imports: &[String], exports: &[String]) -> Result<(), LoadError> {
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports.to_vec()));
    }
    // As wasmtime links: every version 0.2.z of the contract is compatible.
    let family = POLICY.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if exports.iter().any(|name| name.starts_with(family)) {
        Ok(())
    } else {
        Err(LoadError::World(exports.to_vec()))
    }
}

/// It has more time than a decision.
fn describe_fault(fault: PolicyFault) -> PolicyFault {
    if matches!(fault, PolicyFault::Time { .. }) {
        return PolicyFault::Time { limit_ms: bounds::millis(bounds::DESCRIBE_CPU) };
    }
    fault
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
        | PolicyFault::Time { .. }
        | PolicyFault::Memory { .. }
        | PolicyFault::Worker(_)
        | PolicyFault::Idle { .. }
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
