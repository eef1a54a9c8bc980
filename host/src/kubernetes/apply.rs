//! Writes objects by server-side apply with one field manager: fields of other managers stay, the operator's
//! own are corrected.

use super::objects::MARK_ANNOTATION;
use super::ownership::is_owned_by;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

/// The manager of the operator's fields.
pub const FIELD_MANAGER: &str = "redis-operator";

/// Applies one object. Returns its resource version afterwards. `uid`: of the object that is to be changed,
/// and no other of its name. None: it is to be created.
///
/// # Errors
/// The API server's answer, or why it could not be reached.
pub async fn apply(
    client: &Client,
    namespace: &str,
    object: &Value,
    uid: Option<&str>,
) -> Result<u64, kube::Error> {
    let (api, name) = place(client, namespace, object);
    let mut object = object.clone();
    if let (Some(uid), Some(Value::Object(metadata))) = (uid, object.get_mut("metadata")) {
        metadata.insert("uid".into(), uid.into());
    }
    let applied = api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object)).await?;
    Ok(version(&applied).unwrap_or_default())
}

/// What stands in the place of an object that is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// One of the same owner, with the mark where this one has it.
    Own,
    /// One that the owner of this object does not own, or that lacks the mark which this one has. Applying
    /// over it would take it from another, and delete it together with the resource.
    Foreign,
}

/// What stands in the place of an object.
///
/// # Errors
/// As [`apply`].
pub async fn standing(client: &Client, namespace: &str, object: &Value) -> Result<Standing, kube::Error> {
    let (api, name) = place(client, namespace, object);
    // By a list: it needs no right beyond those of the watches.
    let there = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    let owner = object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
    let marks = object.pointer("/metadata/annotations").is_some_and(|all| all.get(MARK_ANNOTATION).is_some());
    let lacks_mark = |there: &PartialObjectMeta<DynamicObject>| {
        marks && !there.annotations().contains_key(MARK_ANNOTATION)
    };
    let is_foreign =
        |there: &PartialObjectMeta<DynamicObject>| !is_owned_by(there, owner) || lacks_mark(there);
    Ok(match there.items.first() {
        None => Standing::Free,
        Some(there) if is_foreign(there) => Standing::Foreign,
        Some(_) => Standing::Own,
    })
}

fn place<'a>(client: &Client, namespace: &str, object: &'a Value) -> (Api<DynamicObject>, &'a str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, api) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, api, text("/kind")));
    (Api::namespaced_with(client.clone(), namespace, &resource), text("/metadata/name"))
}

/// Deletes the object of that kind and uid, if it still exists. Another one of its name stays.
///
/// # Errors
/// As [`apply`]; a conflict, where another one has its name or it was changed at the same time.
pub async fn delete<K>(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    match Api::<K>::namespaced(client.clone(), namespace).delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// The resource version of an object. A larger one is later: Kubernetes guarantees this for its own storage.
pub fn version(object: &impl ResourceExt) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
