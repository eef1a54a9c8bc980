//! RedisFailover: manifests that were written for spotahome/redis-operator and for freshworks' fork become
//! groups, and clients of Redis Sentinel find their master at the Pods of `rfs-NAME`.

use super::deployed::of_the_clone;
use super::rig::{Operator, say};
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use redis_operator::kubernetes::crd::Condition;
use redis_operator::kubernetes::crd::failover::{AlphaFailover, RedisFailover, RedisFailoverStatus};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, Signal, is_ready, until};
use tokio::process::Command;

/// Which of the two kinds.
#[derive(Clone, Copy)]
pub enum Version {
    V1,
    Alpha,
}

pub async fn status(cluster: &Cluster, at: (&str, &str), version: Version) -> Option<RedisFailoverStatus> {
    let (namespace, name) = at;
    match version {
        Version::V1 => {
            Api::<RedisFailover>::namespaced(cluster.client(), namespace).get_opt(name).await.ok()??.status
        }
        Version::Alpha => {
            Api::<AlphaFailover>::namespaced(cluster.client(), namespace).get_opt(name).await.ok()??.status
        }
    }
}

pub async fn pods(cluster: &Cluster, (namespace, name): (&str, &str), component: &str) -> Vec<Pod> {
    let labels = format!(
        "app.kubernetes.io/name={name},app.kubernetes.io/component={component},\
         app.kubernetes.io/part-of=redis-failover"
    );
    let api = Api::<Pod>::namespaced(cluster.client(), namespace);
    api.list(&ListParams::default().labels(&labels)).await.map(|list| list.items).unwrap_or_default()
}

pub fn name_of(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// Waits until the group is healthy, all Pods of both roles are ready, and the labels of the Redis Pods
/// agree. Returns the master's name.
pub async fn settled(
    cluster: &Cluster,
    at: (&str, &str),
    version: Version,
    counts: (usize, usize),
) -> String {
    until(&format!("{} is a group", at.1), async || {
        let status = status(cluster, at, version).await?;
        let master =
            status.group.master.filter(|_| status.group.reason == "healthy" && status.phase == "Running")?;
        let redis = pods(cluster, at, "redis").await;
        let sentinels = pods(cluster, at, "sentinel").await;
        let is_right = |pod: &Pod| {
            let role = pod.metadata.labels.as_ref().and_then(|labels| labels.get("redisfailovers-role"));
            let wanted = if name_of(pod) == master { "master" } else { "slave" };
            is_ready(pod)
                && role.is_some_and(|role| role == wanted)
                && pod.metadata.deletion_timestamp.is_none()
        };
        let are_well = redis.iter().all(is_right) && sentinels.iter().all(is_ready);
        ((redis.len(), sentinels.len()) == counts && are_well).then_some(master)
    })
    .await
}

pub async fn condition(
    cluster: &Cluster,
    at: (&str, &str),
    type_: &str,
    holds: &str,
    reason: &str,
) -> String {
    until(&format!("condition {type_} {holds} because of {reason}"), async || {
        let conditions = status(cluster, at, Version::V1).await?.group.conditions;
        let is_so = |of: &Condition| of.type_ == type_ && of.status == holds && of.reason == reason;
        conditions.into_iter().find(is_so).map(|of| of.message)
    })
    .await
}

/// What a Sentinel endpoint names, as a client of Sentinel asks it. None: no answer, or nil.
async fn master_of(endpoint: &str, name: &str) -> Option<(String, u16)> {
    let client = redis::Client::open(format!("redis://{endpoint}:26379/")).ok()?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.ok()?;
    let words = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).to_owned();
    let answer: Option<(String, u16)> = words.query_async(&mut connection).await.ok()?;
    answer
}

/// Waits until every endpoint names that Pod.
pub async fn all_name(cluster: &Cluster, at: (&str, &str), name: &str, master: &str, port: u16) {
    until(&format!("all endpoints name {master}"), async || {
        let address = cluster.address(at.0, master).await?;
        for pod in pods(cluster, at, "sentinel").await {
            let endpoint = cluster.address(at.0, &name_of(&pod)).await?;
            (master_of(&endpoint, name).await? == (address.clone(), port)).then_some(())?;
        }
        Some(())
    })
    .await;
}

