//! Moving in: a group takes over the data of a server outside of it, by the steps of
//! `deploy/docs/src/moving/charts.md`.

use super::rig::{Operator, another_master, condition, example, patch, say, say_as, settled};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use tests::cluster::{Cluster, until};

const ALL: [&str; 3] = ["redis-example-0", "redis-example-1", "redis-example-2"];
const PASSWORD: &str = "of-the-source";

/// A server that no operator made, with a password.
fn outside(namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: outside, namespace: {namespace}}}\nspec:\n  containers: \
         [{{name: redis, image: \"redis:7\", args: [\"--requirepass\", {PASSWORD}, \"--save\", \"\"], \
         readinessProbe: {{exec: {{command: [redis-cli, ping]}}, periodSeconds: 1}}}}]\n"
    )
}

pub async fn a_paused_group_takes_the_data_of_a_master_outside_and_goes_on_with_it(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&outside(namespace)).await;
    cluster.apply(&example(namespace, 3, "")).await;
    let first = settled(cluster, namespace, 3).await;
    cluster.pod_is_ready(namespace, "outside").await;
    let address = cluster.address(namespace, "outside").await.unwrap();
    let source = async |words: &[&str]| {
        say_as(cluster, namespace, "outside", Some(PASSWORD), words)
            .await
            .unwrap_or_else(|| panic!("{words:?}"))
    };
    source(&["SET", "greeting", "hello"]).await;

    patch(cluster, namespace, r#"{"spec": {"paused": true}}"#).await;
    condition(cluster, namespace, "Paused", "Healthy").await;
    let set = async |name: &str, value: &str| {
        let done = say(cluster, namespace, &first, &["CONFIG", "SET", name, value]).await;
        assert_eq!(done.as_deref(), Some("OK"), "{name}");
    };
    // The group's own login is refused elsewhere, which is what it is for.
    set("masteruser", "").await;
    set("masterauth", PASSWORD).await;
    set("replica-priority", "0").await;
    say(cluster, namespace, &first, &["REPLICAOF", &address, "6379"]).await.unwrap();
    until("all have the data", async || {
        for pod in ALL {
            say(cluster, namespace, pod, &["GET", "greeting"])
                .await
                .filter(|greeting| greeting == "hello")?;
        }
        Some(())
    })
    .await;

    source(&["CLIENT", "PAUSE", "10000", "WRITE"]).await;
    say(cluster, namespace, &first, &["REPLICAOF", "NO", "ONE"]).await.unwrap();
    set("replica-priority", "100").await;
    patch(cluster, namespace, r#"{"spec": {"paused": false}}"#).await;
    assert_eq!(settled(cluster, namespace, 3).await, first);

    // The Pod that copied has another login than the group's until it is made anew.
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete(&first, &DeleteParams::default())
        .await
        .unwrap();
    another_master(cluster, namespace, &first).await;
    settled(cluster, namespace, 3).await;
    for pod in ALL {
        assert_eq!(
            say(cluster, namespace, pod, &["GET", "greeting"]).await.as_deref(),
            Some("hello"),
            "{pod}"
        );
    }
}
