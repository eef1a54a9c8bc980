//! The FailoverPolicy resources and their policy chains: fetches the component of each resource, proves it,
//! and only then makes it the live policy of every group that names the resource. A policy that is deleted or
//! refused changes no group: its chain keeps the former policy.

mod asking;
mod prover;
mod reconciler;
mod shadow;
mod shadow_stats;
mod slot;
mod source;

pub use asking::Asking;
pub use shadow::{Shadow, ShadowTarget, Shadows};
pub use source::Sources;

use crate::kubernetes::crd::FailoverPolicy;
use crate::kubernetes::kinds::PolicyReference;
use crate::kubernetes::policies::{PolicyWatchEvent, watch_policies};
use crate::kubernetes::scope::Scope;
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::Key;
use crate::policy::{FallbackPolicy, Loaded, Policy, PolicyChain, Sandbox};
use crate::report::{Metrics, Task, supervise};
use futures_util::StreamExt;
use kube::Client;
use prover::Prover;
use reconciler::reconcile;
use serde_json::{Map, Value};
use slot::PolicySlot;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch::{self, Receiver, Sender};

/// All FailoverPolicy resources that this operator serves.
pub struct Policies {
    client: Client,
    watches: Client,
    sources: Sources,
    prover: Prover,
    defaults: DefaultPolicies,
    /// The policy chain of the groups that name no policy.
    own: Arc<PolicyChain>,
    slots: Mutex<BTreeMap<Key, Arc<PolicySlot>>>,
    /// The number of changes of any assignment so far.
    changes: Sender<u64>,
    metrics: Arc<Metrics>,
}

/// The policies that decide without a FailoverPolicy resource.
pub struct DefaultPolicies {
    /// The embedded policy: the last of every policy chain.
    pub embedded: Arc<Loaded>,
    /// The policy for groups that name none. It may be the embedded policy.
    pub own: Arc<Loaded>,
}

/// The policies and parameters of one resource.
pub struct Assignment {
    /// The policy chain that decides. Groups that name the same policy share it.
    pub chain: Arc<PolicyChain>,
    /// JSON: the policy's defaults, overridden by the resource's `spec.policyParameters`.
    pub parameters: String,
    /// Why another policy than the named one decides. None: the named policy decides, or is being proven.
    pub problem: Option<Problem>,
    /// The shadow. None: the resource names none.
    pub shadow: Option<ShadowTarget>,
}

impl Policies {
    /// Without any FailoverPolicy yet. `client` is for calls, `watches` for watches.
    pub fn new(
        client: Client,
        watches: Client,
        sandbox: Arc<Sandbox>,
        defaults: DefaultPolicies,
        sources: Sources,
        metrics: Arc<Metrics>,
    ) -> Self {
        let DefaultPolicies { embedded, own } = &defaults;
        let chain = if own.digest() == embedded.digest() {
            PolicyChain::new(Arc::clone(own) as Arc<dyn Policy>)
        } else {
            defaults.fallback_chain(false)
        };
        // A new chain has no policy in quarantine.
        drop(chain.swap(Arc::clone(own) as Arc<dyn Policy>));
        let prover = Prover::new(sandbox, Arc::clone(embedded));
        Self {
            client,
            watches,
            sources,
            prover,
            defaults,
            own: Arc::new(chain),
            slots: Mutex::default(),
            changes: Sender::new(0),
            metrics,
        }
    }

    /// Changes whenever an assignment may have changed.
    pub fn changes(&self) -> Receiver<u64> {
        self.changes.subscribe()
    }

    /// The assignment of a resource of that namespace. Its policy chain is never empty, even if the named
    /// policy does not exist.
    pub fn assignment(&self, namespace: &str, reference: &PolicyReference, group: &Asking<'_>) -> Assignment {
        let slot = |name: &String| self.slot(&(namespace.to_owned(), name.clone()));
        let named = reference.name.as_ref().map(slot);
        let parameters = |slot: Option<&Arc<PolicySlot>>| {
            let defaults = slot.map(|slot| slot.parameters()).unwrap_or_default();
            merged(defaults, reference.parameters.as_ref())
        };
        Assignment {
            chain: named.as_ref().map_or_else(|| Arc::clone(&self.own), |slot| Arc::clone(&slot.chain)),
            parameters: parameters(named.as_ref()),
            problem: match &named {
                Some(slot) => slot.problem_of(group),
                None => self.problem_of_own(group),
            },
            shadow: reference
                .shadow
                .as_ref()
                .map(slot)
                .map(|slot| ShadowTarget::new(parameters(Some(&slot)), slot)),
        }
    }

