//! `spec.sentinelEndpoint`: clients of Redis Sentinel find the master at the Service, through each operator.

use super::rig::{Operator, another_master, example, patch, redis, settled};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use redis::Value;
use std::collections::BTreeMap;
use tests::cluster::{Cluster, Signal, until};
use tests::real::Wire;

/// The faces that the Service leads to, by the identity of their operators.
async fn faces(cluster: &Cluster, namespace: &str) -> BTreeMap<String, String> {
    let api = Api::<EndpointSlice>::namespaced(cluster.client(), namespace);
    let ours = ListParams::default().labels("kubernetes.io/service-name=redis-example-sentinel");
    let slices = api.list(&ours).await.map(|list| list.items).unwrap_or_default();
    let face = |slice: &EndpointSlice| {
        let operator = slice.metadata.annotations.as_ref()?.get("k8s.amaiz.com/operator")?.clone();
        let (host, port) = (&slice.endpoints.first()?.addresses[0], slice.ports.as_ref()?[0].port?);
        Some((operator, format!("{host}:{port}")))
    };
    slices.iter().filter_map(face).collect()
}

async fn has_faces(cluster: &Cluster, namespace: &str, operators: &[&str]) -> Vec<String> {
    until(&format!("the Service leads to {operators:?}"), async || {
        let faces = faces(cluster, namespace).await;
        faces.keys().eq(operators).then(|| faces.into_values().collect())
    })
    .await
}

fn master_of(face: &str) -> Option<String> {
    match Wire::to(face)?.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]) {
        Value::Array(words) => Some(words.iter().map(text).collect::<Vec<_>>().join(":")),
        _ => None,
    }
}

fn text(value: &Value) -> String {
    redis::from_redis_value(value.clone()).unwrap_or_default()
}

/// Each face names that Pod.
async fn name(cluster: &Cluster, namespace: &str, faces: &[String], pod: &str) -> String {
    let address = format!("{}:6379", cluster.address(namespace, pod).await.unwrap());
    for face in faces {
        until(&format!("{face} names {pod}"), async || (master_of(face)? == address).then_some(())).await;
    }
    address
}

/// The next change of master that a subscriber is told: from where, to where.
fn switched(wire: &mut Wire) -> (String, String) {
    loop {
        let told = match wire.next_reply() {
            Value::Array(words) => words.iter().map(text).collect::<Vec<_>>(),
            other => panic!("no event: {other:?}"),
        };
        if told[1] == "+switch-master" {
            let words: Vec<&str> = told[2].split(' ').collect();
            return (format!("{}:{}", words[1], words[2]), format!("{}:{}", words[3], words[4]));
        }
    }
}

fn subscriber(face: &str) -> Wire {
    let mut wire = Wire::to(face).unwrap();
    wire.ask(&["SUBSCRIBE", "+switch-master"]);
    wire
}

