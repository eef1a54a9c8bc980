//! What a support bundle is made of, from the API server. An object belongs to the group if its owners lead
//! to the resource, whatever its kind or name.

use super::bundle::Gathered;
use crate::cli::Exit;
use crate::cli::kubectl::cluster::{Cluster, sentence};
use crate::cli::kubectl::explain::explanation;
use crate::cli::kubectl::facts::Facts;
use crate::cli::kubectl::operators::{merged, operators};
use crate::cli::kubectl::status::screen;
use crate::cli::kubectl::text::Paint;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything that can be had.
///
/// # Errors
/// [`Exit`] without the resource; what else is missing is named in the result.
pub async fn gather(
    cluster: &Cluster,
    name: &str,
    since: Duration,
    now: Timestamp,
) -> Result<Gathered, Exit> {
    let api = cluster.group(name).await?.resource.api;
    let facts = Facts::gather(cluster, name).await?;
    let namespace = &cluster.namespace;
    let mut gathered = Gathered {
        group: (namespace.clone(), name.to_owned()),
        at: now.to_string(),
        screens: [screen(&facts, Paint(false), now), explanation(&facts, Paint(false), now)],
        view: facts.view.as_ref().and_then(|view| serde_json::to_value(view).ok()),
        ..Gathered::default()
    };
    gathered
        .missing
        .extend(facts.no_view.iter().map(|why| format!("observation.json and decision.json: {why}")));
    let path = format!("/apis/{}/namespaces/{namespace}/{}/{name}", api.api_version, api.plural);
    let resource = read(cluster, &path, &mut gathered).await;
    let resource = resource.unwrap_or_default();
    let mut uids: BTreeSet<String> = uid(&resource).into_iter().collect();
    for policy in ["/spec/policy/name", "/spec/policy/shadow"] {
        if let Some(policy) = resource.pointer(policy).and_then(Value::as_str) {
            let path = format!("{POLICIES}/namespaces/{namespace}/failoverpolicies/{policy}");
            let found = read(cluster, &path, &mut gathered).await;
            gathered.objects.extend(found);
        }
    }
    gathered.objects.insert(0, resource);
    for (api, plural, kind) in KINDS {
        let path = format!("{api}/namespaces/{namespace}/{plural}");
        let Some(mut list) = read(cluster, &path, &mut gathered).await else { continue };
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        gathered.are_secrets_known |= *kind == "Secret";
        for mut item in items {
            if !belongs(&item, kind, &uids, &gathered.objects) {
                continue;
            }
            item["kind"] = (*kind).into();
            uids.extend(uid(&item));
            let place = if *kind == "Secret" { &mut gathered.secrets } else { &mut gathered.objects };
            place.push(item);
        }
    }
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    if let Some(mut list) = read(cluster, &path, &mut gathered).await {
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let is_ours = |event: &Value| {
            event.pointer("/regarding/uid").and_then(Value::as_str).is_some_and(|uid| uids.contains(uid))
        };
        gathered.events = items.into_iter().filter(is_ours).collect();
    }
    gather_operators(cluster, name, since, &mut gathered).await;
    let server = read(cluster, "/version", &mut gathered).await;
    let images: Vec<_> =
        gathered.operators.iter().filter_map(|pod| pod.pointer("/spec/containers/0/image")).collect();
    gathered.versions =
        json!({ "plugin": env!("CARGO_PKG_VERSION"), "kubernetes": server, "operators": images });
    Ok(gathered)
}

async fn gather_operators(cluster: &Cluster, name: &str, since: Duration, gathered: &mut Gathered) {
    let (theirs, lease) = (&cluster.operator_namespace, &cluster.operator_lease);
    let all = match operators(cluster).await {
        Ok(all) => all,
        Err(Exit::Failed(why) | Exit::Input(why)) => {
            gathered.missing.push(format!("the operators: {why}"));
            return;
        }
        Err(Exit::Done | Exit::Usage) => return,
    };
    let mut logs = Vec::new();
    for operator in &all {
        let mut pod = serde_json::to_value(&operator.pod).unwrap_or_default();
        pod["kind"] = "Pod".into();
        gathered.operators.push(pod);
        match operator.log(cluster, (&cluster.namespace, name), since).await {
            Ok(log) => logs.push(log),
            Err(why) => gathered.missing.push(format!("the log of {}: {why}", operator.name)),
        }
    }
    gathered.logs = merged(logs);
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{theirs}/leases/{lease}");
    let found = read(cluster, &path, gathered).await;
    gathered.operators.extend(found);
}

