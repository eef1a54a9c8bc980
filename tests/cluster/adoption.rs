//! Adoption in place: a group that spotahome/redis-operator made, laid down by hand as it makes one, is taken
//! over while clients write.

use super::redisfailover::{Version, all_name, condition, name_of, pods, settled};
use super::rig::{Operator, say_as};
use super::watched::{Listener, SentinelClient, addresses, patch};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use redis_operator::kubernetes::crd::failover::RedisFailover;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, Signal, is_ready, until};

/// What a group has beside the least.
#[derive(Clone, Copy, Default)]
struct With {
    /// In the Secret `login`; the other operator writes it into the ConfigMap.
    password: Option<&'static str>,
    has_claims: bool,
}

/// The resource, and the objects of the other operator (1.2.4) with its owner reference. Its Sentinels watch
/// the first instance, as it has them do.
async fn lay_down(cluster: &Cluster, at: (&str, &str), with: With) {
    let (namespace, name) = at;
    let auth = if with.password.is_some() { "  auth: {secretPath: login}\n" } else { "" };
    let storage = if with.has_claims {
        format!(", storage: {{keepAfterDeletion: true, persistentVolumeClaim: {}}}", claim())
    } else {
        String::new()
    };
    if let Some(password) = with.password {
        let secret =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\n");
        cluster.apply(&format!("{secret}stringData: {{password: {password}}}\n")).await;
    }
    cluster
        .apply(&format!(
            "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  adoption: {{observeSeconds: 3}}\n{auth}  \
             sentinel: {{replicas: 3, customConfig: [down-after-milliseconds 2000]}}\n  \
             redis: {{replicas: 3, image: \"redis:7\"{storage}}}\n"
        ))
        .await;
    let resources = Api::<RedisFailover>::namespaced(cluster.client(), namespace);
    let uid = resources.get(name).await.unwrap().metadata.uid.unwrap();
    for object in objects(at, &uid, with) {
        apply_as_the_other(cluster, &object).await;
    }
}

/// By a client that owns what it writes, as the other operator's is: not by server-side apply.
async fn apply_as_the_other(cluster: &Cluster, object: &Value) {
    let file =
        std::env::temp_dir().join(format!("theirs-{}.json", object["metadata"]["name"].as_str().unwrap()));
    let file = file.with_extension(format!("{}.json", object["kind"].as_str().unwrap()));
    std::fs::write(&file, object.to_string()).unwrap();
    cluster.kubectl(&["create", "-f", file.to_str().unwrap()]).await.unwrap();
}

fn claim() -> Value {
    json!({
        "metadata": { "name": "data" },
        "spec": {
            "storageClassName": "by-hand", "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } }
        }
    })
}

