//! Fields of a Redis that reach its Pods and Services, and the API's refusals of what cannot be.

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use tests::cluster::{Cluster, until};

use super::rig::{Operator, patch, pods, say, settled};

/// With what users add; `more` further lines of the container of Redis, four spaces deep.
fn manifest(namespace: &str, more: &str) -> String {
    let redis = format!(
        "image: redis:7\n    resources: {{limits: {{memory: 1Gi}}}}\n    maxmemoryPercent: 75\n{more}"
    );
    let agent = "{name: agent, image: busybox, command: [sleep, \"1000\"]}";
    let service = "{type: NodePort, externalTrafficPolicy: Local, annotations: {mine: yes!}}";
    format!(
        "apiVersion: k8s.amaiz.com/v1alpha1\nkind: Redis\nmetadata: {{name: example, namespace: \
         {namespace}}}\nspec:\n  replicas: 1\n  redis:\n    {redis}  volumes: [{{name: mine, emptyDir: \
         {{}}}}]\n  containers: [{agent}]\n  terminationGracePeriodSeconds: 20\n  service: {service}\n"
    )
}

pub async fn what_users_add_reaches_pods_and_services_and_what_cannot_be_is_refused(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let more = "    env: [{name: TZ, value: UTC}]\n    volumeMounts: [{name: mine, mountPath: /mine}]\n";
    cluster.apply(&manifest(namespace, more)).await;
    let master = settled(cluster, namespace, 1).await;
    let all = pods(cluster, namespace).await;
    let spec = all[0].spec.as_ref().unwrap();
    let names: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!((names, spec.termination_grace_period_seconds), (vec!["redis", "agent"], Some(20)));
    let words = ["sh", "-c", "touch /mine/here"].map(str::to_owned);
    assert!(cluster.running(namespace, &master).exec("redis", &words).await, "the mount can be written");

    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let outward = async |name: &str| {
        let spec = services.get(name).await.unwrap().spec.unwrap();
        (spec.type_.unwrap_or_default(), spec.external_traffic_policy)
    };
    let outside = ("NodePort".to_owned(), Some("Local".to_owned()));
    assert_eq!(outward("redis-example-master").await, outside);
    assert_eq!(outward("redis-example-replicas").await, outside);
    assert_eq!(outward("redis-example-headless").await.0, "ClusterIP");
    assert_eq!(outward("redis-example").await.0, "ClusterIP");

    // The share follows the resource live, and so do the Services.
    let limit = async |bytes: &str| {
        until(&format!("maxmemory is {bytes}"), async || {
            let info = say(cluster, namespace, &master, &["INFO", "memory"]).await?;
            info.contains(&format!("maxmemory:{bytes}\r\n")).then_some(())
        })
        .await;
    };
    limit("805306350").await;
    patch(cluster, namespace, r#"{"spec":{"redis":{"maxmemoryPercent":50},"service":null}}"#).await;
    limit("536870900").await;
    until("the Services are inside again", async || {
        (outward("redis-example-master").await == ("ClusterIP".to_owned(), None)).then_some(())
    })
    .await;
    let uid = &pods(cluster, namespace).await[0].metadata.uid;
    assert_eq!(*uid, all[0].metadata.uid, "no Pod was replaced");

    for (change, words) in [
        (r#"{"service":{"loadBalancerClass":"mine"}}"#, "set service.type to LoadBalancer"),
        (
            r#"{"service":{"type":"ClusterIP","externalTrafficPolicy":"Local"}}"#,
            "set service.type to NodePort",
        ),
        (r#"{"redis":{"env":[{"name":"POD_IP","value":"x"}]}}"#, "the operator sets POD_IP itself"),
        (r#"{"redis":{"volumeMounts":[{"name":"mine","mountPath":"/data"}]}}"#, "choose another mountPath"),
        (r#"{"containers":[{"name":"redis","image":"x"}]}"#, "choose other names"),
        (r#"{"redis":{"resources":null}}"#, "maxmemoryPercent is a share of the memory limit"),
        (r#"{"hibernate":true}"#, "hibernation keeps the data on volumes"),
    ] {
        let line = format!("{{\"spec\":{change}}}");
        let words_of = ["patch", "redis", "example", "--type", "merge", "-p", &line, "-n", namespace];
        let why = cluster.kubectl(&words_of).await.unwrap_err().to_string();
        assert!(why.contains(words), "{change}: {why}");
    }
}