pub async fn sentinel_clients_find_the_master_through_each_operator_and_go_on_when_one_dies(
    cluster: &Cluster,
    namespace: &str,
) {
    let first = Operator::named(cluster, namespace, "first");
    let master = {
        cluster.apply(&example(namespace, 3, "  sentinelEndpoint: {}\n")).await;
        settled(cluster, namespace, 3).await
    };
    let second = Operator::named(cluster, namespace, "second");
    let both = has_faces(cluster, namespace, &["first", "second"]).await;
    let service = Api::<Service>::namespaced(cluster.client(), namespace).get("redis-example-sentinel").await;
    let spec = service.unwrap().spec.unwrap();
    assert_eq!((spec.selector, spec.ports.unwrap()[0].port), (None, 26379));
    let was = name(cluster, namespace, &both, &master).await;
    until("each lists the other", async || {
        let lists = |face: &String| match Wire::to(face)?.ask(&["SENTINEL", "SENTINELS", "mymaster"]) {
            Value::Array(all) => Some(all.len()),
            _ => None,
        };
        both.iter().all(|face| lists(face) == Some(1)).then_some(())
    })
    .await;

    // A master dies: both tell it, and name the next one.
    let mut told = [subscriber(&both[0]), subscriber(&both[1])];
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = another_master(cluster, namespace, &master).await;
    let now = name(cluster, namespace, &both, &next).await;
    for wire in &mut told {
        assert_eq!(switched(wire), (was.clone(), now.clone()));
    }
    settled(cluster, namespace, 3).await;

    // An operator dies: nobody is led to it any more, the other one answers, and tells of the next failover.
    first.kill().await;
    let left = has_faces(cluster, namespace, &["second"]).await;
    assert_eq!(left, both[1..]);
    assert_eq!(master_of(&left[0]), Some(now.clone()));
    cluster.running(namespace, &next).signal("redis", Signal::Kill);
    let last = another_master(cluster, namespace, &next).await;
    let address = name(cluster, namespace, &left, &last).await;
    assert_eq!(switched(&mut told[1]), (now, address));

    // The endpoint is not wanted any more.
    patch(cluster, namespace, r#"{"spec": {"sentinelEndpoint": null}}"#).await;
    has_faces(cluster, namespace, &[]).await;
    until("the Service is gone", async || {
        let api = Api::<Service>::namespaced(cluster.client(), namespace);
        api.get_opt("redis-example-sentinel").await.unwrap().is_none().then_some(())
    })
    .await;
    until("the face is closed", async || Wire::to(&left[0]).is_none().then_some(())).await;
    second.stop().await;
}

pub async fn an_endpoint_asks_for_its_password_and_hands_over_where_that_is_allowed(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::named(cluster, namespace, "first");
    let endpoint = "  sentinelEndpoint:\n    masterName: cart\n    allowFailover: true\n    password: \
                    {secretKeyRef: {name: lookup, key: password}}\n";
    cluster.apply(&example(namespace, 2, endpoint)).await;
    let master = settled(cluster, namespace, 2).await;
    let message = until("the missing Secret is named", async || {
        let conditions = redis(cluster, namespace).await?.status?.conditions;
        conditions.into_iter().map(|of| of.message).find(|message| message.contains("secret lookup"))
    })
    .await;
    assert!(message.contains("spec.sentinelEndpoint.password"), "{message}");
    assert!(faces(cluster, namespace).await.is_empty(), "without its password it is not open");
    let secret = "apiVersion: v1\nkind: Secret\nstringData: {password: s3cret}\n";
    cluster.apply(&format!("{secret}metadata: {{name: lookup, namespace: {namespace}}}\n")).await;
    let face = has_faces(cluster, namespace, &["first"]).await.remove(0);
    let mut wire = Wire::to(&face).unwrap();
    let refused = |reply: Value| match reply {
        Value::ServerError(error) => error.code().to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(refused(wire.ask(&["SENTINEL", "MASTERS"])), "NOAUTH");
    assert_eq!(wire.ask(&["AUTH", "s3cret"]), Value::Okay);
    until("the endpoint knows the master", async || {
        matches!(wire.ask(&["SENTINEL", "MASTER", "cart"]), Value::Array(_)).then_some(())
    })
    .await;
    assert_eq!(wire.ask(&["SENTINEL", "FAILOVER", "cart"]), Value::Okay);
    let next = another_master(cluster, namespace, &master).await;
    assert_ne!(next, master);
    let changed =
        format!("{}metadata: {{name: lookup, namespace: {namespace}}}\n", secret.replace("s3cret", "other"));
    cluster.apply(&changed).await;
    until("the new password opens it", async || {
        (Wire::to(&face)?.ask(&["AUTH", "other"]) == Value::Okay).then_some(())
    })
    .await;
    assert!(matches!(wire.ask(&["SENTINEL", "MASTER", "cart"]), Value::Array(_)), "who is inside stays");
    // An operator that ends takes its slice away itself.
    operator.stop().await;
    assert!(faces(cluster, namespace).await.is_empty());
}
