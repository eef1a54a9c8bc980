//! Writes objects by server-side apply with one field manager: fields of other managers stay, the operator's
//! own are corrected.

use super::objects::GROUP_LABEL;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::Value;

/// The manager of the operator's fields.
pub const FIELD_MANAGER: &str = "redis-operator";

/// Applies one object. Returns its resource version afterwards.
///
/// # Errors
/// The API server's answer, or why it could not be reached.
pub async fn apply(client: &Client, namespace: &str, object: &Value) -> Result<u64, kube::Error> {
    let (api, name) = place(client, namespace, object);
    let applied = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(version(&applied).unwrap_or_default())
}

/// Whether an object of that name exists that has neither this object's owner nor its label. Applying over it
/// would take it from its owner, and delete it together with the Redis resource.
///
/// # Errors
/// As [`apply`].
pub async fn is_foreign(client: &Client, namespace: &str, object: &Value) -> Result<bool, kube::Error> {
    let (api, name) = place(client, namespace, object);
    // By a list: it needs no right beyond those of the watches.
    let there = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (owner, group) = (
        text("/metadata/ownerReferences/0/uid"),
        object.pointer("/metadata/labels").and_then(|labels| labels.get(GROUP_LABEL)),
    );
    Ok(there.items.iter().any(|there| {
        let is_owned = there.owner_references().iter().any(|by| Some(by.uid.as_str()) == owner);
        let is_labelled =
            there.labels().get(GROUP_LABEL).map(String::as_str) == group.and_then(Value::as_str);
        !is_owned && !is_labelled
    }))
}

fn place<'a>(client: &Client, namespace: &str, object: &'a Value) -> (Api<DynamicObject>, &'a str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, api) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, api, text("/kind")));
    (Api::namespaced_with(client.clone(), namespace, &resource), text("/metadata/name"))
}

/// Deletes a Secret, if it still exists.
///
/// # Errors
/// As [`apply`].
pub async fn delete_secret(client: &Client, namespace: &str, name: &str) -> Result<(), kube::Error> {
    match Api::<Secret>::namespaced(client.clone(), namespace).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// The resource version of an object. A larger one is later: Kubernetes guarantees this for its own storage.
pub fn version(object: &impl ResourceExt) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
