//! The Pod of one instance: Redis, which starts as a replica, and its exporter.

use super::config::{CONFIG_FILE, MASTER_FILE, PASSWORD_KEY, REPLICAS_FILE, SECRET_FILE, start_directives};
use super::services::EXPORTER_PORT;
use super::set_aside::set_aside;
use super::{PORT, label_selector, name, security, selector};
use crate::kubernetes::crd::{ContainerSettings, PullPolicy, Redis};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodAffinityTerm,
    PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, SecretKeySelector, SecretVolumeSource, Volume,
    VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

pub fn template(redis: &Redis) -> PodTemplateSpec {
    let spec = &redis.spec;
    let mut labels = spec.labels.clone();
    labels.extend(selector(redis));
    let mut annotations = spec.annotations.clone();
    // A change of directives that need a restart replaces the Pods; the others are set by CONFIG SET.
    annotations.insert(CONFIG_ANNOTATION.into(), digest(&format!("{:?}", start_directives(redis))));
    let some = |list: &[_]| (!list.is_empty()).then(|| list.to_vec());
    let first: Vec<Container> = set_aside(redis).into_iter().chain(spec.init_containers.clone()).collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: [Some(redis_container(redis)), exporter(redis)]
                .into_iter()
                .flatten()
                .chain(spec.containers.iter().cloned())
                .collect(),
            init_containers: (!first.is_empty()).then_some(first),
            volumes: Some(volumes(redis)),
            security_context: Some(security::of_pod(redis)),
            affinity: spec.affinity.clone().or_else(|| Some(spread(redis))),
            node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
            tolerations: (!spec.tolerations.is_empty()).then(|| spec.tolerations.clone()),
            topology_spread_constraints: (!spec.topology_spread_constraints.is_empty())
                .then(|| spec.topology_spread_constraints.clone()),
            service_account_name: spec.service_account_name.clone(),
            image_pull_secrets: some(&spec.image_pull_secrets),
            priority_class_name: spec.priority_class_name.clone(),
            // Redis does not use the API.
            automount_service_account_token: spec.service_account_name.is_none().then_some(false),
            termination_grace_period_seconds: Some(spec.termination_grace_period_seconds.unwrap_or(GRACE_S)),
            runtime_class_name: spec.runtime_class_name.clone(),
            ..PodSpec::default()
        }),
    }
}

/// Prefers different nodes for the Pods of a group.
fn spread(redis: &Redis) -> Affinity {
    let pod_affinity_term = PodAffinityTerm {
        label_selector: Some(label_selector(redis)),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    let preferred = vec![WeightedPodAffinityTerm { weight: 100, pod_affinity_term }];
    let anti_affinity = PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(preferred),
        ..PodAntiAffinity::default()
    };
    Affinity { pod_anti_affinity: Some(anti_affinity), ..Affinity::default() }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Where that volume is mounted: the working directory of Redis' own image.
pub const DATA_PATH: &str = "/data";

/// The volume that holds the data.
pub fn data_volume(redis: &Redis) -> String {
    let named = redis
        .spec
        .data_volume_claim_template
        .as_ref()
        .and_then(|template| template.metadata.as_ref()?.name.clone());
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
        volumes
            .push(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named(&data_volume(redis)) });
    }
    if let Some(tls) = &redis.spec.tls {
        let source = SecretVolumeSource {
            secret_name: Some(tls.secret_name.clone()),
            ..SecretVolumeSource::default()
        };
        volumes.push(Volume { secret: Some(source), ..named("tls") });
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
    let mut mounts = vec![mount("config", "/config", true), mount(&data_volume(redis), DATA_PATH, false)];
    if redis.spec.password.is_some() {
        mounts.push(mount("secret", "/secret", true));
    }
    if redis.spec.tls.is_some() {
        mounts.push(mount("tls", "/tls", true));
    }
    mounts.extend(settings.volume_mounts.iter().cloned());
    let address = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            field_path: "status.podIP".into(),
            ..ObjectFieldSelector::default()
        }),
        ..EnvVarSource::default()
    };
    // Starts as a replica of itself: a master that restarts empty can never wipe its replicas, and a replica
    // that restarts with newer data drops none of it. With TLS it follows a closed port instead: Redis 7
    // blocks in a TLS handshake with itself.
    let (host, port_of) = if redis.spec.tls.is_some() {
        ("127.0.0.1", "1".to_owned())
    } else {
        ("$(POD_IP)", PORT.to_string())
    };
    let arguments = [
        format!("/config/{CONFIG_FILE}"),
        "--replicaof".into(),
        host.into(),
        port_of,
        "--include".into(),
        format!("/config/{MASTER_FILE}"),
    ];
    let replicas = format!("/config/{REPLICAS_FILE}");
    Container {
        name: "redis".into(),
        args: Some(arguments.into()),
        env: Some(
            [EnvVar { name: "POD_IP".into(), value_from: Some(address), ..EnvVar::default() }]
                .into_iter()
                .chain(settings.env.iter().cloned())
                .collect(),
        ),
        ports: Some(vec![port("redis", PORT)]),
        // Puts the reason of a failed start into the Pod's status, which the status of the Redis repeats.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts),
        readiness_probe: Some(probe(settings, &format!("{} {READY}", authorised(redis)), 2, 3)),
        liveness_probe: Some(probe(settings, &format!("{} {ALIVE}", authorised(redis)), 10, 6)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(exec_handler(&format!("{} {}", authorised(redis), wait_for_handover(&replicas)))),
            ..Lifecycle::default()
        }),
        ..container(redis, settings)
    }
}

