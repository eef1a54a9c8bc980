//! Many resources at once.

use super::rig::{Operator, say, write_through};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Resource, ResourceExt};
use redis_operator::kubernetes::crd::Redis;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::cluster::{Cluster, Signal, until_at};

pub async fn fifty_resources_fail_together_and_each_changes_its_master_once(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    let manifests: Vec<String> = (0..GROUPS).map(|number| manifest(namespace, number)).collect();
    cluster.apply(&manifests.join("---\n")).await;
    let before = masters(cluster, namespace, 1).await;
    for (group, master) in &before {
        write_through(cluster, namespace, master, "lol", group).await;
    }
    for master in before.values() {
        cluster.running(namespace, master).signal("redis", Signal::Kill);
    }
    let after = masters(cluster, namespace, 2).await;
    for (group, master) in &after {
        assert_ne!(before[group], *master);
        assert_eq!(say(cluster, namespace, master, &["GET", "lol"]).await.as_ref(), Some(group));
    }
    Api::<Redis>::namespaced(cluster.client(), namespace)
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    until_at(PACE, "all Pods are gone with their resources", async || {
        pods.list_metadata(&ListParams::default()).await.ok()?.items.is_empty().then_some(())
    })
    .await;
    operator.stop().await;
}

/// Waits until all are healthy under their master of that epoch, and returns the masters.
async fn masters(cluster: &Cluster, namespace: &str, epoch: i64) -> BTreeMap<String, String> {
    let api: Api<Redis> = Api::namespaced(cluster.client(), namespace);
    until_at(PACE, &format!("{GROUPS} healthy groups of epoch {epoch}"), async || {
        let all = api.list(&ListParams::default()).await.ok()?.items;
        let healthy = all.iter().filter_map(|redis| {
            let status = redis.status.as_ref().filter(|status| status.reason == "healthy")?;
            status.published.as_ref().filter(|published| published.epoch == epoch)?;
            Some((redis.name_any(), status.master.clone()?))
        });
        Some(healthy.collect::<BTreeMap<_, _>>()).filter(|healthy| healthy.len() == GROUPS)
    })
    .await
}

/// No test waits for readiness here, and a hundred Pods are asked for it by a hundred processes: later than
/// this lasts.
fn manifest(namespace: &str, number: usize) -> String {
    let (api_version, kind) = (Redis::api_version(&()), Redis::kind(&()));
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: group-{number:02}, namespace: \
         {namespace}}}\nspec: {{replicas: 2, redis: {{image: 'redis:7', initialDelaySeconds: 600}}}}\n"
    )
}

const GROUPS: usize = 50;
/// Of asking for all of them.
const PACE: Duration = Duration::from_millis(500);
