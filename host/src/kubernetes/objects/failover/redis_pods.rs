//! The StatefulSet of a RedisFailover: Redis, which starts as a replica, its exporter, and what the user
//! adds.

use super::super::family::FAILOVER;
use super::config::{AUTH_PATH, CONFIG_PATH};
use super::scripts::{liveness, readiness_map, shutdown_map};
use super::services::EXPORTER_PORT;
use super::with_env;
use super::{
    Failover, REPLICA, Role, container_context, exporter, labels, metadata, name, pod_spec, selector,
};
use crate::kubernetes::crd::failover::Engine;
use crate::kubernetes::kinds::ClaimSettings;
use crate::kubernetes::quantity::bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The StatefulSet.
pub fn stateful_set(failover: &Failover, replicas: i32) -> Value {
    let own = name(failover, Role::Redis);
    let role = (FAILOVER.role_label.to_owned(), json!(REPLICA));
    let mut all_labels = labels(failover, Role::Redis);
    all_labels.extend([role]);
    let mut of_set = metadata(failover, Role::Redis, &own, annotations(failover));
    of_set["labels"] = json!(all_labels);
    let mut of_pods = json!({ "labels": all_labels });
    let pod_annotations = &failover.pods(Role::Redis).pod_annotations;
    if !pod_annotations.is_empty() {
        of_pods["annotations"] = json!(pod_annotations);
    }
    let mut spec = json!({
        "replicas": replicas,
        "serviceName": own,
        // All at once: after the loss of all, no Pod waits for one that may never become ready.
        "podManagementPolicy": "Parallel",
        // The operator replaces the Pods: replicas first, each in sync again before the next, the master
        // last and by handover.
        "updateStrategy": { "type": "OnDelete" },
        "selector": { "matchLabels": selector(failover, Role::Redis) },
        "template": { "metadata": of_pods, "spec": template(failover) },
    });
    if let Some(claim) = claim(failover) {
        spec["volumeClaimTemplates"] = json!([claim]);
    }
    json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": of_set, "spec": spec })
}

/// Those of the resource, and the size of a claim, which the other operator reads there.
fn annotations(failover: &Failover) -> BTreeMap<String, String> {
    let own = failover.metadata.annotations.iter().flatten();
    // Those of kubectl describe the resource, and those of this operator its own objects.
    let is_of_tools = |name: &str| NOT_COPIED.iter().any(|prefix| name.starts_with(prefix));
    let own = own.filter(|(name, _)| !is_of_tools(name));
    let mut all: BTreeMap<String, String> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let claim = failover.spec.redis.storage.persistent_volume_claim.as_ref();
    let size = claim.and_then(|claim| claim.pointer("/spec/resources/requests/storage"));
    let size = size.and_then(Value::as_str).and_then(bytes);
    all.extend(size.map(|size| ("storageCapacity".to_owned(), size.to_string())));
    all
}

fn template(failover: &Failover) -> Map<String, Value> {
    let (settings, redis) = (failover.pods(Role::Redis), &failover.spec.redis);
    let env = env(failover);
    let with = |container: &Value| {
        let mut container = container.clone();
        let own = container["env"].as_array().cloned().unwrap_or_default();
        container["env"] = json!(with_env(&own, &env));
        container
    };
    let exporter_env = {
        let pod = json!({ "fieldRef": { "fieldPath": "metadata.name" } });
        let mut all = vec![json!({ "name": "REDIS_ALIAS", "valueFrom": pod })];
        all.extend(env.iter().cloned());
        all
    };
    let mut containers = vec![redis_container(failover, &env)];
    containers.extend(exporter(settings, "redis-exporter", EXPORTER_PORT, exporter_env));
    containers.extend(settings.extra_containers.iter().map(with));
    let first = settings.init_containers.iter().map(with).collect();
    let mut spec = pod_spec(failover, Role::Redis, containers, first, volumes(failover));
    let grace_s = redis.termination_grace_period.filter(|seconds| *seconds > 0).unwrap_or(GRACE_S);
    spec.insert("terminationGracePeriodSeconds".into(), json!(grace_s));
    spec
}

fn redis_container(failover: &Failover, env: &[Value]) -> Value {
    let settings = failover.pods(Role::Redis);
    let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
    let mut mounts = vec![
        mount("redis-config", CONFIG_PATH),
        mount("redis-shutdown-config", "/redis-shutdown"),
        mount("redis-readiness-config", "/redis-readiness"),
        mount(&data_volume(failover), "/data"),
    ];
    if failover.spec.auth.secret_path.is_some() {
        mounts.push(json!({ "name": "redis-auth", "mountPath": AUTH_PATH, "readOnly": true }));
    }
    if settings.startup_config_map.is_some() {
        mounts.push(mount("redis-startup-config", "/redis-startup"));
    }
    mounts.extend(settings.extra_volume_mounts.iter().cloned());
    let exec = |words: &[&str]| json!({ "exec": { "command": words } });
    let mut container = json!({
        "name": "redis",
        "image": failover.image(),
        "imagePullPolicy": settings.image_pull_policy.as_deref().unwrap_or("Always"),
        "command": command(failover),
        "env": env,
        "ports": [{ "name": "redis", "containerPort": failover.port(), "protocol": "TCP" }],
        // Puts the reason of a failed start into the Pod's status, which the status of the resource repeats.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_context(settings.container_security_context.as_ref()),
        "volumeMounts": mounts,
        "lifecycle": { "preStop": exec(&["/bin/sh", "/redis-shutdown/shutdown.sh"]) },
        "livenessProbe": settings.custom_liveness_probe.clone().unwrap_or_else(|| {
            probe(exec(&["sh", "-c", &liveness(failover)]), 15, 6)
        }),
        "readinessProbe": settings.custom_readiness_probe.clone().unwrap_or_else(|| {
            probe(exec(&["/bin/sh", "/redis-readiness/ready.sh"]), 2, 3)
        }),
    });
    let startup = settings.startup_config_map.as_ref().map(|_| {
        let mut probe = probe(exec(&["/bin/sh", "/redis-startup/startup.sh"]), 15, 6);
        probe["initialDelaySeconds"] = json!(30);
        probe
    });
    if let Some(startup) = settings.custom_startup_probe.clone().or(startup) {
        container["startupProbe"] = startup;
    }
    if let Some(resources) = &settings.resources {
        container["resources"] = resources.clone();
    }
    container
}