fn objects((namespace, name): (&str, &str), uid: &str, with: With) -> Vec<Value> {
    let selector = |component: &str| {
        json!({
            "app.kubernetes.io/name": name, "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": "redis-failover"
        })
    };
    let labels = |component: &str| {
        let mut labels = selector(component);
        labels["app.kubernetes.io/managed-by"] = json!("redis-operator");
        labels["redisfailovers.databases.spotahome.com/name"] = json!(name);
        labels
    };
    let metadata = |object: &str, component: &str| {
        json!({
            "name": object, "namespace": namespace, "labels": labels(component),
            "ownerReferences": [{
                "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true
            }]
        })
    };
    let map = |object: &str, component: &str, key: &str, text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(object, component), "data": { key: text }
        })
    };
    let service = |object: &str, component: &str, role: Option<&str>, port: &str, number: u16| {
        let mut selected = selector(component);
        role.into_iter().for_each(|role| selected["redisfailovers-role"] = json!(role));
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(object, component),
            "spec": {
                "type": "ClusterIP", "selector": selected,
                "ports": [{ "name": port, "port": number, "protocol": "TCP", "targetPort": port }]
            }
        })
    };
    let budget = |object: &str, component: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(object, component),
            "spec": { "minAvailable": 2, "selector": { "matchLabels": selector(component) } }
        })
    };
    let [rfr, rfs] = ["rfr", "rfs"].map(|prefix| format!("{prefix}-{name}"));
    let config = "slaveof 127.0.0.1 6379\nport 6379\ntcp-keepalive 60\nsave 900 1\nsave 300 10\nprotected-mode no\n\
                  user pinger -@all +ping on >pingpass\n";
    let login = with.password.map(|password| format!("masterauth {password}\nrequirepass {password}\n"));
    let config = &format!("{config}{}", login.unwrap_or_default());
    let watch = "sentinel monitor mymaster 127.0.0.1 6379 2\nsentinel down-after-milliseconds mymaster 1000\n\
                 sentinel failover-timeout mymaster 3000\nsentinel parallel-syncs mymaster 2\n";
    // What it does is done by the test: the script is what is replaced.
    let shutdown = "redis-cli -p 26379 SENTINEL FAILOVER mymaster; sleep 31\n";
    vec![
        map(&rfr, "redis", "redis.conf", config),
        map(&rfs, "sentinel", "sentinel.conf", watch),
        map(&format!("rfr-s-{name}"), "redis", "shutdown.sh", shutdown),
        map(
            &format!("rfr-readiness-{name}"),
            "redis",
            "ready.sh",
            "redis-cli -p 6379 ping | grep -qE 'PONG|NOAUTH'\n",
        ),
        service(&rfs, "sentinel", None, "sentinel", 26379),
        service(&format!("rfrm-{name}"), "redis", Some("master"), "redis", 6379),
        service(&format!("rfrs-{name}"), "redis", Some("slave"), "redis", 6379),
        budget(&rfr, "redis"),
        budget(&rfs, "sentinel"),
        stateful_set(&metadata(&rfr, "redis"), &selector("redis"), &labels("redis"), name, with),
        deployment(&metadata(&rfs, "sentinel"), &selector("sentinel"), &labels("sentinel"), name),
    ]
}

fn stateful_set(metadata: &Value, selector: &Value, labels: &Value, name: &str, with: With) -> Value {
    let mut labels = labels.clone();
    labels["redisfailovers-role"] = json!("slave");
    let map = |volume: &str, map: String| json!({ "name": volume, "configMap": { "name": map, "defaultMode": 0o744 } });
    let data = if with.has_claims { "data" } else { "redis-data" };
    let mut pod = json!({
        "terminationGracePeriodSeconds": 30,
        "containers": [{
            "name": "redis", "image": "redis:7", "command": ["redis-server", "/redis/redis.conf"],
            "ports": [{ "name": "redis", "containerPort": 6379, "protocol": "TCP" }],
            "volumeMounts": [
                { "name": "redis-config", "mountPath": "/redis" },
                { "name": "redis-shutdown-config", "mountPath": "/redis-shutdown" },
                { "name": "redis-readiness-config", "mountPath": "/redis-readiness" },
                { "name": data, "mountPath": "/data" }
            ],
            "readinessProbe": { "exec": { "command": ["/bin/sh", "/redis-readiness/ready.sh"] }, "periodSeconds": 2 },
            "lifecycle": { "preStop": { "exec": { "command": ["/bin/sh", "/redis-shutdown/shutdown.sh"] } } }
        }],
        "volumes": [
            map("redis-config", format!("rfr-{name}")), map("redis-shutdown-config", format!("rfr-s-{name}")),
            map("redis-readiness-config", format!("rfr-readiness-{name}"))
        ]
    });
    if !with.has_claims {
        pod["volumes"].as_array_mut().unwrap().push(json!({ "name": data, "emptyDir": {} }));
    }
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
        "spec": {
            "replicas": 3, "serviceName": format!("rfr-{name}"), "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "OnDelete" }, "selector": { "matchLabels": selector },
            "template": { "metadata": { "labels": labels }, "spec": pod }
        }
    });
    if with.has_claims {
        set["spec"]["volumeClaimTemplates"] = json!([claim()]);
    }
    set
}

