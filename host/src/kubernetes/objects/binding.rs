//! The Secret by which a client finds the group and logs in: the keys of Service Binding (servicebinding.io),
//! which tools project into Pods, and which a person can read.

use super::{PORT, metadata, name};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::kinds::Inputs;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Its name.
pub fn binding_name(redis: &Redis) -> String {
    name(redis) + BINDING
}

pub fn binding(redis: &Redis, inputs: &Inputs<'_>) -> Secret {
    let host = format!("{}-master.{}.svc", name(redis), redis.namespace().unwrap_or_default());
    let scheme = if redis.spec.tls.is_some() { "rediss" } else { "redis" };
    let login = inputs.password.map(|password| {
        // Whatever it contains, it ends where the host begins.
        format!("{USER}:{}@", utf8_percent_encode(password, NON_ALPHANUMERIC))
    });
    let uri = format!("{scheme}://{}{host}:{PORT}", login.unwrap_or_default());
    let always = [
        ("type", "redis".to_owned()),
        ("provider", "redis-operator".to_owned()),
        ("host", host),
        ("port", PORT.to_string()),
        ("uri", uri),
    ];
    let with_password =
        inputs.password.map(|password| [("username", USER.to_owned()), ("password", password.to_owned())]);
    let certificates = inputs.authorities.map(|pem| ("certificates", pem.to_owned()));
    let entries = always.into_iter().chain(with_password.into_iter().flatten()).chain(certificates);
    Secret {
        metadata: metadata(redis, BINDING),
        type_: Some("servicebinding.io/redis".into()),
        data: Some(entries.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// After the name of the resource's objects.
pub const BINDING: &str = "-binding";
const USER: &str = "default";
