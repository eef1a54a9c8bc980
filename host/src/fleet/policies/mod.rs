//! One book of policies, by FailoverPolicy resource: loads what each names, has it proven, and only then puts it in front of the
//! line of every group that names it. Whatever happens to a policy, its groups go on with what they had.

mod keeper;
mod proof;
mod shadow;
mod shelf;
mod source;
mod tally;

pub use shadow::{Beside, Shadow, Shadows};

use crate::kubernetes::crd::{FailoverPolicy, Redis};
use crate::kubernetes::policies::{PolicyHappening, watch_policies};
use crate::kubernetes::told::Trouble;
use crate::kubernetes::watch::Key;
use crate::policy::{Component, Fitted, Line, Policy, Sandbox};
use crate::registry::Remote;
use futures_util::StreamExt;
use keeper::keep;
use kube::{Client, ResourceExt};
use proof::Prover;
use serde_json::{Map, Value};
use shelf::Shelf;
use std::collections::{BTreeMap, BTreeSet};
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
    own: Arc<Line>,
    shelves: Mutex<BTreeMap<Key, Arc<Shelf>>>,
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
pub struct Serving {
    /// Who decides. Shared with all others that name the same.
    pub line: Arc<Line>,
    /// What it is told: the policy's defaults, and what the resource says before them.
    pub parameters: String,
    /// Why somebody else than who is named decides.
    pub trouble: Option<Trouble>,
    /// Who is asked beside.
    pub shadow: Option<Beside>,
}

impl Policies {
    /// A book without policies. `client` is for calls, `watches` for watches.
    pub fn new(client: Client, watches: Client, sandbox: Arc<Sandbox>, chosen: Chosen, remote: Remote) -> Self {
        let Chosen { embedded, own } = &chosen;
        let line = if own.digest() == embedded.digest() { Line::new(Arc::clone(own) as Arc<dyn Policy>) } else { chosen.standing_in(false) };
        // A fresh line has nobody in quarantine.
        drop(line.swap(Arc::clone(own) as Arc<dyn Policy>));
        let prover = Prover::new(sandbox, Arc::clone(embedded));
        Self { client, watches, remote, prover, chosen, own: Arc::new(line), shelves: Mutex::default(), changes: Sender::new(0) }
    }

    /// Tells of changes of what any group should have.
    pub fn changes(&self) -> Receiver<u64> {
        self.changes.subscribe()
    }

    /// What a resource gets. Whatever it names, there is somebody who decides.
    pub fn serving(&self, redis: &Redis) -> Serving {
        let choice = redis.spec.policy.clone().unwrap_or_default();
        let shelf = |name: String| self.shelf(&(redis.namespace().unwrap_or_default(), name));
        let named = choice.name.map(shelf);
        let parameters = |shelf: Option<&Arc<Shelf>>| merged(shelf.map(|shelf| shelf.parameters()).unwrap_or_default(), redis);
        Serving {
            line: named.as_ref().map_or_else(|| Arc::clone(&self.own), |shelf| Arc::clone(&shelf.line)),
            parameters: parameters(named.as_ref()),
            trouble: named.as_ref().and_then(|shelf| shelf.trouble()),
            shadow: choice.shadow.map(shelf).map(|shelf| Beside::new(parameters(Some(&shelf)), shelf)),
        }
    }

    /// Looks after the policies of one namespace, or of all, until dropped. Only who has authority tells of them.
    pub async fn look_after(self: Arc<Self>, namespace: Option<&str>, authority: Receiver<bool>) {
        let mut happenings = watch_policies(&self.watches, namespace);
        let mut keepers: BTreeMap<Key, Sender<Arc<FailoverPolicy>>> = BTreeMap::new();
        let mut listed: Option<BTreeSet<Key>> = None;
        while let Some(happening) = happenings.next().await {
            match happening {
                PolicyHappening::Wanted(key, policy) => {
                    if let Some(listed) = &mut listed {
                        listed.insert(key.clone());
                    }
                    match *policy {
                        Ok(policy) => self.want(&mut keepers, key, Arc::new(policy), &authority),
                        Err(error) => tracing::warn!(namespace = key.0, name = key.1, error, "policy not understood; what was before it goes on"),
                    }
                }
                PolicyHappening::Unwanted(key) => self.forget(&mut keepers, &key),
                PolicyHappening::Listing => listed = Some(BTreeSet::new()),
                PolicyHappening::Listed => {
                    let listed = listed.take().unwrap_or_default();
                    for key in keepers.keys().filter(|key| !listed.contains(*key)).cloned().collect::<Vec<_>>() {
                        self.forget(&mut keepers, &key);
                    }
                }
            }
        }
    }

    fn want(
        self: &Arc<Self>,
        keepers: &mut BTreeMap<Key, Sender<Arc<FailoverPolicy>>>,
        key: Key,
        policy: Arc<FailoverPolicy>,
        authority: &Receiver<bool>,
    ) {
        match keepers.get(&key) {
            Some(keeper) => drop(keeper.send_replace(policy)),
            None => {
                let shelf = self.shelf(&key);
                shelf.found();
                self.changed();
                let (keeper, wanted) = watch::channel(policy);
                // It ends with its sender.
                tokio::spawn(keep(Arc::clone(self), shelf, wanted, authority.clone()));
                keepers.insert(key, keeper);
            }
        }
    }

    /// What it had put in front stays there, for those who name it.
    fn forget(&self, keepers: &mut BTreeMap<Key, Sender<Arc<FailoverPolicy>>>, key: &Key) {
        keepers.remove(key);
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get(key) {
            shelf.lost();
            tracing::info!(namespace = key.0, name = key.1, "policy is gone; who names it goes on with its last version");
            // Only this book has it, and a keeper that is about to end.
            if Arc::strong_count(&shelf.line) == 1 && Arc::strong_count(shelf) <= 2 {
                shelves.remove(key);
            }
        }
        drop(shelves);
        self.changed();
    }

    fn shelf(&self, key: &Key) -> Arc<Shelf> {
        let new = || Arc::new(Shelf::new(key.clone(), || self.chosen.standing_in(true)));
        Arc::clone(self.shelves().entry(key.clone()).or_insert_with(new))
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn shelves(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Shelf>>> {
        // Nothing in here panics halfway through a change.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chosen {
    /// A line of those who stand in for somebody else.
    fn standing_in(&self, with_own: bool) -> Line {
        let line = Line::new(Arc::new(Fitted::new(Arc::clone(&self.embedded))));
        if with_own && self.own.digest() != self.embedded.digest() {
            // A fresh line has nobody in quarantine.
            drop(line.swap(Arc::new(Fitted::new(Arc::clone(&self.own)))));
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
        parse(json!({ "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis", "metadata": { "name": "example" }, "spec": spec })).unwrap()
    }

    #[test]
    fn what_a_resource_says_comes_before_its_policy_s_defaults_name_by_name() {
        let defaults = || json!({ "order": "data-first", "discard": ["a"] }).as_object().unwrap().clone();
        assert_eq!(merged(defaults(), &redis(&json!({ "discard": [] }))), r#"{"discard":[],"order":"data-first"}"#);
        assert_eq!(merged(defaults(), &redis(&Value::Null)), r#"{"discard":["a"],"order":"data-first"}"#);
        assert_eq!(merged(Map::new(), &redis(&Value::Null)), "{}");
    }
}
