//! What a fault does, and what mends it.

use super::pods::{answers, redis};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use kube::{Api, ResourceExt};
use tests::cluster::{Cluster, Cut, Signal, is_ready, until};

pub async fn a_killed_container_is_restarted_in_place(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 1)).await;
    let before = cluster.pod_is_ready(namespace, "redis-0").await;
    let running = cluster.running(namespace, "redis-0");
    running.signal("redis", Signal::Kill);
    let after = cluster
        .pod_is(namespace, "redis-0", "restarted", |pod| status(pod).restart_count == 1 && is_ready(pod))
        .await;
    assert_eq!((before.uid(), ip(&before)), (after.uid(), ip(&after)));
    assert_eq!(status(&after).last_state.unwrap().terminated.unwrap().exit_code, 137);
    assert!(answers(running.address()).await);
}

pub async fn a_stopped_process_is_unready_until_it_goes_on(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 1)).await;
    cluster.pod_is_ready(namespace, "redis-0").await;
    let running = cluster.running(namespace, "redis-0");
    running.signal("redis", Signal::Stop);
    assert!(!answers(running.address()).await);
    cluster.pod_is(namespace, "redis-0", "unready", |pod| !is_ready(pod)).await;
    running.signal("redis", Signal::Continue);
    let after = cluster.pod_is_ready(namespace, "redis-0").await;
    assert_eq!(status(&after).restart_count, 0);
}

pub async fn a_process_that_fails_its_liveness_is_restarted(cluster: &Cluster, namespace: &str) {
    let probes = "startupProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
        livenessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1, failureThreshold: 2}";
    let set =
        redis(namespace, 1).replace("# probes", probes).replace("# pod", "terminationGracePeriodSeconds: 1");
    cluster.apply(&set).await;
    cluster.pod_is_ready(namespace, "redis-0").await;
    cluster.running(namespace, "redis-0").signal("redis", Signal::Stop);
    cluster
        .pod_is(namespace, "redis-0", "restarted", |pod| status(pod).restart_count == 1 && is_ready(pod))
        .await;
}

pub async fn a_cut_pod_is_unreachable_and_heals(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 1)).await;
    cluster.pod_is_ready(namespace, "redis-0").await;
    let running = cluster.running(namespace, "redis-0");
    assert!(answers(running.address()).await);
    running.cut(Cut::all());
    assert!(!answers(running.address()).await);
    running.heal();
    until("healed", async || answers(running.address()).await.then_some(())).await;
    running.cut(Cut::all().losing_percent(30));
    until("an answer in spite of losses", async || answers(running.address()).await.then_some(())).await;
    let pod = cluster.pod(namespace, "redis-0").await.unwrap();
    assert!(is_ready(&pod), "its node reaches it all the time");
}

pub async fn a_one_way_cut_is_one_way_and_between_two_only(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 2)).await;
    for name in ["redis-0", "redis-1"] {
        cluster.pod_is_ready(namespace, name).await;
    }
    let (one, other) = (cluster.running(namespace, "redis-0"), cluster.running(namespace, "redis-1"));
    let ask = ["timeout", "1", "redis-cli", "-h", &other.address().to_string(), "ping"].map(str::to_owned);
    assert!(one.exec("redis", &ask).await);
    one.cut(Cut::with(other.address()).outbound());
    assert!(!one.exec("redis", &ask).await, "one does not reach the other");
    assert!(answers(one.address()).await && answers(other.address()).await, "all else is as it was");
}

pub async fn a_lost_node_is_found_lost_and_comes_back(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 1)).await;
    let pod = cluster.pod_is_ready(namespace, "redis-0").await;
    let address = cluster.running(namespace, "redis-0").address();
    let name = pod.spec.unwrap().node_name.unwrap();
    let nodes: Api<Node> = Api::all(cluster.client());
    let is_up = |node: &Node| {
        let conditions = node.status.as_ref().unwrap().conditions.as_ref().unwrap();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    cluster.lose_node(&name);
    assert!(!answers(address).await);
    until("known to be lost", async || nodes.get(&name).await.ok().filter(|node| !is_up(node))).await;
    cluster.pod_is(namespace, "redis-0", "unready", |pod| !is_ready(pod)).await;
    cluster.find_node(&name);
    until("known to be back", async || nodes.get(&name).await.ok().filter(is_up)).await;
    cluster.pod_is_ready(namespace, "redis-0").await;
    assert!(answers(address).await);
}

pub async fn pods_live_on_while_the_api_server_is_away(cluster: &Cluster, namespace: &str) {
    cluster.apply(&redis(namespace, 1)).await;
    cluster.pod_is_ready(namespace, "redis-0").await;
    let running = cluster.running(namespace, "redis-0");
    cluster.stop_api_server().await;
    assert!(cluster.kubectl(&["get", "pods"]).await.is_err());
    assert!(answers(running.address()).await);
    running.signal("redis", Signal::Kill);
    until("it answers again", async || answers(running.address()).await.then_some(())).await;
    cluster.start_api_server().await;
    cluster
        .pod_is(namespace, "redis-0", "known to be restarted", |pod| {
            status(pod).restart_count == 1 && is_ready(pod)
        })
        .await;
    // The controllers are back at work too.
    cluster.apply(&redis(namespace, 2)).await;
    cluster.pod_is_ready(namespace, "redis-1").await;
}

fn status(pod: &Pod) -> ContainerStatus {
    pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone()
}

fn ip(pod: &Pod) -> Option<&String> {
    pod.status.as_ref().unwrap().pod_ip.as_ref()
}
