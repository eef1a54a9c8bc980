//! What is lost: processes, Pods, nodes, links, all at once; and what becomes of the data.

use super::rig::{Customer, Operator, another_master, example, pods, redis, say, settled};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use redis_operator::kubernetes::crd::Redis;
use std::time::Instant;
use tests::cluster::{Cluster, Cut, HOME, Signal, until};

const ALL: [&str; 3] = ["redis-example-0", "redis-example-1", "redis-example-2"];

async fn has(cluster: &Cluster, namespace: &str, pod: &str, key: &str) -> bool {
    say(cluster, namespace, pod, &["GET", key]).await.is_some()
}

/// Written, and at both replicas.
async fn store(cluster: &Cluster, namespace: &str, master: &str, key: &str) {
    say(cluster, namespace, master, &["SET", key, "woot"]).await.unwrap();
    until("both replicas have it", async || {
        for pod in ALL {
            say(cluster, namespace, pod, &["GET", key]).await?;
        }
        Some(())
    })
    .await;
}

pub async fn a_hung_master_is_replaced_and_joins_as_a_replica_when_it_wakes(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let began = Instant::now();
    cluster.running(namespace, &master).signal("redis", Signal::Stop);
    let next = another_master(cluster, namespace, &master).await;
    customer.first_elsewhere(&cluster.running(namespace, &master).address().to_string(), began).await;
    cluster.running(namespace, &master).signal("redis", Signal::Continue);
    assert_eq!(settled(cluster, namespace, 3).await, next);
    assert_eq!(customer.lost(cluster, namespace, &next).await.1, 0);
}

/// Three of three masters hang: the operator doubts its own network first, and says so. After ten hang limits
/// each group is judged by itself.
pub async fn masters_that_hang_together_are_replaced_after_the_operator_doubted_itself(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let api = Api::<Redis>::namespaced(cluster.client(), namespace);
    let status = async |name: &str| api.get_opt(name).await.ok().flatten()?.status;
    let names = ["example", "second", "third"];
    for name in names {
        let named = format!("name: {name},");
        cluster.apply(&example(namespace, 2, "").replace("name: example,", &named)).await;
    }
    let mut masters = Vec::new();
    for name in names {
        let is_healthy = async || status(name).await.filter(|status| status.reason == "healthy")?.master;
        masters.push(until("a healthy group", is_healthy).await);
    }
    for master in &masters {
        cluster.running(namespace, master).signal("redis", Signal::Stop);
    }
    for name in names {
        let is_in_doubt = async || status(name).await.filter(|status| status.reason == "fleet-doubt");
        until("the operator doubts its own network", is_in_doubt).await;
    }
    for (name, master) in names.into_iter().zip(&masters) {
        until("another master", async || status(name).await?.master.filter(|next| next != master)).await;
    }
}

pub async fn a_deleted_master_hands_over_before_it_goes(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete(&master, &DeleteParams::default())
        .await
        .unwrap();
    let next = another_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await, (0, 0));
}

pub async fn all_are_deleted_at_once_and_no_write_is_lost(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    cluster
        .kubectl(&["delete", "pods", "-l", "redis=example", "--wait=false", "-n", namespace])
        .await
        .unwrap();
    // From one that goes to the next one that goes, until those that came in their place have it all.
    another_master(cluster, namespace, &master).await;
    let last = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &last).await, (0, 0));
}

pub async fn a_drained_node_loses_no_write(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let node = cluster.pod(namespace, &master).await.unwrap().spec.unwrap().node_name.unwrap();
    // Tries again by itself what the budget refuses.
    cluster.kubectl(&["drain", &node, "--delete-emptydir-data", "--force", "--timeout=120s"]).await.unwrap();
    cluster.kubectl(&["uncordon", &node]).await.unwrap();
    let next = another_master(cluster, namespace, &master).await;
    settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &next).await, (0, 0));
}