fn exporter(redis: &Redis) -> Option<Container> {
    let settings = redis.spec.exporter.as_ref()?;
    let alive = Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/".into()),
            port: IntOrString::Int(EXPORTER_PORT),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: settings.initial_delay_seconds,
        ..Probe::default()
    };
    let certificate = redis.spec.tls.as_ref().map(|_| VolumeMount {
        name: "tls".into(),
        mount_path: "/tls".into(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    let mounts: Vec<_> = certificate.into_iter().chain(settings.volume_mounts.iter().cloned()).collect();
    Some(Container {
        name: "exporter".into(),
        args: Some(vec![format!("--web.listen-address=:{EXPORTER_PORT}")]),
        env: Some(exporter_env(redis)),
        ports: Some(vec![port("exporter", EXPORTER_PORT)]),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        // No readiness probe: the readiness of the exporter must not decide whether clients reach Redis.
        liveness_probe: Some(alive),
        ..container(redis, settings)
    })
}

/// Address of the Redis in the same Pod, and its password as of the exporter's start.
fn exporter_env(redis: &Redis) -> Vec<EnvVar> {
    let value =
        |name: &str, value: String| EnvVar { name: name.into(), value: Some(value), ..EnvVar::default() };
    let scheme = if redis.spec.tls.is_some() { "rediss" } else { "redis" };
    let mut env = vec![
        value("REDIS_ADDR", format!("{scheme}://localhost:{PORT}")),
        value("REDIS_ALIAS", redis.name_any()),
    ];
    if redis.spec.password.is_some() {
        let key =
            SecretKeySelector { key: PASSWORD_KEY.into(), name: name(redis), ..SecretKeySelector::default() };
        let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
        env.push(EnvVar { name: "REDIS_PASSWORD".into(), value_from: Some(source), ..EnvVar::default() });
    }
    if redis.spec.tls.is_some() {
        // It connects to localhost, a name that the certificate does not have.
        env.push(value("REDIS_EXPORTER_SKIP_TLS_VERIFICATION", "true".into()));
        env.push(value("REDIS_EXPORTER_TLS_CLIENT_CERT_FILE", "/tls/tls.crt".into()));
        env.push(value("REDIS_EXPORTER_TLS_CLIENT_KEY_FILE", "/tls/tls.key".into()));
    }
    env.extend(redis.spec.exporter.iter().flat_map(|settings| settings.env.iter().cloned()));
    env
}

/// What all containers of a Redis have.
pub fn container(redis: &Redis, settings: &ContainerSettings) -> Container {
    let policy = |policy: PullPolicy| match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    Container {
        image: Some(settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.map(|chosen| policy(chosen).to_owned()),
        resources: settings.resources.clone(),
        security_context: Some(security::of_container(redis, settings)),
        ..Container::default()
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
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

/// Asks the server by redis-cli or valkey-cli, whichever the image has, with the current password and not the
/// one from the container's start.
fn authorised(redis: &Redis) -> String {
    let login = if redis.spec.password.is_some() {
        format!("sed -n 's/^requirepass /AUTH /p' /secret/{SECRET_FILE}; ")
    } else {
        String::new()
    };
    let tls = if redis.spec.tls.is_some() {
        " --tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key"
    } else {
        ""
    };
    // Images of Valkey need not have the names of Redis. Others keep the script that their Pods have: another
    // one would replace them.
    let (choice, client) = if redis.spec.redis.image.contains("valkey") {
        ("c=valkey-cli; command -v $c >/dev/null || c=redis-cli; ", "$c")
    } else {
        ("", "redis-cli")
    };
    format!("{choice}r() {{ ({login}echo INFO replication; echo INFO persistence) | {client}{tls}; }};")
}

/// The preStop script. A master waits for its handover as long as its grace period permits and a replica is
/// connected. Without a replica it waits eight seconds for one, unless one instance is desired: when all Pods
/// are deleted at once, the replicas end first and are created again at once. `replicas`: the file with that
/// number.
pub fn wait_for_handover(replicas: &str) -> String {
    let is_master = "i=$(r) && echo \"$i\" | grep -qE '^(role:master|NOAUTH)'";
    let is_alone = "echo \"$i\" | grep -q '^connected_slaves:0'";
    let is_awaited = format!("[ $n -lt 40 ] && [ \"$(cat {replicas})\" != 1 ]");
    let turn = format!(
        "if {is_alone}; then {is_awaited} || break; sleep 1; n=$((n+5)); else sleep 0.2; n=$((n+1)); fi"
    );
    format!("n=0; while [ $n -lt 100 ] && {is_master}; do {turn}; done")
}

/// Data loaded and in sync: a master, or a replica with its link up. The mounted password and certificate may
/// be older or newer than the server's until the kubelet has updated the files: a server that refuses the
/// login or the handshake for that reason stays in service.
pub const READY: &str = "case \"$(r 2>&1)\" in *NOAUTH* | *SSL* | *'closed the connection'*) ;; \
                     *role:master*loading:0* | *master_link_status:up*loading:0*) ;; *) false ;; esac";
/// Any answer: loading, busy and an untrusted certificate are signs of life.
pub const ALIVE: &str = "case \"$(r 2>&1)\" in '' | *refused*) false ;; esac";
/// Seconds that a Pod has for its end, unless the resource says otherwise.
pub const GRACE_S: i64 = 30;
const CONFIG_ANNOTATION: &str = "k8s.amaiz.com/config";
