//! The Redis resource, `k8s.amaiz.com/v1alpha1`: what a user wants. Every field of
//! amaizfinance/redis-operator with its meaning, and what it lacked. The custom resource definition in
//! `deploy/` is generated from these types.

mod policy;
mod schema;
mod status;

pub use policy::{
    ActivePolicy, CandidatePolicy, ConfigMapSource, EmbeddedSource, FailoverPolicy, FailoverPolicySpec,
    FailoverPolicyStatus, FileSource, OciSource, PolicySource, RefusedPolicy, ShadowStatus, UrlSource,
};
pub use schema::{definitions, parse};
pub use status::{
    Condition, GenerationStatus, InstanceStatus, LastFailover, PositionStatus, PublishedMaster, RedisStatus,
    Timeline,
};

use k8s_openapi::api::core::v1::{
    Affinity, Container, LocalObjectReference, PersistentVolumeClaimSpec, PodSecurityContext,
    ResourceRequirements, SecretKeySelector, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One master and its replicas, kept available.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "k8s.amaiz.com",
    version = "v1alpha1",
    kind = "Redis",
    plural = "redis",
    singular = "redis",
    namespaced,
    status = "RedisStatus",
    derive = "PartialEq",
    doc = "One Redis master and its replicas, kept available",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Master", type_ = "string", json_path = ".status.master", description = "Pod that is master"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas", description = "Instances that answer, master included"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas", description = "Instances that are wanted"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "Why the last decision was made", priority = 1),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy", description = "Who decides", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 44 && !self.metadata.name.contains('.')").message("a name of 44 characters at most, without dots: Pods and Services get longer ones made of it"),
    validation = Rule::new("has(self.spec.tls) == has(oldSelf.spec.tls)").message("TLS cannot be switched on or off while the group runs: make another resource, and move the data")
)]
#[serde(rename_all = "camelCase")]
pub struct RedisSpec {
    /// Redis instances, the master included. Three keep the data through the loss of any one while a second
    /// one restarts.
    #[schemars(range(min = 1, max = 500))]
    pub replicas: i32,
    /// Directives of redis.conf, by name. Those that the operator owns, or has a field for, are refused:
    /// bind, port, dir, include, daemonize, replicaof, masterauth, requirepass, rename-command,
    /// protected-mode, replica-announce-ip, replica-announce-port, cluster-enabled, those of TLS that
    /// `tls` stands for, and a `user default`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new(
        "self.all(name, !(name.lowerAscii() in ['include','bind','protected-mode','port','daemonize','dir','replica-announce-ip','replica-announce-port','slave-announce-ip','slave-announce-port','replicaof','slaveof','masterauth','requirepass','rename-command']))"
    ).message("a directive that the operator owns: leave out include, bind, protected-mode, port, daemonize, dir, replica-announce-ip, replica-announce-port, replicaof, masterauth, requirepass and rename-command"))]
    #[x_kube(validation = Rule::new("self.all(name, name.lowerAscii() != 'cluster-enabled')")
        .message("a group has one master and is no Redis Cluster: leave out cluster-enabled"))]
    #[x_kube(validation = Rule::new(
        "self.all(name, !(name.lowerAscii() in ['tls-port','tls-cert-file','tls-key-file','tls-ca-cert-file','tls-ca-cert-dir','tls-replication','tls-auth-clients']))"
    ).message("TLS has a field of its own: leave out tls-port, tls-cert-file, tls-key-file, tls-ca-cert-file, tls-ca-cert-dir, tls-replication and tls-auth-clients, and set spec.tls"))]
    #[x_kube(validation = Rule::new("self.all(name, name.lowerAscii() != 'user' || !self[name].trim().startsWith('default'))")
        .message("the operator logs in as the user default: set spec.password, and give your own users other names"))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[A-Za-z][A-Za-z0-9._-]*$'))")
        .message("the name of a directive is one word of letters, digits, dots, dashes and underscores"))]
    #[x_kube(validation = Rule::new("self.all(name, !self[name].trim().matches('[\\x00-\\x08\\x0a-\\x1f]'))")
        .message("a directive is one line: leave line breaks and control characters out of its value"))]
    #[schemars(extend("maxProperties" = 200, "additionalProperties" = { "type": "string", "maxLength": 4096 }))]
    pub config: BTreeMap<String, String>,
    /// Where the password is. None: no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Redis speaks TLS, with clients and among its instances. None: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// Annotations of the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further labels of the Pods. They never take part in selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("!('redis' in self) && !('role' in self)").message("the labels redis and role are the operator's: choose other names"))]
    #[schemars(extend("maxProperties" = 100))]
    pub labels: BTreeMap<String, String>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Of the Pods. Without one they prefer nodes of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// A claim for the data of each instance. None: the data lives in memory, and in an emptyDir for
    /// transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_volume_claim_template: Option<ClaimTemplate>,
    /// Further volumes of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Containers that run before Redis does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
    /// The container that runs Redis.
    pub redis: ContainerSettings,
    /// A sidecar that exports metrics on port 9121. It never takes part in a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<ContainerSettings>,
    /// Of the Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
    /// When and how the role of master moves.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.prefer != 'Consistency' || self.selfFence").message("Consistency rests on masters that fence themselves: set failover.selfFence to true, or prefer Availability"))]
    pub failover: FailoverSettings,
    /// Who decides. None: the operator's own policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyChoice>,
    /// Parameters of the policy, as its schema has them (`redis-operator policy inspect`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub policy_parameters: Option<serde_json::Value>,
    /// A planned change of master. Carried out once for each `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switchover: Option<SwitchoverRequest>,
    /// Observe, explain, and do nothing.
    #[serde(default)]
    pub paused: bool,
}

