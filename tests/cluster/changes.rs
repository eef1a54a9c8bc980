//! What a user changes while clients write: directives, password, image, size, master. Nothing acknowledged
//! is lost.

use super::rig::{Customer, Operator, example, patch, pods, redis, say, say_as, settled};
use super::valkey::all_run;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use tests::cluster::{Cluster, Image, until};

/// Which Pods there are, by name: another uid is another Pod, more restarts another process.
async fn lives(cluster: &Cluster, namespace: &str) -> BTreeMap<String, (String, i32)> {
    let restarts = |pod: &Pod| {
        pod.status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(|of| of.restart_count)
            .sum()
    };
    let life =
        |pod: Pod| (pod.metadata.name.clone().unwrap(), (pod.metadata.uid.clone().unwrap(), restarts(&pod)));
    pods(cluster, namespace).await.into_iter().map(life).collect()
}

async fn directive(cluster: &Cluster, namespace: &str, pod: &str, name: &str) -> Option<String> {
    let mut connection =
        redis::Client::open(format!("redis://{}:6379/", cluster.address(namespace, pod).await?)).ok()?;
    let pair: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query(&mut connection).ok()?;
    pair.get(1).cloned()
}

async fn all_have(cluster: &Cluster, namespace: &str, name: &str, value: &str) {
    until(&format!("{name} is {value} everywhere"), async || {
        for pod in ["redis-example-0", "redis-example-1", "redis-example-2"] {
            directive(cluster, namespace, pod, name).await.filter(|is| is == value)?;
        }
        Some(())
    })
    .await;
}

pub async fn a_directive_is_set_live_and_one_that_is_read_at_the_start_is_rolled_out_without_loss(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "  config: {maxclients: \"500\"}\n")).await;
    settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let before = lives(cluster, namespace).await;
    patch(
        cluster,
        namespace,
        r#"{"spec": {"config": {"maxclients": "400", "maxmemory-policy": "allkeys-lru"}}}"#,
    )
    .await;
    all_have(cluster, namespace, "maxclients", "400").await;
    all_have(cluster, namespace, "maxmemory-policy", "allkeys-lru").await;
    assert_eq!(lives(cluster, namespace).await, before, "no Pod was restarted");
    // A removed directive, and one that is read only at the start, replaces the Pods.
    patch(cluster, namespace, r#"{"spec": {"config": {"databases": "3", "maxmemory-policy": null}}}"#).await;
    until("other Pods", async || {
        let now = lives(cluster, namespace).await;
        (now.len() == 3
            && now.iter().all(|(name, life)| before.get(name).is_some_and(|before| before.0 != life.0)))
        .then_some(())
    })
    .await;
    let master = settled(cluster, namespace, 3).await;
    all_have(cluster, namespace, "databases", "3").await;
    all_have(cluster, namespace, "maxmemory-policy", "noeviction").await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
}

pub async fn a_directive_that_redis_refuses_is_in_the_condition_and_restarts_no_pod(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    settled(cluster, namespace, 3).await;
    let before = lives(cluster, namespace).await;
    patch(cluster, namespace, r#"{"spec": {"config": {"maxmemory": "a lot"}}}"#).await;
    let message = super::rig::condition(cluster, namespace, "Degraded", "DirectiveRefused").await;
    assert!(message.contains("maxmemory a lot"), "{message}");
    assert_eq!(lives(cluster, namespace).await, before);
    patch(cluster, namespace, r#"{"spec": {"config": {"maxmemory": "100mb"}}}"#).await;
    all_have(cluster, namespace, "maxmemory", "104857600").await;
    settled(cluster, namespace, 3).await;
    until("no complaint any more", async || {
        let conditions = redis(cluster, namespace).await?.status?.conditions;
        conditions.iter().any(|of| of.type_ == "Degraded" && of.status == "False").then_some(())
    })
    .await;
}

pub async fn a_password_is_changed_live_without_restart_or_loss(cluster: &Cluster, namespace: &str) {
    let secret = |password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\nstringData: \
             {{password: {password}}}\n"
        )
    };
    cluster.apply(&secret("before")).await;
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "  password: {secretKeyRef: {name: login, key: password}}\n")).await;
    settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, Some("before")).await;
    let before = lives(cluster, namespace).await;
    cluster.apply(&secret("after")).await;
    let all = ["redis-example-0", "redis-example-1", "redis-example-2"];
    until("the new password everywhere, and the old one nowhere", async || {
        for pod in all {
            say_as(cluster, namespace, pod, Some("after"), &["PING"]).await?;
            if say_as(cluster, namespace, pod, Some("before"), &["PING"]).await.is_some() {
                return None;
            }
        }
        Some(())
    })
    .await;
    assert_eq!(lives(cluster, namespace).await, before, "no Pod was restarted");
    customer.go_on(100).await;
    assert_eq!(customer.failures(), 0, "existing connections stay logged in");
    let user = redis(cluster, namespace).await.unwrap().status.unwrap().replication_user.unwrap();
    for pod in all {
        let login = async |password: &str| {
            say_as(cluster, namespace, pod, Some("after"), &["AUTH", &user, password]).await
        };
        assert_eq!(
            (login("after").await.as_deref(), login("before").await, login(&user).await),
            (Some("OK"), None, None),
            "{pod}"
        );
    }
    customer.log_in_with(Some("after"));
    // A failover needs the new one between the servers, and a restarted one reads it.
    let master = settled(cluster, namespace, 3).await;
    cluster.running(namespace, &master).signal("redis", tests::cluster::Signal::Kill);
    super::rig::another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
}