fn deployment(metadata: &Value, selector: &Value, labels: &Value, name: &str) -> Value {
    let mount = |volume: &str, path: &str| json!({ "name": volume, "mountPath": path });
    let ready =
        "redis-cli -p 26379 sentinel get-master-addr-by-name mymaster | head -n 1 | grep -vq '127.0.0.1'";
    let pod = json!({
        "initContainers": [{
            "name": "sentinel-config-copy", "image": "redis:7",
            "command": ["cp", "/redis/sentinel.conf", "/redis-writable/sentinel.conf"],
            "volumeMounts": [mount("sentinel-config", "/redis"), mount("sentinel-config-writable", "/redis-writable")]
        }],
        "containers": [{
            "name": "sentinel", "image": "redis:7", "command": ["redis-server", "/redis/sentinel.conf", "--sentinel"],
            "ports": [{ "name": "sentinel", "containerPort": 26379, "protocol": "TCP" }],
            "volumeMounts": [mount("sentinel-config-writable", "/redis")],
            "readinessProbe": { "exec": { "command": ["sh", "-c", ready] }, "periodSeconds": 2 }
        }],
        "volumes": [
            { "name": "sentinel-config", "configMap": { "name": format!("rfs-{name}") } },
            { "name": "sentinel-config-writable", "emptyDir": {} }
        ]
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": 3, "selector": { "matchLabels": selector },
            "template": { "metadata": { "labels": labels }, "spec": pod }
        }
    })
}

/// Does what the other operator does of a new group: a master, its replicas, Sentinels that watch it, labels.
async fn look_after(cluster: &Cluster, at: (&str, &str), password: Option<&str>) -> String {
    let (namespace, name) = at;
    let master = format!("rfr-{name}-0");
    let address = until("its instances answer", async || {
        for ordinal in 0..3 {
            say_as(cluster, namespace, &format!("rfr-{name}-{ordinal}"), password, &["PING"]).await?;
        }
        cluster.address(namespace, &master).await
    })
    .await;
    say_as(cluster, namespace, &master, password, &["REPLICAOF", "NO", "ONE"]).await.unwrap();
    for ordinal in 1..3 {
        let words = ["REPLICAOF", &address, "6379"];
        say_as(cluster, namespace, &format!("rfr-{name}-{ordinal}"), password, &words).await.unwrap();
    }
    until("three Sentinels that watch it", async || {
        let sentinels = pods(cluster, at, "sentinel").await;
        for pod in &sentinels {
            let at = cluster.address(namespace, &name_of(pod)).await?;
            watch(&at, &address, password).await?;
        }
        (sentinels.len() == 3).then_some(())
    })
    .await;
    let label = |pod: String, role: &'static str| async move {
        let label = format!("redisfailovers-role={role}");
        cluster.kubectl(&["label", "pod", &pod, &label, "--overwrite", "-n", namespace]).await.unwrap();
    };
    label(master.clone(), "master").await;
    until("all are ready", async || {
        let mut all = pods(cluster, at, "redis").await;
        all.extend(pods(cluster, at, "sentinel").await);
        (all.len() == 6 && all.iter().all(is_ready)).then_some(())
    })
    .await;
    master
}

async fn watch(sentinel: &str, master: &str, password: Option<&str>) -> Option<()> {
    let client = redis::Client::open(format!("redis://{sentinel}:26379/")).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let named: (String, u16) = redis::cmd("SENTINEL")
        .arg(&["GET-MASTER-ADDR-BY-NAME", "mymaster"])
        .query_async(&mut connection)
        .await
        .ok()?;
    if named.0 != master {
        let mut words = redis::pipe();
        words.cmd("SENTINEL").arg(&["REMOVE", "mymaster"]).ignore();
        words.cmd("SENTINEL").arg(&["MONITOR", "mymaster", master, "6379", "2"]).ignore();
        words.cmd("SENTINEL").arg(&["SET", "mymaster", "down-after-milliseconds", "2000"]).ignore();
        if let Some(password) = password {
            words.cmd("SENTINEL").arg(&["SET", "mymaster", "auth-pass", password]).ignore();
        }
        words.query_async::<()>(&mut connection).await.ok()?;
    }
    Some(())
}

/// The uids of all Pods, and how often their containers were restarted.
async fn standing(cluster: &Cluster, at: (&str, &str)) -> BTreeSet<(String, i32)> {
    let mut all = pods(cluster, at, "redis").await;
    all.extend(pods(cluster, at, "sentinel").await);
    let restarts = |pod: &Pod| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.map(|container| container.restart_count).sum()
    };
    all.iter().map(|pod| (pod.metadata.uid.clone().unwrap(), restarts(pod))).collect()
}

