//! Objects into the cluster, by server-side apply with one field manager: what others set stays, what is ours is made right.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::Value;

/// Whose fields they are.
pub const FIELD_MANAGER: &str = "redis-operator";

/// Applies one object. Returns the resource version that it has now.
///
/// # Errors
/// The API server's words, and those of the way to it.
pub async fn apply(client: &Client, namespace: &str, object: &Value) -> Result<Option<String>, kube::Error> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let applied = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(applied.resource_version())
}
