//! What happens to FailoverPolicy resources and to what they name. Never chooses.

use super::crd::{Condition, ConfigMapSource, FailoverPolicy};
use super::listed::{Change, Identity, Listed};
use super::watch::{Key, Scope};
use futures_util::stream::{self, BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object, watcher};
use kube::{Client, ResourceExt};
use std::future::ready;

/// A change of a FailoverPolicy.
#[derive(Debug)]
pub enum PolicyWatchEvent {
    /// It was created or changed. It may not fit the schema.
    Wanted(Key, Box<Result<FailoverPolicy, String>>),
    /// It was deleted.
    Unwanted(Key),
}

/// Watches the policies in the scope. The stream never ends: errors are retried, with growing delays.
pub fn watch_policies(client: &Client, scope: &Scope) -> BoxStream<'static, PolicyWatchEvent> {
    select_all(scope.places().into_iter().map(|place| watch_place(client, place))).boxed()
}

fn watch_place(client: &Client, namespace: Option<&str>) -> BoxStream<'static, PolicyWatchEvent> {
    let resource = ApiResource::erase::<FailoverPolicy>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let identity = |object: &DynamicObject| {
        let name = object.name_any();
        Some(Identity { of: (object.namespace().unwrap_or_default(), name.clone()), name })
    };
    let mut listed = Listed::default();
    let events = watcher(api, watcher::Config::default()).default_backoff().flat_map(move |event| {
        let changes = match event {
            Ok(event) => listed.on(event, identity),
            Err(error) => {
                tracing::warn!(kind = "FailoverPolicy", %error, "watch interrupted, will retry");
                Vec::new()
            }
        };
        stream::iter(changes.into_iter().filter_map(of_policy))
    });
    events.boxed()
}

fn of_policy(change: Change<DynamicObject>) -> Option<PolicyWatchEvent> {
    match change {
        Change::Seen(Identity { of, .. }, object) => {
            let policy = serde_json::to_value(&object)
                .and_then(serde_json::from_value)
                .map_err(|error| error.to_string());
            Some(PolicyWatchEvent::Wanted(of, Box::new(policy)))
        }
        Change::Gone(Identity { of, .. }) => Some(PolicyWatchEvent::Unwanted(of)),
        Change::Complete => None,
    }
}

/// Watches one key of a ConfigMap. An error is a sentence that says what is not there.
pub fn watch_config_map(
    client: &Client,
    namespace: &str,
    source: ConfigMapSource,
) -> BoxStream<'static, Result<Vec<u8>, String>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let contents = watch_object(api, &source.name).default_backoff().filter_map(move |map| {
        ready(match map {
            Ok(map) => Some(bytes(map, &source)),
            Err(error) => {
                tracing::warn!(kind = "ConfigMap", name = source.name, %error, "watch interrupted, will retry");
                None
            }
        })
    });
    contents.boxed()
}

fn bytes(map: Option<ConfigMap>, ConfigMapSource { name, key }: &ConfigMapSource) -> Result<Vec<u8>, String> {
    let map = map.ok_or_else(|| {
        format!(
            "ConfigMap {name} does not exist: create it with kubectl create configmap {name} \
             --from-file={key}=FILE"
        )
    })?;
    let is_text = map.data.is_some_and(|data| data.contains_key(key));
    match map.binary_data.and_then(|mut data| data.remove(key)) {
        Some(bytes) => Ok(bytes.0),
        None if is_text => Err(format!(
            "key {key} of ConfigMap {name} is text, but a component is binary (binaryData): use kubectl \
             create --from-file"
        )),
        None => Err(format!("ConfigMap {name} has no key {key} in its binaryData")),
    }
}

/// A condition that keeps the moment of its last change. `now` is whole seconds, as Kubernetes writes them.
pub fn condition(
    before: &[Condition],
    type_: &str,
    (holds, reason, message): (bool, &str, String),
    generation: Option<i64>,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let unchanged = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        last_transition_time: unchanged.map_or_else(now, |condition| condition.last_transition_time.clone()),
        observed_generation: generation,
    }
}

/// The current time in whole seconds, as Kubernetes writes it.
pub fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn map(binary: &[(&str, &[u8])], text: &[(&str, &str)]) -> Option<ConfigMap> {
        Some(ConfigMap {
            binary_data: Some(
                binary.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec()))).collect(),
            ),
            data: Some(text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            ..ConfigMap::default()
        })
    }

    #[test]
    fn a_key_of_a_config_map_is_its_bytes_and_a_missing_one_is_named() {
        let source = ConfigMapSource { name: "mine".into(), key: "policy.wasm".into() };
        assert_eq!(bytes(map(&[("policy.wasm", b"\0asm")], &[]), &source), Ok(b"\0asm".to_vec()));
        assert!(bytes(None, &source).unwrap_err().contains("ConfigMap mine does not exist"));
        assert!(bytes(map(&[("other", b"")], &[]), &source).unwrap_err().contains("no key policy.wasm"));
        assert!(bytes(map(&[], &[("policy.wasm", "AGFzbQ==")]), &source).unwrap_err().contains("is text"));
    }

    #[test]
    fn a_condition_keeps_its_last_transition_time_while_its_status_stays() {
        let mut before = condition(&[], "Ready", (true, "Active", "it decides".into()), Some(1));
        before.last_transition_time = "2026-01-01T00:00:00Z".into();
        let same =
            condition(std::slice::from_ref(&before), "Ready", (true, "Other", "still".into()), Some(2));
        assert_eq!(
            (same.last_transition_time.as_str(), same.reason.as_str(), same.observed_generation),
            ("2026-01-01T00:00:00Z", "Other", Some(2))
        );
        assert_ne!(
            condition(&[before], "Ready", (false, "Gone", String::new()), None).last_transition_time,
            "2026-01-01T00:00:00Z"
        );
    }
}
