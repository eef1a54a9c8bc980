//! Loads and proves components, on a blocking thread, one at a time, each digest once.

use super::slot::Refusal;
use crate::conformance::prove;
use crate::contract::Topology;
use crate::policy::{Component, Policy, Sandbox, digest_of};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Proves components.
pub struct Prover {
    sandbox: Arc<Sandbox>,
    /// Proven components, the newest last. Locked while a component is being proven.
    proven: Mutex<Vec<Arc<Component>>>,
}

impl Prover {
    /// Starts with the embedded policy as proven: the build has proven it.
    pub fn new(sandbox: Arc<Sandbox>, embedded: Arc<Component>) -> Self {
        Self { sandbox, proven: Mutex::new(vec![embedded]) }
    }

    /// Loads and proves the component in `bytes`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn prove(&self, bytes: Vec<u8>) -> Result<Arc<Component>, Refusal> {
        let digest = digest_of(&bytes);
        let mut proven = self.proven.lock().await;
        if let Some(known) = proven.iter().find(|known| known.digest() == digest) {
            return Ok(Arc::clone(known));
        }
        let sandbox = Arc::clone(&self.sandbox);
        // A panic in a check counts as a failed proof of the component.
        let verdict = tokio::task::spawn_blocking(move || load(&sandbox, &bytes))
            .await
            .unwrap_or_else(|error| Err(("Unproven", error.to_string())));
        let component = Arc::new(verdict.map_err(|(reason, message)| Refusal {
            digest: Some(digest),
            reason,
            message,
        })?);
        if proven.len() == PROVEN_MAX {
            proven.remove(0);
        }
        proven.push(Arc::clone(&component));
        Ok(component)
    }
}

fn load(sandbox: &Arc<Sandbox>, bytes: &[u8]) -> Result<Component, (&'static str, String)> {
    let component = Component::load(sandbox, bytes).map_err(|error| ("NoPolicy", error.to_string()))?;
    if !component.description().topologies.contains(&Topology::Replication) {
        return Err((
            "WrongTopology",
            format!("{} does not decide for replication groups", component.title()),
        ));
    }
    prove(&component).map_err(|why| {
        ("Unproven", format!("the policy failed its proof: {why}; redis-operator policy check shows all"))
    })?;
    Ok(component)
}

/// The compiled code of each proven component stays in memory.
const PROVEN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{EMBEDDED, embedded};

    #[tokio::test]
    async fn bytes_that_are_no_policy_are_refused_with_their_digest_and_the_embedded_policy_is_known() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let embedded = Arc::new(embedded(&sandbox).unwrap());
        let prover = Prover::new(sandbox, Arc::clone(&embedded));
        assert!(Arc::ptr_eq(&prover.prove(EMBEDDED.to_vec()).await.unwrap(), &embedded));
        let refusal = prover.prove(b"no wasm".to_vec()).await.err().unwrap();
        assert_eq!((refusal.reason, refusal.digest), ("NoPolicy", Some(digest_of(b"no wasm"))));
    }
}