/// A probe, as the other operator bounds it.
pub fn probe(mut handler: Value, period_s: i32, failures: i32) -> Value {
    handler["periodSeconds"] = json!(period_s);
    handler["timeoutSeconds"] = json!(5);
    handler["failureThreshold"] = json!(failures);
    handler
}

/// The user's, or Redis with its file. With `appendonly yes` in `customConfig` a start on a volume that has
/// an RDB file alone reads that file: with an append-only file that does not exist yet, Redis would start
/// empty and leave the RDB file to be overwritten. The operator then has the file written (CONFIG SET).
fn command(failover: &Failover) -> Vec<String> {
    let own = &failover.pods(Role::Redis).command;
    if !own.is_empty() {
        return own.clone();
    }
    let server = match failover.engine() {
        Engine::Redis => "redis-server",
        Engine::Valkey => "valkey-server",
    };
    let file = format!("{CONFIG_PATH}/redis.conf");
    let words = if failover.has_aof() {
        vec!["sh", "-c", WITH_AOF, server, file.as_str()]
    } else {
        vec![server, file.as_str()]
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Starts `$0`, with the append-only file on unless an RDB file is all there is.
const WITH_AOF: &str = "if [ -e /data/appendonly.aof ] || [ -d /data/appendonlydir ] || [ ! -e /data/dump.rdb ]; \
                        then set -- \"$@\" --appendonly yes; fi; exec \"$0\" \"$@\"";

/// What the containers of the user, scripts and exporters find in their environment.
fn env(failover: &Failover) -> Vec<Value> {
    let value = |name: &str, value: String| json!({ "name": name, "value": value });
    let mut env = vec![
        value("REDIS_ADDR", format!("redis://127.0.0.1:{}", failover.port())),
        value("REDIS_PORT", failover.port().to_string()),
        value("REDIS_USER", "default".into()),
    ];
    if let Some(secret) = &failover.spec.auth.secret_path {
        let key = json!({ "secretKeyRef": { "name": secret, "key": "password" } });
        env.push(json!({ "name": "REDIS_PASSWORD", "valueFrom": key }));
    }
    env
}

fn volumes(failover: &Failover) -> Vec<Value> {
    let map = |name: &str, source: &str, mode: Option<i32>| {
        let mut source = json!({ "name": source });
        if let Some(mode) = mode {
            source["defaultMode"] = json!(mode);
        }
        json!({ "name": name, "configMap": source })
    };
    let own = name(failover, Role::Redis);
    let mut volumes = vec![
        map("redis-config", &own, None),
        map("redis-shutdown-config", &shutdown_map(failover), Some(EXECUTABLE)),
        map("redis-readiness-config", &readiness_map(failover), Some(EXECUTABLE)),
    ];
    if failover.spec.auth.secret_path.is_some() {
        volumes.push(json!({ "name": "redis-auth", "secret": { "secretName": own } }));
    }
    if let Some(startup) = &failover.pods(Role::Redis).startup_config_map {
        volumes.push(map("redis-startup-config", startup, Some(EXECUTABLE)));
    }
    let storage = &failover.spec.redis.storage;
    if storage.persistent_volume_claim.is_none() {
        let source = storage.empty_dir.clone().unwrap_or_else(|| json!({}));
        volumes.push(json!({ "name": data_volume(failover), "emptyDir": source }));
    }
    volumes
}

/// The volume with the data: named as the claim is.
fn data_volume(failover: &Failover) -> String {
    let claim = failover.spec.redis.storage.persistent_volume_claim.as_ref();
    let named = claim.and_then(|claim| claim.pointer("/metadata/name")).and_then(Value::as_str);
    named.unwrap_or("redis-data").to_owned()
}

/// The claim of each instance, as its template has it.
pub fn claim_settings(failover: &Failover) -> Option<ClaimSettings> {
    let claim = failover.spec.redis.storage.persistent_volume_claim.as_ref()?;
    let storage = claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
    Some(ClaimSettings { template: data_volume(failover), storage: storage.map(str::to_owned) })
}

/// The template of the claims, as it was written. The resource owns them, so that they go with it, unless
/// they are to be kept.
fn claim(failover: &Failover) -> Option<Value> {
    let storage = &failover.spec.redis.storage;
    let own = storage.persistent_volume_claim.as_ref()?;
    let mut metadata = json!({ "name": data_volume(failover) });
    for part in ["labels", "annotations"] {
        if let Some(map) = own.pointer(&format!("/metadata/{part}")) {
            metadata[part] = map.clone();
        }
    }
    if let Some(owner) = failover.owner.as_ref().filter(|_| !storage.keep_after_deletion) {
        metadata["ownerReferences"] = json!([owner]);
    }
    let mut claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata });
    claim["spec"] = own.get("spec").cloned().unwrap_or_else(|| json!({}));
    Some(claim)
}

const NOT_COPIED: &[&str] = &["kubectl.kubernetes.io/", "k8s.amaiz.com/"];
/// As the other operator has it.
const GRACE_S: i64 = 30;
/// 0744, in the decimal form of JSON.
pub const EXECUTABLE: i32 = 0o744;
