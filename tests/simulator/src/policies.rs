//! The policies that decide in a run.

use anyhow::Context;
use redis_operator::contract::{Decision, Observation, Topology, Want};
use redis_operator::policy::{Component, Policy, PolicyChain, PolicyFault, Sandbox, embedded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

/// The embedded policy, as the product asks it.
///
/// # Errors
/// A machine that runs no WebAssembly.
pub fn embedded_policy() -> anyhow::Result<Arc<PolicyChain>> {
    let sandbox = Arc::new(Sandbox::new(None)?);
    Ok(Arc::new(PolicyChain::new(Arc::new(embedded(&sandbox)?))))
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