pub async fn scaling_down_to_one_and_up_again_moves_the_master_first_and_loses_nothing(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 4, "")).await;
    settled(cluster, namespace, 4).await;
    let customer = Customer::start(cluster, namespace, None).await;
    patch(cluster, namespace, r#"{"spec": {"switchover": {"id": "away", "to": "redis-example-3"}}}"#).await;
    until("the last one is master", async || {
        redis(cluster, namespace).await?.status?.master.filter(|master| master == "redis-example-3").map(drop)
    })
    .await;
    assert_eq!(settled(cluster, namespace, 4).await, "redis-example-3");
    let mut master = String::new();
    // A lone master accepts writes too: it has no replica to lose.
    for size in [2, 1, 3] {
        cluster
            .kubectl(&["scale", "redis", "example", "--replicas", &size.to_string(), "-n", namespace])
            .await
            .unwrap();
        master = settled(cluster, namespace, size).await;
        customer.go_on(100).await;
    }
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
    assert_eq!(say(cluster, namespace, &master, &["PING"]).await.as_deref(), Some("PONG"));
}

pub async fn an_image_of_a_newer_redis_is_rolled_out_under_load_and_loses_nothing(
    cluster: &Cluster,
    namespace: &str,
) {
    if Image::redis_8().is_none() {
        return println!("skipped: Redis 8 is not here: tests/setup/servers.sh sets it up");
    }
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let first = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:8"}}}"#).await;
    all_run(cluster, namespace, "redis_version:8.").await;
    let master = settled(cluster, namespace, 3).await;
    assert_ne!(master, first, "replicas first, and then the master's role moves on");
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
}

pub async fn a_version_that_cannot_copy_from_the_master_stops_the_rollout_at_one_until_it_is_reverted(
    cluster: &Cluster,
    namespace: &str,
) {
    if Image::redis_8().is_none() {
        return println!("skipped: Redis 8 is not here: tests/setup/servers.sh sets it up");
    }
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "").replace("redis:7", "redis:8")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let before = lives(cluster, namespace).await;
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:7"}}}"#).await;
    let older = until("one that cannot copy", async || {
        let now = lives(cluster, namespace).await;
        let other = now.into_iter().find(|(name, life)| before[name].0 != life.0).map(|(name, _)| name)?;
        cluster.runs(namespace, &other)?.log("redis").contains("Can't handle RDB format").then_some(other)
    })
    .await;
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:8"}}}"#).await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
    let is_as_before = |(name, life): (&String, &(String, i32))| (*name != older) == (before[name] == *life);
    assert!(lives(cluster, namespace).await.iter().all(is_as_before), "{older} only was replaced");
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
}

pub async fn other_resources_are_rolled_out_replicas_first_and_the_master_by_handover(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let before = lives(cluster, namespace).await;
    patch(
        cluster,
        namespace,
        r#"{"spec": {"redis": {"image": "redis:7", "resources": {"requests": {"cpu": "0.01"}}}}}"#,
    )
    .await;
    let first_gone = until("one is replaced", async || {
        let now = lives(cluster, namespace).await;
        before
            .iter()
            .find(|(name, life)| now.get(*name).is_none_or(|now| now.0 != life.0))
            .map(|(name, _)| name.clone())
    })
    .await;
    assert_ne!(first_gone, master);
    until("all are replaced", async || {
        let now = lives(cluster, namespace).await;
        (now.len() == 3 && now.iter().all(|(name, life)| before[name].0 != life.0)).then_some(())
    })
    .await;
    let master = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
}
