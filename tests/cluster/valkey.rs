//! Valkey in the Pods: an image that has no program of Redis' name, and the way from Redis to it and back.

use tests::cluster::{Cluster, Image, Signal, until};

use super::rig::{Customer, Operator, another_master, condition, example, patch, pods, say, settled};

/// Waits until every Pod runs that server.
pub async fn all_run(cluster: &Cluster, namespace: &str, server: &str) {
    until(&format!("all run {server}"), async || {
        for pod in pods(cluster, namespace).await {
            let info = say(cluster, namespace, pod.metadata.name.as_ref()?, &["INFO", "server"]).await?;
            info.contains(server).then_some(())?;
        }
        Some(())
    })
    .await;
}

pub async fn a_group_goes_from_redis_to_valkey_without_loss_and_the_way_back_is_refused_with_the_reason(
    cluster: &Cluster,
    namespace: &str,
) {
    if Image::valkey().is_none() {
        return println!("skipped: Valkey is not here: tests/setup/servers.sh sets it up");
    }
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "valkey/valkey:8.1"}}}"#).await;
    all_run(cluster, namespace, "valkey_version:8.").await;
    let master = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;

    // Its probes and its handover work with its own client.
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = another_master(cluster, namespace, &master).await;
    settled(cluster, namespace, 3).await;
    cluster.kubectl(&["delete", "pod", &next, "-n", namespace]).await.unwrap();
    another_master(cluster, namespace, &next).await;
    let master = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;

    // Redis 7.0 does not read what Valkey 8 sends.
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:7"}}}"#).await;
    let message = condition(cluster, namespace, "Degraded", "RolloutBlocked").await;
    assert!(message.contains("Redis 7.") && message.contains("Valkey 8."), "{message}");
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "valkey/valkey:8.1"}}}"#).await;
    all_run(cluster, namespace, "valkey_version:8.").await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &master).await.1, 0);
}
