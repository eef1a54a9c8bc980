//! The Services of a RedisFailover: the Sentinel endpoints, the master, the replicas, and each instance by
//! its own name.

use super::super::family::FAILOVER;
use super::{Failover, REPLICA, Role, SENTINEL_PORT, metadata, name, selector};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// All of them.
pub fn services(failover: &Failover) -> Vec<Value> {
    let sentinel = service(
        failover,
        Role::Sentinel,
        &name(failover, Role::Sentinel),
        &failover.pods(Role::Sentinel).service_annotations,
        json!({
            "ports": [port("sentinel", i32::from(SENTINEL_PORT))],
            "selector": selector(failover, Role::Sentinel),
        }),
    );
    vec![
        sentinel,
        by_role(failover, "rfrm-", FAILOVER.master),
        by_role(failover, "rfrs-", REPLICA),
        each(failover),
    ]
}

/// The Service that leads clients to the master.
pub fn master_service(failover: &Failover) -> Option<Service> {
    serde_json::from_value(by_role(failover, "rfrm-", FAILOVER.master)).ok()
}

fn by_role(failover: &Failover, prefix: &str, role: &str) -> Value {
    let mut selected = selector(failover, Role::Redis);
    selected.insert(FAILOVER.role_label.into(), json!(role));
    service(
        failover,
        Role::Redis,
        &format!("{prefix}{}", failover.name()),
        &failover.pods(Role::Redis).service_annotations,
        json!({
            "type": "ClusterIP",
            "ports": [port("redis", i32::from(failover.port()))],
            "selector": selected,
        }),
    )
}

/// Names resolve as soon as a Pod has an address: the Sentinel endpoints dial instances by them. The other
/// operator has this Service with an exporter alone.
fn each(failover: &Failover) -> Value {
    let settings = failover.pods(Role::Redis);
    let mut ports = vec![port("redis", i32::from(failover.port()))];
    let mut annotations = BTreeMap::new();
    if settings.exporter.enabled {
        ports.push(port("http-metrics", EXPORTER_PORT));
        let scraped = [("scrape", "true"), ("port", "http"), ("path", "/metrics")];
        let scraped = scraped.map(|(name, value)| (format!("prometheus.io/{name}"), value.to_owned()));
        annotations.extend(scraped);
    }
    annotations.extend(settings.service_annotations.clone());
    service(
        failover,
        Role::Redis,
        &name(failover, Role::Redis),
        &annotations,
        json!({
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "ports": ports,
            "selector": selector(failover, Role::Redis),
        }),
    )
}

fn port(name: &str, number: i32) -> Value {
    json!({ "name": name, "port": number, "targetPort": number, "protocol": "TCP" })
}

fn service(
    failover: &Failover,
    role: Role,
    name: &str,
    annotations: &BTreeMap<String, String>,
    spec: Value,
) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".into(), json!("v1"));
    object.insert("kind".into(), json!("Service"));
    object.insert("metadata".into(), metadata(failover, role, name, annotations.clone()));
    object.insert("spec".into(), spec);
    Value::Object(object)
}

/// Of the exporter in the Pods of Redis.
pub const EXPORTER_PORT: i32 = 9121;
