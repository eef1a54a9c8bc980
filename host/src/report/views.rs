//! The newest look at every group: what was seen, what was decided on it, and by whom. For people who ask; nothing is kept but
//! the newest, and nothing is written anywhere. An observation holds no secrets, since the host asks the servers for none.

use crate::group::{Decided, Moment};
use crate::policy::contract::{Decision, Observation};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of all groups of one process.
#[derive(Default)]
pub struct Views(Mutex<BTreeMap<Key, Arc<Slot>>>);

/// Namespace and name.
type Key = (String, String);
type Slot = Mutex<Option<(Moment, Arc<Decided>)>>;

/// Where one group shows itself, until this is dropped.
pub struct Window {
    views: Arc<Views>,
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

impl Views {
    /// A place for one group. Of two groups of one name the newer one is seen.
    pub fn open(self: &Arc<Self>, namespace: &str, name: &str) -> Window {
        let (key, slot) = ((namespace.to_owned(), name.to_owned()), Arc::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Arc::clone(&slot));
        Window { views: Arc::clone(self), key, slot }
    }

    /// The newest look at a group as JSON. None: there is no such group, or nothing was decided yet.
    pub fn json(&self, namespace: &str, name: &str, now: Moment) -> Option<String> {
        let key = (namespace.to_owned(), name.to_owned());
        let slot = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key)?);
        let shown = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, decided) = shown.as_ref()?;
        let Decided { observation, decision, digest, is_news: _ } = decided.as_ref();
        serde_json::to_string(&View { age_ms: at.age_us(now) / 1000, policy: digest, observation, decision }).ok()
    }
}

impl Window {
    /// Shows what was decided.
    pub fn show(&self, now: Moment, decided: Arc<Decided>) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, decided));
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut views = self.views.0.lock().unwrap_or_else(PoisonError::into_inner);
        if views.get(&self.key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
            views.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{DIGEST, decided};
    use super::*;
    use crate::group::Report;
    use crate::policy::contract::Verdict;
    use serde_json::Value;

    fn show(window: &Window, at: u64, reason: &str) {
        let Report::Decided(decided) = decided(Verdict::Healthy, reason, "cart-0000", vec![]) else { unreachable!() };
        window.show(Moment(at), Arc::from(decided));
    }

    #[test]
    fn the_newest_look_is_shown_with_its_age_and_an_unknown_group_is_none() {
        let views = Arc::new(Views::default());
        let window = views.open("shop", "cart");
        assert_eq!(views.json("shop", "cart", Moment(0)), None);
        show(&window, 1_000, "before");
        show(&window, 2_000, "healthy");
        let json: Value = serde_json::from_str(&views.json("shop", "cart", Moment(9_000)).unwrap()).unwrap();
        assert_eq!((&json["age_ms"], &json["policy"], &json["decision"]["reason"]), (&7.into(), &DIGEST.into(), &"healthy".into()));
        assert_eq!(json["observation"]["instances"].as_array().unwrap().len(), 3);
        assert_eq!(views.json("other", "cart", Moment(0)), None);
    }

    #[test]
    fn a_group_that_ended_is_not_shown_and_does_not_take_its_successor_along() {
        let views = Arc::new(Views::default());
        let (old, new) = (views.open("shop", "cart"), views.open("shop", "cart"));
        show(&new, 0, "healthy");
        drop(old);
        assert!(views.json("shop", "cart", Moment(0)).is_some());
        drop(new);
        assert_eq!(views.json("shop", "cart", Moment(0)), None);
    }
}