async fn is_gone(cluster: &Cluster, at: (&str, &str)) {
    until("all of it is gone", async || {
        let sets = Api::<StatefulSet>::namespaced(cluster.client(), at.0)
            .get_opt(&format!("rfr-{}", at.1))
            .await
            .ok()?;
        let deployments = Api::<Deployment>::namespaced(cluster.client(), at.0);
        let deployment = deployments.get_opt(&format!("rfs-{}", at.1)).await.ok()?;
        let records = Api::<ConfigMap>::namespaced(cluster.client(), at.0);
        let record = records.get_opt(&format!("redis-{}-record", at.1)).await.ok()?;
        let are_pods =
            !pods(cluster, at, "redis").await.is_empty() || !pods(cluster, at, "sentinel").await.is_empty();
        (sets.is_none() && deployment.is_none() && record.is_none() && !are_pods).then_some(())
    })
    .await;
}

pub async fn the_seed_s_manifest_is_a_group_that_sentinel_clients_follow_through_a_failover(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let file = of_the_clone("example/redisfailover/seed.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap(), "-n", namespace]).await.unwrap();
    let at = (namespace, "myredisfailover");
    let began = Instant::now();
    let master = settled(cluster, at, Version::Alpha, (3, 3)).await;
    println!(
        "the seed's manifest was a group of three with three endpoints after {:.1} s",
        began.elapsed().as_secs_f32()
    );
    all_name(cluster, at, "mymaster", &master, 6379).await;
    until("the first write at a replica", async || {
        say(cluster, namespace, &master, &["SET", "lol", "woot"]).await?;
        (say(cluster, namespace, &master, &["WAIT", "1", "500"]).await? != "0").then_some(())
    })
    .await;

    // A client that listens, as those of Sentinel do, and redis-cli.
    let endpoint = name_of(&pods(cluster, at, "sentinel").await[0]);
    let endpoint = cluster.address(namespace, &endpoint).await.unwrap();
    let client = redis::Client::open(format!("redis://{endpoint}:26379/")).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("+switch-master").await.unwrap();
    let killed = Instant::now();
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let event = listener.on_message().next().await.unwrap();
    let heard = killed.elapsed();
    let text: String = event.get_payload().unwrap();
    println!("+switch-master at a client {heard:?} after SIGKILL of the master's process");
    let words: Vec<&str> = text.split(' ').collect();
    assert_eq!((words[0], words.len()), ("mymaster", 5), "{text}");
    let next = until("another master", async || {
        status(cluster, at, Version::Alpha).await?.group.master.filter(|next| *next != master)
    })
    .await;
    assert_eq!(words[3], cluster.address(namespace, &next).await.unwrap());
    let output = Command::new("redis-cli")
        .args(["-h", &endpoint, "-p", "26379", "SENTINEL", "get-master-addr-by-name", "mymaster"])
        .output()
        .await
        .unwrap();
    let address = String::from_utf8(output.stdout).unwrap();
    assert_eq!(address.lines().collect::<Vec<_>>(), [words[3], "6379"]);
    // The former master is back as a replica, without harm.
    assert_eq!(settled(cluster, at, Version::Alpha, (3, 3)).await, next);
    assert_eq!(say(cluster, namespace, &next, &["GET", "lol"]).await.as_deref(), Some("woot"));
    all_name(cluster, at, "mymaster", &next, 6379).await;

    let api = Api::<AlphaFailover>::namespaced(cluster.client(), namespace);
    api.delete(at.1, &DeleteParams::default()).await.unwrap();
    is_gone(cluster, at).await;
}

/// A manifest, in the words of both operators' documents.
struct Manifest {
    name: &'static str,
    yaml: &'static str,
    redis: usize,
    sentinels: usize,
    master_name: &'static str,
    port: u16,
    /// A question to the master, and its answer.
    asked: (&'static [&'static str], &'static str),
}

const PLAIN: Manifest = Manifest {
    name: "",
    yaml: "",
    redis: 3,
    sentinels: 3,
    master_name: "mymaster",
    port: 6379,
    asked: (&["PING"], "PONG"),
};

const MANIFESTS: &[Manifest] = &[
    Manifest { name: "by-default", yaml: "spec: {}", ..PLAIN },
    Manifest {
        name: "lines",
        yaml: r#"spec:
  sentinel:
    replicas: 3
    customConfig: ["down-after-milliseconds 2000", "failover-timeout 3000"]
    command: [redis-server, /redis/sentinel.conf, --sentinel, --protected-mode, "no"]
  redis:
    replicas: 3
    command: [redis-server, /redis/redis.conf, --protected-mode, "no"]
    customConfig:
    - "maxclients 99"
    - "timeout 60"
    - "client-output-buffer-limit normal 0 0 0"
    - "client-output-buffer-limit slave 1000000000 1000000000 0"
    - "no-such-line 1"
    customCommandRenames:
    - {from: monitor, to: ""}
    - {from: flushall, to: fa}
"#,
        asked: (&["fa"], "OK"),
        ..PLAIN
    },
    Manifest {
        name: "beside",
        yaml: r#"spec:
  auth: {secretPath: login}
  sentinel:
    replicas: 2
    disableMyMaster: true
    initContainers: [{name: echo, image: busybox, command: [/bin/sh, -c, "echo sentinel"]}]
    extraContainers: [{name: busybox, image: busybox, command: [/bin/sh, -c, "sleep infinity"]}]
  redis:
    replicas: 2
    port: 7000
    exporter: {enabled: true, image: "oliver006/redis_exporter:v1.43.0"}
    initContainers: [{name: echo, image: busybox, command: [/bin/sh, -c, "test $REDIS_PORT = 7000"]}]
    extraContainers: [{name: busybox, image: busybox, command: [/bin/sh, -c, "sleep infinity"]}]
    extraVolumes: [{name: foo, emptyDir: {}}]
    extraVolumeMounts: [{name: foo, mountPath: /etc/foo}]
    podAnnotations: {a: b}
    serviceAnnotations: {c: d}
"#,
        redis: 2,
        sentinels: 2,
        master_name: "beside",
        port: 7000,
        asked: (&["CONFIG", "GET", "appendonly"], ""),
    },
    Manifest {
        name: "valkey",
        yaml: r#"spec:
  databaseEngine: Valkey
  redis:
    replicas: 2
    headless: true
    customConfig: ["appendonly yes"]
    storage:
      persistentVolumeClaim:
        metadata: {name: data}
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  sentinel: {replicas: 1}
"#,
        redis: 2,
        sentinels: 1,
        ..PLAIN
    },
    Manifest {
        name: "alone",
        yaml: "spec: {redis: {replicas: 1}, sentinel: {replicas: 1}}",
        redis: 1,
        sentinels: 1,
        ..PLAIN
    },
];

pub async fn manifests_of_both_operators_become_groups(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\nstringData: {{password: s3cret}}\n"
    );
    cluster.apply(&secret).await;
    futures_util::stream::iter(MANIFESTS)
        .for_each_concurrent(None, async |manifest| becomes_a_group(cluster, namespace, manifest).await)
        .await;
}

