//! Tools that wait for a resource: `kubectl wait`, and what kstatus reads (Helm, Flux).

use super::rig::{Operator, condition, example, patch, pods, redis, settled};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use tests::cluster::{Cluster, is_ready};

/// Which of the two conditions that kstatus looks at hold, and the generation that the status is about.
async fn kstatus(cluster: &Cluster, namespace: &str) -> (bool, bool, Option<i64>) {
    let status = redis(cluster, namespace).await.unwrap().status.unwrap();
    let holds = |type_: &str| {
        status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    (holds("Reconciling"), holds("Stalled"), status.observed_generation)
}

async fn wait(cluster: &Cluster, namespace: &str) {
    let words = ["wait", "--for=condition=Ready", "redis/example", "--timeout=120s", "-n", namespace];
    cluster.kubectl(&words).await.unwrap();
}

pub async fn who_waits_for_a_resource_waits_until_the_last_pod_has_what_was_asked(
    cluster: &Cluster,
    namespace: &str,
) {
    cluster.apply(&example(namespace, 3, "")).await;
    assert_eq!(kstatus(cluster, namespace).await, (false, false, Some(-1)), "no operator has seen it");
    let _operator = Operator::start(cluster, namespace);
    wait(cluster, namespace).await;
    let all = pods(cluster, namespace).await;
    assert!(all.len() == 3 && all.iter().all(is_ready), "ready is the whole group");
    assert_eq!(kstatus(cluster, namespace).await, (false, false, Some(1)));
    let events = Api::<Event>::namespaced(cluster.client(), namespace);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let ours = events.iter().filter(|event| event.reporting_controller.as_deref() == Some("redis-operator"));
    let warnings = ours.filter(|event| event.type_.as_deref() == Some("Warning"));
    let warnings: Vec<_> = warnings.map(|event| (event.reason.clone(), event.note.clone())).collect();
    assert!(warnings.is_empty(), "a normal start is no trouble: {warnings:?}");

    // Each of these ends on another Pod.
    let changes = [
        (r#"{"spec": {"annotations": {"rolled": "yes"}}}"#, "another template"),
        (r#"{"spec": {"config": {"maxmemory": "64mb"}}}"#, "a directive that is set live"),
        (r#"{"spec": {"replicas": 2}}"#, "fewer"),
    ];
    for (change, what) in changes {
        patch(cluster, namespace, change).await;
        wait(cluster, namespace).await;
        let (is_reconciling, is_stalled, _) = kstatus(cluster, namespace).await;
        assert!(!is_reconciling && !is_stalled, "{what}");
        let has = |name: &str, pod: &k8s_openapi::api::core::v1::Pod| {
            pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(name))
        };
        let all = pods(cluster, namespace).await;
        assert!(all.iter().all(|pod| is_ready(pod) && has("rolled", pod)), "{what}");
    }
    assert_eq!(pods(cluster, namespace).await.len(), 2);
    settled(cluster, namespace, 2).await;

    patch(cluster, namespace, r#"{"spec": {"config": {"maxmemory-policy": "no-such"}}}"#).await;
    condition(cluster, namespace, "Stalled", "DirectiveRefused").await;
    patch(cluster, namespace, r#"{"spec": {"config": {"maxmemory-policy": "allkeys-lru"}}}"#).await;
    wait(cluster, namespace).await;
    assert!(!kstatus(cluster, namespace).await.1, "it was put right");
}
