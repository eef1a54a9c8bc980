//! The Sentinel endpoint of a Redis resource: who may enter, and by which addresses servers are named.

use k8s_openapi::api::core::v1::SecretKeySelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Sentinel endpoint that the operator serves.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.user) || has(self.password)")
    .message("sentinelEndpoint.user needs a password: set sentinelEndpoint.password, or leave the user out"))]
#[x_kube(validation = Rule::new("!has(self.external) || !self.hostnames").message(
    "sentinelEndpoint.external has addresses of its own: leave hostnames out, or external"
))]
pub struct SentinelEndpoint {
    /// Name of the master, as these clients ask for it.
    #[serde(default = "default_master_name")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub master_name: String,
    /// Source of the password that clients need at the endpoint. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<EndpointPassword>,
    /// User of that password. Unset: the user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub user: Option<String>,
    /// Clients must use TLS. The certificate is that of `tls`, which should hold the name
    /// `redis-NAME-sentinel.NAMESPACE.svc`, too. Unset: if the group has TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Name servers as `POD.redis-NAME-headless.NAMESPACE.svc` and not by address: for certificates that hold
    /// names.
    #[serde(default)]
    pub hostnames: bool,
    /// Carry out `SENTINEL FAILOVER` as a switchover.
    #[serde(default)]
    pub allow_failover: bool,
    /// Servers are named by addresses that clients outside of the cluster reach: each Pod gets the Service
    /// `redis-NAME-N`, which has the type of `service`, and so does the endpoint. Unset: by the addresses of
    /// their Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<OutsideAddresses>,
}

/// How clients outside of the cluster reach each Pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OutsideAddresses {
    /// The name or address of each Pod's Service, in which `{pod}` is the name of the Pod, as in
    /// `{pod}.redis.example.com`. Unset: with NodePort the address of the Pod's node, with LoadBalancer that
    /// of the load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:{}_-]+$"))]
    pub host: Option<String>,
    /// Annotations of each Pod's Service, beside those of `service`. In their values `{pod}` is the name
    /// of the Pod: for external-dns, and for load balancers with an address given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// As the documentation of Sentinel and most clients have it.
fn default_master_name() -> String {
    "mymaster".into()
}

/// Source of the password of a Sentinel endpoint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPassword {
    /// A key of a Secret in the same namespace.
    pub secret_key_ref: SecretKeySelector,
}
