//! RedisFailover resources that are not served, or not yet: of another operator, of another kind's name.

use super::redisfailover::{Version, all_name, condition, name_of, pods, settled};
use super::rig::{Operator, say};
use super::watched::patch;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use redis_operator::kubernetes::crd::Redis;
use redis_operator::kubernetes::crd::failover::RedisFailover;
use serde_json::json;
use tests::cluster::{Cluster, is_ready, until};

pub async fn what_another_operator_made_is_not_touched_until_it_is_handed_over(
    cluster: &Cluster,
    namespace: &str,
) {
    let at = (namespace, "cart");
    let yaml = format!(
        "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: cart, namespace: {namespace}}}\n\
         spec: {{paused: true, redis: {{replicas: 2}}, sentinel: {{replicas: 1}}}}\n"
    );
    cluster.apply(&yaml).await;
    let resources = Api::<RedisFailover>::namespaced(cluster.client(), namespace);
    let uid = resources.get("cart").await.unwrap().metadata.uid.unwrap();
    // As another operator makes them: the same names, and the same owner.
    let metadata = |name: &str| {
        json!({
            "name": name, "namespace": namespace,
            "labels": { "redisfailovers.databases.spotahome.com/name": "cart" },
            "ownerReferences": [{
                "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "name": "cart", "uid": uid,
                "controller": true
            }]
        })
    };
    let selected = json!({
        "app.kubernetes.io/name": "cart", "app.kubernetes.io/component": "redis", "app.kubernetes.io/part-of": "redis-failover"
    });
    let mut of_pods = selected.clone();
    of_pods["redisfailovers.databases.spotahome.com/name"] = json!("cart");
    let template = json!({
        "metadata": { "labels": of_pods },
        "spec": { "containers": [{ "name": "redis", "image": "redis:7", "args": ["--protected-mode", "no"] }] }
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata("rfr-cart"),
        "spec": {
            "replicas": 2, "serviceName": "rfr-cart", "selector": { "matchLabels": selected }, "template": template,
            "podManagementPolicy": "Parallel", "updateStrategy": { "type": "OnDelete" }
        }
    });
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("rfr-cart"), "data": { "redis.conf": "port 1" } });
    cluster.apply(&set.to_string()).await;
    cluster.apply(&map.to_string()).await;
    until("its Pods run", async || {
        let all = pods(cluster, at, "redis").await;
        (all.len() == 2 && all.iter().all(is_ready)).then_some(())
    })
    .await;

    let _operator = Operator::start(cluster, namespace);
    let message = condition(cluster, at, "Adopted", "False", "NotAdopted").await;
    assert!(message.contains("k8s.amaiz.com/operated=true"), "{message}");
    let sets = Api::<StatefulSet>::namespaced(cluster.client(), namespace);
    let maps = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
    let ours = |managed: Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry>>| {
        managed.into_iter().flatten().any(|entry| entry.manager.as_deref() == Some("redis-operator"))
    };
    let set = sets.get("rfr-cart").await.unwrap();
    assert!(
        !ours(set.metadata.managed_fields)
            && !ours(maps.get("rfr-cart").await.unwrap().metadata.managed_fields)
    );
    for pod in pods(cluster, at, "redis").await {
        assert!(!ours(pod.metadata.managed_fields.clone()), "{}", name_of(&pod));
        let role = say(cluster, namespace, &name_of(&pod), &["INFO", "replication"]).await.unwrap();
        assert!(role.contains("role:master"), "no member was told to follow: {role}");
    }

    // Handed over object by object: the Pods are replaced, and the group is one.
    let before: Vec<String> =
        pods(cluster, at, "redis").await.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    for object in ["statefulset/rfr-cart", "configmap/rfr-cart"] {
        cluster.kubectl(&["annotate", object, "k8s.amaiz.com/operated=true", "-n", namespace]).await.unwrap();
    }
    patch(cluster, at, r#"{"spec":{"paused":false}}"#).await;
    let master = settled(cluster, at, Version::V1, (2, 1)).await;
    until("all Pods are new", async || {
        let all = pods(cluster, at, "redis").await;
        let is_new = |pod: &Pod| pod.metadata.uid.as_ref().is_some_and(|uid| !before.contains(uid));
        (all.len() == 2 && all.iter().all(is_new)).then_some(())
    })
    .await;
    condition(cluster, at, "Adopted", "True", "Own").await;
    let _ = master;
    let master = settled(cluster, at, Version::V1, (2, 1)).await;
    all_name(cluster, at, "mymaster", &master, 6379).await;
}

pub async fn what_cannot_be_served_is_refused_by_condition(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let apply = async |name: &str, spec: &str| {
        cluster
            .apply(&format!(
                "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
            ))
            .await;
    };
    // Another operator's resource of the same kind. The definition keeps what it does not know.
    apply(
        "theirs",
        "{sentinel: {quorum: 2, monitorConfig: {down-after-milliseconds: \"5000\"}}, redis: {replicas: 2}}",
    )
    .await;
    let message = condition(cluster, (namespace, "theirs"), "Degraded", "True", "InvalidSpec").await;
    assert!(message.contains("alauda/redis-operator"), "{message}");
    let sets = Api::<StatefulSet>::namespaced(cluster.client(), namespace);
    assert!(sets.list(&ListParams::default()).await.unwrap().items.is_empty());

    // A Redis of the same name, which is older.
    cluster
        .apply(&format!(
            "apiVersion: k8s.amaiz.com/v1alpha1\nkind: Redis\nmetadata: {{name: twin, namespace: {namespace}}}\nspec: \
             {{replicas: 1, redis: {{image: redis:7}}}}\n"
        ))
        .await;
    until("its StatefulSet", async || sets.get_opt("redis-twin").await.ok()?).await;
    // Ages are in whole seconds.
    let applied = until("its age", async || redis(cluster, namespace, "twin").await).await;
    until("a later second", async || (Timestamp::now().as_second() > applied.as_second()).then_some(()))
        .await;
    apply("twin", "{redis: {replicas: 1}}").await;
    let message = condition(cluster, (namespace, "twin"), "Degraded", "True", "NameTaken").await;
    assert!(message.starts_with("Redis twin of this namespace is older"), "{message}");
    assert!(sets.get_opt("rfr-twin").await.unwrap().is_none());
    // The younger one is served once the older one is gone.
    cluster.kubectl(&["delete", "redis", "twin", "-n", namespace]).await.unwrap();
    settled(cluster, (namespace, "twin"), Version::V1, (1, 3)).await;
}

/// When the Redis of that name was created.
async fn redis(cluster: &Cluster, namespace: &str, name: &str) -> Option<Timestamp> {
    let api = Api::<Redis>::namespaced(cluster.client(), namespace);
    api.get_opt(name).await.ok()??.metadata.creation_timestamp.map(|at| at.0)
}
