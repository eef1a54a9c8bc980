//! A look at any group: what it sees, what was decided last, and by whom. For people who ask, and made when
//! they ask: an observation is large, so nobody keeps one. It holds no secrets, since the host asks the
//! servers for none.

use crate::contract::{Decision, Observation};
use crate::group::Moment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Asks a group what it sees now. Nothing comes of it when the group has ended.
pub type ObserveFn = Arc<dyn Fn(oneshot::Sender<Observation>) + Send + Sync>;

/// What was decided, without what it was decided from.
pub struct DecisionRef {
    /// What the policy said.
    pub decision: Arc<Decision>,
    /// SHA-256 of the policy that decided.
    pub digest: String,
}

/// Of all groups of one process.
#[derive(Default)]
pub struct GroupInspector(Mutex<BTreeMap<Key, Arc<Slot>>>);

/// Namespace and name.
type Key = (String, String);
type Slot = Mutex<Option<Shown>>;

#[derive(Clone)]
struct Shown {
    at: Moment,
    ruling: Arc<DecisionRef>,
    look: ObserveFn,
}

/// Where one group shows itself, until this is dropped.
pub struct PublishedView {
    inspector: Arc<GroupInspector>,
    key: Key,
    slot: Arc<Slot>,
}

/// As it is served.
#[derive(Serialize)]
struct View<'a> {
    /// Since it was decided.
    age_ms: u64,
    /// SHA-256 of the policy that decided.
    policy: &'a str,
    observation: &'a Observation,
    decision: &'a Decision,
}

impl GroupInspector {
    /// A place for one group. Of two groups of one name the newer one is seen.
    pub fn open(self: &Arc<Self>, namespace: &str, name: &str) -> PublishedView {
        let (key, slot) = ((namespace.to_owned(), name.to_owned()), Arc::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Arc::clone(&slot));
        PublishedView { inspector: Arc::clone(self), key, slot }
    }

    /// A look at a group as JSON. None: there is no such group, or nothing was decided yet.
    pub async fn json(&self, namespace: &str, name: &str, now: Moment) -> Option<String> {
        let Shown { at, ruling, look } = self.shown(namespace, name)?;
        let (asking, answer) = oneshot::channel();
        look(asking);
        let observation = &tokio::time::timeout(LOOK_LIMIT, answer).await.ok()?.ok()?;
        let DecisionRef { decision, digest } = ruling.as_ref();
        serde_json::to_string(&View { age_ms: at.age_us(now) / 1000, policy: digest, observation, decision })
            .ok()
    }

    fn shown(&self, namespace: &str, name: &str) -> Option<Shown> {
        let key = (namespace.to_owned(), name.to_owned());
        let slot = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key)?);
        slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A group that takes longer is held up by something worse.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

impl PublishedView {
    /// Shows what was decided, and whom to ask for the rest.
    pub fn show(&self, at: Moment, ruling: Arc<DecisionRef>, look: ObserveFn) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown { at, ruling, look });
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
    async fn the_newest_look_is_shown_with_its_age_and_an_unknown_group_is_none() {
        let inspector = Arc::new(GroupInspector::default());
        let window = inspector.open("shop", "cart");
        assert_eq!(inspector.json("shop", "cart", Moment(0)).await, None);
        show(&window, 1_000, "before");
        show(&window, 2_000, "healthy");
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
    async fn a_group_that_ended_is_not_shown_and_does_not_take_its_successor_along() {
        let inspector = Arc::new(GroupInspector::default());
        let (old, new) = (inspector.open("shop", "cart"), inspector.open("shop", "cart"));
        show(&new, 0, "healthy");
        drop(old);
        assert!(inspector.json("shop", "cart", Moment(0)).await.is_some());
        drop(new);
        assert_eq!(inspector.json("shop", "cart", Moment(0)).await, None);
    }
}
