//! Objects into the cluster, by server-side apply with one field manager: what others set stays, what is ours
//! is made right.

use super::objects::GROUP_LABEL;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::Value;

/// Whose fields they are.
pub const FIELD_MANAGER: &str = "redis-operator";

/// Applies one object. Returns the version that it has now.
///
/// # Errors
/// The API server's words, and those of the way to it.
pub async fn apply(client: &Client, namespace: &str, object: &Value) -> Result<u64, kube::Error> {
    let (api, name) = place(client, namespace, object);
    let applied = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(version(&applied).unwrap_or_default())
}

/// Whether somebody else's object stands where this one should: one that has neither its owner nor its label.
/// To apply would be to take it over, and to have it deleted with our resource.
///
/// # Errors
/// As [`apply`].
pub async fn is_taken(client: &Client, namespace: &str, object: &Value) -> Result<bool, kube::Error> {
    let (api, name) = place(client, namespace, object);
    // By a list, which needs no right that the watches do not need.
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

/// Deletes a Secret, if it is still there.
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

/// The version of an object: a larger one is a later one, as Kubernetes promises of all its own storage.
pub fn version(object: &impl ResourceExt) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
