//! The objects that a Redis resource asks for, as they should be: one file per kind, no client. The same
//! resource gives the same objects, byte for byte, so that applying them again changes nothing.

mod config;
mod disruption;
mod failover_slice;
mod pod;
mod services;
mod stateful_set;

pub use config::{
    AUTHORITIES_FILE, PASSWORD_KEY, PREVIOUS_KEY, REPLICATES, live_directives, replication_user,
};
pub use failover_slice::{SERVICE_LABEL, failover_slice, failover_slice_name, lead_to};

use super::crd::Redis;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the objects are made from.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What the user wants.
    pub redis: &'a Redis,
    /// Instances now: more than the user wants while the master has to move out of the way first.
    pub replicas: i32,
    /// Address of the master, if one is known: whom a Redis follows that starts anew.
    pub master: Option<&'a str>,
    /// If there is one.
    pub password: Option<&'a str>,
    /// As whom its instances log in to their master; none before all of them have let that user in.
    pub replication_user: Option<&'a str>,
    /// What the password was before, while some may still have it.
    pub previous: Option<&'a str>,
}

/// The kinds that are made.
pub const KINDS: &[&str] = &["Secret", "ConfigMap", "Service", "PodDisruptionBudget", "StatefulSet"];

/// The port of every Redis.
pub const PORT: i32 = 6379;
/// Says which resource an object belongs to. Selectors rest on it, and on no label of the user's.
pub const GROUP_LABEL: &str = "redis";
/// Says what a Pod is; the Services select on it.
pub const ROLE_LABEL: &str = "role";
/// What [`ROLE_LABEL`] says of the master.
pub const MASTER: &str = "master";
/// What [`ROLE_LABEL`] says of everybody else.
pub const REPLICA: &str = "replica";

/// All of them, in the order in which they are applied.
///
/// # Errors
/// None that our own types could cause; the serializer's words.
pub fn objects(wanted: &Wanted<'_>) -> Result<Vec<Value>, serde_json::Error> {
    let mut all = Vec::new();
    if let Some(password) = wanted.password {
        all.push(serde_json::to_value(config::secret(wanted, password))?);
    }
    all.push(serde_json::to_value(config::config_map(wanted))?);
    for service in services::services(wanted.redis) {
        all.push(serde_json::to_value(service)?);
    }
    all.push(serde_json::to_value(disruption::budget(wanted.redis))?);
    all.push(serde_json::to_value(stateful_set::stateful_set(wanted))?);
    Ok(all)
}

/// What everything of one resource is called, or begins with.
pub fn name(redis: &Redis) -> String {
    name_for(&redis.name_any())
}

/// The same, of the resource of that name.
pub fn name_for(resource: &str) -> String {
    format!("redis-{resource}")
}

/// What selects its Pods.
pub fn selector(redis: &Redis) -> BTreeMap<String, String> {
    BTreeMap::from([(GROUP_LABEL.to_owned(), redis.name_any())])
}

fn label_selector(redis: &Redis) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(redis)), ..LabelSelector::default() }
}

/// Name, owner and labels of an object. The user's labels go along; ours win.
fn metadata(redis: &Redis, suffix: &str) -> ObjectMeta {
    let mut labels = redis.labels().clone();
    labels.extend(selector(redis));
    ObjectMeta {
        name: Some(name(redis) + suffix),
        namespace: redis.namespace(),
        labels: Some(labels),
        owner_references: redis
            .controller_owner_ref(&())
            .map(|owner| vec![OwnerReference { block_owner_deletion: Some(true), ..owner }]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
