//! The objects of a RedisFailover, under the names, labels and ports that spotahome/redis-operator gives
//! them: one file per kind, no client. Equal resources give equal objects, byte for byte.
//!
//! Parts of Pods that the user writes stay as they are written: the API server judges them.

mod config;
mod redis_pods;
mod scripts;
mod sentinels;
mod services;

pub use config::{READ_PASSWORD, live_directives, replication_user};
pub use redis_pods::claim_settings;
pub use services::master_service;

use super::family::{FAILOVER, MADE, MARK_ANNOTATION};
use crate::kubernetes::crd::failover::{Failover, PodSettings, Role};
use crate::kubernetes::kinds::Inputs;
use serde_json::{Map, Value, json};

/// Value of the role label for all instances but the master.
pub const REPLICA: &str = "slave";
/// The port of every Sentinel endpoint.
pub const SENTINEL_PORT: u16 = 26379;

/// All objects, in the order in which they are applied. The StatefulSet starts Pods, so it comes after what
/// they need; the endpoints follow.
///
/// # Errors
/// The serializer's; the operator's own types cause none.
pub fn objects(failover: &Failover, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error> {
    let mut all = Vec::new();
    if let Some(password) = inputs.password {
        all.push(config::secret(failover, inputs, password));
    }
    all.push(config::config_map(failover, inputs));
    all.extend(scripts::config_maps(failover, inputs));
    all.extend(sentinels::config_map(failover));
    all.extend(services::services(failover));
    all.extend([Role::Redis, Role::Sentinel].into_iter().filter_map(|role| budget(failover, role)));
    all.push(redis_pods::stateful_set(failover, inputs.replicas));
    all.push(sentinels::deployment(failover, inputs));
    Ok(all)
}

/// The name of what belongs to the Pods of a role.
fn name(failover: &Failover, role: Role) -> String {
    match role {
        Role::Redis => FAILOVER.set_name(failover.name()),
        Role::Sentinel => FAILOVER.sentinels_name(failover.name()).unwrap_or_default(),
    }
}

/// The labels that select the Pods of a role.
fn selector(failover: &Failover, role: Role) -> Map<String, Value> {
    let component = match role {
        Role::Redis => "redis",
        Role::Sentinel => "sentinel",
    };
    let labels = [
        ("app.kubernetes.io/name", failover.name()),
        ("app.kubernetes.io/component", component),
        ("app.kubernetes.io/part-of", "redis-failover"),
    ];
    labels.into_iter().map(|(label, value)| (label.to_owned(), json!(value))).collect()
}

/// The labels of an object: those of the resource, and the operator's, which win.
fn labels(failover: &Failover, role: Role) -> Map<String, Value> {
    let copied = failover.copied_labels().into_iter().map(|(label, value)| (label, json!(value)));
    let mut labels: Map<String, Value> = copied.collect();
    labels.insert("app.kubernetes.io/managed-by".into(), json!("redis-operator"));
    labels.insert(FAILOVER.label.into(), json!(failover.name()));
    labels.extend(selector(failover, role));
    labels
}

/// Name, owner, labels and annotations of an object.
fn metadata(
    failover: &Failover,
    role: Role,
    name: &str,
    annotations: impl IntoIterator<Item = (String, String)>,
) -> Value {
    let annotations = annotations.into_iter().chain([(MARK_ANNOTATION.to_owned(), MADE.to_owned())]);
    let annotations: Map<String, Value> = annotations.map(|(name, value)| (name, json!(value))).collect();
    let mut metadata = json!({
        "name": name,
        "namespace": failover.namespace(),
        "labels": labels(failover, role),
        "annotations": annotations,
    });
    if let Some(owner) = &failover.owner {
        metadata["ownerReferences"] = json!([owner]);
    }
    metadata
}

/// How many Pods of a role may be evicted at once: one of Redis, since the others keep the data; of the
/// endpoints as many as leave a majority, and one at least, so that no node waits for ever to be drained.
fn budget(failover: &Failover, role: Role) -> Option<Value> {
    if failover.pods(role).disable_pod_disruption_budget {
        return None;
    }
    let replicas = failover.replicas(role);
    let unavailable = match role {
        Role::Redis => 1,
        Role::Sentinel => (replicas - (replicas / 2 + 1)).max(1),
    };
    // The other operator says the same by how many must stay, and a budget takes one of the two.
    let (field, count) = if failover.is_adopted() {
        ("minAvailable", (replicas - unavailable).max(0))
    } else {
        ("maxUnavailable", unavailable)
    };
    Some(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(failover, role, &name(failover, role), []),
        "spec": { field: count, "selector": { "matchLabels": selector(failover, role) } },
    }))
}

