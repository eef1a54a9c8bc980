//! One instance as a Pod: Redis, booting as a replica, and its exporter.

use super::config::{CONFIG_FILE, MASTER_FILE, SECRET_FILE, start_directives};
use super::services::EXPORTER_PORT;
use super::{PORT, label_selector, name, selector};
use crate::kubernetes::crd::{ContainerSettings, PullPolicy, Redis};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, SecretVolumeSource, Volume,
    VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};

pub fn template(redis: &Redis) -> PodTemplateSpec {
    let spec = &redis.spec;
    let mut labels = spec.labels.clone();
    labels.extend(selector(redis));
    let mut annotations = spec.annotations.clone();
    // What a running Redis cannot be given makes other Pods; everything else it is given while it runs.
    annotations.insert(CONFIG_ANNOTATION.into(), digest(&format!("{:?}", start_directives(redis))));
    let some = |list: &[_]| (!list.is_empty()).then(|| list.to_vec());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: [Some(redis_container(redis)), exporter(redis)].into_iter().flatten().collect(),
            init_containers: (!spec.init_containers.is_empty()).then(|| spec.init_containers.clone()),
            volumes: Some(volumes(redis)),
            security_context: spec.security_context.clone(),
            affinity: spec.affinity.clone().or_else(|| Some(apart(redis))),
            node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
            tolerations: (!spec.tolerations.is_empty()).then(|| spec.tolerations.clone()),
            topology_spread_constraints: (!spec.topology_spread_constraints.is_empty()).then(|| spec.topology_spread_constraints.clone()),
            service_account_name: spec.service_account_name.clone(),
            image_pull_secrets: some(&spec.image_pull_secrets),
            priority_class_name: spec.priority_class_name.clone(),
            // Redis has no use for it.
            automount_service_account_token: spec.service_account_name.is_none().then_some(false),
            termination_grace_period_seconds: Some(GRACE_S),
            ..PodSpec::default()
        }),
    }
}

/// On nodes of their own, where there are enough of them.
fn apart(redis: &Redis) -> Affinity {
    let pod_affinity_term =
        PodAffinityTerm { label_selector: Some(label_selector(redis)), topology_key: "kubernetes.io/hostname".into(), ..PodAffinityTerm::default() };
    let preferred = vec![WeightedPodAffinityTerm { weight: 100, pod_affinity_term }];
    let apart = PodAntiAffinity { preferred_during_scheduling_ignored_during_execution: Some(preferred), ..PodAntiAffinity::default() };
    Affinity { pod_anti_affinity: Some(apart), ..Affinity::default() }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The volume that holds the data.
pub fn data_volume(redis: &Redis) -> String {
    let named = redis.spec.data_volume_claim_template.as_ref().and_then(|template| template.metadata.as_ref()?.name.clone());
    named.unwrap_or_else(|| name(redis))
}

fn volumes(redis: &Redis) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let source = name(redis);
    let config = ConfigMapVolumeSource { name: source.clone(), ..ConfigMapVolumeSource::default() };
    let secret = SecretVolumeSource { secret_name: Some(source), ..SecretVolumeSource::default() };
    let mut volumes = vec![Volume { config_map: Some(config), ..named("config") }];
    if redis.spec.password.is_some() {
        volumes.push(Volume { secret: Some(secret), ..named("secret") });
    }
    if redis.spec.data_volume_claim_template.is_none() {
        volumes.push(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named(&data_volume(redis)) });
    }
    volumes.extend(redis.spec.volumes.iter().cloned());
    volumes
}

