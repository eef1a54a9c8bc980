//! The API server away, the operator killed, two operators: which one may act, and what follows when the
//! others are back.

use super::rig::{
    Customer, Operator, another_master, condition, example, pods, redis, say, settled, write_through,
};
use serde_json::{Value, json};
use std::time::Instant;
use tests::cluster::{Cluster, Signal, until};

pub async fn a_master_that_dies_while_the_api_is_away_is_replaced_at_once_and_published_after(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    write_through(cluster, namespace, &master, "lol", "woot").await;
    let names: Vec<String> = pods(cluster, namespace)
        .await
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .filter(|name| *name != master)
        .collect();
    cluster.stop_api_server().await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = until("a master while the API server is away", async || {
        for name in &names {
            if say(cluster, namespace, name, &["SET", "while", "away"]).await.is_some() {
                return Some(name.clone());
            }
        }
        None
    })
    .await;
    // Long enough for the Lease to run out: from then on nothing is done, and that is said.
    until("the hold is logged", async || operator.log().contains("authority lost").then_some(())).await;
    cluster.running(namespace, &next).signal("redis", Signal::Stop);
    let held = Instant::now();
    until("a hold of some seconds", async || (held.elapsed().as_secs() >= 3).then_some(())).await;
    for name in names.iter().chain([&master]).filter(|name| **name != next) {
        assert_eq!(
            say(cluster, namespace, name, &["SET", "without", "authority"]).await,
            None,
            "{name} was promoted without authority"
        );
    }
    cluster.start_api_server().await;
    until("a master that lives, when authority is back", async || {
        for name in names.iter().chain([&master]).filter(|name| **name != next) {
            if say(cluster, namespace, name, &["SET", "with", "authority"]).await.is_some() {
                return Some(());
            }
        }
        None
    })
    .await;
    cluster.running(namespace, &next).signal("redis", Signal::Continue);
    let last = settled(cluster, namespace, 3).await;
    assert_ne!(last, next);
    for key in ["lol", "while"] {
        assert!(say(cluster, namespace, &last, &["GET", key]).await.is_some(), "{key}");
    }
}

pub async fn a_killed_operator_is_replaced_by_the_other_and_the_failover_goes_on(
    cluster: &Cluster,
    namespace: &str,
) {
    let first = Operator::named(cluster, namespace, "first");
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let second = Operator::named(cluster, namespace, "second");
    first.kill().await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
    second.stop().await;
}

