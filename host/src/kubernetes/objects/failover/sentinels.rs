//! The Deployment that answers clients of Redis Sentinel. In mode Served its container is this program as
//! `redis-operator face`: it looks at the instances itself, so it goes on while the operator is away, and it
//! changes nothing. In the other modes it is a Sentinel, as spotahome/redis-operator starts it.

use super::super::family::FAILOVER;
use super::config::{AUTH_PATH, CONFIG_PATH};
use super::redis_pods::{EXECUTABLE, probe as probe_of};
use super::{
    Failover, Role, SENTINEL_PORT, container_context, exporter, labels, metadata, name, pod_spec, selector,
};
use crate::contract::SentinelSettings;
use crate::kubernetes::crd::failover::Engine;
use crate::kubernetes::kinds::Inputs;
use crate::kubernetes::objects::PASSWORD_KEY;
use crate::kubernetes::pods::{FACE, SENTINEL_CONTAINER};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The Deployment.
pub fn deployment(failover: &Failover, inputs: &Inputs<'_>) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let own = name(failover, Role::Sentinel);
    let mut of_pods = json!({ "labels": labels(failover, Role::Sentinel) });
    if !settings.pod_annotations.is_empty() {
        of_pods["annotations"] = json!(settings.pod_annotations);
    }
    let (container, first, volumes) = match failover.watched() {
        Some(_) => (sentinel(failover), vec![copy_of_config(failover)], config_volumes(failover)),
        None => (served(failover, inputs), Vec::new(), password_volume(failover).into_iter().collect()),
    };
    let mut containers = vec![container];
    let pod = json!({ "fieldRef": { "fieldPath": "metadata.name" } });
    let env = vec![
        json!({ "name": "REDIS_ALIAS", "valueFrom": pod }),
        json!({ "name": "REDIS_EXPORTER_WEB_LISTEN_ADDRESS", "value": format!("0.0.0.0:{EXPORTER_PORT}") }),
        json!({ "name": "REDIS_ADDR", "value": format!("redis://127.0.0.1:{SENTINEL_PORT}") }),
    ];
    containers.extend(exporter(settings, "sentinel-exporter", EXPORTER_PORT, env));
    containers.extend(settings.extra_containers.iter().cloned());
    let first = first.into_iter().chain(settings.init_containers.iter().cloned()).collect();
    let spec = pod_spec(failover, Role::Sentinel, containers, first, volumes);
    // While all follow a Redis outside, there is no master that is ours to name, unless that is asked for.
    let is_held = failover.bootstrap_node().is_some_and(|node| !node.allow_sentinels);
    let replicas = if is_held { 0 } else { failover.replicas(Role::Sentinel) };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(failover, Role::Sentinel, &own, []),
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": selector(failover, Role::Sentinel) },
            "template": { "metadata": of_pods, "spec": spec },
        },
    })
}

/// The ConfigMap with sentinel.conf. None: no Sentinel reads one.
pub fn config_map(failover: &Failover) -> Option<Value> {
    let config = config(failover, &failover.watched()?);
    Some(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(failover, Role::Sentinel, &name(failover, Role::Sentinel), []),
        "data": { CONFIG_FILE: config },
    }))
}

/// sentinel.conf. A Sentinel starts with a loopback address, which means no member, until the operator tells
/// it of the master, with the password and its peers: no address in a file can belong to another group by
/// then.
fn config(failover: &Failover, watched: &SentinelSettings) -> String {
    let name = watched.master_name.as_str();
    let outside = failover.bootstrap_node();
    let host = outside.map_or("127.0.0.1", |node| node.host.as_str());
    let port = failover.port().to_string();
    let port = outside.map_or(port.as_str(), |node| node.port.as_deref().unwrap_or("6379"));
    let is_name = host.parse::<IpAddr>().is_err();
    let monitored = format!("sentinel monitor {name} {host} {port} {}", watched.quorum);
    let set = |option: &str, value: u32| format!("sentinel {option} {name} {value}");
    let lines = is_name.then(|| "sentinel resolve-hostnames yes".to_owned()).into_iter().chain([
        monitored,
        set("down-after-milliseconds", watched.down_after_ms),
        set("failover-timeout", watched.failover_timeout_ms),
        set("parallel-syncs", u32::from(watched.parallel_syncs)),
    ]);
    lines.map(|line| line + "\n").collect()
}