fn redis_container(redis: &Redis) -> Container {
    let settings = &redis.spec.redis;
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount("config", "/config", true), mount(&data_volume(redis), "/data", false)];
    if redis.spec.password.is_some() {
        mounts.push(mount("secret", "/secret", true));
    }
    let address = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { field_path: "status.podIP".into(), ..ObjectFieldSelector::default() }),
        ..EnvVarSource::default()
    };
    // A replica of itself, unless a master is known: one that comes back empty can never wipe its replicas.
    let arguments = [
        format!("/config/{CONFIG_FILE}"),
        "--replicaof".into(),
        "$(POD_IP)".into(),
        PORT.to_string(),
        "--include".into(),
        format!("/config/{MASTER_FILE}"),
    ];
    Container {
        name: "redis".into(),
        args: Some(arguments.into()),
        env: Some(vec![EnvVar { name: "POD_IP".into(), value_from: Some(address), ..EnvVar::default() }]),
        ports: Some(vec![port("redis", PORT)]),
        volume_mounts: Some(mounts),
        readiness_probe: Some(probe(settings, &format!("{} {READY}", authorised(redis)), 5, 3)),
        liveness_probe: Some(probe(settings, &format!("{} {ALIVE}", authorised(redis)), 10, 6)),
        lifecycle: Some(Lifecycle { pre_stop: Some(exec_handler(&format!("{} {HANDED_OVER}", authorised(redis)))), ..Lifecycle::default() }),
        ..container(settings)
    }
}

fn exporter(redis: &Redis) -> Option<Container> {
    let settings = redis.spec.exporter.as_ref()?;
    let alive = Probe {
        http_get: Some(HTTPGetAction { path: Some("/".into()), port: IntOrString::Int(EXPORTER_PORT), ..HTTPGetAction::default() }),
        initial_delay_seconds: settings.initial_delay_seconds,
        ..Probe::default()
    };
    Some(Container {
        name: "exporter".into(),
        args: Some(vec![format!("--web.listen-address=:{EXPORTER_PORT}")]),
        ports: Some(vec![port("exporter", EXPORTER_PORT)]),
        // Alive, not ready: whether it is ready must not decide whether Redis is reached.
        liveness_probe: Some(alive),
        ..container(settings)
    })
}

fn container(settings: &ContainerSettings) -> Container {
    let policy = |policy: PullPolicy| match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    Container {
        image: Some(settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.map(|wanted| policy(wanted).to_owned()),
        resources: settings.resources.clone(),
        security_context: settings.security_context.clone(),
        ..Container::default()
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: port, protocol: Some("TCP".into()), ..ContainerPort::default() }
}

fn probe(settings: &ContainerSettings, script: &str, period_s: i32, failures: i32) -> Probe {
    Probe {
        exec: exec_handler(script).exec,
        initial_delay_seconds: settings.initial_delay_seconds,
        period_seconds: Some(period_s),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn exec_handler(script: &str) -> LifecycleHandler {
    let command = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    LifecycleHandler { exec: Some(ExecAction { command: Some(command) }), ..LifecycleHandler::default() }
}

/// Puts the password where redis-cli looks for it: as it is now, not as it was when the container started.
fn authorised(redis: &Redis) -> String {
    match &redis.spec.password {
        Some(_) => {
            format!("r() {{ (sed -n 's/^requirepass /AUTH /p' /secret/{SECRET_FILE}; echo INFO replication; echo INFO persistence) | redis-cli; }};")
        }
        None => "r() { (echo INFO replication; echo INFO persistence) | redis-cli; };".into(),
    }
}

/// Data loaded, and in sync: a master, or a replica whose link is up.
const READY: &str = "i=$(r) && echo \"$i\" | grep -q '^loading:0' && echo \"$i\" | grep -qE '^(role:master|master_link_status:up)'";
/// It says anything at all: loading and busy are life.
const ALIVE: &str = "test -n \"$(r)\"";
/// A master that is asked to stop waits for its handover, as long as its grace allows and somebody is there to take over.
const HANDED_OVER: &str = "n=0; while [ $n -lt 100 ] && i=$(r) && echo \"$i\" | grep -q '^role:master' && ! echo \"$i\" | grep -q '^connected_slaves:0'; do sleep 0.2; n=$((n+1)); done";
const GRACE_S: i64 = 30;
const CONFIG_ANNOTATION: &str = "k8s.amaiz.com/config";
