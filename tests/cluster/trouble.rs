//! Errors of the user, and limits of Kubernetes: shown in conditions, with the way out, and nothing
//! else suffers.

use super::rig::{Operator, condition, example, patch, redis, say, settled};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use tests::cluster::{Cluster, until};

pub async fn a_missing_secret_is_in_the_condition_and_no_pod_starts_without_a_password(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "  password: {secretKeyRef: {name: login, key: password}}\n")).await;
    let message = condition(cluster, namespace, "Degraded", "SecretMissing").await;
    assert!(message.contains("secret login is not there"), "{message}");
    assert!(super::rig::pods(cluster, namespace).await.is_empty());
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\nstringData: \
         {{password: sesame}}\n"
    );
    cluster.apply(&secret).await;
    let master = settled(cluster, namespace, 3).await;
    assert_eq!(say(cluster, namespace, &master, &["PING"]).await, None);
    // A deleted Secret locks no client out.
    Api::<Secret>::namespaced(cluster.client(), namespace)
        .delete("login", &DeleteParams::default())
        .await
        .unwrap();
    condition(cluster, namespace, "Degraded", "SecretMissing").await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
}

pub async fn an_image_that_cannot_be_pulled_is_in_the_condition_and_stops_the_rollout_at_one(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:nowhere"}}}"#).await;
    until("the image is in the condition", async || {
        let conditions = redis(cluster, namespace).await?.status?.conditions;
        conditions
            .into_iter()
            .find(|of| {
                of.type_ == "Degraded" && matches!(of.reason.as_str(), "ErrImagePull" | "ImagePullBackOff")
            })
            .map(drop)
    })
    .await;
    let status = redis(cluster, namespace).await.unwrap().status.unwrap();
    assert_eq!((status.master.as_ref(), status.replicas), (Some(&master), 2));
    patch(cluster, namespace, r#"{"spec": {"redis": {"image": "redis:7"}}}"#).await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
}

pub async fn pods_that_cannot_start_or_be_created_are_in_the_condition_with_the_reason(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 2, "  config: {no-such: \"1\"}\n")).await;
    let message = condition(cluster, namespace, "Degraded", "CrashLoopBackOff").await;
    assert!(message.contains("Bad directive"), "{message}");
    cluster.kubectl(&["delete", "redis", "example", "-n", namespace]).await.unwrap();
    cluster.apply(&example(namespace, 2, "  priorityClassName: nowhere\n")).await;
    let message = condition(cluster, namespace, "Degraded", "PodsMissing").await;
    assert!(
        message.contains("0 of 2 Pods") && message.contains("kubectl describe statefulset redis-example"),
        "{message}"
    );
    // What is written for people must be what they find.
    until("the StatefulSet says it", async || {
        let message =
            cluster.kubectl(&["describe", "statefulset", "redis-example", "-n", namespace]).await.ok()?;
        message.contains("no PriorityClass with name nowhere").then_some(())
    })
    .await;
    patch(cluster, namespace, r#"{"spec": {"priorityClassName": null}}"#).await;
    settled(cluster, namespace, 2).await;
}

