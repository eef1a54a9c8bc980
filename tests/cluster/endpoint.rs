//! `spec.sentinelEndpoint`: clients of Redis Sentinel find the master at the Service, through each operator.

use super::rig::{Operator, another_master, example, patch, redis, say, settled};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use redis::Value;
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
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

/// Stands for a load balancer: takes connections at an address that is no Pod's, and leads them to the
/// Pod. On threads, since clients here block.
fn balance(listen: &str, pod: String) {
    let listener = TcpListener::bind(listen).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&pod)) else { continue };
            let pump = |from: &TcpStream, to: &TcpStream| {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Both));
                });
            };
            pump(&client, &server);
            pump(&server, &client);
        }
    });
}

pub async fn clients_outside_are_told_of_pods_by_the_addresses_of_their_services(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::named(cluster, namespace, "first");
    let services = Api::<Service>::namespaced(cluster.client(), namespace);
    let spec = "  sentinelEndpoint: {external: {}}\n";
    cluster.apply(&example(namespace, 2, &format!("{spec}  service: {{type: NodePort}}\n"))).await;
    let master = settled(cluster, namespace, 2).await;
    let face = has_faces(cluster, namespace, &["first"]).await.remove(0);

    // By node and node port.
    let service = services.get(&master).await.unwrap();
    let node_port = service.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(cluster.client(), namespace);
    let node = pods.get(&master).await.unwrap().status.unwrap().host_ip.unwrap();
    let expected = format!("{node}:{node_port}");
    until(&format!("the face names {expected}"), async || (master_of(&face)? == expected).then_some(()))
        .await;

    // By load balancers: before they have addresses, nobody is named, and that is said.
    patch(cluster, namespace, r#"{"spec": {"service": {"type": "LoadBalancer"}}}"#).await;
    until("what is awaited is said", async || {
        let conditions = redis(cluster, namespace).await?.status?.conditions;
        conditions.iter().find(|of| of.type_ == "Degraded" && of.reason == "AddressAwaited").map(drop)
    })
    .await;
    for (pod, host) in [("redis-example-0", "127.0.71.1"), ("redis-example-1", "127.0.71.2")] {
        let address = cluster.address(namespace, pod).await.unwrap();
        balance(&format!("{host}:6379"), format!("{address}:6379"));
        let status = serde_json::json!({ "status": { "loadBalancer": { "ingress": [{ "ip": host }] } } });
        services.patch_status(pod, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
    let host = |pod: &str| if pod.ends_with('0') { "127.0.71.1:6379" } else { "127.0.71.2:6379" };
    let face = has_faces(cluster, namespace, &["first"]).await.remove(0);
    until("the face names the load balancer", async || (master_of(&face)? == host(&master)).then_some(()))
        .await;
    let greeting = Wire::to(host(&master)).unwrap().ask(&["SET", "greeting", "hello"]);
    assert_eq!(greeting, Value::Okay, "a client that dials what it was told writes");
    let replicas = Wire::to(&face).unwrap().ask(&["SENTINEL", "REPLICAS", "mymaster"]);
    let Value::Array(replicas) = replicas else { panic!("{replicas:?}") };
    let fields: Vec<String> = match &replicas[0] {
        Value::Array(fields) => fields.iter().map(text).collect(),
        other => panic!("{other:?}"),
    };
    let other = if master.ends_with('0') { "redis-example-1" } else { "redis-example-0" };
    let field = |name: &str| fields[fields.iter().position(|field| field == name).unwrap() + 1].as_str();
    assert_eq!((replicas.len(), field("name")), (1, host(other)));
    assert_eq!(
        (format!("{}:6379", field("master-host")).as_str(), field("master-link-status")),
        (host(&master), "ok")
    );

    // Replication knows nothing of it.
    let address = cluster.address(namespace, &master).await.unwrap();
    let replication = say(cluster, namespace, other, &["INFO", "replication"]).await.unwrap();
    assert!(replication.contains(&format!("master_host:{address}\r\n")), "{replication}");
    let mut told = subscriber(&face);
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = another_master(cluster, namespace, &master).await;
    assert_eq!(switched(&mut told), (host(&master).to_owned(), host(&next).to_owned()));
    settled(cluster, namespace, 2).await;

    // The Services go with the request.
    patch(cluster, namespace, r#"{"spec": {"sentinelEndpoint": {"external": null}}}"#).await;
    until("the Pods' Services are gone", async || {
        services.get_opt("redis-example-0").await.unwrap().is_none().then_some(())
    })
    .await;
    operator.stop().await;
}