/// What the Pods of both roles have: the template's spec, with these containers, init containers and volumes
/// before the user's.
fn pod_spec(
    failover: &Failover,
    role: Role,
    containers: Vec<Value>,
    init_containers: Vec<Value>,
    volumes: Vec<Value>,
) -> Map<String, Value> {
    let pods = failover.pods(role);
    let mut spec = Map::new();
    spec.insert("containers".into(), json!(containers));
    let mut put = |name: &str, value: Value| {
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
        };
        if !is_empty {
            spec.insert(name.to_owned(), value);
        }
    };
    put("initContainers", json!(init_containers));
    put("volumes", json!([volumes, pods.extra_volumes.clone()].concat()));
    put("securityContext", pods.security_context.clone().unwrap_or_else(default_pod_context));
    put("affinity", pods.affinity.clone().unwrap_or_else(|| spread(failover, role)));
    put("tolerations", json!(pods.tolerations));
    put("topologySpreadConstraints", json!(pods.topology_spread_constraints));
    put("imagePullSecrets", json!(pods.image_pull_secrets));
    put("priorityClassName", json!(pods.priority_class_name));
    put("serviceAccountName", json!(pods.service_account_name));
    // The endpoints dial instances by names, which a node does not know.
    let needs_names = pods.host_network && role == Role::Sentinel;
    let dns = if needs_names { "ClusterFirstWithHostNet" } else { "ClusterFirst" };
    put("dnsPolicy", json!(pods.dns_policy.as_deref().unwrap_or(dns)));
    if !pods.node_selector.is_empty() {
        put("nodeSelector", json!(pods.node_selector));
    }
    if pods.host_network {
        put("hostNetwork", json!(true));
    }
    if pods.service_account_name.is_none() {
        // Neither Redis nor the endpoint uses the API.
        put("automountServiceAccountToken", json!(false));
    }
    spec
}

/// Prefers different nodes for the Pods of a role.
fn spread(failover: &Failover, role: Role) -> Value {
    let term = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": { "matchLabels": selector(failover, role) },
    });
    let preferred = json!([{ "weight": 100, "podAffinityTerm": term }]);
    json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } })
}

/// The user and group of spotahome/redis-operator.
fn default_pod_context() -> Value {
    json!({ "runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": true, "fsGroup": USER })
}

/// The context of a container, or what spotahome/redis-operator has without one.
fn container_context(own: Option<&Value>) -> Value {
    own.cloned().unwrap_or_else(|| {
        json!({
            "capabilities": { "drop": ["ALL"] },
            "privileged": false,
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": true,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
        })
    })
}

/// An exporter's container. `env`: the operator's, beside which the user's stand.
fn exporter(settings: &PodSettings, name: &str, port: i32, env: Vec<Value>) -> Option<Value> {
    let exporter = Some(&settings.exporter).filter(|exporter| exporter.enabled)?;
    let default = json!({
        "requests": { "cpu": "10m", "memory": "50Mi" },
        "limits": { "cpu": "1000m", "memory": "100Mi" },
    });
    let mut container = json!({
        "name": name,
        "image": exporter.image.as_deref().unwrap_or(EXPORTER_IMAGE),
        "imagePullPolicy": exporter.image_pull_policy.as_deref().unwrap_or("Always"),
        "securityContext": container_context(exporter.container_security_context.as_ref()),
        "env": with_env(&exporter.env, &env),
        "ports": [{ "name": "metrics", "containerPort": port, "protocol": "TCP" }],
        "resources": exporter.resources.clone().unwrap_or(default),
    });
    if !exporter.args.is_empty() {
        container["args"] = json!(exporter.args);
    }
    Some(container)
}

/// The variables of a container: the user's, and those of the operator that have no namesake there.
fn with_env(own: &[Value], further: &[Value]) -> Vec<Value> {
    let is_new = |variable: &&Value| !own.iter().any(|one| one["name"] == variable["name"]);
    own.iter().chain(further.iter().filter(is_new)).cloned().collect()
}

/// As Pods of spotahome/redis-operator run.
const USER: i64 = 1000;
const EXPORTER_IMAGE: &str = "quay.io/oliver006/redis_exporter:v1.43.0";

#[cfg(test)]
mod tests;
