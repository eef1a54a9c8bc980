//! Objects into the cluster, by server-side apply with one field manager: what others set stays, what is ours is made right.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
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
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, api) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, api, text("kind")));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let applied = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(version(&applied).unwrap_or_default())
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
