//! What happens to FailoverPolicy resources and to what they name. Never chooses.

use super::crd::{Condition, ConfigMapSource, FailoverPolicy};
use super::listed::{Change, Identity, Listed};
use super::scope::Scope;
use super::watch::{Key, config};
use futures_util::stream::{self, BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{watch_object, watcher};
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
    let events = watcher(api, config()).default_backoff().flat_map(move |event| {
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

/// The docker configuration in a Secret of the policy's own namespace.
///
/// # Errors
/// A sentence that says what is missing, and the way out.
pub async fn docker_config(client: &Client, namespace: &str, name: &str) -> Result<Vec<u8>, String> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(name).await.map_err(|error| format!("Secret {name}: {error}"))?;
    config_in(secret, name)
}

fn config_in(secret: Option<Secret>, name: &str) -> Result<Vec<u8>, String> {
    let secret = secret.ok_or_else(|| {
        format!(
            "Secret {name} does not exist: create it with kubectl create secret docker-registry {name} \
             --docker-server=HOST --docker-username=NAME --docker-password=PASSWORD"
        )
    })?;
    let is_docker = secret.type_.as_deref() == Some(DOCKER_CONFIG_TYPE);
    secret.data.filter(|_| is_docker).and_then(|mut data| data.remove(DOCKER_CONFIG_KEY)).map_or_else(
        || {
            Err(format!(
                "Secret {name} is not of type {DOCKER_CONFIG_TYPE} with a key {DOCKER_CONFIG_KEY}: create it \
                 with kubectl create secret docker-registry"
            ))
        },
        |bytes| Ok(bytes.0),
    )
}

/// What `kubectl create secret docker-registry` makes, and what image pull secrets are.
const DOCKER_CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";
const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";

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
    fn a_pull_secret_is_of_its_type_and_anything_else_is_named_with_the_way_out() {
        let secret = |type_: &str, key: &str| {
            let data = [(key.to_owned(), ByteString(b"{}".to_vec()))].into();
            Some(Secret { type_: Some(type_.into()), data: Some(data), ..Secret::default() })
        };
        assert_eq!(config_in(secret(DOCKER_CONFIG_TYPE, DOCKER_CONFIG_KEY), "pull"), Ok(b"{}".to_vec()));
        for secret in [
            None,
            secret("Opaque", DOCKER_CONFIG_KEY),
            secret(DOCKER_CONFIG_TYPE, "password"),
            Some(Secret::default()),
        ] {
            let why = config_in(secret, "pull").unwrap_err();
            assert!(why.contains("Secret pull") && why.contains("create secret docker-registry"), "{why}");
        }
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