    fn problem_of_own(&self, group: &Asking<'_>) -> Option<Problem> {
        let is_passed_over = !self.own.live().serves(group.topology);
        is_passed_over.then(|| asking::wrong_topology("the operator's own policy", &self.own, group))
    }

    /// Reconciles the policies in the scope until dropped. Only an operator with authority writes their
    /// status.
    pub async fn run(self: Arc<Self>, scope: &Scope, authority: Receiver<bool>) {
        let mut events = watch_policies(&self.watches, scope);
        let mut reconcilers: BTreeMap<Key, Sender<Arc<FailoverPolicy>>> = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                PolicyWatchEvent::Wanted(key, policy) => match *policy {
                    Ok(policy) => self.want(&mut reconcilers, key, Arc::new(policy), &authority),
                    Err(error) => tracing::warn!(
                        namespace = key.0,
                        name = key.1,
                        error,
                        "could not parse the policy, kept its last version"
                    ),
                },
                PolicyWatchEvent::Unwanted(key) => self.forget(&mut reconcilers, &key),
            }
        }
    }

    fn want(
        self: &Arc<Self>,
        reconcilers: &mut BTreeMap<Key, Sender<Arc<FailoverPolicy>>>,
        key: Key,
        policy: Arc<FailoverPolicy>,
        authority: &Receiver<bool>,
    ) {
        match reconcilers.get(&key) {
            Some(reconciler) => drop(reconciler.send_replace(policy)),
            None => {
                let slot = self.slot(&key);
                slot.created();
                self.changed();
                let (reconciler, wanted) = watch::channel(policy);
                let (policies, authority) = (Arc::clone(self), authority.clone());
                // The task ends when its sender is dropped.
                tokio::spawn(async move {
                    let of = format!("{}/{}", slot.key.0, slot.key.1);
                    let start = || {
                        reconcile(Arc::clone(&policies), Arc::clone(&slot), wanted.clone(), authority.clone())
                    };
                    supervise(Task::Policy, &of, &policies.metrics, start).await;
                });
                reconcilers.insert(key, reconciler);
            }
        }
    }

    /// The chain keeps the policy's last version, for the groups that still name it.
    fn forget(&self, reconcilers: &mut BTreeMap<Key, Sender<Arc<FailoverPolicy>>>, key: &Key) {
        reconcilers.remove(key);
        let mut slots = self.slots();
        if let Some(slot) = slots.get(key) {
            slot.deleted();
            tracing::info!(
                namespace = key.0,
                name = key.1,
                "policy deleted, kept its last version for the groups that name it"
            );
            // No group uses it: the references left are this map's, and those of the ending reconciler and
            // its task.
            if Arc::strong_count(&slot.chain) == 1 && Arc::strong_count(slot) <= 3 {
                slots.remove(key);
            }
        }
        drop(slots);
        self.changed();
    }

    fn slot(&self, key: &Key) -> Arc<PolicySlot> {
        let new = || Arc::new(PolicySlot::new(key.clone(), || self.defaults.fallback_chain(true)));
        Arc::clone(self.slots().entry(key.clone()).or_insert_with(new))
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<PolicySlot>>> {
        // No code that holds the lock panics halfway through a change.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DefaultPolicies {
    /// A policy chain for a FailoverPolicy without a proven version: the default policies as fallbacks.
    fn fallback_chain(&self, with_own: bool) -> PolicyChain {
        let chain = PolicyChain::new(Arc::new(FallbackPolicy::new(Arc::clone(&self.embedded))));
        if with_own && self.own.digest() != self.embedded.digest() {
            // A new chain has no policy in quarantine.
            drop(chain.swap(Arc::new(FallbackPolicy::new(Arc::clone(&self.own)))));
        }
        chain
    }
}

/// A policy's default parameters, each overridden by the resource's parameter of the same name.
fn merged(mut parameters: Map<String, Value>, of_the_resource: Option<&Value>) -> String {
    match of_the_resource {
        Some(Value::Object(own)) => parameters.extend(own.clone()),
        // The schema admits only objects; the policy rejects anything else.
        Some(other) if parameters.is_empty() => return other.to_string(),
        Some(_) | None => {}
    }
    Value::Object(parameters).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_of_the_resource_override_those_of_the_policy_by_name() {
        let defaults = || json!({ "order": "data-first", "discard": ["a"] }).as_object().unwrap().clone();
        assert_eq!(
            merged(defaults(), Some(&json!({ "discard": [] }))),
            r#"{"discard":[],"order":"data-first"}"#
        );
        assert_eq!(merged(defaults(), None), r#"{"discard":["a"],"order":"data-first"}"#);
        assert_eq!(merged(Map::new(), None), "{}");
    }
}
