//! The objects of a Redis resource: one file per kind, no client. Equal resources give equal objects, byte
//! for byte, so that applying them again changes nothing.

mod binding;
mod config;
mod disruption;
pub mod failover;
mod failover_slice;
mod family;
mod network;
mod pod;
mod security;
mod sentinel_slice;
mod services;
mod set_aside;
mod stateful_set;
mod users;

pub use binding::binding_name;
pub use config::{
    AUTHORITIES_FILE, PASSWORD_KEY, PREVIOUS_KEY, REPLICATES, SECRET_FILE, directive_names, is_read_at_start,
    live_directives, replication_user,
};
pub use failover_slice::{SERVICE_LABEL, failover_slice, lead_to};
pub use family::{ADOPTED, FAILOVER, FAMILIES, Family, MADE, MARK_ANNOTATION, REDIS, ROLLED};
pub use pod::GRACE_S;
pub use sentinel_slice::{SENTINEL_SLICES, face_of, sentinel_slice, sentinel_slice_name};
pub use services::{REDIS_PORT, master_service, sentinel_service};
pub use set_aside::SET_ASIDE;
pub use stateful_set::claim_settings;
pub use users::{AclUser, users_in};

use super::crd::Redis;
use super::kinds::Inputs;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// The kinds of the objects.
pub const OBJECT_KINDS: &[&str] =
    &["Secret", "ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet", "Deployment"];

/// The port of every Redis.
pub const PORT: i32 = 6379;
/// The label with the name of the resource. Selectors use it, and no label of the user.
pub const GROUP_LABEL: &str = "redis";
/// The beginning of the names of all objects.
pub const PREFIX: &str = "redis-";
/// The label with the role of a Pod. The Services select by it.
pub const ROLE_LABEL: &str = "role";
/// Value of [`ROLE_LABEL`] for the master.
pub const MASTER: &str = "master";
/// Value of [`ROLE_LABEL`] for all other instances.
pub const REPLICA: &str = "replica";

/// All objects, in the order in which they are applied.
///
/// # Errors
/// The serializer's; the operator's own types cause none.
pub fn objects(redis: &Redis, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error> {
    let mut all = Vec::new();
    if let Some(password) = inputs.password {
        all.push(serde_json::to_value(config::secret(redis, inputs, password))?);
    }
    all.push(serde_json::to_value(config::config_map(redis, inputs))?);
    for service in services::services(redis, inputs.replicas) {
        all.push(serde_json::to_value(service)?);
    }
    all.push(serde_json::to_value(binding::binding(redis, inputs))?);
    all.push(serde_json::to_value(disruption::budget(redis))?);
    if let Some(policy) = network::network_policy(redis, inputs) {
        all.push(serde_json::to_value(policy)?);
    }
    all.push(serde_json::to_value(stateful_set::stateful_set(redis, inputs.replicas))?);
    Ok(all)
}

/// The name of the objects, or its beginning.
pub fn name(redis: &Redis) -> String {
    name_for(&redis.name_any())
}

/// The same for the resource of that name.
pub fn name_for(resource: &str) -> String {
    format!("{PREFIX}{resource}")
}

/// The labels that select the Pods of a resource.
pub fn selector(redis: &Redis) -> BTreeMap<String, String> {
    BTreeMap::from([(GROUP_LABEL.to_owned(), redis.name_any())])
}

fn label_selector(redis: &Redis) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(redis)), ..LabelSelector::default() }
}

/// Name, owner and labels of an object. The resource's labels are copied; the operator's win.
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