pub async fn an_operator_that_is_killed_after_any_step_leaves_nothing_half_done(
    cluster: &Cluster,
    namespace: &str,
) {
    let mut operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    // Whether it sees the Pod asked to stop or dead is a matter of milliseconds, so the end may be that of a
    // handover.
    for step in
        [r#"verdict="act""#, " sent ", " finished ", " published ", r#"action="follow""#, "over finished"]
    {
        let master = settled(cluster, namespace, 3).await;
        let customer = Customer::start(cluster, namespace, None).await;
        // Under the same name, so that the Lease is still its own; and with a log that begins here.
        operator.kill().await;
        operator = Operator::start(cluster, namespace);
        until("it looks on", async || operator.log().contains(r#"verdict="healthy""#).then_some(())).await;
        cluster
            .kubectl(&["delete", "pod", &master, "-n", namespace, "--grace-period=0", "--force"])
            .await
            .unwrap();
        until(&format!("the log says {step}"), async || operator.log().contains(step).then_some(())).await;
        operator.kill().await;
        operator = Operator::start(cluster, namespace);
        let next = settled(cluster, namespace, 3).await;
        customer.go_on(50).await;
        assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0, "killed after {step}");
    }
    operator.stop().await;
}

pub async fn a_stolen_lease_stops_the_first_and_the_second_goes_on(cluster: &Cluster, namespace: &str) {
    let (first, second) =
        (Operator::named(cluster, namespace, "first"), Operator::named(cluster, namespace, "second"));
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let holder = cluster
        .kubectl(&["get", "lease", "redis-operator", "-o=jsonpath={.spec.holderIdentity}", "-n", namespace])
        .await
        .unwrap();
    let (robbed, robber, thief) =
        if holder == "first" { (first, second, "second") } else { (second, first, "first") };
    let epoch = async || Some(redis(cluster, namespace).await?.status?.published?.epoch);
    let epoch_before = until("a published master", &epoch).await;
    let theft = format!(r#"{{"spec": {{"holderIdentity": "{thief}"}}}}"#);
    cluster
        .kubectl(&["patch", "lease", "redis-operator", "--type", "merge", "-p", &theft, "-n", namespace])
        .await
        .unwrap();
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    until("it knows that it is not the one", async || robbed.log().contains("authority lost").then_some(()))
        .await;
    another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;
    let later = robbed.log().split_once("authority lost").map(|(_, later)| later.contains(" sent ")).unwrap();
    assert!(!later, "it sends no more actions");
    let epoch_now = epoch().await.unwrap();
    assert!(epoch_now > epoch_before, "the record of the first goes on: {epoch_before}, then {epoch_now}");
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
    robber.stop().await;
}

pub async fn a_master_that_comes_back_empty_while_no_operator_runs_deletes_no_data(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    operator.stop().await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    until("it is back, empty", async || {
        say(cluster, namespace, &master, &["DBSIZE"]).await.filter(|size| size == "0")
    })
    .await;
    let _operator = Operator::start(cluster, namespace);
    let next = another_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
}

pub async fn an_operator_that_slept_through_its_lease_does_no_harm_when_it_wakes(
    cluster: &Cluster,
    namespace: &str,
) {
    let first = Operator::named(cluster, namespace, "first");
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let second = Operator::named(cluster, namespace, "second");
    first.signal(libc::SIGSTOP);
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    first.signal(libc::SIGCONT);
    until("it knows that it is not the one", async || first.log().contains("authority lost").then_some(()))
        .await;
    customer.go_on(300).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    assert_eq!((customer.failures(), customer.lost(cluster, namespace, &next).await), (0, (0, 0)));
    drop((first, second));
}

/// The annotation with the stored record, as JSON.
async fn stored(cluster: &Cluster, namespace: &str) -> Option<Value> {
    let map: Value = serde_json::from_str(
        &cluster
            .kubectl(&["get", "configmap", "redis-example-record", "-o", "json", "-n", namespace])
            .await
            .ok()?,
    )
    .unwrap();
    serde_json::from_str(map["metadata"]["annotations"]["k8s.amaiz.com/record"].as_str()?).ok()
}

/// As a restored backup does, or one who synchronises resources with a repository.
pub async fn a_status_that_is_dropped_takes_no_record_with_it(cluster: &Cluster, namespace: &str) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let first = settled(cluster, namespace, 3).await;
    cluster.running(namespace, &first).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &first).await;
    let master = settled(cluster, namespace, 3).await;
    let of_epoch = async |epoch: u64| {
        let there = stored(cluster, namespace).await?;
        let shard = &there["shards"][0];
        (shard["published"]["epoch"] == epoch && !shard["position"].is_null()).then_some(there)
    };
    let before = until("the second master is stored, with a position", async || of_epoch(2).await).await;
    assert_eq!(before["shards"][0]["published"]["master"], master.as_str());
    let lineage = before["shards"][0]["lineage"].as_array().unwrap().len();
    assert!(lineage >= 2, "{before}");
    operator.stop().await;

    let nothing = json!({ "status": {
        "published": null, "lineage": null, "position": null, "lastFailover": null, "master": null
    } });
    let words = ["patch", "redis", "example", "--subresource=status", "--type=merge", "-n", namespace, "-p"];
    cluster.kubectl(&[&words[..], &[nothing.to_string().as_str()]].concat()).await.unwrap();
    let operator = Operator::start(cluster, namespace);
    until("the status has the record again", async || {
        let status = redis(cluster, namespace).await?.status?;
        (status.published?.epoch == 2 && status.lineage.len() == lineage).then_some(())
    })
    .await;
    assert_eq!(settled(cluster, namespace, 3).await, master);

    // A record of a later term stands, and that is said; without it the record is written anew.
    let mut later = stored(cluster, namespace).await.unwrap();
    let own = later["term"].clone();
    later["term"]["lease_created_s"] = json!(9_999_999_999_u64);
    let annotation = format!("k8s.amaiz.com/record={later}");
    let words =
        ["annotate", "configmap", "redis-example-record", &annotation, "--overwrite", "-n", namespace];
    cluster.kubectl(&words).await.unwrap();
    condition(cluster, namespace, "Degraded", "RecordNewer").await;
    assert_eq!(stored(cluster, namespace).await.unwrap()["term"], later["term"], "{}", operator.log());
    cluster.kubectl(&["delete", "configmap", "redis-example-record", "-n", namespace]).await.unwrap();
    let again = until("the record is stored again", async || of_epoch(2).await).await;
    assert_eq!(again["term"], own);
    settled(cluster, namespace, 3).await;
}
