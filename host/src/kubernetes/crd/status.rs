//! What the operator tells of a Redis resource, and what it must remember: the record of the last published
//! master.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is told.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisStatus {
    /// The generation of the spec that all this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Pod that is master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Instances that answer, the master included.
    pub replicas: i32,
    /// Selects the Pods, as text: what `kubectl scale` and autoscalers read.
    pub selector: String,
    /// Why the last decision was made, in one word out of a documented list.
    pub reason: String,
    /// The same as one sentence.
    pub message: String,
    /// Name, version and digest of the policy that decided.
    pub policy: String,
    /// How the shadow answered, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<super::ShadowStatus>,
    /// Ready, Progressing, Degraded, Paused, SwitchoverInProgress.
    pub conditions: Vec<Condition>,
    /// One verdict per instance.
    pub instances: Vec<InstanceStatus>,
    /// The last change of master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<LastFailover>,
    /// The master as last made known. Decisions rest on it: do not edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedMaster>,
    /// The generations of the group's data, newest first: by them a former master is recognised over any number of
    /// role changes. Decisions rest on it: do not edit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<GenerationStatus>,
    /// The last position of the replication stream that was seen replicated. Decisions rest on it: do not edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionStatus>,
    /// As whom the instances log in to their master: they cannot follow another group's, whatever address it
    /// has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_user: Option<String>,
    /// The `id` of the last switchover that was taken up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover_id: Option<String>,
    /// Why that switchover cannot be done. None: it is done, or on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover_refused: Option<String>,
}

/// As Kubernetes has it for all its resources.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready, Progressing, Degraded, Paused, SwitchoverInProgress.
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
    /// The generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What is known of one instance, as of the last time that a decision, a role or somebody's health changed.
/// Numbers that change all the time are not here: `kubectl redis status` asks the operator for them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The Pod.
    pub name: String,
    /// Master, Replica, Unknown.
    pub role: String,
    /// InSync, Syncing, Alive, Suspect, Silent, Dead, Abdicated, Amnesic.
    pub health: String,
    /// Since when it has had this health, RFC 3339.
    #[serde(default)]
    pub since: String,
    /// What its health rests on, as one sentence.
    #[serde(default)]
    pub proof: String,
    /// Its place in the order of succession, from 1. None: it is the master, or cannot become it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u16>,
    /// Why it could not become master. None: it could.
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
    /// The Pod that is to be master in the end: another one if this one only bridges.
    pub meant_for: String,
    /// Dead, Silent, Abdicated, Amnesic, Requested, Bootstrap.
    pub evidence: String,
    /// How long each part of it took. None: it is under way, or the operator that carried it out ended
    /// before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// From the confirmed promotion until the Pods' labels told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_microseconds: Option<i64>,
}

/// The parts of a change of master, in microseconds, because most of them take less than a millisecond. They
/// follow one another; that it is made known runs beside the last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeline {
    /// From the fault to its first sign. None: nobody knows when the fault was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_microseconds: Option<i64>,
    /// From there to the order to promote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decide_microseconds: Option<i64>,
    /// From there to its confirmation.
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

/// The master as last made known.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedMaster {
    /// The Pod.
    pub name: String,
    /// Of its Redis process.
    pub run_id: String,
    /// Of its data.
    pub replication_id: String,
    /// How far it had got.
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
    /// The offset at which the next generation left it. None: the present one, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_offset: Option<i64>,
    /// When its master was published first, RFC 3339.
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
    /// The replicas whose own offset had reached it within a second.
    #[serde(default)]
    pub acknowledged_by: Vec<String>,
    /// When, RFC 3339.
    pub at: String,
}
