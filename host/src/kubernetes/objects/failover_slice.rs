//! An EndpointSlice with the new master, until Kubernetes has updated its own.

use crate::kubernetes::apply::FIELD_MANAGER;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

/// The label that binds a slice to its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A slice for the master Service with the master alone, beside the slice of Kubernetes. Its name is the
/// Service's, which sorts before the slices that Kubernetes creates. None: the Pod has no address.
pub fn failover_slice(service: &Service, master: &Pod) -> Option<EndpointSlice> {
    let address = master.status.as_ref()?.pod_ip.clone()?;
    let mut metadata = ObjectMeta { annotations: None, ..service.metadata.clone() };
    let ours = [(SERVICE_LABEL, service.name_any()), (MANAGED_BY_LABEL, FIELD_MANAGER.into())];
    metadata.labels.get_or_insert_default().extend(ours.map(|(label, value)| (label.to_owned(), value)));
    let endpoint = Endpoint {
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        node_name: master.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            uid: master.uid(),
            api_version: None,
            resource_version: None,
            ..master.object_ref(&())
        }),
        addresses: vec![address.clone()],
        ..Endpoint::default()
    };
    // A Service of the operator has the port numbers of its Pods.
    let port = |port: &ServicePort| EndpointPort {
        name: port.name.clone(),
        port: Some(port.port),
        protocol: port.protocol.clone(),
        ..EndpointPort::default()
    };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    Some(EndpointSlice {
        metadata,
        address_type: if address.contains(':') { "IPv6" } else { "IPv4" }.into(),
        endpoints: vec![endpoint],
        ports: Some(ports.into_iter().flatten().map(port).collect()),
    })
}

/// Whether all ready endpoints of the slices, without the operator's own, have that address.
pub fn lead_to(slices: &[EndpointSlice], ours: &str, address: &str) -> bool {
    let is_ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
    };
    let others = slices.iter().filter(|slice| slice.name_any() != ours).flat_map(|slice| &slice.endpoints);
    let mut addresses = others.filter(is_ready).flat_map(|endpoint| &endpoint.addresses).peekable();
    addresses.peek().is_some() && addresses.all(|ready| ready == address)
}

/// The EndpointSlice controller ignores slices that another manager is named for.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
