//! The Deployment that answers clients of Redis Sentinel. In mode Served its container is this program as
//! `redis-operator face`: it looks at the instances itself, so it goes on while the operator is away, and it
//! changes nothing. Modes with Sentinel processes select another container here.

use super::super::family::FAILOVER;
use super::config::AUTH_PATH;
use super::{
    Failover, Role, SENTINEL_PORT, container_context, exporter, labels, metadata, name, pod_spec, selector,
};
use crate::kubernetes::crd::failover::SentinelMode;
use crate::kubernetes::kinds::Inputs;
use crate::kubernetes::objects::PASSWORD_KEY;
use serde_json::{Value, json};

/// The Deployment.
pub fn deployment(failover: &Failover, inputs: &Inputs<'_>) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let own = name(failover, Role::Sentinel);
    let mut of_pods = json!({ "labels": labels(failover, Role::Sentinel) });
    if !settings.pod_annotations.is_empty() {
        of_pods["annotations"] = json!(settings.pod_annotations);
    }
    let container = match failover.mode() {
        SentinelMode::Served | SentinelMode::Assisted | SentinelMode::Deferred => served(failover, inputs),
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
    let mut volumes = Vec::new();
    if failover.spec.auth.secret_path.is_some() {
        let secret = FAILOVER.set_name(failover.name());
        let items = json!([{ "key": PASSWORD_KEY, "path": PASSWORD_KEY }]);
        volumes.push(json!({ "name": "redis-auth", "secret": { "secretName": secret, "items": items } }));
    }
    let spec = pod_spec(failover, Role::Sentinel, containers, settings.init_containers.clone(), volumes);
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

/// The container of mode Served. Its image is the operator's own, whatever `spec.sentinel.image` is; it has
/// no shell, so probes, commands and scripts that are meant for a Redis image do not apply.
fn served(failover: &Failover, inputs: &Inputs<'_>) -> Value {
    let settings = failover.pods(Role::Sentinel);
    let mut mounts = settings.extra_volume_mounts.clone();
    let mut arguments = vec![
        "face".to_owned(),
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
        "name": "sentinel",
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
