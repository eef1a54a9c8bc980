//! The RedisFailover resource, `databases.spotahome.com/v1`: every field of spotahome/redis-operator and of
//! freshworks' fork, under its name and with its meaning, and further ones. Defaults are set by the operator
//! and not by the definition, so a stored object may lack any of them: `model` knows them.
//!
//! Fields with types of Kubernetes are kept as they are written, unknown ones included: the API server judges
//! them when the Pods' objects are applied. So the definition stays small enough for `kubectl apply`, and a
//! field of a later Kubernetes works.

#![allow(clippy::duplicated_attributes, reason = "printed columns share attribute names")]

mod adoption;
mod alpha;
mod definition;
mod model;
mod sentinels;

pub use alpha::AlphaFailover;
pub use definition::definition;
pub use model::{Failover, Role};

use super::schema::{any_list, any_object};
use super::{FailoverSettings, PolicyChoice, RedisStatus, SwitchoverRequest};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One master, its replicas, and endpoints for clients of Redis Sentinel.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "databases.spotahome.com",
    version = "v1",
    kind = "RedisFailover",
    plural = "redisfailovers",
    singular = "redisfailover",
    shortname = "rf",
    namespaced,
    status = "RedisFailoverStatus",
    derive = "PartialEq",
    doc = "One Redis master, its replicas, and an endpoint for clients of Redis Sentinel",
    printcolumn(
        name = "Redis",
        type_ = "integer",
        json_path = ".spec.redis.replicas",
        description = "Desired Redis instances"
    ),
    printcolumn(
        name = "Sentinels",
        type_ = "integer",
        json_path = ".spec.sentinel.replicas",
        description = "Desired Sentinel endpoints"
    ),
    printcolumn(
        name = "Master",
        type_ = "string",
        json_path = ".status.master",
        description = "Pod that is master"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Creating, Running, Failed, Paused"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Reason of the last decision",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 48 && !self.metadata.name.contains('.')").message(
        "the name must have 48 characters at most and no dots: names of Pods and Services are made from it"
    )
)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisFailoverSpec {
    /// The Redis instances.
    pub redis: RedisSettings,
    /// The Sentinel endpoints.
    pub sentinel: SentinelSettings,
    /// The login of clients and replicas.
    pub auth: AuthSettings,
    /// Regular expressions: labels of the resource whose name matches one are copied to its objects. Empty:
    /// all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_whitelist: Vec<String>,
    /// A Redis outside of the group that all instances follow for as long as this is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_node: Option<BootstrapNode>,
    /// Whose programs the images have; `databaseEngine` means the same. Unset: Redis.
    #[serde(skip_serializing_if = "Option::is_none", alias = "databaseEngine")]
    pub engine: Option<Engine>,
    /// When and how a failover happens.
    pub failover: FailoverSettings,
    /// The policy that decides, and its shadow. Unset: the embedded policy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyChoice>,
    /// Parameters of the policy, following its schema (`redis-operator policy inspect`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub policy_parameters: Option<Value>,
    /// A planned change of master. Each `id` is carried out once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover: Option<SwitchoverRequest>,
    /// Observe and explain, but do not act. Nothing is changed of objects that were adopted.
    pub paused: bool,
    /// How objects that another operator made are taken over.
    pub adoption: AdoptionRequest,
}

/// How objects that another operator made are taken over.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct AdoptionRequest {
    /// Seconds for which the group is only observed first. Unset: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub observe_seconds: Option<u32>,
    /// Pods that the other operator made are replaced, one at a time, without waiting for a change of the
    /// spec.
    pub roll: bool,
}

/// The Redis instances.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisSettings {
    /// What Pods of either role have.
    #[serde(flatten)]
    pub pods: PodSettings,
    /// Port of every instance. Unset: 6379.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Commands that get another name. Those that the operator itself needs keep theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_command_renames: Vec<CommandRename>,
    /// A ConfigMap with `shutdown.sh`, which runs before an instance stops. Unset: the operator's, by which a
    /// master hands over first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown_config_map: Option<String>,
    /// Seconds that an instance gets to stop. Unset: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub termination_grace_period: Option<i64>,
    /// Where the data is. Unset: in an emptyDir.
    pub storage: StorageSettings,
    /// Percent of the container's memory limit that `maxmemory` must leave free. Unset: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub reserved_pod_memory_percent: Option<i32>,
    /// The cluster autoscaler does not evict the master.
    pub prevent_master_eviction: bool,
    /// A rollout replaces all Pods but the master's.
    pub disable_master_rollout: bool,
}