/// What is there. None: it could not be read, and why is noted.
async fn read(cluster: &Cluster, path: &str, gathered: &mut Gathered) -> Option<Value> {
    let request = hyper::Request::get(path).body(Vec::new()).ok()?;
    match cluster.client.request::<Value>(request).await {
        Ok(value) => Some(value),
        Err(error) => {
            gathered.missing.push(format!("{path}: {}", sentence(&error)));
            None
        }
    }
}

/// Whether its owners lead to the resource, or an object of the group names it.
fn belongs(item: &Value, kind: &str, uids: &BTreeSet<String>, ours: &[Value]) -> bool {
    let owners = item.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_owned =
        owners.into_iter().flatten().filter_map(|owner| owner["uid"].as_str()).any(|uid| uids.contains(uid));
    let name = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    is_owned
        || match kind {
            // Claims outlive the group, and so have no owner.
            "PersistentVolumeClaim" => ours.iter().any(|set| is_claim_of(item, set)),
            "Secret" => ours.iter().any(|object| names_secret(object, name)),
            _ => false,
        }
}

fn is_claim_of(claim: &Value, set: &Value) -> bool {
    let (Some(labels), Some(wanted)) = (
        claim.pointer("/metadata/labels").and_then(Value::as_object),
        set.pointer("/spec/selector/matchLabels").and_then(Value::as_object),
    ) else {
        return false;
    };
    set["kind"] == "StatefulSet" && wanted.iter().all(|(label, value)| labels.get(label) == Some(value))
}

/// Whether an object names that Secret anywhere in its spec.
fn names_secret(object: &Value, name: &str) -> bool {
    match object {
        Value::Object(fields) => fields.iter().any(|(field, value)| {
            let is_named =
                |value: &Value| value.as_str() == Some(name) || value["name"].as_str() == Some(name);
            let names = match field.as_str() {
                "secretName" | "secretKeyRef" | "secretRef" | "secret" | "secretPath" => is_named(value),
                "imagePullSecrets" => value.as_array().into_iter().flatten().any(is_named),
                _ => false,
            };
            names || names_secret(value, name)
        }),
        Value::Array(all) => all.iter().any(|value| names_secret(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn uid(object: &Value) -> Option<String> {
    object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned)
}

const POLICIES: &str = "/apis/k8s.amaiz.com/v1alpha1";
/// Owners before what they own, and what names Secrets before these.
const KINDS: &[(&str, &str, &str)] = &[
    ("/apis/apps/v1", "statefulsets", "StatefulSet"),
    ("/apis/apps/v1", "deployments", "Deployment"),
    ("/apis/apps/v1", "replicasets", "ReplicaSet"),
    ("/api/v1", "services", "Service"),
    ("/api/v1", "configmaps", "ConfigMap"),
    ("/apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("/apis/discovery.k8s.io/v1", "endpointslices", "EndpointSlice"),
    ("/api/v1", "pods", "Pod"),
    ("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("/api/v1", "secrets", "Secret"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_other_groups_stay_out() {
        let uids = BTreeSet::from(["u".to_owned()]);
        let set = json!({
            "kind": "StatefulSet", "spec": {
                "selector": { "matchLabels": { "redis": "cart" } },
                "template": { "spec": { "volumes": [{ "secret": { "secretName": "tls" } }], "imagePullSecrets": [{ "name": "pull" }] } }
            }
        });
        let ours = [
            set,
            json!({ "kind": "Redis", "spec": { "password": { "secretKeyRef": { "name": "word", "key": "password" } } } }),
            json!({ "kind": "RedisFailover", "spec": { "auth": { "secretPath": "login" } } }),
        ];
        let of = |kind: &str, metadata: Value| belongs(&json!({ "metadata": metadata }), kind, &uids, &ours);
        assert!(of("Pod", json!({ "name": "x", "ownerReferences": [{ "uid": "u" }] })));
        assert!(!of(
            "Pod",
            json!({ "name": "x", "ownerReferences": [{ "uid": "v" }], "labels": { "redis": "cart" } })
        ));
        assert!(of("PersistentVolumeClaim", json!({ "name": "x", "labels": { "redis": "cart" } })));
        assert!(!of("PersistentVolumeClaim", json!({ "name": "x", "labels": { "redis": "other" } })));
        for (name, is_named) in [
            ("tls", true),
            ("pull", true),
            ("word", true),
            ("login", true),
            ("password", false),
            ("other", false),
        ] {
            assert_eq!(of("Secret", json!({ "name": name })), is_named, "{name}");
        }
    }
}
