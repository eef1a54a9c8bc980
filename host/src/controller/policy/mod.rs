//! One book of policies, by FailoverPolicy resource: loads what each names, has it proven, and only then puts
//! it in front of the line of every group that names it. Whatever happens to a policy, its groups go on with
//! what they had.

mod prover;
mod reconciler;
mod shadow;
mod shadow_stats;
mod slot;
mod source;

pub use shadow::{Shadow, ShadowTarget, Shadows};

use crate::kubernetes::crd::{FailoverPolicy, Redis};
use crate::kubernetes::policies::{PolicyWatchEvent, watch_policies};
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::Key;
use crate::policy::{Component, FallbackPolicy, Policy, PolicyChain, Sandbox};
use crate::registry::Remote;
use futures_util::StreamExt;
use kube::{Client, ResourceExt};
use prover::Prover;
use reconciler::keep;
use serde_json::{Map, Value};
use slot::PolicySlot;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch::{self, Receiver, Sender};

/// The book.
pub struct Policies {
    client: Client,
    watches: Client,
    remote: Remote,
    prover: Prover,
    chosen: Chosen,
    /// Of groups that name no policy.
    own: Arc<PolicyChain>,
    slots: Mutex<BTreeMap<Key, Arc<PolicySlot>>>,
    /// Counts changes of what any group should have.
    changes: Sender<u64>,
}

/// Who decides without any resource.
pub struct Chosen {
    /// The one that every operator carries, when all others fail.
    pub embedded: Arc<Component>,
    /// For whoever names none. It may be the same.
    pub own: Arc<Component>,
}

/// What a Redis resource gets by what it names.
pub struct Assignment {
    /// Who decides. Shared with all others that name the same.
    pub line: Arc<PolicyChain>,
    /// What it is told: the policy's defaults, and what the resource says before them.
    pub parameters: String,
    /// Why somebody else than who is named decides.
    pub problem: Option<Problem>,
    /// Who is asked beside.
    pub shadow: Option<ShadowTarget>,
}

impl Policies {
    /// A book without policies. `client` is for calls, `watches` for watches.
    pub fn new(
        client: Client,
        watches: Client,
        sandbox: Arc<Sandbox>,
        chosen: Chosen,
        remote: Remote,
    ) -> Self {
        let Chosen { embedded, own } = &chosen;
        let line = if own.digest() == embedded.digest() {
            PolicyChain::new(Arc::clone(own) as Arc<dyn Policy>)
        } else {
            chosen.standing_in(false)
        };
        // A fresh line has nobody in quarantine.
        drop(line.swap(Arc::clone(own) as Arc<dyn Policy>));
        let prover = Prover::new(sandbox, Arc::clone(embedded));
        Self {
            client,
            watches,
            remote,
            prover,
            chosen,
            own: Arc::new(line),
            slots: Mutex::default(),
            changes: Sender::new(0),
        }
    }

    /// Tells of changes of what any group should have.
    pub fn changes(&self) -> Receiver<u64> {
        self.changes.subscribe()
    }

    /// What a resource gets. Whatever it names, there is somebody who decides.
    pub fn assignment(&self, redis: &Redis) -> Assignment {
        let choice = redis.spec.policy.clone().unwrap_or_default();
        let slot = |name: String| self.slot(&(redis.namespace().unwrap_or_default(), name));
        let named = choice.name.map(slot);
        let parameters = |slot: Option<&Arc<PolicySlot>>| {
            merged(slot.map(|slot| slot.parameters()).unwrap_or_default(), redis)
        };
        Assignment {
            line: named.as_ref().map_or_else(|| Arc::clone(&self.own), |slot| Arc::clone(&slot.line)),
            parameters: parameters(named.as_ref()),
            problem: named.as_ref().and_then(|slot| slot.problem()),
            shadow: choice.shadow.map(slot).map(|slot| ShadowTarget::new(parameters(Some(&slot)), slot)),
        }
    }

