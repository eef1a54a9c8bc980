//! Loads and proves components, each digest once, on blocking threads and in worker processes. A proof waits
//! for no other one, but for a bound on all of them, and ends when nobody waits for it any more.

use super::slot::Refusal;
use crate::conformance::prove;
use crate::contract::Topology;
use crate::policy::{Loaded, Policy, Sandbox, Stop, StopOnDrop, digest_of, load};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Proves components.
pub struct Prover {
    sandbox: Arc<Sandbox>,
    /// Proven components, the newest last.
    proven: Mutex<Vec<Arc<Loaded>>>,
    turns: Arc<Semaphore>,
    /// By namespace: so that the bad policies of one hold up none of another.
    of_namespaces: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Prover {
    /// Starts with the embedded policy as proven: the build has proven it.
    pub fn new(sandbox: Arc<Sandbox>, embedded: Arc<Loaded>) -> Self {
        let turns = Arc::new(Semaphore::new(PROOFS_AT_ONCE));
        Self { sandbox, proven: Mutex::new(vec![embedded]), turns, of_namespaces: Mutex::default() }
    }

    /// Loads and proves the component in `bytes` for a FailoverPolicy of that namespace. Dropping the future
    /// ends the proof.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn prove(&self, namespace: &str, bytes: Vec<u8>) -> Result<Arc<Loaded>, Refusal> {
        let digest = digest_of(&bytes);
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let stop = StopOnDrop::default();
        let (sandbox, token) = (Arc::clone(&self.sandbox), stop.token());
        // The semaphores are never closed. First the namespace's own: what waits there takes no turn of
        // others.
        let own = self.of_namespace(namespace).acquire_owned().await;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let proof = move || {
            let _turns = (own, turn);
            load_proven(&sandbox, &bytes, &token)
        };
        // A panic in a check counts as a failed proof of the component.
        let verdict = tokio::task::spawn_blocking(proof)
            .await
            .unwrap_or_else(|error| Err(("Unproven", error.to_string())));
        match verdict {
            Ok(policy) => Ok(self.keep(policy)),
            Err((reason, message)) => Err(Refusal { digest: Some(digest), reason, message }),
        }
    }

    fn of_namespace(&self, namespace: &str) -> Arc<Semaphore> {
        // No code that holds the lock panics halfway through a change.
        let mut all = self.of_namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that no proof holds or waits for.
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        let new = || Arc::new(Semaphore::new(OF_A_NAMESPACE_AT_ONCE));
        Arc::clone(all.entry(namespace.to_owned()).or_insert_with(new))
    }

    fn known(&self, digest: &str) -> Option<Arc<Loaded>> {
        self.proven().iter().find(|known| known.digest() == digest).cloned()
    }

    /// Of two proofs of one file the first counts, so that its groups share a worker process.
    fn keep(&self, policy: Loaded) -> Arc<Loaded> {
        if let Some(known) = self.known(policy.digest()) {
            return known;
        }
        let policy = Arc::new(policy);
        let mut proven = self.proven();
        if proven.len() == PROVEN_MAX {
            proven.remove(0);
        }
        proven.push(Arc::clone(&policy));
        policy
    }

    fn proven(&self) -> MutexGuard<'_, Vec<Arc<Loaded>>> {
        // No code that holds the lock panics halfway through a change.
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load_proven(sandbox: &Arc<Sandbox>, bytes: &[u8], stop: &Stop) -> Result<Loaded, (&'static str, String)> {
    let policy = load(sandbox, bytes, stop).map_err(|error| ("NoPolicy", error.to_string()))?;
    if !policy.about().description.topologies.contains(&Topology::Replication) {
        return Err(("WrongTopology", format!("{} does not decide for replication groups", policy.title())));
    }
    prove(&policy.on_trial(stop)).map_err(|why| {
        ("Unproven", format!("the policy failed its proof: {why}; redis-operator policy check shows all"))
    })?;
    policy.keep(sandbox);
    Ok(policy)
}

/// The compiled code of each proven component stays in memory, and its worker process for some minutes.
const PROVEN_MAX: usize = 16;
/// Each may take the memory that compilation may take, and a core, though behind every group.
const PROOFS_AT_ONCE: usize = 4;
/// One that is being ended, and the one in its place.
const OF_A_NAMESPACE_AT_ONCE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{EMBEDDED, embedded};

    #[tokio::test]
    async fn bytes_that_are_no_policy_are_refused_with_their_digest_and_the_embedded_policy_is_known() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let embedded = Arc::new(Loaded::Embedded(embedded(&sandbox).unwrap()));
        let prover = Prover::new(sandbox, Arc::clone(&embedded));
        assert!(Arc::ptr_eq(&prover.prove("shop", EMBEDDED.to_vec()).await.unwrap(), &embedded));
        let refusal = prover.prove("shop", b"no wasm".to_vec()).await.err().unwrap();
        assert_eq!((refusal.reason, refusal.digest), ("NoPolicy", Some(digest_of(b"no wasm"))));
    }

    #[tokio::test]
    async fn the_proofs_of_one_namespace_take_no_turn_of_another() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let embedded = Arc::new(Loaded::Embedded(embedded(&sandbox).unwrap()));
        let prover = Prover::new(sandbox, embedded);
        let held = [prover.of_namespace("bad"), prover.of_namespace("bad")];
        let turns = [held[0].try_acquire().unwrap(), held[1].try_acquire().unwrap()];
        assert!(prover.of_namespace("bad").try_acquire().is_err(), "it has two");
        let refused = prover.prove("shop", b"no wasm".to_vec()).await;
        assert_eq!(refused.err().unwrap().reason, "NoPolicy");
        drop(turns);
        drop(held);
        assert_eq!(prover.of_namespace("bad").available_permits(), 2);
    }
}
