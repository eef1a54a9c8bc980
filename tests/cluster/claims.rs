//! Claims that grow: live, without another Pod. And a NetworkPolicy on request.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde_json::json;
use tests::cluster::{Cluster, until};

use super::rig::{Operator, condition, example, patch, pods, settled, write_through};

/// A class of storage, the claims of which may grow or not.
fn class(name: &str, grows: bool) -> String {
    format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {name}}}\nprovisioner: \
         test/folder\nallowVolumeExpansion: {grows}\n"
    )
}

/// What the claim of a Pod asks for, and what it has.
async fn sizes(cluster: &Cluster, namespace: &str, ordinal: usize) -> Option<(String, String)> {
    let claims = Api::<PersistentVolumeClaim>::namespaced(cluster.client(), namespace);
    let claim = claims.get_opt(&format!("redis-example-redis-example-{ordinal}")).await.ok()??;
    let asked = claim.spec?.resources?.requests?.get("storage")?.0.clone();
    Some((asked, claim.status?.capacity?.get("storage")?.0.clone()))
}

async fn have(cluster: &Cluster, namespace: &str, count: usize, size: &str) {
    until(&format!("{count} claims of {size}"), async || {
        for ordinal in 0..count {
            sizes(cluster, namespace, ordinal).await.filter(|all| all.0 == size && all.1 == size)?;
        }
        Some(())
    })
    .await;
}

pub async fn claims_grow_under_running_pods_and_what_cannot_be_is_told(cluster: &Cluster, namespace: &str) {
    let (grows, fixed) = (format!("{namespace}-grows"), format!("{namespace}-fixed"));
    cluster.apply(&class(&grows, true)).await;
    cluster.apply(&class(&fixed, false)).await;
    let _operator = Operator::start(cluster, namespace);
    let claim = |class: &str| {
        format!(
            "  dataVolumeClaimTemplate:\n    spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], \
             resources: {{requests: {{storage: 1Gi}}}}}}\n"
        )
    };
    cluster.apply(&example(namespace, 2, &claim(&grows))).await;
    let master = settled(cluster, namespace, 2).await;
    have(cluster, namespace, 2, "1Gi").await;
    write_through(cluster, namespace, &master, "key", "value").await;
    let uids = async || -> Vec<_> {
        pods(cluster, namespace).await.into_iter().map(|pod| (pod.metadata.name, pod.metadata.uid)).collect()
    };
    let before = uids().await;
    let size = |size: &str| {
        json!({ "spec": { "dataVolumeClaimTemplate": { "spec": { "resources": { "requests": { "storage": size } } } } } })
            .to_string()
    };
    patch(cluster, namespace, &size("2Gi")).await;
    have(cluster, namespace, 2, "2Gi").await;
    settled(cluster, namespace, 2).await;
    assert_eq!(uids().await, before, "no Pod was replaced");

    // One that is made later, of the template that Kubernetes does not change.
    patch(cluster, namespace, r#"{"spec": {"replicas": 3}}"#).await;
    settled(cluster, namespace, 3).await;
    have(cluster, namespace, 3, "2Gi").await;

    patch(cluster, namespace, &size("1Gi")).await;
    let message = condition(cluster, namespace, "Degraded", "ClaimNotShrunk").await;
    assert!(message.contains("storage does not shrink: set the size of the claims back"), "{message}");
    patch(cluster, namespace, &size("2Gi")).await;

    // Another class cannot be had, and keeps nothing else from being changed.
    let other = json!({ "spec": {
        "dataVolumeClaimTemplate": { "spec": { "storageClassName": fixed } }, "annotations": { "rolled": "yes" }
    } });
    patch(cluster, namespace, &other.to_string()).await;
    let message = condition(cluster, namespace, "Degraded", "ClaimTemplateFixed").await;
    assert!(message.contains("spec.storageClassName differs"), "{message}");
    until("all Pods rolled", async || {
        let all = pods(cluster, namespace).await;
        let is_rolled = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("rolled"))
        };
        (all.len() == 3 && all.iter().all(is_rolled)).then_some(())
    })
    .await;

    // Storage that cannot grow: told, with what to do.
    cluster.kubectl(&["delete", "redis", "example", "-n", namespace]).await.unwrap();
    until("no Pods", async || pods(cluster, namespace).await.is_empty().then_some(())).await;
    cluster.kubectl(&["delete", "pvc", "--all", "-n", namespace]).await.unwrap();
    until("no claims", async || sizes(cluster, namespace, 0).await.is_none().then_some(())).await;
    cluster.apply(&example(namespace, 1, &claim(&fixed))).await;
    settled(cluster, namespace, 1).await;
    patch(cluster, namespace, &size("2Gi")).await;
    let message = condition(cluster, namespace, "Degraded", "ClaimNotResized").await;
    assert!(
        message.contains("cannot have 2Gi: ") && message.contains("set the size of the claims back"),
        "{message}"
    );
}

