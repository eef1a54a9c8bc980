//! `redis-operator run` on a cluster: what a user does, and what becomes of the data.

use super::rig::{Customer, Operator, another_master, example, redis, say, settled, write_through};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use tests::cluster::{Cluster, Signal, until};

pub async fn the_walk_through_of_the_predecessor_works(cluster: &Cluster, namespace: &str) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let table = cluster.kubectl(&["get", "redis", "example", "-n", namespace]).await.unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MASTER", "REPLICAS", "DESIRED", "AGE"]);
    assert_eq!(rows[1][..4], ["example", &master, "3", "3"]);
    assert_eq!(say(cluster, namespace, &master, &["SET", "lol", "woot"]).await.as_deref(), Some("OK"));
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete(&master, &DeleteParams::default())
        .await
        .unwrap();
    let next = another_master(cluster, namespace, &master).await;
    assert_eq!(say(cluster, namespace, &next, &["GET", "lol"]).await.as_deref(), Some("woot"));
    settled(cluster, namespace, 3).await;
    cluster.kubectl(&["scale", "redis", "example", "--replicas", "4", "-n", namespace]).await.unwrap();
    settled(cluster, namespace, 4).await;
    operator.stop().await;
}

pub async fn a_killed_master_is_replaced_and_comes_back_as_a_replica_without_harm(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    write_through(cluster, namespace, &master, "lol", "woot").await;
    let customer = Customer::start(cluster, namespace, None).await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = another_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
    for pod in ["redis-example-0", "redis-example-1", "redis-example-2"] {
        assert_eq!(say(cluster, namespace, pod, &["GET", "lol"]).await.as_deref(), Some("woot"), "{pod}");
    }
}

pub async fn what_is_deleted_or_edited_is_made_right_again(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    cluster.kubectl(&["delete", "service", "redis-example-master", "-n", namespace]).await.unwrap();
    cluster
        .kubectl(&["label", "pod", &master, "role=replica", "--overwrite", "-n", namespace])
        .await
        .unwrap();
    until("the service is back", async || {
        cluster.kubectl(&["get", "service", "redis-example-master", "-n", namespace]).await.ok()
    })
    .await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
}

/// As an operator from before server-side apply wrote it, and as a person may: by merge patch.
pub async fn a_status_that_another_client_wrote_is_taken_over_and_made_right(
    cluster: &Cluster,
    namespace: &str,
) {
    cluster.apply(&example(namespace, 2, "")).await;
    let edit = async || {
        let words =
            ["patch", "redis", "example", "--subresource=status", "--type=merge", "-n", namespace, "-p"];
        let shadow = r#"{"policy": "gone", "agreed": 1, "differed": 0, "faults": 0, "dropped": 0}"#;
        let patch = format!(r#"{{"status": {{"shadow": {shadow}, "replicas": 9}}}}"#);
        cluster.kubectl(&[&words[..], &[patch.as_str()]].concat()).await.unwrap();
    };
    let is_right = async || {
        let status = redis(cluster, namespace).await?.status?;
        (status.shadow.is_none() && status.replicas == 2).then_some(status.published?.epoch)
    };
    edit().await;
    let _operator = Operator::start(cluster, namespace);
    settled(cluster, namespace, 2).await;
    let epoch = until("what the former operator wrote is gone", is_right).await;
    edit().await;
    assert_eq!(until("what a person wrote is gone", is_right).await, epoch, "the record stays");
}
