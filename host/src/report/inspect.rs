//! Shows any group on request: its present Observation, and the last decision with its policy. An Observation
//! is large, so it is made per request and not kept. It contains no secrets: the host reads none from the
//! servers.

use crate::contract::{Decision, Observation};
use crate::group::Moment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests the present Observation of a group. There is no answer if the group has ended.
pub type ObserveFn = Arc<dyn Fn(oneshot::Sender<Observation>) + Send + Sync>;

/// A decision without its Observation.
pub struct DecisionRef {
    /// The policy's decision.
    pub decision: Arc<Decision>,
    /// SHA-256 of the policy.
    pub digest: String,
}

/// The groups of one process.
#[derive(Default)]
pub struct GroupInspector(Mutex<BTreeMap<Key, Arc<Slot>>>);

/// Namespace and name.
type Key = (String, String);
type Slot = Mutex<Option<Shown>>;

#[derive(Clone)]
struct Shown {
    at: Moment,
    decision: Arc<DecisionRef>,
    observe: ObserveFn,
}

/// The entry of one group, until it is dropped.
pub struct PublishedView {
    inspector: Arc<GroupInspector>,
    key: Key,
    slot: Arc<Slot>,
}

/// The JSON answer.
#[derive(Serialize)]
struct View<'a> {
    /// Age of the decision.
    age_ms: u64,
    /// SHA-256 of the policy that decided.
    policy: &'a str,
    observation: &'a Observation,
    decision: &'a Decision,
}

impl GroupInspector {
    /// Adds an entry for a group. Of two groups with one name, the newer one is shown.
    pub fn open(self: &Arc<Self>, namespace: &str, name: &str) -> PublishedView {
        let (key, slot) = ((namespace.to_owned(), name.to_owned()), Arc::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Arc::clone(&slot));
        PublishedView { inspector: Arc::clone(self), key, slot }
    }

    /// A group as JSON. None: there is no such group, or no decision yet.
    pub async fn json(&self, namespace: &str, name: &str, now: Moment) -> Option<String> {
        let Shown { at, decision, observe } = self.shown(namespace, name)?;
        let (sender, answer) = oneshot::channel();
        observe(sender);
        let observation = &tokio::time::timeout(OBSERVE_LIMIT, answer).await.ok()?.ok()?;
        let DecisionRef { decision, digest } = decision.as_ref();
        serde_json::to_string(&View { age_ms: at.age_us(now) / 1000, policy: digest, observation, decision })
            .ok()
    }

    fn shown(&self, namespace: &str, name: &str) -> Option<Shown> {
        let key = (namespace.to_owned(), name.to_owned());
        let slot = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key)?);
        slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A group that needs longer has a worse problem.
const OBSERVE_LIMIT: Duration = Duration::from_secs(1);

impl PublishedView {
    /// Shows the last decision, and where to request the Observation.
    pub fn show(&self, at: Moment, decision: Arc<DecisionRef>, observe: ObserveFn) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown { at, decision, observe });
    }
}

impl Drop for PublishedView {
    fn drop(&mut self) {
        let mut inspector = self.inspector.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inspector.get(&self.key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
            inspector.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{DIGEST, show};
    use super::*;
    use serde_json::Value;

    #[tokio::test]
    async fn the_newest_decision_is_shown_with_its_age_and_an_unknown_group_is_none() {
        let inspector = Arc::new(GroupInspector::default());
        let view = inspector.open("shop", "cart");
        assert_eq!(inspector.json("shop", "cart", Moment(0)).await, None);
        show(&view, 1_000, "before");
        show(&view, 2_000, "healthy");
        let json: Value =
            serde_json::from_str(&inspector.json("shop", "cart", Moment(9_000)).await.unwrap()).unwrap();
        assert_eq!(
            (&json["age_ms"], &json["policy"], &json["decision"]["reason"]),
            (&7.into(), &DIGEST.into(), &"healthy".into())
        );
        assert_eq!(json["observation"]["instances"].as_array().unwrap().len(), 3);
        assert_eq!(inspector.json("other", "cart", Moment(0)).await, None);
    }

    #[tokio::test]
    async fn an_ended_group_is_not_shown_and_does_not_remove_a_newer_one_of_its_name() {
        let inspector = Arc::new(GroupInspector::default());
        let (old, new) = (inspector.open("shop", "cart"), inspector.open("shop", "cart"));
        show(&new, 0, "healthy");
        drop(old);
        assert!(inspector.json("shop", "cart", Moment(0)).await.is_some());
        drop(new);
        assert_eq!(inspector.json("shop", "cart", Moment(0)).await, None);
    }
}