pub async fn a_network_policy_is_made_on_request_and_goes_with_it(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let further = "  networkPolicy: {clients: [{podSelector: {matchLabels: {app: shop}}}]}\n";
    cluster.apply(&example(namespace, 1, further)).await;
    settled(cluster, namespace, 1).await;
    let api = Api::<NetworkPolicy>::namespaced(cluster.client(), namespace);
    let policy = api.get("redis-example").await.unwrap();
    let ingress = json!(policy.spec.unwrap().ingress.unwrap());
    let from = json!([
        { "podSelector": { "matchLabels": { "redis": "example" } } },
        { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } },
        { "podSelector": { "matchLabels": { "app": "shop" } } },
    ]);
    assert_eq!(ingress, json!([{ "from": from, "ports": [{ "port": 6379, "protocol": "TCP" }] }]));
    api.delete("redis-example", &kube::api::DeleteParams::default()).await.unwrap();
    until("it is back", async || api.get_opt("redis-example").await.unwrap()).await;
    patch(cluster, namespace, r#"{"spec": {"networkPolicy": null}}"#).await;
    until("it is gone", async || api.get_opt("redis-example").await.unwrap().is_none().then_some(())).await;
}

/// Of a group of its own, in any namespace: what needs a right each.
pub async fn a_claim_grows_and_a_network_policy_goes(cluster: &Cluster, namespace: &str) {
    cluster.apply(&class("grows", true)).await;
    cluster
        .apply(&format!(
            "apiVersion: k8s.amaiz.com/v1alpha1\nkind: Redis\nmetadata: {{name: grown, namespace: {namespace}}}\nspec:\n  \
             replicas: 1\n  redis: {{image: \"redis:7\"}}\n  networkPolicy: {{}}\n  dataVolumeClaimTemplate:\n    \
             spec: {{storageClassName: grows, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n"
        ))
        .await;
    let of = async |kind: &str, path: &str| {
        let path = format!("jsonpath={path}");
        cluster.kubectl(&["get", kind, "-l=redis=grown", "-o", &path, "-n", namespace]).await.ok()
    };
    let policy = async || of("networkpolicies", "{.items[*].metadata.name}").await;
    let size = async || of("pvc", "{.items[*].status.capacity.storage}").await;
    until("a NetworkPolicy", async || policy().await.filter(|name| name == "redis-grown")).await;
    until("a claim", async || size().await.filter(|size| size == "1Gi")).await;
    let template = json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } });
    let larger =
        json!({ "spec": { "networkPolicy": null, "dataVolumeClaimTemplate": template } }).to_string();
    let words = ["patch", "redis", "grown", "-n", namespace, "--type=merge", "-p", &larger];
    cluster.kubectl(&words).await.unwrap();
    until("a larger claim", async || size().await.filter(|size| size == "2Gi")).await;
    until("no NetworkPolicy", async || policy().await.filter(String::is_empty)).await;
}
