//! Writes a status by server-side apply, under the field manager of all other objects: what a status does not
//! hold any more leaves the resource, with no list of names to keep. Decides nothing about what it holds.
//!
//! **Upgrades.** Operators before this one wrote by merge patch, so the API server keeps their fields under
//! another manager, with the operation Update. Apply with `force` shares or takes the fields that it names; a
//! field that it does not name stays for as long as another manager has it, so a former `switchoverRefused`
//! would stand for ever. So the first write after an upgrade hands all Update entries of the status over to our
//! Apply entry ([`plan_release`]); the apply that follows then removes what it leaves out. This is what
//! client-go's `csaupgrade` does. The status is the operator's alone: an edit of the status by anyone else is
//! handed over in the same way, and made right.

use crate::kubernetes::apply::{FIELD_MANAGER, version};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

/// Makes the status of a resource this one and nothing else. `resource` is as it was observed last. Returns
/// the version that it has now. None: it was deleted.
///
/// # Errors
/// The API server's words, and those of the way to it.
pub async fn apply_status<K>(
    client: &Client,
    resource: &K,
    status: &impl Serialize,
) -> Result<Option<u64>, kube::Error>
where
    K: Resource<DynamicType = ()>,
{
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &resource.namespace().unwrap_or_default(),
        &ApiResource::erase::<K>(&()),
    );
    let name = resource.name_any();
    if let Some(managed_fields) = plan_release(resource.managed_fields()) {
        let metadata =
            json!({ "resourceVersion": resource.resource_version(), "managedFields": managed_fields });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            // The resource has changed since it was observed: the next write sees which fields are whose.
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            other => drop(other?),
        }
    }
    let patch = Patch::Apply(json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name },
        "status": status,
    }));
    match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &patch).await {
        Ok(applied) => Ok(Some(version(&applied).unwrap_or_default())),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The managers of a resource after all Update entries of its status were merged into our Apply entry. None:
/// there is no such entry.
fn plan_release(managed_fields: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let is_of_status = |entry: &ManagedFieldsEntry| entry.subresource.as_deref() == Some("status");
    let is_former =
        |entry: &ManagedFieldsEntry| is_of_status(entry) && entry.operation.as_deref() == Some("Update");
    let is_ours = |entry: &ManagedFieldsEntry| {
        is_of_status(entry)
            && entry.operation.as_deref() == Some("Apply")
            && entry.manager.as_deref() == Some(FIELD_MANAGER)
    };
    let newest = managed_fields.iter().rev().find(|entry| is_former(entry))?;
    let (status, mut rest): (Vec<_>, Vec<_>) =
        managed_fields.iter().cloned().partition(|entry| is_former(entry) || is_ours(entry));
    let mut fields = json!({});
    status
        .into_iter()
        .filter_map(|entry| entry.fields_v1)
        .for_each(|FieldsV1(more)| unite(&mut fields, more));
    rest.push(ManagedFieldsEntry {
        manager: Some(FIELD_MANAGER.into()),
        operation: Some("Apply".into()),
        fields_v1: Some(FieldsV1(fields)),
        ..newest.clone()
    });
    Some(rest)
}

/// Both sets of fields: a set is an object whose members are fields, and sets of fields below them.
fn unite(fields: &mut Value, more: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (fields, more) {
        for (field, below) in more {
            unite(fields.entry(field).or_insert_with(|| json!({})), below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, subresource: &str, fields: &Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            api_version: Some("k8s.amaiz.com/v1alpha1".into()),
            fields_type: Some("FieldsV1".into()),
            fields_v1: Some(FieldsV1(fields.clone())),
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            subresource: Some(subresource.into()).filter(|text: &String| !text.is_empty()),
            time: None,
        }
    }

    #[test]
    fn fields_of_a_status_that_others_wrote_become_ours_and_the_rest_stays_theirs() {
        let spec = entry("kubectl", "Update", "", &json!({ "f:spec": { "f:replicas": {} } }));
        let scaled = entry("kubectl", "Update", "scale", &json!({ "f:spec": { "f:replicas": {} } }));
        let ours = entry(FIELD_MANAGER, "Apply", "status", &json!({ "f:status": { "f:master": {} } }));
        let former = json!({ "f:status": { "f:shadow": { ".": {}, "f:policy": {} }, "f:master": {} } });
        let former = entry("unknown", "Update", "status", &former);
        let united = json!({ "f:status": { "f:master": {}, "f:shadow": { ".": {}, "f:policy": {} } } });
        let united = entry(FIELD_MANAGER, "Apply", "status", &united);
        let rows: [(&str, Vec<ManagedFieldsEntry>, Option<Vec<ManagedFieldsEntry>>); 5] = [
            ("nothing was written", vec![spec.clone()], None),
            ("all is ours already", vec![spec.clone(), ours.clone()], None),
            (
                "the first write after an upgrade",
                vec![spec.clone(), former.clone()],
                Some(vec![spec.clone(), united.clone()]),
            ),
            (
                "another client edited the status",
                vec![ours.clone(), scaled.clone(), former.clone()],
                Some(vec![scaled, united.clone()]),
            ),
            ("two others did", vec![former.clone(), ours, former], Some(vec![united])),
        ];
        for (fact, managed, expected) in rows {
            assert_eq!(plan_release(&managed), expected, "{fact}");
        }
    }
}
