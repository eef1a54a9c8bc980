//! Which resource has which name: two of a namespace may have the same name if they are of different kinds,
//! and the older one is served. Metrics, the record and `/groups/` are named by namespace and name alone.
//! Calls nothing.

use crate::kubernetes::kinds::{Kind, Resource};
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::Key;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All resources, by namespace and name.
#[derive(Default)]
pub struct Claims(BTreeMap<Key, Vec<Arc<Resource>>>);

impl Claims {
    /// Takes a resource in, as it is now. Returns which one is not served for that, and why: this one, or the
    /// one that was served before.
    pub fn enter(&mut self, key: &Key, resource: Arc<Resource>) -> Option<(&'static Kind, Problem)> {
        let before = self.holder(key).filter(|before| !resource.kind.is_of(before));
        let all = self.0.entry(key.clone()).or_default();
        all.retain(|known| !resource.kind.is_of(known));
        all.push(Arc::clone(&resource));
        let (holder, before) = (self.holder(key)?, before?);
        let refused = if Arc::ptr_eq(&holder, &resource) { before } else { resource };
        let message = format!(
            "{} {} of this namespace is older and has the same name, by which metrics and records are kept: rename \
             this {}, or delete that one",
            holder.kind.name,
            holder.name(),
            refused.kind.name
        );
        Some((refused.kind, Problem { reason: "NameTaken", message }))
    }

    /// The resource of that kind is gone, or about to go.
    pub fn withdraw(&mut self, key: &Key, kind: &Kind) {
        if let Some(all) = self.0.get_mut(key) {
            all.retain(|known| !kind.is_of(known));
            if all.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// The one that is served: the oldest, which a later one cannot take its name from.
    pub fn holder(&self, key: &Key) -> Option<Arc<Resource>> {
        self.0.get(key)?.iter().min_by_key(|resource| age(resource)).cloned()
    }
}

/// The uid tells those of one second apart.
fn age(resource: &Resource) -> (Timestamp, String) {
    let created = resource.object.metadata.creation_timestamp.as_ref().map(|at| at.0);
    (created.unwrap_or(Timestamp::MAX), resource.uid().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::KINDS;
    use serde_json::json;

    fn resource(kind: usize, uid: &str, created: &str) -> Arc<Resource> {
        let api = KINDS[kind].api();
        let spec =
            if kind == 0 { json!({ "replicas": 3, "redis": { "image": "redis:7" } }) } else { json!({}) };
        let object = json!({
            "apiVersion": api.api_version, "kind": api.kind, "spec": spec,
            "metadata": { "name": "cart", "namespace": "shop", "uid": uid, "creationTimestamp": created }
        });
        let object = serde_json::from_value(object).unwrap();
        Arc::new(KINDS[kind].read(object, Timestamp::UNIX_EPOCH).unwrap())
    }

    #[test]
    fn of_two_kinds_with_one_name_the_older_is_served_whatever_comes_first() {
        let key = ("shop".to_owned(), "cart".to_owned());
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let all = [(0, "a", old), (1, "b", new), (2, "c", new)];
        let enter = |claims: &mut Claims, index: usize| {
            let (kind, uid, created) = all[index];
            claims.enter(&key, resource(kind, uid, created)).map(|(kind, _)| kind.name)
        };
        for (order, refused) in [
            ([0, 1, 2], [None, Some(KINDS[1].name), Some(KINDS[2].name)]),
            ([2, 1, 0], [None, Some(KINDS[2].name), Some(KINDS[1].name)]),
            ([1, 0, 2], [None, Some(KINDS[1].name), Some(KINDS[2].name)]),
        ] {
            let mut claims = Claims::default();
            assert_eq!(order.map(|index| enter(&mut claims, index)), refused, "{order:?}");
            assert_eq!(claims.holder(&key).unwrap().uid(), Some("a"));
            assert_eq!(enter(&mut claims, 0), None, "a new version of the one that is served");
            let (_, why) = claims.enter(&key, resource(1, "b", new)).unwrap();
            assert!(why.message.starts_with("Redis cart of this namespace is older"), "{}", why.message);
            claims.withdraw(&key, &KINDS[0]);
            assert_eq!(claims.holder(&key).unwrap().uid(), Some("b"));
            claims.withdraw(&key, &KINDS[1]);
            claims.withdraw(&key, &KINDS[2]);
            assert!(claims.holder(&key).is_none());
        }
    }
}
