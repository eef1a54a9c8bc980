//! The Services: all instances, each by its own name, the master, the replicas, the Sentinel endpoint,
//! and for clients outside of the cluster each instance.

use super::{MASTER, PORT, REPLICA, ROLE_LABEL, metadata, selector};
use crate::kubernetes::crd::{OutsideAddresses, Redis, ServiceType, TrafficPolicy};
use crate::kubernetes::outside::POD_MARK;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `instances`: as many as there are now.
pub fn services(redis: &Redis, instances: i32) -> Vec<Service> {
    let headless = {
        let mut service = service(redis, "-headless", None);
        let spec = service.spec.get_or_insert_default();
        spec.cluster_ip = Some("None".into());
        // Names resolve as soon as a Pod has an address: instances find each other before they are ready.
        spec.publish_not_ready_addresses = Some(true);
        service.metadata.labels.get_or_insert_default().insert("service-type".into(), "headless".into());
        service
    };
    let mut all = vec![
        service(redis, "", None),
        headless,
        master_service(redis),
        outward(redis, service(redis, "-replicas", Some(REPLICA))),
    ];
    if let Some(endpoint) = &redis.spec.sentinel_endpoint {
        all.push(sentinel_service(redis));
        // Those of Pods that hibernate keep their addresses.
        let each = endpoint.external.iter().flat_map(|external| {
            (0..instances.max(redis.spec.replicas)).map(move |number| member_service(redis, number, external))
        });
        all.extend(each);
    }
    all
}

/// The Service that leads clients of Redis Sentinel to the operators. It selects no Pods: each operator adds
/// itself, see [`super::sentinel_slice`].
pub fn sentinel_service(redis: &Redis) -> Service {
    let mut sentinel = service(redis, "-sentinel", None);
    let spec = sentinel.spec.get_or_insert_default();
    spec.selector = None;
    spec.ports = Some(vec![port((SENTINEL, SENTINEL_PORT))]);
    let is_external =
        redis.spec.sentinel_endpoint.as_ref().is_some_and(|endpoint| endpoint.external.is_some());
    if is_external {
        sentinel = outward(redis, sentinel);
        // Its endpoints name no nodes: with Local, no node would take a client.
        sentinel.spec.get_or_insert_default().external_traffic_policy = None;
    }
    sentinel
}

/// The Service that leads clients outside of the cluster to one instance. It is called as its Pod. It
/// leads there before the Pod is ready: who is named to clients, the Sentinel endpoint decides.
fn member_service(redis: &Redis, number: i32, external: &OutsideAddresses) -> Service {
    let mut service = outward(redis, service(redis, &format!("-{number}"), None));
    let pod = service.metadata.name.clone().unwrap_or_default();
    let annotations =
        external.annotations.iter().map(|(name, value)| (name.clone(), value.replace(POD_MARK, &pod)));
    service.metadata.annotations.get_or_insert_default().extend(annotations);
    let spec = service.spec.get_or_insert_default();
    spec.selector.get_or_insert_default().insert(POD_NAME_LABEL.to_owned(), pod);
    // Metrics are nothing for the outside.
    spec.ports = Some(vec![port((REDIS_PORT, PORT))]);
    spec.publish_not_ready_addresses = Some(true);
    service
}

/// The Service that leads clients to the master.
pub fn master_service(redis: &Redis) -> Service {
    outward(redis, service(redis, "-master", Some(MASTER)))
}

/// As clients outside of the cluster reach it, if the resource asks for that. The Services by which instances
/// and operators find each other stay inside.
fn outward(redis: &Redis, mut service: Service) -> Service {
    let Some(settings) = &redis.spec.service else { return service };
    let spec = service.spec.get_or_insert_default();
    spec.type_ = settings.type_.map(|chosen| {
        let type_ = match chosen {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        };
        type_.to_owned()
    });
    spec.load_balancer_class = settings.load_balancer_class.clone();
    spec.external_traffic_policy = settings.external_traffic_policy.map(|chosen| {
        let policy = match chosen {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        };
        policy.to_owned()
    });
    service
}

/// Names and numbers of the ports of every Service.
fn ports(redis: &Redis) -> impl Iterator<Item = (&'static str, i32)> {
    [(REDIS_PORT, PORT)].into_iter().chain(redis.spec.exporter.as_ref().map(|_| ("exporter", EXPORTER_PORT)))
}

fn service(redis: &Redis, suffix: &str, role: Option<&str>) -> Service {
    let mut selector = selector(redis);
    selector.extend(role.map(|role| (ROLE_LABEL.to_owned(), role.to_owned())));
    let mut metadata = metadata(redis, suffix);
    metadata.annotations = redis.spec.service.as_ref().map(|settings| settings.annotations.clone());
    let spec = ServiceSpec {
        ports: Some(ports(redis).map(port).collect()),
        selector: Some(selector),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), ..Service::default() }
}

fn port((name, port): (&str, i32)) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    }
}

/// The name of the port of Redis.
pub const REDIS_PORT: &str = "redis";
pub const EXPORTER_PORT: i32 = 9121;
/// The name of the port of the Sentinel endpoint.
pub const SENTINEL: &str = "sentinel";
/// What the controller of StatefulSets gives each Pod.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// As a Sentinel's.
const SENTINEL_PORT: i32 = 26379;