pub async fn foreign_objects_are_not_changed_and_named_in_the_condition(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let map = |name: &str, labels: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}, labels: \
             {labels}}}\ndata: {{theirs: kept}}\n---\n"
        )
    };
    // A label makes nothing ours.
    let maps = map("redis-example", "{redis: example}") + &map("redis-example-record", "{}");
    let theirs = format!(
        "{maps}apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: cart, namespace: {namespace}, \
         labels: {{redis: example}}}}\nspec:\n  serviceName: cart\n  selector: {{matchLabels: {{redis: \
         example}}}}\n  template:\n\x20   metadata: {{labels: {{redis: example}}}}\n\x20   spec: \
         {{containers: [{{name: redis, image: \"redis:7\", args: [--protected-mode, \"no\"]}}]}}\n"
    );
    cluster.apply(&theirs).await;
    cluster.pod_is_ready(namespace, "cart-0").await;
    until("their Redis answers", async || {
        say(cluster, namespace, "cart-0", &["SET", "theirs", "kept"]).await
    })
    .await;
    cluster.apply(&example(namespace, 2, "")).await;
    let message = condition(cluster, namespace, "Degraded", "NameTaken").await;
    assert!(message.contains("ConfigMap redis-example") && message.contains("ownerReferences"), "{message}");
    assert!(
        cluster.kubectl(&["get", "statefulset", "redis-example", "-n", namespace]).await.is_err(),
        "started on what is not ours"
    );
    let map = cluster
        .kubectl(&[
            "get",
            "configmap",
            "redis-example",
            "-o",
            "jsonpath={.data}{.metadata.ownerReferences}",
            "-n",
            namespace,
        ])
        .await;
    assert_eq!(map.unwrap(), r#"{"theirs":"kept"}"#);

    cluster.kubectl(&["delete", "configmap", "redis-example", "-n", namespace]).await.unwrap();
    let settled = until("a group of its own two", async || {
        let status = redis(cluster, namespace).await?.status?;
        status.master.filter(|_| status.reason == "healthy" && status.replicas == 2)
    })
    .await;
    assert!(settled.starts_with("redis-example-"), "{settled}");
    assert_eq!(say(cluster, namespace, "cart-0", &["GET", "theirs"]).await.as_deref(), Some("kept"));
    assert!(
        say(cluster, namespace, "cart-0", &["INFO", "replication"]).await.unwrap().contains("role:master")
    );

    // Somebody's ConfigMap in the place of the record: said, and not touched.
    let record = async |path: &str| {
        let words = ["get", "configmap", "redis-example-record", "-n", namespace, "-o", path];
        cluster.kubectl(&words).await.ok()
    };
    let message = condition(cluster, namespace, "Degraded", "NameTaken").await;
    assert!(
        message.contains("ConfigMap redis-example-record exists and is not owned by this Redis"),
        "{message}"
    );
    let content = record("jsonpath={.data}{.metadata.annotations}").await;
    assert_eq!(content.as_deref(), Some(r#"{"theirs":"kept"}"#));
    cluster.kubectl(&["delete", "configmap", "redis-example-record", "-n", namespace]).await.unwrap();
    until("the record is stored", async || {
        record("jsonpath={.metadata.annotations}").await.filter(|all| all.contains("k8s.amaiz.com/record"))
    })
    .await;

    // Its Service would be our master Service.
    let other = example(namespace, 1, "").replace("name: example,", "name: example-master,");
    cluster.apply(&other).await;
    until("the name conflict is in the condition", async || {
        let message = cluster
            .kubectl(&[
                "get",
                "redis",
                "example-master",
                "-o",
                "jsonpath={.status.conditions}",
                "-n",
                namespace,
            ])
            .await
            .ok()?;
        message.contains("Service redis-example-master exists").then_some(())
    })
    .await;
    let selector = cluster
        .kubectl(&[
            "get",
            "service",
            "redis-example-master",
            "-o",
            "jsonpath={.spec.selector.redis}",
            "-n",
            namespace,
        ])
        .await;
    assert_eq!(selector.unwrap(), "example");
}

pub async fn what_the_schema_refuses_says_how_to_write_it(cluster: &Cluster, namespace: &str) {
    let bad = [
        ("{\"spec\": {\"config\": {\"port\": \"7000\"}}}", "the operator sets these directives itself"),
        (
            "{\"spec\": {\"config\": {\"slave-announce-port\": \"7000\"}}}",
            "the operator sets these directives itself",
        ),
        ("{\"spec\": {\"config\": {\"cluster-enabled\": \"yes\"}}}", "Redis Cluster is not supported"),
        ("{\"spec\": {\"config\": {\"tls-port\": \"7000\"}}}", "spec.tls sets the TLS directives"),
        ("{\"spec\": {\"config\": {\"user\": \"default off\"}}}", "other names"),
        ("{\"spec\": {\"config\": {\"\": \"x\"}}}", "is one word"),
        ("{\"spec\": {\"config\": {\"maxmemory 1mb\\nport\": \"7000\"}}}", "is one word"),
        ("{\"spec\": {\"config\": {\"maxmemory\": \"1mb\\nport 7000\"}}}", "one line"),
        ("{\"spec\": {\"replicas\": 0}}", "should be greater than or equal to 1"),
        ("{\"spec\": {\"redis\": {\"image\": \"\"}}}", "should be at least 1 chars long"),
        ("{\"spec\": {\"labels\": {\"role\": \"x\"}}}", "choose other names"),
        (
            "{\"spec\": {\"failover\": {\"downAfterMilliseconds\": 1}}}",
            "should be greater than or equal to 100",
        ),
        (
            "{\"spec\": {\"sentinelEndpoint\": {\"external\": {}}}}",
            "set service.type to NodePort or LoadBalancer",
        ),
        (
            "{\"spec\": {\"service\": {\"type\": \"NodePort\"}, \"sentinelEndpoint\": {\"external\": {}, \"hostnames\": true}}}",
            "leave hostnames out, or external",
        ),
    ];
    cluster.apply(&example(namespace, 3, "  paused: true\n")).await;
    for (change, words) in bad {
        let error = cluster
            .kubectl(&["patch", "redis", "example", "--type", "merge", "-p", change, "-n", namespace])
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{change}: {error}");
    }
}

pub async fn what_happened_can_be_read_as_events(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    cluster.running(namespace, &master).signal("redis", tests::cluster::Signal::Kill);
    until("the change of master as an event", async || {
        let events = cluster
            .kubectl(&["get", "events", "-n", namespace, "--field-selector", "involvedObject.kind=Redis"])
            .await
            .ok()?;
        events
            .lines()
            .any(|line| line.contains("MasterChanged") && line.contains(&format!("in place of {master}")))
            .then_some(())
    })
    .await;
}

/// The API server refuses what is not *restricted* in such a namespace.
pub async fn pods_run_where_only_restricted_ones_may(cluster: &Cluster, namespace: &str) {
    let standard = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", namespace, standard]).await.unwrap();
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 2, "  securityContext: {runAsUser: 0}\n")).await;
    let message = condition(cluster, namespace, "Degraded", "PodsMissing").await;
    assert!(message.contains("0 of 2 Pods"), "{message}");
    patch(cluster, namespace, r#"{"spec": {"securityContext": null}}"#).await;
    settled(cluster, namespace, 2).await;
}