/// A Sentinel. Whatever it learns is in an emptyDir: it outlives the container, and not the Pod.
fn sentinel(failover: &Failover) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let (server, cli) = match failover.engine() {
        Engine::Redis => ("redis-server", "redis-cli"),
        Engine::Valkey => ("valkey-server", "valkey-cli"),
    };
    let file = format!("{CONFIG_PATH}/{CONFIG_FILE}");
    let own = || [server, &file, "--sentinel"].map(str::to_owned).to_vec();
    let command = if settings.command.is_empty() { own() } else { settings.command.clone() };
    let mut mounts = vec![json!({ "name": WRITABLE_VOLUME, "mountPath": CONFIG_PATH })];
    if settings.startup_config_map.is_some() {
        mounts.push(json!({ "name": STARTUP_VOLUME, "mountPath": STARTUP_PATH }));
    }
    mounts.extend(settings.extra_volume_mounts.iter().cloned());
    let ask = |script: String| json!({ "exec": { "command": ["sh", "-c", script] } });
    let alive = ask(format!("{cli} -p {SENTINEL_PORT} ping"));
    let name = failover.master_name();
    let ready = ask(format!(
        "{cli} -p {SENTINEL_PORT} sentinel get-master-addr-by-name {name} | head -n 1 | grep -vq '^127\\.0\\.0\\.1$'"
    ));
    let mut container = json!({
        "name": SENTINEL_CONTAINER,
        "image": sentinel_image(failover),
        "imagePullPolicy": settings.image_pull_policy.as_deref().unwrap_or("Always"),
        "command": command,
        "ports": [{ "name": "sentinel", "containerPort": SENTINEL_PORT, "protocol": "TCP" }],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_context(settings.container_security_context.as_ref()),
        "volumeMounts": mounts,
        "livenessProbe": settings.custom_liveness_probe.clone().unwrap_or_else(|| probe_of(alive, 15, 6)),
        "readinessProbe": settings.custom_readiness_probe.clone().unwrap_or_else(|| probe_of(ready, 2, 3)),
    });
    let startup = settings.startup_config_map.as_ref().map(|_| {
        let script = format!("{STARTUP_PATH}/startup.sh");
        let mut probe = probe_of(json!({ "exec": { "command": ["/bin/sh", script] } }), 15, 6);
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

/// That of the instances, where none is named: the same programs.
fn sentinel_image(failover: &Failover) -> &str {
    let own = failover.pods(Role::Sentinel).image.as_deref().filter(|image| !image.is_empty());
    own.unwrap_or_else(|| failover.image())
}

/// A Sentinel writes its file, and a ConfigMap is read-only: it gets a copy.
fn copy_of_config(failover: &Failover) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let own = failover.spec.sentinel.config_copy.as_ref();
    let context = own.and_then(|own| own.container_security_context.as_ref());
    let little = json!({ "cpu": "10m", "memory": "32Mi" });
    json!({
        "name": "sentinel-config-copy",
        "image": sentinel_image(failover),
        "imagePullPolicy": settings.image_pull_policy.as_deref().unwrap_or("Always"),
        "command": ["cp", format!("{CONFIG_PATH}/{CONFIG_FILE}"), format!("{WRITABLE_PATH}/{CONFIG_FILE}")],
        "securityContext": container_context(context),
        "volumeMounts": [
            { "name": CONFIG_VOLUME, "mountPath": CONFIG_PATH },
            { "name": WRITABLE_VOLUME, "mountPath": WRITABLE_PATH },
        ],
        "resources": { "requests": little, "limits": little },
    })
}

fn config_volumes(failover: &Failover) -> Vec<Value> {
    let map = name(failover, Role::Sentinel);
    let mut volumes = vec![
        json!({ "name": CONFIG_VOLUME, "configMap": { "name": map } }),
        json!({ "name": WRITABLE_VOLUME, "emptyDir": {} }),
    ];
    if let Some(startup) = &failover.pods(Role::Sentinel).startup_config_map {
        let source = json!({ "name": startup, "defaultMode": EXECUTABLE });
        volumes.push(json!({ "name": STARTUP_VOLUME, "configMap": source }));
    }
    volumes
}

/// With the password by which a face looks at the instances.
fn password_volume(failover: &Failover) -> Option<Value> {
    failover.spec.auth.secret_path.as_ref()?;
    let secret = FAILOVER.set_name(failover.name());
    let items = json!([{ "key": PASSWORD_KEY, "path": PASSWORD_KEY }]);
    Some(json!({ "name": "redis-auth", "secret": { "secretName": secret, "items": items } }))
}

/// The container of mode Served. Its image is the operator's own, whatever `spec.sentinel.image` is; it has
/// no shell, so probes, commands and scripts that are meant for a Redis image do not apply.
fn served(failover: &Failover, inputs: &Inputs<'_>) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let mut mounts = settings.extra_volume_mounts.clone();
    let mut arguments = vec![
        FACE.to_owned(),
        "--name".into(),
        failover.name().into(),
        "--redis".into(),
        servers(failover).join(","),
        "--down-after".into(),
        format!("{}ms", failover.hang_limit_ms()),
        "--sentinel-listen".into(),
        format!("0.0.0.0:{SENTINEL_PORT}"),
        "--sentinel-name".into(),
        failover.master_name().into(),
    ];
    if failover.replicas(Role::Sentinel) > 1 {
        // The Service leads to one of the others, whatever their addresses are.
        let others = name(failover, Role::Sentinel);
        let others = format!("{others}.{}.svc:{SENTINEL_PORT}", failover.namespace());
        arguments.extend(["--sentinel-peers".into(), others]);
    }
    if failover.spec.auth.secret_path.is_some() {
        arguments.extend(["--password-file".into(), format!("{AUTH_PATH}/{PASSWORD_KEY}")]);
        mounts.push(json!({ "name": "redis-auth", "mountPath": AUTH_PATH, "readOnly": true }));
    }
    let probe = |period_s: i32, failures: i32| {
        let mut probe = json!({ "tcpSocket": { "port": SENTINEL_PORT }, "timeoutSeconds": 5 });
        probe["periodSeconds"] = json!(period_s);
        probe["failureThreshold"] = json!(failures);
        probe
    };
    let mut container = json!({
        "name": SENTINEL_CONTAINER,
        "image": inputs.image,
        "imagePullPolicy": settings.image_pull_policy.as_deref().unwrap_or("IfNotPresent"),
        "args": arguments,
        "ports": [{ "name": "sentinel", "containerPort": SENTINEL_PORT, "protocol": "TCP" }],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_context(settings.container_security_context.as_ref()),
        // It compiles its policy first, which takes seconds where it gets a tenth of a processor.
        "startupProbe": probe(2, STARTUP_S / 2),
        "readinessProbe": probe(2, 3),
        "livenessProbe": probe(10, 3),
    });
    if !mounts.is_empty() {
        container["volumeMounts"] = json!(mounts);
    }
    if let Some(resources) = &settings.resources {
        container["resources"] = resources.clone();
    }
    container
}

/// Where the instances are dialled: by name, since their Pods get other addresses. A name resolves as soon as
/// the Pod has one.
fn servers(failover: &Failover) -> Vec<String> {
    if let Some(node) = failover.bootstrap_node() {
        return vec![format!("{}:{}", node.host, node.port.as_deref().unwrap_or("6379"))];
    }
    let (set, port) = (FAILOVER.set_name(failover.name()), failover.port());
    (0..failover.replicas(Role::Redis))
        .map(|ordinal| format!("{set}-{ordinal}.{set}.{}.svc:{port}", failover.namespace()))
        .collect()
}

/// As long as a start may take, whatever limits its container has.
const STARTUP_S: i32 = 300;
/// Of the exporter in the Pods of the endpoints.
const EXPORTER_PORT: i32 = 9355;
const CONFIG_FILE: &str = "sentinel.conf";
/// Volumes and paths, as the other operator has them.
const CONFIG_VOLUME: &str = "sentinel-config";
const WRITABLE_VOLUME: &str = "sentinel-config-writable";
const WRITABLE_PATH: &str = "/redis-writable";
const STARTUP_VOLUME: &str = "sentinel-startup-config";
const STARTUP_PATH: &str = "/sentinel-startup";