/// What StatefulSet and Deployment make Pods from.
async fn templates(cluster: &Cluster, namespace: &str) -> [Value; 2] {
    let set = Api::<StatefulSet>::namespaced(cluster.client(), namespace).get("rfr-cart").await.unwrap();
    let deployment =
        Api::<Deployment>::namespaced(cluster.client(), namespace).get("rfs-cart").await.unwrap();
    [json!(set.spec.unwrap().template), json!(deployment.spec.unwrap().template)]
}

/// The other operator, as far as it is seen: it renews its Lease. It gives it back when it is stopped.
struct Other {
    task: tokio::task::AbortHandle,
    leases: Api<Lease>,
}

impl Other {
    async fn start(cluster: &Cluster, namespace: &str) -> Self {
        let leases = Api::<Lease>::namespaced(cluster.client(), namespace);
        renew(&leases, "the-old-one").await;
        let renewed = leases.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                renew(&renewed, "the-old-one").await;
            }
        });
        Self { task: task.abort_handle(), leases }
    }

    async fn stop(self) {
        self.task.abort();
        renew(&self.leases, "").await;
    }
}

async fn renew(leases: &Api<Lease>, holder: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "redis-failover-lease" },
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": format!("{:.6}", Timestamp::now())
        }
    });
    let params = PatchParams::apply("the-old-one").force();
    leases.patch("redis-failover-lease", &params, &Patch::Apply(&lease)).await.unwrap();
}

