//! The Redis resource, `k8s.amaiz.com/v1alpha1`: the desired state of a group. It has every field of
//! amaizfinance/redis-operator with its meaning, and further ones. The custom resource definition in
//! `deploy/` is generated from these types.

mod endpoint;
pub mod failover;
mod network;
mod policy;
mod schema;
mod service;
mod status;
mod user;

pub use endpoint::{EndpointPassword, OutsideAddresses, SentinelEndpoint};
pub use network::NetworkSettings;
pub use policy::{
    ActivePolicy, CandidatePolicy, ConfigMapSource, EmbeddedSource, FailoverPolicy, FailoverPolicySpec,
    FailoverPolicyStatus, FileSource, OciSource, PolicySource, PullSecret, RefusedPolicy, ShadowStatus,
    UrlSource,
};
pub use schema::{definitions, parse};
pub use service::{ServiceSettings, ServiceType, TrafficPolicy};
pub use status::{
    Binding, Condition, GenerationStatus, InstanceStatus, LastFailover, PositionStatus, PublishedMaster,
    RedisStatus, Timeline,
};
pub use user::User;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, LocalObjectReference, PersistentVolumeClaimSpec, PodSecurityContext,
    ResourceRequirements, SecretKeySelector, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
    VolumeMount,
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
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Master",
        type_ = "string",
        json_path = ".status.master",
        description = "Pod that is master"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.replicas",
        description = "Instances that answer, the master included"
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Desired instances, the master included"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Reason of the last decision",
        priority = 1
    ),
    printcolumn(
        name = "Policy",
        type_ = "string",
        json_path = ".status.policy",
        description = "Policy that made the last decision",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 44 && !self.metadata.name.contains('.')").message(
        "the name must have 44 characters at most and no dots: names of Pods and Services are made from it"
    ),
    validation = Rule::new(
        "!has(self.spec.sentinelEndpoint) || !has(self.spec.sentinelEndpoint.tls) || \
         !self.spec.sentinelEndpoint.tls || has(self.spec.tls)"
    ).message("sentinelEndpoint.tls uses the certificate of spec.tls: set that, or leave sentinelEndpoint.tls out"),
    validation = Rule::new(
        "!has(self.spec.sentinelEndpoint) || !has(self.spec.sentinelEndpoint.external) || \
         (has(self.spec.service) && has(self.spec.service.type) && \
         self.spec.service.type in ['NodePort', 'LoadBalancer'])"
    ).message(
        "sentinelEndpoint.external is for clients outside of the cluster: set service.type to NodePort or \
         LoadBalancer, or leave it out"
    ),
    validation = Rule::new(
        "!has(self.spec.hibernate) || !self.spec.hibernate || has(self.spec.dataVolumeClaimTemplate)"
    ).message(
        "hibernation keeps the data on volumes, and this Redis has none: leave hibernate out, or move the data to \
         a Redis with dataVolumeClaimTemplate"
    ),
    validation = Rule::new(
        "!has(self.spec.hibernate) || !self.spec.hibernate || !has(self.spec.config) || \
         !self.spec.config.exists(name, name.lowerAscii() == 'save' && self.spec.config[name].trim() in ['', '\"\"']) || \
         self.spec.config.exists(name, name.lowerAscii() == 'appendonly' && self.spec.config[name].trim() == 'yes')"
    ).message(
        "with save switched off, Redis ends without writing its data: set config.appendonly to yes, or config.save, \
         before hibernate"
    ),
    validation = Rule::new("!has(self.spec.users) || size(self.spec.users) == 0 || has(self.spec.password)").message(
        "without a password of the user default, any client may do anything: set spec.password beside spec.users"
    ),
    validation = Rule::new(
        "!has(self.spec.users) || size(self.spec.users) == 0 || !has(self.spec.config) || \
         !self.spec.config.exists(name, name.lowerAscii() == 'aclfile')"
    ).message("Redis takes users from an aclfile or from its configuration: leave out config.aclfile, or spec.users"),
    validation = Rule::new("has(self.spec.tls) == has(oldSelf.spec.tls)").message(
        "TLS cannot be switched on or off while the group runs: create another resource, and move the data"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RedisSpec {
    /// Redis instances, the master included. With three, the data survives the loss of any one while another
    /// restarts.
    #[schemars(range(min = 1, max = 500))]
    pub replicas: i32,
    /// Directives of redis.conf, by name. Refused are those that the operator sets itself or that have a
    /// field of their own: bind, port, dir, include, daemonize, replicaof, masterauth, requirepass,
    /// rename-command, protected-mode, replica-announce-ip, replica-announce-port, cluster-enabled, the TLS
    /// directives that `tls` covers, and `user default`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new(
            "self.all(name, !(name.lowerAscii() in ['include','bind','protected-mode','port','daemonize',\
             'dir','replica-announce-ip','replica-announce-port','slave-announce-ip',\
             'slave-announce-port','replicaof','slaveof','masterauth','requirepass','rename-command']))"
        ).message(
            "the operator sets these directives itself: leave out include, bind, protected-mode, port, \
             daemonize, dir, replica-announce-ip, replica-announce-port, replicaof, masterauth, requirepass \
             and rename-command"
        ))]
    #[x_kube(validation = Rule::new("self.all(name, name.lowerAscii() != 'cluster-enabled')")
        .message("Redis Cluster is not supported: leave out cluster-enabled"))]
    #[x_kube(validation = Rule::new(
            "self.all(name, !(name.lowerAscii() in ['tls-port','tls-cert-file','tls-key-file',\
             'tls-ca-cert-file','tls-ca-cert-dir','tls-replication','tls-auth-clients']))"
        ).message(
            "spec.tls sets the TLS directives: leave out tls-port, tls-cert-file, tls-key-file, \
             tls-ca-cert-file, tls-ca-cert-dir, tls-replication and tls-auth-clients"
        ))]
    #[x_kube(validation = Rule::new(
        "self.all(name, name.lowerAscii() != 'user' || !self[name].trim().startsWith('default'))"
    ).message(
        "the operator logs in as the user default: set spec.password, and give your own users other names"
    ))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[A-Za-z][A-Za-z0-9._-]*$'))")
        .message("a directive's name is one word of letters, digits, dots, dashes and underscores"))]
    #[x_kube(validation = Rule::new("self.all(name, !self[name].trim().matches('[\\x00-\\x08\\x0a-\\x1f]'))")
        .message("a directive is one line: remove line breaks and control characters from its value"))]
    #[schemars(extend(
        "maxProperties" = 200,
        "additionalProperties" = { "type": "string", "maxLength": 4096 }
    ))]
    pub config: BTreeMap<String, String>,
    /// Source of the password. Unset: no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// ACL users beside the user `default`. Set live, and at each start of a Pod: one that leaves the list is
    /// deleted, and its connections are closed. Needs `password`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 50, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub users: Vec<User>,
    /// TLS, for clients and for replication. Unset: no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// Annotations of the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further labels of the Pods. Selectors never use them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("!('redis' in self) && !('role' in self)")
        .message("the operator sets the labels redis and role: choose other names"))]
    #[schemars(extend("maxProperties" = 100))]
    pub labels: BTreeMap<String, String>,
    /// Security context of the Pods. Unset: their volumes belong to group 999. Set, containers without a
    /// context of their own run as the user that it, or their image, names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Affinity of the Pods. Unset: the Pods of a group prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Node selector of the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Topology spread constraints of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Service account of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Image pull secrets of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Priority class of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Claim for the data of each instance. Unset: the data is in memory only, with an emptyDir for
    /// replication transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_volume_claim_template: Option<ClaimTemplate>,
    /// How many sets of former files are kept in `/data/set-aside` of a claimed volume, a set a start of the
    /// Pod: what a member gives up when it has to copy another one is not gone. At most a quarter of the
    /// volume. 0: none.
    #[serde(default = "default_set_aside")]
    #[schemars(range(max = 10))]
    pub set_aside: u8,
    /// Further volumes of the Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Containers that run before Redis starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
    /// Further containers, which run beside Redis. A Pod is ready when all of them are: one that is not keeps
    /// clients from its Redis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::sidecars")]
    pub containers: Vec<Container>,
    /// Seconds that a Pod has for its end: for the handover, and for Redis to save its data. Unset: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 86_400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Runtime class of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// The container that runs Redis.
    pub redis: ContainerSettings,
    /// A sidecar that exports metrics on port 9121. Decisions do not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<ContainerSettings>,
    /// Settings of the Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
    /// Who may reach the Pods. Unset: no NetworkPolicy is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkSettings>,
    /// A Sentinel endpoint, the Service `redis-NAME-sentinel` with port 26379: clients of Redis Sentinel look
    /// up the master there. The operator answers by itself; there is no Sentinel. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_endpoint: Option<SentinelEndpoint>,
    /// When and how a failover happens.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.prefer != 'Consistency' || self.selfFence").message(
        "Consistency needs masters that fence themselves: set failover.selfFence to true, or prefer \
         Availability"
    ))]
    pub failover: FailoverSettings,
    /// The policy that decides, and its shadow. Unset: the embedded policy decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyChoice>,
    /// Parameters of the policy, following its schema (`redis-operator policy inspect`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub policy_parameters: Option<serde_json::Value>,
    /// A planned change of master. Each `id` is carried out once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switchover: Option<SwitchoverRequest>,
    /// Observe and explain, but do not act.
    #[serde(default)]
    pub paused: bool,
    /// All Pods away until it is false again: the claims keep the data. Redis saves it at its end, for which
    /// it has `terminationGracePeriodSeconds` at most. Needs `dataVolumeClaimTemplate`, and a `config` that
    /// saves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hibernate: bool,
}

