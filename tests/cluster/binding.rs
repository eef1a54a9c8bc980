//! A group that is ready to be used: a password that the operator makes, and the Secret by which a client
//! finds the group.

use super::rig::{Operator, example, patch, redis, say_as, settled};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use std::collections::BTreeMap;
use tests::cluster::{Cluster, until};

/// A Secret as text, by key. None: there is none.
pub async fn secret(cluster: &Cluster, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let secret = Api::<Secret>::namespaced(cluster.client(), namespace).get_opt(name).await.ok()??;
    let entries = secret.data?.into_iter();
    Some(entries.map(|(key, bytes)| (key, String::from_utf8(bytes.0).unwrap())).collect())
}

pub async fn a_password_is_made_on_request_and_the_binding_opens_the_group(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 2, "  password: {generate: true}\n")).await;
    let master = settled(cluster, namespace, 2).await;
    let binding = redis(cluster, namespace).await.unwrap().status.unwrap().binding.unwrap().name;
    let bound = secret(cluster, namespace, &binding).await.unwrap();
    let password = secret(cluster, namespace, "redis-example-password").await.unwrap()["password"].clone();
    assert_eq!((password.len(), &bound["password"]), (40, &password));
    let host = format!("redis-example-master.{namespace}.svc");
    assert_eq!(bound["uri"], format!("redis://default:{password}@{host}:6379"));
    assert_eq!(
        ["type", "host", "port", "username"].map(|key| bound[key].as_str()),
        ["redis", host.as_str(), "6379", "default"]
    );
    let set = async |password: Option<&str>| {
        say_as(cluster, namespace, &master, password, &["SET", "key", "value"]).await.as_deref() == Some("OK")
    };
    assert!(set(Some(&password)).await && !set(None).await);

    // A Secret that is deleted comes back with the password that servers and clients have.
    let api = Api::<Secret>::namespaced(cluster.client(), namespace);
    api.delete("redis-example-password", &DeleteParams::default()).await.unwrap();
    let again =
        until("the Secret is back", async || secret(cluster, namespace, "redis-example-password").await);
    assert_eq!(again.await["password"], password);

    // Another password in it is applied live, and is in the binding.
    let other = "apiVersion: v1\nkind: Secret\nstringData: {password: \"pass+word\"}\n";
    cluster
        .apply(&format!("{other}metadata: {{name: redis-example-password, namespace: {namespace}}}\n"))
        .await;
    until("the new one opens the group", async || set(Some("pass+word")).await.then_some(())).await;
    let bound = until("the new one is in the binding", async || {
        secret(cluster, namespace, &binding).await.filter(|bound| bound["password"] == "pass+word")
    })
    .await;
    assert!(bound["uri"].starts_with("redis://default:pass%2Bword@"), "{}", bound["uri"]);

    patch(cluster, namespace, r#"{"spec": {"password": null}}"#).await;
    until("the binding has no password", async || {
        secret(cluster, namespace, &binding).await.filter(|bound| !bound.contains_key("password"))
    })
    .await;
}