async fn becomes_a_group(cluster: &Cluster, namespace: &str, manifest: &Manifest) {
    let at = (namespace, manifest.name);
    let yaml = format!(
        "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: {}, namespace: {namespace}}}\n{}",
        manifest.name, manifest.yaml
    );
    let began = Instant::now();
    cluster.apply(&yaml).await;
    let master = settled(cluster, at, Version::V1, (manifest.redis, manifest.sentinels)).await;
    all_name(cluster, at, manifest.master_name, &master, manifest.port).await;
    println!("{} was a group after {:.1} s", manifest.name, began.elapsed().as_secs_f32());
    match manifest.name {
        "beside" => is_beside(cluster, at, &master).await,
        name => {
            let (words, answer) = manifest.asked;
            let said = say(cluster, namespace, &master, words).await;
            assert_eq!(said.as_deref(), Some(answer), "{name}");
        }
    }
    if manifest.name == "lines" {
        let message = condition(cluster, at, "Degraded", "True", "DirectiveRefused").await;
        assert!(
            message.contains("no-such-line 1") && message.to_lowercase().contains("unknown"),
            "{message}"
        );
        let timeout = setting(cluster, at, &master, "timeout").await;
        assert_eq!(timeout.as_deref(), Some("60"), "a refused line stops nothing else");
    }
    if manifest.name == "valkey" {
        restarts_with_its_data(cluster, at).await;
    }
    let api = Api::<RedisFailover>::namespaced(cluster.client(), namespace);
    api.delete(manifest.name, &DeleteParams::default()).await.unwrap();
    is_gone(cluster, at).await;
}