impl RedisSpec {
    /// Its Pods are to be away. Never without volumes, whatever was stored before the schema refused it.
    pub fn hibernates(&self) -> bool {
        self.hibernate && self.data_volume_claim_template.is_some()
    }
}

/// One of the last start, and one of that before: a second start must not push out what the first one kept.
fn default_set_aside() -> u8 {
    2
}

/// Source of the password: a Secret of the user, or one that the operator makes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != (has(self.generate) && self.generate)")
    .message("the password needs one source: set password.secretKeyRef, or password.generate to true"))]
pub struct Password {
    /// A key of a Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,
    /// The operator makes a random password: in the Secret `redis-NAME-password` under the key `password`, or
    /// that of a user in `redis-NAME-users` under its name. The Secret is deleted with the resource; another
    /// password in it is applied live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generate: bool,
}

/// The certificate of all instances. A new one in the Secret is loaded while they run, without a restart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TlsSettings {
    /// A Secret in the same namespace with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager writes them.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// A name in the certificate. Unset: `redis-NAME-master.NAMESPACE.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// Clients must present a certificate signed by `ca.crt`.
    #[serde(default)]
    pub client_certificates: bool,
}

/// A claim, as in the template of a StatefulSet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ClaimTemplate {
    /// Name, labels and annotations of the claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ClaimMetadata>,
    /// Spec of the claims.
    pub spec: PersistentVolumeClaimSpec,
}

