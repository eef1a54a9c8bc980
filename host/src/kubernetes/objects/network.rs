//! The NetworkPolicy: who may reach the Pods. It limits nothing that they reach.

use super::services::EXPORTER_PORT;
use super::{PORT, label_selector, metadata};
use crate::kubernetes::crd::{NetworkSettings, Redis};
use crate::kubernetes::kinds::Inputs;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// None: the resource asks for none.
pub fn network_policy(redis: &Redis, inputs: &Inputs<'_>) -> Option<NetworkPolicy> {
    let NetworkSettings { clients, metrics } = redis.spec.network_policy.as_ref()?;
    let group =
        NetworkPolicyPeer { pod_selector: Some(label_selector(redis)), ..NetworkPolicyPeer::default() };
    // By the label that Kubernetes gives each namespace: labels of the operator's Pods are the user's choice.
    let named = [(NAMESPACE_LABEL.to_owned(), inputs.operator_namespace.to_owned())];
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(named.into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let peers = [group, operator].into_iter().chain(clients.iter().cloned());
    let exporter = redis.spec.exporter.as_ref();
    let ingress = [rule(PORT, peers.collect())]
        .into_iter()
        .chain(exporter.map(|_| rule(EXPORTER_PORT, metrics.clone())));
    Some(NetworkPolicy {
        metadata: metadata(redis, ""),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(redis)),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(ingress.collect()),
            ..NetworkPolicySpec::default()
        }),
    })
}

/// Lets these reach a port. Empty: anybody, as Kubernetes reads it.
fn rule(port: i32, peers: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".into()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { from: (!peers.is_empty()).then_some(peers), ports: Some(vec![port]) }
}

const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