async fn connect(
    address: &str,
    port: u16,
    password: Option<&str>,
) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let client = redis::Client::open(format!("redis://{login}{address}:{port}/"))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn setting(cluster: &Cluster, (namespace, _): (&str, &str), pod: &str, name: &str) -> Option<String> {
    let mut connection = connect(&cluster.address(namespace, pod).await?, 6379, None).await.ok()?;
    let (_, value): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await.ok()?;
    Some(value)
}

/// A password, another port, sidecars: the password is needed, and stands in no ConfigMap.
async fn is_beside(cluster: &Cluster, at: (&str, &str), master: &str) {
    let address = cluster.address(at.0, master).await.unwrap();
    let mut connection = connect(&address, 7000, Some("s3cret")).await.unwrap();
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
    let refused = async {
        let mut connection = connect(&address, 7000, None).await?;
        redis::cmd("GET").arg("a").query_async::<Option<String>>(&mut connection).await
    };
    assert!(refused.await.is_err());
    let maps =
        Api::<ConfigMap>::namespaced(cluster.client(), at.0).list(&ListParams::default()).await.unwrap();
    assert!(
        maps.items.len() > 3 && maps.items.iter().all(|map| !json!(map.data).to_string().contains("s3cret"))
    );
    let pod = cluster.pod(at.0, master).await.unwrap();
    let names: Vec<&str> =
        pod.spec.as_ref().unwrap().containers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["redis", "redis-exporter", "busybox"]);
}

/// With an append-only file, all that was written is there after all processes were killed at once.
async fn restarts_with_its_data(cluster: &Cluster, at: (&str, &str)) {
    let master = settled(cluster, at, Version::V1, (2, 1)).await;
    assert_eq!(setting(cluster, at, &master, "appendonly").await.as_deref(), Some("yes"));
    let address = cluster.address(at.0, &master).await.unwrap();
    let mut connection = connect(&address, 6379, None).await.unwrap();
    let mut pipeline = redis::pipe();
    for key in 0..1000 {
        pipeline.cmd("SET").arg(key).arg(key).ignore();
    }
    pipeline.cmd("WAITAOF").arg(1).arg(1).arg(5000);
    let (_,): ((u64, u64),) = pipeline.query_async(&mut connection).await.unwrap();
    for pod in pods(cluster, at, "redis").await {
        cluster.running(at.0, &name_of(&pod)).signal("redis", Signal::Kill);
    }
    let keys = until("all keys after the restart of all", async || {
        let master = status(cluster, at, Version::V1).await?.group.master?;
        let mut connection = connect(&cluster.address(at.0, &master).await?, 6379, None).await.ok()?;
        let keys: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.ok()?;
        let role = redis::cmd("ROLE");
        let role: Value =
            json!(format!("{:?}", role.query_async::<redis::Value>(&mut connection).await.ok()?));
        (keys > 0 && role.as_str()?.contains("master")).then_some(keys)
    })
    .await;
    assert_eq!(keys, 1000);
}