pub async fn a_lost_node_takes_the_master_with_it_and_another_one_takes_over(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    store(cluster, namespace, &master, "lol").await;
    let customer = Customer::start(cluster, namespace, None).await;
    let node = cluster.pod(namespace, &master).await.unwrap().spec.unwrap().node_name.unwrap();
    cluster.lose_node(&node);
    let next = another_master(cluster, namespace, &master).await;
    assert!(has(cluster, namespace, &next, "lol").await);
    customer.go_on(100).await;
    cluster.find_node(&node);
    let last = settled(cluster, namespace, 3).await;
    assert!(has(cluster, namespace, &last, "lol").await);
    assert_eq!(customer.lost(cluster, namespace, &last).await.1, 0);
}

pub async fn all_but_one_are_lost_and_the_data_survives(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    for (place, survivor) in ALL.iter().enumerate() {
        let master = settled(cluster, namespace, 3).await;
        let key = format!("survivor-{place}");
        store(cluster, namespace, &master, &key).await;
        for pod in ALL.iter().filter(|pod| *pod != survivor) {
            cluster.running(namespace, pod).signal("redis", Signal::Kill);
        }
        let restarts = |pod: &Pod| {
            pod.status
                .iter()
                .flat_map(|status| status.container_statuses.iter().flatten())
                .map(|of| of.restart_count)
                .sum::<i32>()
        };
        let before: i32 = 2 * i32::try_from(place).unwrap();
        until("the killed ones run again", async || {
            let restarts: i32 = pods(cluster, namespace).await.iter().map(restarts).sum();
            (restarts >= before + 2).then_some(())
        })
        .await;
        let master = settled(cluster, namespace, 3).await;
        assert!(
            has(cluster, namespace, &master, &key).await,
            "{survivor} was left, and {master} has lost {key}"
        );
    }
}

pub async fn all_are_lost_at_once_and_come_back_from_their_claims(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let claim = "  config: {appendonly: \"yes\"}\n  dataVolumeClaimTemplate:\n    metadata: {name: data}\n    spec: \
         {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    cluster.apply(&example(namespace, 3, claim)).await;
    let master = settled(cluster, namespace, 3).await;
    store(cluster, namespace, &master, "lol").await;
    kill_all(cluster, namespace).await;
    let master = settled(cluster, namespace, 3).await;
    assert!(has(cluster, namespace, &master, "lol").await);
}

/// The files that a server started with are kept, and survive that it copies another one.
pub async fn former_files_are_kept_on_the_volume(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let claim = "  config: {save: \"\"}\n  dataVolumeClaimTemplate:\n    metadata: {name: data}\n    spec: \
         {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    cluster.apply(&example(namespace, 3, claim)).await;
    let master = settled(cluster, namespace, 3).await;
    store(cluster, namespace, &master, "former").await;
    let replica = ALL.iter().find(|pod| **pod != master).unwrap();
    until("the replica has it", async || has(cluster, namespace, replica, "former").await.then_some(()))
        .await;
    assert!(say(cluster, namespace, replica, &["SAVE"]).await.is_some());
    let uid = cluster.pod(namespace, replica).await.unwrap().metadata.uid;
    cluster.kubectl(&["delete", "pod", "-n", namespace, replica]).await.unwrap();
    until("another Pod has its name", async || {
        cluster.pod(namespace, replica).await.filter(|pod| pod.metadata.uid != uid).map(drop)
    })
    .await;
    let master = settled(cluster, namespace, 3).await;
    let holds = async |claim: &str| {
        let words = ["sh", "-c", claim].map(str::to_owned);
        cluster.running(namespace, replica).exec("redis", &words).await
    };
    assert!(holds("grep -q former /data/set-aside/*/dump.rdb").await);
    // What replaces the original leaves what is kept as it was.
    store(cluster, namespace, &master, "later").await;
    until("the replica has it", async || has(cluster, namespace, replica, "later").await.then_some(())).await;
    assert!(say(cluster, namespace, replica, &["SAVE"]).await.is_some());
    assert!(holds("grep -q later /data/dump.rdb && ! grep -q later /data/set-aside/*/dump.rdb").await);
    let pod = cluster.pod(namespace, replica).await.unwrap();
    let first = pod.status.and_then(|status| status.init_container_statuses).unwrap_or_default();
    let message = first[0].state.as_ref().and_then(|state| state.terminated.as_ref()?.message.clone());
    assert!(message.as_ref().is_some_and(|message| message.contains(" KiB")), "{message:?}");
}

