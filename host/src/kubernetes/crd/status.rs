//! Status of a Redis resource: the state of the group for its users, and the record that the operator
//! starts from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of the group.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisStatus {
    /// Generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Pod that is master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Instances that answer, the master included.
    pub replicas: i32,
    /// Label selector of the Pods, as text: `kubectl scale` and autoscalers read it.
    pub selector: String,
    /// Reason of the last decision, a word from a documented list.
    pub reason: String,
    /// The reason as one sentence.
    pub message: String,
    /// Name, version and digest of the policy that decided.
    pub policy: String,
    /// How the shadow policy answered, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<super::ShadowStatus>,
    /// Ready, Progressing, Degraded, Paused, SwitchoverInProgress, Reconciling, Stalled.
    pub conditions: Vec<Condition>,
    /// One verdict per instance.
    pub instances: Vec<InstanceStatus>,
    /// The last change of master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<LastFailover>,
    /// The master as last published; its offset is as of the last write of the status. The operator reads it
    /// where the ConfigMap `redis-NAME-record`, which has the record, is missing or older: do not edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedMaster>,
    /// The generations of the group's data, newest first: they identify a former master after any number of
    /// role changes. Read as `published` is: do not edit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<GenerationStatus>,
    /// The last replicated position of the replication stream, as of the last write of the status. Read as
    /// `published` is: do not edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionStatus>,
    /// ACL user for replication. Unique to the group, so a replica cannot copy another group that reuses its
    /// master's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_user: Option<String>,
    /// The Secret by which a client finds the group and logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The `id` of the last switchover that was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover_id: Option<String>,
    /// Why that switchover was refused. Absent: it is done or in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover_refused: Option<String>,
}

/// A Secret of the type `servicebinding.io/redis` in the same namespace, with the keys type, provider, host,
/// port, uri, and where there are any username, password and certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: String,
}

/// A condition as all Kubernetes resources have it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready, Progressing, Degraded, Paused, SwitchoverInProgress, Reconciling, Stalled.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False, Unknown.
    pub status: String,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When `status` last changed, RFC 3339.
    pub last_transition_time: String,
    /// Generation of the spec that it describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// State of one instance when a decision, a role or a health last changed. Numbers that change all the time
/// are not here: `kubectl redis status` asks the operator for them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The Pod.
    pub name: String,
    /// Master, Replica, Unknown.
    pub role: String,
    /// InSync, Syncing, Alive, Suspect, Silent, Dead, Abdicated, Amnesic.
    pub health: String,
    /// Since when it has this health, RFC 3339.
    #[serde(default)]
    pub since: String,
    /// The evidence for its health, as one sentence.
    #[serde(default)]
    pub proof: String,
    /// Position in the order of succession, from 1. Absent: it is the master, or not eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u16>,
    /// Why it is not eligible as master. Absent: it is eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ineligible: Option<String>,
}

/// A change of master.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastFailover {
    /// When, RFC 3339.
    pub at: String,
    /// The Pod that was master, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The Pod that became master.
    pub to: String,
    /// The Pod that will be master in the end: another than `to` if `to` only bridges.
    pub meant_for: String,
    /// Dead, Silent, Abdicated, Amnesic, Requested, Bootstrap.
    pub evidence: String,
    /// How long each part of it took. None: it is under way, or the operator that carried it out ended
    /// before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// From the confirmed promotion until the Pods' labels show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_microseconds: Option<i64>,
}

/// The phases of a change of master, in microseconds, since most take less than a millisecond. One follows
/// the other; publishing runs beside the last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeline {
    /// From the fault to its first sign. None: the time of the fault is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_microseconds: Option<i64>,
    /// From there to the order to promote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decide_microseconds: Option<i64>,
    /// From there to the confirmed promotion.
    pub promote_microseconds: i64,
    /// From there until the last of the others follows. None: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repoint_microseconds: Option<i64>,
    /// For how long a handover paused writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_microseconds: Option<i64>,
    /// Bytes that the old master is known to have had and the new one has not. None: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_loss_bytes: Option<i64>,
}

/// The master as last published.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedMaster {
    /// The Pod.
    pub name: String,
    /// `INFO server: run_id`.
    pub run_id: String,
    /// `INFO replication: master_replid`.
    pub replication_id: String,
    /// `INFO replication: master_repl_offset`.
    pub offset: i64,
    /// Counts changes of master.
    pub epoch: i64,
    /// When, RFC 3339.
    pub at: String,
}

/// Everything written under one replication id.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// `INFO replication: master_replid`.
    pub replication_id: String,
    /// The Pod that was master.
    pub master: String,
    /// The offset where the next generation begins. Absent: the present generation, or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_offset: Option<i64>,
    /// When its master was first published, RFC 3339.
    pub since: String,
}

/// A position of the replication stream, and the Pods that had it within a second.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PositionStatus {
    /// `INFO replication: master_replid`.
    pub replication_id: String,
    /// `INFO replication: master_repl_offset`.
    pub offset: i64,
    /// Replicas whose own offset reached it within a second.
    #[serde(default)]
    pub acknowledged_by: Vec<String>,
    /// When, RFC 3339.
    pub at: String,
}
