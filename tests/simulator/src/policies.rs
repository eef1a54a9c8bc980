//! The policies that decide in a run.

use anyhow::Context;
use redis_operator::contract::{Decision, Observation, Topology, Want};
use redis_operator::policy::{Component, Policy, PolicyChain, PolicyFault, Reused, Sandbox, embedded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The embedded policy, as the product asks it.
///
/// # Errors
/// A machine that runs no WebAssembly.
pub fn embedded_policy() -> anyhow::Result<Arc<PolicyChain>> {
    let sandbox = Arc::new(Sandbox::new(None)?);
    Ok(Arc::new(PolicyChain::new(Arc::new(embedded(&sandbox)?))))
}

/// The same component, whose instances decide again and again: a fresh one is half of the cost of a decision.
/// For many schedules; what a decision turns on is in the observation alone, which `policy check` proves.
///
/// # Errors
/// A machine that runs no WebAssembly.
pub fn kept_embedded_policy() -> anyhow::Result<Arc<PolicyChain>> {
    let sandbox = Arc::new(Sandbox::new(None)?);
    // One for the whole of the process.
    let component: &'static Component = Box::leak(Box::new(embedded(&sandbox)?));
    Ok(Arc::new(PolicyChain::new(Arc::new(Kept { component, instances: Mutex::default() }))))
}

struct Kept {
    component: &'static Component,
    instances: Mutex<Vec<Reused<'static>>>,
}

impl Kept {
    fn instances(&self) -> MutexGuard<'_, Vec<Reused<'static>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policy for Kept {
    fn title(&self) -> &str {
        self.component.title()
    }

    fn digest(&self) -> &str {
        self.component.digest()
    }

    fn serves(&self, topology: Topology) -> bool {
        self.component.serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.component.wants(topology)
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let kept = self.instances().pop();
        let mut instance = match kept {
            Some(instance) => instance,
            None => self.component.reused()?,
        };
        let decision = instance.decide(observation)?;
        self.instances().push(instance);
        Ok(decision)
    }
}

/// A component file, alone: no other policy is asked after a fault.
///
/// # Errors
/// A file that is no policy.
pub fn policy_of_file(path: &Path) -> anyhow::Result<Arc<PolicyChain>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let sandbox = Arc::new(Sandbox::new(None)?);
    Ok(Arc::new(PolicyChain::new(Arc::new(Component::load(&sandbox, &bytes)?))))
}

/// The engine, compiled into this program, so that one of its rules can be left out at run time.
pub fn native_engine() -> Arc<PolicyChain> {
    Arc::new(PolicyChain::new(Arc::new(Native)))
}

/// The engine, compiled into this program.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Policy for Native {
    fn title(&self) -> &str {
        "engine"
    }

    fn digest(&self) -> &str {
        "engine"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        let wants: Vec<Want> = same(&failover_core::describe().wants);
        wants.into_iter().filter(|want| want.topology == topology).collect()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        Ok(same(&failover_core::decide(&same(observation))))
    }
}

/// The same record in the other family of generated types: both are generated from one WIT, field by field.
fn same<T: Serialize, U: DeserializeOwned>(record: &T) -> U {
    let bytes = postcard::to_allocvec(record).expect("generated types can be written");
    postcard::from_bytes(&bytes).expect("both families are generated from one WIT")
}