pub async fn all_are_lost_at_once_with_their_memory_and_are_a_group_again(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    store(cluster, namespace, &master, "lol").await;
    kill_all(cluster, namespace).await;
    let master = settled(cluster, namespace, 3).await;
    assert!(!has(cluster, namespace, &master, "lol").await, "no server had it");
    store(cluster, namespace, &master, "again").await;
}

async fn kill_all(cluster: &Cluster, namespace: &str) {
    for pod in ALL {
        cluster.running(namespace, pod).signal("redis", Signal::Kill);
    }
    until("all were killed", async || {
        redis(cluster, namespace).await?.status.filter(|status| status.reason != "healthy").map(drop)
    })
    .await;
}

pub async fn a_master_that_is_cut_from_its_replicas_refuses_writes_by_itself(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "  failover: {selfFenceLagSeconds: 2}\n")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let running = cluster.running(namespace, &master);
    for which in WAYS {
        for other in ALL.iter().filter(|other| **other != master) {
            running.cut(which(Cut::with(cluster.running(namespace, other).address())));
        }
        until("it refuses writes", async || {
            match say(cluster, namespace, &master, &["SET", "alone", "x"]).await {
                None => Some(()),
                Some(_) => None,
            }
        })
        .await;
        // It answers and is alive: it is not replaced.
        assert_eq!(redis(cluster, namespace).await.unwrap().status.unwrap().master.as_ref(), Some(&master));
        running.heal();
        customer.go_on(10).await;
    }
    assert_eq!(settled(cluster, namespace, 3).await, master);
    assert_eq!(customer.lost(cluster, namespace, &master).await, (0, 0));
}

pub async fn a_master_that_the_operator_cannot_reach_is_not_replaced_while_its_replicas_report_link_up(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let running = cluster.running(namespace, &master);
    for which in WAYS {
        let before = operator.log().len();
        running.cut(which(Cut::with(HOME)));
        until("its replicas hear it", async || {
            operator.log()[before..].contains("master-still-heard").then_some(())
        })
        .await;
        let seen = Instant::now();
        // The hang limit several times over.
        until("some seconds", async || (seen.elapsed().as_secs() >= 3).then_some(())).await;
        running.heal();
        until("it is seen again", async || {
            operator.log()[before..].contains(r#"verdict="healthy""#).then_some(())
        })
        .await;
    }
    assert!(!operator.log().contains("master-silent"), "its replicas hear it");
    assert_eq!(settled(cluster, namespace, 3).await, master);
}

/// What is lost of a cut link: all of it, what comes in (it is deaf), what goes out (it is mute).
const WAYS: [fn(Cut) -> Cut; 3] = [|both| both, Cut::inbound, Cut::outbound];

pub async fn another_group_at_the_former_address_of_a_master_is_not_copied(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    cluster.apply(&example(namespace, 2, "").replace("name: example,", "name: other,")).await;
    let master = settled(cluster, namespace, 3).await;
    store(cluster, namespace, &master, "ours").await;
    let stranger = until("both groups refuse replicas of other groups", async || {
        redis(cluster, namespace).await?.status?.replication_user?;
        let command = [
            "get",
            "redis",
            "other",
            "-o",
            "jsonpath={.status.replicationUser} {.status.master}",
            "-n",
            namespace,
        ];
        let status = cluster.kubectl(&command).await.ok()?;
        status
            .strip_prefix("group-")?
            .split_once(' ')
            .map(|(_, master)| master.to_owned())
            .filter(|master| !master.is_empty())
    })
    .await;
    say(cluster, namespace, &stranger, &["SET", "theirs", "x"]).await.unwrap();
    operator.kill().await;
    // As replicas do after a restart, when the address of their master belongs to another server.
    let address = cluster.running(namespace, &stranger).address().to_string();
    for pod in ALL {
        say(cluster, namespace, pod, &["REPLICAOF", &address, "6379"]).await.unwrap();
    }
    for pod in ALL {
        let running = cluster.running(namespace, pod);
        until("it is not let in", async || {
            running.log("redis").contains("Unable to AUTH to MASTER").then_some(())
        })
        .await;
        assert!(
            has(cluster, namespace, pod, "ours").await && !has(cluster, namespace, pod, "theirs").await,
            "{pod}"
        );
    }
    let _operator = Operator::start(cluster, namespace);
    until("a master of their own", async || {
        let last = settled(cluster, namespace, 3).await;
        has(cluster, namespace, &last, "ours").await.then_some(())
    })
    .await;
    assert!(has(cluster, namespace, &stranger, "theirs").await);
}

pub async fn a_third_of_all_packets_lost_changes_no_master(cluster: &Cluster, namespace: &str) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    for pod in ALL {
        cluster.running(namespace, pod).cut(Cut::all().losing_percent(30));
    }
    let began = Instant::now();
    until("some seconds of it", async || (began.elapsed().as_secs() >= 8).then_some(())).await;
    for pod in ALL {
        cluster.running(namespace, pod).heal();
    }
    let last = settled(cluster, namespace, 3).await;
    if last == master {
        assert_eq!(customer.lost(cluster, namespace, &last).await, (0, 0));
    } else {
        assert!(operator.log().contains("master-silent"), "a master was replaced that answered");
    }
    assert!(say(cluster, namespace, &last, &["SET", "healed", "x"]).await.is_some());
}