pub async fn a_group_of_the_other_operator_is_adopted_while_clients_write_and_no_pod_is_replaced(
    cluster: &Cluster,
    namespace: &str,
) {
    let at = (namespace, "cart");
    lay_down(cluster, at, With::default()).await;
    let master = look_after(cluster, at, None).await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let client = SentinelClient::start(sentinels.clone(), None).await;
    client.go_on(20).await;
    let listener = Listener::start(&sentinels[0]).await;
    let before = standing(cluster, at).await;
    let made = templates(cluster, namespace).await;
    let maps = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
    let script = async || maps.get("rfr-s-cart").await.unwrap().data.unwrap()["shutdown.sh"].clone();
    let theirs = script().await;

    // While the other operator lives, nothing is done.
    let other = Other::start(cluster, namespace).await;
    let operator = Operator::start(cluster, namespace);
    let message = condition(cluster, at, "OtherOperator", "True", "OtherOperator").await;
    assert!(message.contains("is held by the-old-one") && message.contains("kubectl scale"), "{message}");
    condition(cluster, at, "Adopted", "False", "OtherOperator").await;
    assert_eq!(script().await, theirs);
    other.stop().await;

    // Then it is observed, and its plan shown.
    let began = Instant::now();
    let message = condition(cluster, at, "Adopted", "False", "Observing").await;
    assert!(message.contains("no Pod is replaced") && message.contains("rfr-s-cart"), "{message}");
    assert_eq!(script().await, theirs, "nothing is changed while it is observed");
    condition(cluster, at, "Adopted", "True", "InPlace").await;
    println!("adopted {:.1} s after the other operator gave its Lease back", began.elapsed().as_secs_f32());
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master);
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    until("its script is replaced", async || (script().await != theirs).then_some(())).await;
    assert!(!script().await.to_lowercase().contains("sentinel"));
    client.go_on(100).await;
    let address = cluster.address(namespace, &master).await.unwrap();
    println!("the longest pause of a client meanwhile: {:?}", client.longest_pause(began));
    assert_eq!(client.lost(&address, None).await.0, 0, "of all that was acknowledged");
    assert_eq!(standing(cluster, at).await, before, "no Pod was replaced and no container restarted");
    assert!(listener.heard().is_empty(), "no change of master: {:?}", listener.heard());

    assert_eq!(templates(cluster, namespace).await, made, "no template was changed");

    // Another operator goes on from there, and leaves templates as they are, too.
    operator.stop().await;
    let _operator = Operator::named(cluster, namespace, "second");
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master);
    let other = json!({ "data": { "shutdown.sh": "true\n" } }).to_string();
    let edit = ["patch", "configmap", "rfr-s-cart", "--type", "merge", "-p", &other, "-n", namespace];
    cluster.kubectl(&edit).await.unwrap();
    until("it makes an edit right", async || (script().await != "true\n").then_some(())).await;
    assert_eq!(templates(cluster, namespace).await, made);
    assert_eq!(standing(cluster, at).await, before);

    // It is a group like any other.
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = until("another master", async || {
        super::redisfailover::status(cluster, at, Version::V1)
            .await?
            .group
            .master
            .filter(|next| *next != master)
    })
    .await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, next);
    all_name(cluster, at, "mymaster", &next, 6379).await;

    // Paused, nothing is changed of it: the other operator may come back.
    patch(cluster, at, r#"{"spec":{"paused":true}}"#).await;
    until("it is paused", async || {
        let status = super::redisfailover::status(cluster, at, Version::V1).await?;
        (status.phase == "Paused").then_some(())
    })
    .await;
    cluster.kubectl(&edit).await.unwrap();
    patch(cluster, at, r#"{"metadata":{"annotations":{"seen":"1"}}}"#).await;
    assert_eq!(script().await, "true\n");
    patch(cluster, at, r#"{"spec":{"paused":false}}"#).await;
    until("its script is made right", async || (script().await != "true\n").then_some(())).await;
    assert_eq!(templates(cluster, namespace).await, made, "nor later");
}

pub async fn an_adopted_group_with_a_password_and_claims_stands_back_for_another_and_is_rolled(
    cluster: &Cluster,
    namespace: &str,
) {
    const PASSWORD: &str = "by-hand";
    let at = (namespace, "cart");
    lay_down(cluster, at, With { password: Some(PASSWORD), has_claims: true }).await;
    let master = look_after(cluster, at, Some(PASSWORD)).await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let client = SentinelClient::start(sentinels, Some(PASSWORD)).await;
    let before = standing(cluster, at).await;
    let _operator = Operator::start(cluster, namespace);
    condition(cluster, at, "Adopted", "True", "InPlace").await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master);
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    client.go_on(50).await;
    assert_eq!(standing(cluster, at).await, before, "no Pod was replaced and no container restarted");

    // The other operator comes back: nothing is done until it ends, whatever it writes.
    let maps = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
    let script = async || maps.get("rfr-s-cart").await.unwrap().data.unwrap()["shutdown.sh"].clone();
    let other = Other::start(cluster, namespace).await;
    let message = condition(cluster, at, "OtherOperator", "True", "OtherOperator").await;
    assert!(message.contains("is held by the-old-one"), "{message}");
    let theirs = json!({ "data": { "shutdown.sh": "true\n" } }).to_string();
    cluster
        .kubectl(&["patch", "configmap", "rfr-s-cart", "--type", "merge", "-p", &theirs, "-n", namespace])
        .await
        .unwrap();
    patch(cluster, at, r#"{"spec":{"switchover":{"id":"not-now"}}}"#).await;
    client.go_on(200).await;
    assert_eq!(script().await, "true\n", "an object is left to it");
    let still = super::redisfailover::status(cluster, at, Version::V1).await.unwrap().group.master;
    assert_eq!(still.as_ref(), Some(&master), "and so is the master");
    patch(cluster, at, r#"{"spec":{"switchover":null}}"#).await;
    other.stop().await;
    condition(cluster, at, "OtherOperator", "False", "NoneSeen").await;
    condition(cluster, at, "Adopted", "True", "InPlace").await;
    until("its script is made right", async || (script().await != "true\n").then_some(())).await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master);
    assert_eq!(standing(cluster, at).await, before);

    // Asked for, Pods become this operator's own: replicas first, the master by handover, data and claims as
    // they were.
    patch(cluster, at, r#"{"spec":{"adoption":{"roll":true}}}"#).await;
    until("all Pods of Redis are replaced", async || {
        let all = pods(cluster, at, "redis").await;
        let is_new = |pod: &Pod| !before.iter().any(|(uid, _)| pod.metadata.uid.as_ref() == Some(uid));
        (all.len() == 3 && all.iter().all(is_new)).then_some(())
    })
    .await;
    let next = settled(cluster, at, Version::V1, (3, 3)).await;
    let address = cluster.address(namespace, &next).await.unwrap();
    let set = say_as(cluster, namespace, &next, Some(PASSWORD), &["SET", "after", "the roll"]).await;
    assert_eq!(set.as_deref(), Some("OK"));
    assert_eq!(client.lost(&address, Some(PASSWORD)).await.0, 0, "of all that was acknowledged");
    let claims = Api::<PersistentVolumeClaim>::namespaced(cluster.client(), namespace);
    assert_eq!(claims.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 3);
}
