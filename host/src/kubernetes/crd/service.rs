//! How the Services of a Redis resource are reached.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of the Services of a resource.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')"
).message("loadBalancerClass is for load balancers: set service.type to LoadBalancer, or leave it out"))]
#[x_kube(validation = Rule::new(
    "!has(self.externalTrafficPolicy) || (has(self.type) && self.type in ['NodePort', 'LoadBalancer'])"
).message(
    "externalTrafficPolicy is for clients outside of the cluster: set service.type to NodePort or LoadBalancer, \
     or leave it out"
))]
pub struct ServiceSettings {
    /// Annotations of all Services.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Type of the Services that lead to the master and to the replicas, `redis-NAME-master` and
    /// `redis-NAME-replicas`. Unset: ClusterIP.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,
    /// Class of their load balancers. Unset: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether they keep the address of a client, at the price of nodes without such a Pod taking none.
    /// Unset: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
}

/// `type` of a Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the values of a Service's type")]
pub enum ServiceType {
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// `externalTrafficPolicy` of a Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the values of a Service's externalTrafficPolicy")]
pub enum TrafficPolicy {
    Cluster,
    Local,
}
