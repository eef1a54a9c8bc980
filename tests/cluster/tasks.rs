//! Faults of the operator itself: a task that panics costs its group a moment, and no other group anything.

use super::deployed::page;
use super::plugin::operator_in_a_pod;
use super::rig::{another_master, example, settled};
use std::net::SocketAddr;
use tests::cluster::{Cluster, Signal, until};

/// The operator of a debug build panics in the task that an annotation names; one of a release build has no
/// such thing.
pub async fn a_task_that_panics_is_started_again_and_counted_and_its_group_fails_over(
    cluster: &Cluster,
    namespace: &str,
) {
    if !cfg!(debug_assertions) {
        println!("skipped: the operator of a release build panics for no test");
        return;
    }
    operator_in_a_pod(cluster, namespace).await;
    cluster.apply(&example(namespace, 3, "")).await;
    let mut master = settled(cluster, namespace, 3).await;
    let ask = async |path: &str| {
        page(SocketAddr::from((cluster.running(namespace, "operator").address(), 8080)), path).await
    };
    let restarts = async |task: &str| {
        let text = ask("/metrics").await?;
        let series = format!("redis_operator_task_restarts_total{{task=\"{task}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(series.as_str())?.parse::<u64>().ok())
    };
    let annotate = async |word: &str| {
        cluster
            .kubectl(&["annotate", "redis", "example", word, "--overwrite", "-n", namespace])
            .await
            .unwrap();
    };
    for task in ["group", "reconciler", "publish", "maintain"] {
        assert_eq!(restarts(task).await, Some(0), "{task}");
        annotate(&format!("redis-operator.test/panic={task}")).await;
        until(&format!("{task} panicked more than once"), async || {
            restarts(task).await.filter(|count| *count >= 2)
        })
        .await;
        annotate("redis-operator.test/panic-").await;
        until(&format!("ready again after faults of {task}"), async || {
            ask("/readyz").await.filter(|answer| answer.starts_with("HTTP/1.1 200 "))
        })
        .await;
        cluster.running(namespace, &master).signal("redis", Signal::Kill);
        another_master(cluster, namespace, &master).await;
        master = settled(cluster, namespace, 3).await;
    }
    let pod = cluster.pod(namespace, "operator").await.unwrap();
    let restarted = pod.status.and_then(|status| status.container_statuses).unwrap()[0].restart_count;
    assert_eq!(restarted, 0, "the process is the first one");
    let log = cluster.running(namespace, "operator").log("redis-operator");
    assert!(log.contains("requested by a test") && log.contains("task ended by a fault, will start again"));
}