/// Where a password is kept.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// A key of a Secret in the same namespace.
    pub secret_key_ref: SecretKeySelector,
}

/// The certificate of all instances. Another one in the Secret is taken into use while they run, without
/// restart or loss.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TlsSettings {
    /// A Secret in the same namespace with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager writes them.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// A name that the certificate is made out to. None: `redis-NAME-master.NAMESPACE.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// Clients need a certificate that `ca.crt` signed.
    #[serde(default)]
    pub client_certificates: bool,
}

/// A claim as a StatefulSet's template has it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ClaimTemplate {
    /// Name, labels and annotations of the claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ClaimMetadata>,
    /// What is claimed.
    pub spec: PersistentVolumeClaimSpec,
}

/// What a claim is called.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct ClaimMetadata {
    /// Without one: `redis-` and the resource's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A container of the Pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSettings {
    /// Its image.
    #[schemars(length(min = 1))]
    pub image: String,
    /// When to pull it. None: as Kubernetes does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// What it needs and what it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Seconds from the start of the container to its first probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: Option<i32>,
}

/// As in a Pod.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the values of a Pod's imagePullPolicy")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// Of all Services of one resource.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct ServiceSettings {
    /// Their annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// When and how the role of master moves.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverSettings {
    /// A server without a valid reply for this many milliseconds hangs. While nobody writes, a master that
    /// hangs is told from one that the operator cannot reach by its heartbeat to its replicas, which
    /// comes once a second: with less than that, an idle master that is only out of the operator's sight
    /// is replaced.
    #[schemars(range(min = 100, max = 600_000))]
    pub down_after_milliseconds: u32,
    /// Do nothing while fewer instances answer. None: 2, or 1 in a group of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub min_size: Option<u16>,
    /// What to do about a master that is silent and cannot be reached.
    pub prefer: Prefer,
    /// A master refuses writes when no replica has acknowledged for `selfFenceLagSeconds`, so that one that
    /// is cut off does not take what nobody will ever see. Its price: the last one left takes no writes.
    /// Of three instances and more only. A `min-replicas-to-write` in `config` goes before it.
    pub self_fence: bool,
    /// After how many seconds without a replica a master refuses writes.
    #[schemars(range(min = 1, max = 600))]
    pub self_fence_lag_seconds: u32,
}

impl Default for FailoverSettings {
    fn default() -> Self {
        Self {
            down_after_milliseconds: 1500,
            min_size: None,
            prefer: Prefer::Availability,
            self_fence: true,
            self_fence_lag_seconds: 10,
        }
    }
}

/// What to do about a master that is silent and cannot be reached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// Replace it at once; what it still acknowledges until it is reached again is lost.
    Availability,
    /// Replace it once it surely refuses writes by itself.
    Consistency,
}

/// Who decides, and who is asked beside it. Both are names of FailoverPolicy resources in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!has(self.name) || !has(self.shadow) || self.name != self.shadow")
    .message("a shadow that is the policy itself tells nothing: name another, or leave shadow out"))]
pub struct PolicyChoice {
    /// Decides. None: the operator's own policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Is asked the same, and nothing is done about what it says but to count and to log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub shadow: Option<String>,
}

/// A planned change of master.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverRequest {
    /// Names the request: another text asks anew.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,
    /// The Pod that is to be master. None: the best replica in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}