/// Name, labels and annotations of a claim.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct ClaimMetadata {
    /// Name of the claims. Unset: `redis-` and the resource's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A container of the Pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.maxmemoryPercent) || (has(self.resources) && has(self.resources.limits) && \
     'memory' in self.resources.limits)"
).message("maxmemoryPercent is a share of the memory limit: set resources.limits.memory, or leave it out"))]
pub struct ContainerSettings {
    /// Image of the container.
    #[schemars(length(min = 1))]
    pub image: String,
    /// Pull policy of the image. Unset: the default of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Resource requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of the container. Unset: as the Pod Security Standard restricted has it, with user
    /// 999, the one of the official images, unless the Pods have a context; and with a read-only root file
    /// system, unless `logfile`, `pidfile` or `unixsocket` names a path outside of /data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Further environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::variables")]
    pub env: Vec<EnvVar>,
    /// Further mounts of `volumes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::mounts")]
    pub volume_mounts: Vec<VolumeMount>,
    /// `maxmemory` as a share of the memory limit, in percent: the rest is for buffers, and for the pages
    /// that are written while a copy is saved or sent. 75 suits most. A `maxmemory` in `config` overrides it.
    /// Only for Redis, and with a memory limit. Unset: Redis knows no limit, and is killed at that of its
    /// container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 95))]
    pub maxmemory_percent: Option<u8>,
    /// Seconds from the start of the container to its first probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: Option<i32>,
}

/// `imagePullPolicy` of a container.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the values of a Pod's imagePullPolicy")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// When and how a failover happens.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverSettings {
    /// A server without a valid reply for this many milliseconds hangs. Below 1000, an idle master that the
    /// operator cannot reach may be replaced although it works: without writes, only its heartbeat to its
    /// replicas, once a second, shows that it is alive.
    #[schemars(range(min = 100, max = 600_000))]
    pub down_after_milliseconds: u32,
    /// Do not act while fewer instances answer. Unset: 2, or 1 in a group of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub min_size: Option<u16>,
    /// What to do about a silent master that cannot be reached.
    pub prefer: Prefer,
    /// A master refuses writes once no replica has acknowledged for `selfFenceLagSeconds`: a master that is
    /// cut off then accepts no writes that would be lost. The price: the last instance left accepts no
    /// writes. Applies to three or more instances. A `min-replicas-to-write` in `config` overrides it.
    pub self_fence: bool,
    /// Seconds without an acknowledgement of a replica after which a master refuses writes.
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

/// What to do about a silent master that cannot be reached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// Replace it at once. Writes that it acknowledges until it is reached again are lost.
    Availability,
    /// Replace it once it certainly refuses writes.
    Consistency,
}

/// The policy that decides, and its shadow: names of FailoverPolicy resources in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!has(self.name) || !has(self.shadow) || self.name != self.shadow")
    .message("policy.shadow must differ from policy.name: name another policy, or leave shadow out"))]
pub struct PolicyChoice {
    /// The policy that decides. Unset: the embedded policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// A policy that is asked for every decision too. Its answers are only compared, counted and logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub shadow: Option<String>,
}

/// A planned change of master.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverRequest {
    /// Identifies the request: another `id` is another request.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,
    /// The Pod to make master. Unset: the best replica in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}
