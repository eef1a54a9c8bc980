//! The EndpointSlice by which one operator adds itself to the Service of a Sentinel endpoint.

use super::failover_slice::{MANAGED_BY_LABEL, SERVICE_LABEL};
use super::services::SENTINEL;
use crate::kubernetes::apply::FIELD_MANAGER;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// The slices of all operators, by these labels.
pub const SENTINEL_SLICES: &str = "redis,endpointslice.kubernetes.io/managed-by=redis-operator";

/// The slice of the operator with that identity, whose face of the group listens there. Each operator has one
/// of its own, so that none writes what another one knows better.
pub fn sentinel_slice(service: &Service, operator: &str, face: SocketAddr) -> EndpointSlice {
    let mut metadata = ObjectMeta { annotations: None, ..service.metadata.clone() };
    metadata.name = Some(sentinel_slice_name(service, operator));
    let ours = [(SERVICE_LABEL, service.name_any()), (MANAGED_BY_LABEL, FIELD_MANAGER.into())];
    metadata.labels.get_or_insert_default().extend(ours.map(|(label, value)| (label.to_owned(), value)));
    metadata.annotations = Some([(OPERATOR_ANNOTATION.to_owned(), operator.to_owned())].into());
    EndpointSlice {
        metadata,
        address_type: if face.is_ipv6() { "IPv6" } else { "IPv4" }.into(),
        endpoints: vec![Endpoint {
            addresses: vec![face.ip().to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                serving: Some(true),
                terminating: Some(false),
            }),
            ..Endpoint::default()
        }],
        ports: Some(vec![EndpointPort {
            name: Some(SENTINEL.into()),
            port: Some(face.port().into()),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        }]),
    }
}

/// Its name.
pub fn sentinel_slice_name(service: &Service, operator: &str) -> String {
    // Whatever an operator is called, it is a name of an object.
    let digest = Sha256::digest(operator.as_bytes());
    let digits: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", service.name_any())
}

/// Where the face of a slice is dialled. None: it is no slice of a face.
pub fn face_of(slice: &EndpointSlice) -> Option<(String, u16)> {
    let port = slice.ports.as_ref()?.iter().find(|port| port.name.as_deref() == Some(SENTINEL))?.port?;
    let host = slice.endpoints.first()?.addresses.first()?.clone();
    Some((host, u16::try_from(port).ok()?))
}

/// Of the operator that serves there, for people.
const OPERATOR_ANNOTATION: &str = "k8s.amaiz.com/operator";