pub async fn a_deleted_resource_in_the_midst_of_a_failover_goes_with_all_that_is_its(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    cluster.kubectl(&["delete", "redis", "example", "-n", namespace]).await.unwrap();
    until("nothing is left", async || {
        let left = cluster
            .kubectl(&[
                "get",
                "pod,statefulset,service,configmap,secret,pdb",
                "-l",
                "redis=example",
                "-o",
                "name",
                "-n",
                namespace,
            ])
            .await;
        left.is_ok_and(|left| left.trim().is_empty()).then_some(())
    })
    .await;
    cluster.apply(&example(namespace, 3, "")).await;
    settled(cluster, namespace, 3).await;
}

pub async fn edits_by_others_are_reverted_without_harm(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    settled(cluster, namespace, 3).await;
    let customer = Customer::start(cluster, namespace, None).await;
    let edits: [&[&str]; 5] = [
        &["label", "redis", "example", "team=cart", "redis=other"],
        &["annotate", "redis", "example", "note=hello"],
        &["patch", "statefulset", "redis-example", "--type", "merge", "-p", r#"{"spec": {"replicas": 1}}"#],
        &[
            "patch",
            "service",
            "redis-example-master",
            "--type",
            "merge",
            "-p",
            r#"{"spec": {"selector": {"role": "replica"}}}"#,
        ],
        &[
            "patch",
            "configmap",
            "redis-example",
            "--type",
            "merge",
            "-p",
            r#"{"data": {"redis.conf": "port 1"}}"#,
        ],
    ];
    for edit in edits {
        cluster.kubectl(&[edit, &["-n", namespace]].concat()).await.unwrap();
    }
    until("all is as it was", async || {
        let path = "-o=jsonpath={.spec.replicas}";
        let replicas =
            cluster.kubectl(&["get", "statefulset", "redis-example", path, "-n", namespace]).await.ok()?;
        let role = cluster
            .kubectl(&[
                "get",
                "service",
                "redis-example-master",
                "-o=jsonpath={.spec.selector.role}",
                "-n",
                namespace,
            ])
            .await
            .ok()?;
        let config = cluster
            .kubectl(&["get", "configmap", "redis-example", "-o=jsonpath={.data}", "-n", namespace])
            .await
            .ok()?;
        (replicas == "3" && role == "master" && config.contains("port 6379")).then_some(())
    })
    .await;
    let last = settled(cluster, namespace, 3).await;
    customer.go_on(100).await;
    assert_eq!(customer.lost(cluster, namespace, &last).await.1, 0);
}