/// The Sentinel endpoints.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SentinelSettings {
    /// What answers clients of Redis Sentinel, and who promotes. Unset: Served, or Assisted where the objects
    /// were taken over from another operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<SentinelMode>,
    /// What Pods of either role have.
    #[serde(flatten)]
    pub pods: PodSettings,
    /// The container that copies the configuration of a Sentinel process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_copy: Option<ConfigCopy>,
    /// Clients ask for the resource's name instead of `mymaster`.
    pub disable_my_master: bool,
}

/// What answers clients of Redis Sentinel, and who promotes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelMode {
    /// The operator's own program in place of Sentinel processes; the operator promotes.
    Served,
    /// Sentinel processes, by whose votes the operator promotes; without it they promote.
    Assisted,
    /// Sentinel processes promote; the operator only if they provably cannot.
    Deferred,
}

/// What the Pods of Redis and of the Sentinel endpoints have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSettings {
    /// Image of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Pull policy of the image. Unset: Always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Image pull secrets of the Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub image_pull_secrets: Vec<Value>,
    /// How many. Unset, or 0: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 500))]
    pub replicas: Option<i32>,
    /// Resource requests and limits of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
    /// Affinity of the Pods. Unset: they prefer different nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub affinity: Option<Value>,
    /// Tolerations of the Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub tolerations: Vec<Value>,
    /// Topology spread constraints of the Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub topology_spread_constraints: Vec<Value>,
    /// Node selector of the Pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Priority class of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Service account of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Directives, each as a line `NAME VALUE`, that running servers get by CONFIG SET. Of Sentinels:
    /// down-after-milliseconds, failover-timeout, parallel-syncs and quorum, by SENTINEL SET.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_config: Vec<String>,
    /// Command of the container, in place of the operator's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// A ConfigMap with `startup.sh`, the startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_config_map: Option<String>,
    /// Security context of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<Value>,
    /// Security context of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container_security_context: Option<Value>,
    /// Annotations of the Pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Annotations of the Services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_annotations: BTreeMap<String, String>,
    /// The Pods use the network of their node.
    pub host_network: bool,
    /// DNS policy of the Pods. Unset: ClusterFirst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<String>,
    /// Containers that run first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub init_containers: Vec<Value>,
    /// Further containers of the Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub extra_containers: Vec<Value>,
    /// Further volumes of the Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub extra_volumes: Vec<Value>,
    /// Further mounts of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub extra_volume_mounts: Vec<Value>,
    /// Liveness probe, in place of the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub custom_liveness_probe: Option<Value>,
    /// Readiness probe, in place of the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub custom_readiness_probe: Option<Value>,
    /// Startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub custom_startup_probe: Option<Value>,
    /// No PodDisruptionBudget is made. One that was made before stays until it is deleted.
    pub disable_pod_disruption_budget: bool,
    /// A sidecar that exports metrics.
    pub exporter: ExporterSettings,
}

/// A sidecar that exports metrics.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ExporterSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Pull policy of the image. Unset: Always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Its security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container_security_context: Option<Value>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub env: Vec<Value>,
    /// Its resource requests and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
}

/// Where the data is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageSettings {
    /// The claims stay when the resource is deleted.
    pub keep_after_deletion: bool,
    /// An emptyDir with these settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub empty_dir: Option<Value>,
    /// A claim for each instance, as in the template of a StatefulSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub persistent_volume_claim: Option<Value>,
}

/// The container that copies the configuration of a Sentinel process.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigCopy {
    /// Its security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container_security_context: Option<Value>,
}

/// The login of clients and replicas.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthSettings {
    /// A Secret in the same namespace, whose key `password` is the password. Unset: no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_path: Option<String>,
}

/// A Redis outside of the group.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapNode {
    /// Its host.
    pub host: String,
    /// Its port. Unset: 6379.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The Sentinel endpoints exist meanwhile, and name that Redis.
    #[serde(default)]
    pub allow_sentinels: bool,
}

/// Another name for a command.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CommandRename {
    /// The command.
    pub from: String,
    /// Its new name. Empty: the command is gone.
    pub to: String,
}

/// Whose programs the images have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// `redis-server` and `redis-cli`.
    #[default]
    Redis,
    /// `valkey-server` and `valkey-cli`.
    Valkey,
}

/// State of the group.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisFailoverStatus {
    /// Creating, until there is a master; Running; Failed, while there is none any more; Paused.
    pub phase: String,
    /// Sentinel endpoints that are ready. Absent: not observed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinels: Option<i32>,
    /// The same as of a Redis.
    #[serde(flatten)]
    pub group: RedisStatus,
}