    /// Looks after the policies of one namespace, or of all, until dropped. Only who has authority tells of
    /// them.
    pub async fn look_after(self: Arc<Self>, namespace: Option<&str>, authority: Receiver<bool>) {
        let mut happenings = watch_policies(&self.watches, namespace);
        let mut reconcilers: BTreeMap<Key, Sender<Arc<FailoverPolicy>>> = BTreeMap::new();
        while let Some(happening) = happenings.next().await {
            match happening {
                PolicyWatchEvent::Wanted(key, policy) => match *policy {
                    Ok(policy) => self.want(&mut reconcilers, key, Arc::new(policy), &authority),
                    Err(error) => tracing::warn!(
                        namespace = key.0,
                        name = key.1,
                        error,
                        "policy not understood, its last version still decides"
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
                slot.found();
                self.changed();
                let (reconciler, wanted) = watch::channel(policy);
                // It ends with its sender.
                tokio::spawn(keep(Arc::clone(self), slot, wanted, authority.clone()));
                reconcilers.insert(key, reconciler);
            }
        }
    }

    /// What it had put in front stays there, for those who name it.
    fn forget(&self, reconcilers: &mut BTreeMap<Key, Sender<Arc<FailoverPolicy>>>, key: &Key) {
        reconcilers.remove(key);
        let mut slots = self.slots();
        if let Some(slot) = slots.get(key) {
            slot.lost();
            tracing::info!(
                namespace = key.0,
                name = key.1,
                "policy is gone; who names it goes on with its last version"
            );
            // Only this book has it, and a reconciler that is about to end.
            if Arc::strong_count(&slot.line) == 1 && Arc::strong_count(slot) <= 2 {
                slots.remove(key);
            }
        }
        drop(slots);
        self.changed();
    }

    fn slot(&self, key: &Key) -> Arc<PolicySlot> {
        let new = || Arc::new(PolicySlot::new(key.clone(), || self.chosen.standing_in(true)));
        Arc::clone(self.slots().entry(key.clone()).or_insert_with(new))
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<PolicySlot>>> {
        // Nothing in here panics halfway through a change.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chosen {
    /// A line of those who stand in for somebody else.
    fn standing_in(&self, with_own: bool) -> PolicyChain {
        let line = PolicyChain::new(Arc::new(FallbackPolicy::new(Arc::clone(&self.embedded))));
        if with_own && self.own.digest() != self.embedded.digest() {
            // A fresh line has nobody in quarantine.
            drop(line.swap(Arc::new(FallbackPolicy::new(Arc::clone(&self.own)))));
        }
        line
    }
}

/// A policy's defaults, and what a resource says before them, name by name.
fn merged(mut parameters: Map<String, Value>, redis: &Redis) -> String {
    match &redis.spec.policy_parameters {
        Some(Value::Object(own)) => parameters.extend(own.clone()),
        // The schema lets nothing else through; the policy will say so.
        Some(other) if parameters.is_empty() => return other.to_string(),
        Some(_) | None => {}
    }
    Value::Object(parameters).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::crd::parse;
    use serde_json::json;

    fn redis(parameters: &Value) -> Redis {
        let spec = json!({ "replicas": 3, "redis": { "image": "redis:7" }, "policyParameters": parameters });
        let metadata = json!({ "name": "example" });
        let api_version = "k8s.amaiz.com/v1alpha1";
        let kind = "Redis";
        let resource = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec });
        parse(resource).unwrap()
    }

    #[test]
    fn what_a_resource_says_comes_before_its_policy_s_defaults_name_by_name() {
        let defaults = || json!({ "order": "data-first", "discard": ["a"] }).as_object().unwrap().clone();
        assert_eq!(
            merged(defaults(), &redis(&json!({ "discard": [] }))),
            r#"{"discard":[],"order":"data-first"}"#
        );
        assert_eq!(merged(defaults(), &redis(&Value::Null)), r#"{"discard":["a"],"order":"data-first"}"#);
        assert_eq!(merged(Map::new(), &redis(&Value::Null)), "{}");
    }
}
