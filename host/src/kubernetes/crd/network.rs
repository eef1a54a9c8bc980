//! Who may reach the Pods of a Redis resource.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach the Pods: the NetworkPolicy `redis-NAME`. The Pods of the group and those of the operator's
/// namespace always may.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct NetworkSettings {
    /// Clients, as in `ingress.from` of a NetworkPolicy. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<NetworkPolicyPeer>,
    /// Who may read the metrics of `exporter`, as in `ingress.from` of a NetworkPolicy. Empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<NetworkPolicyPeer>,
}
