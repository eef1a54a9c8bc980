//! Writes a status by server-side apply, under the field manager of all other objects: what a status does not
//! hold any more leaves the resource, with no list of names to keep. Decides nothing about what it holds.
//!
//! **Upgrades.** Operators before this one wrote by merge patch, so the API server keeps their fields under
//! another manager. Apply with `force` takes the value of every field that it names; but a field that it does
//! not name stays for as long as another manager has it, so a former `switchoverRefused` would stand for
//! ever. The answer to an apply says which manager has which field: those of others that this status lacks
//! are removed by a second patch (`plan_removal`). (client-go's `csaupgrade` hands the fields over by
//! editing
//! `metadata.managedFields`; the API server ignores that in a patch of the status, and a patch of the
//! resource itself is a right that the operator has no other use for.) The status is the operator's alone, so
//! an edit of it by a person is made right in the same way.

use crate::kubernetes::apply::{FIELD_MANAGER, version};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Makes the status of a resource this one and nothing else. Returns the version that the resource has then.
/// None: it was deleted.
///
/// # Errors
/// The API server's words, and those of the way to it.
pub async fn apply_status<K: Resource>(
    client: &Client,
    resource: &K,
    kind: &K::DynamicType,
    status: &impl Serialize,
) -> Result<Option<u64>, kube::Error> {
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<K>(kind));
    let status = json!(status);
    let whole = json!({
        "apiVersion": K::api_version(kind),
        "kind": K::kind(kind),
        "metadata": { "name": name },
        "status": status,
    });
    let written = async {
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let applied = match api.patch_status(&name, &apply, &Patch::Apply(whole)).await {
            Err(kube::Error::Api(error)) if error.message.contains(UNDECLARED) => {
                tracing::warn!(
                    namespace,
                    name,
                    error = error.message,
                    "custom resource definitions older than the operator: status written without new fields"
                );
                let merge = Patch::Merge(json!({ "status": status }));
                return api.patch_status(&name, &PatchParams::default(), &merge).await;
            }
            applied => applied?,
        };
        match plan_removal(applied.managed_fields(), &status) {
            None => Ok(applied),
            Some(removal) => {
                let removal = Patch::Merge(json!({ "status": removal }));
                api.patch_status(&name, &PatchParams::default(), &removal).await
            }
        }
    };
    match written.await {
        Ok(written) => Ok(Some(version(&written).unwrap_or_default())),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether two statuses differ in nothing but the position of the replication stream, which moves all the
/// time.
pub fn is_same_but_position(one: &Value, other: &Value) -> bool {
    let settled = |status: &Value| {
        let mut status = status.clone();
        if let Some(fields) = status.as_object_mut() {
            fields.remove("position");
            if let Some(published) = fields.get_mut("published").and_then(Value::as_object_mut) {
                ["offset", "at"].iter().for_each(|name| drop(published.remove(*name)));
            }
        }
        status
    };
    one == other || settled(one) == settled(other)
}

/// A merge patch that removes the fields which other managers have and the status lacks. None: there are
/// none.
fn plan_removal(managed_fields: &[ManagedFieldsEntry], status: &Value) -> Option<Value> {
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() == Some(FIELD_MANAGER)
    };
    let others = managed_fields
        .iter()
        .filter(|entry| entry.subresource.as_deref() == Some("status") && !is_ours(entry))
        .filter_map(|entry| entry.fields_v1.as_ref().and_then(|FieldsV1(fields)| fields.get("f:status")));
    let mut removal = Map::new();
    others.for_each(|fields| collect_lacking(fields, status, &mut removal));
    (!removal.is_empty()).then_some(Value::Object(removal))
}

/// Adds null for each field of the set that the object lacks. A set is an object whose members are fields,
/// `f:NAME`, and sets of the fields below them; lists are one field each.
fn collect_lacking(fields: &Value, object: &Value, removal: &mut Map<String, Value>) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        let Some(name) = name.strip_prefix("f:") else { continue };
        match object.get(name) {
            None => drop(removal.insert(name.to_owned(), Value::Null)),
            Some(inner) => {
                let mut inside = match removal.remove(name) {
                    Some(Value::Object(inside)) => inside,
                    Some(_) | None => Map::new(),
                };
                collect_lacking(below, inner, &mut inside);
                if !inside.is_empty() {
                    removal.insert(name.to_owned(), Value::Object(inside));
                }
            }
        }
    }
}

/// The API server's words for an apply of a field that the definition lacks, which a merge patch may have: so
/// the record of the published master is kept although the definitions were not upgraded first.
const UNDECLARED: &str = "field not declared in schema";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, subresource: &str, fields: &Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            fields_v1: Some(FieldsV1(json!({ "f:status": fields }))),
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            subresource: Some(subresource.into()),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn a_newer_position_is_no_other_status_and_anything_else_is() {
        let status = |change: fn(&mut Value)| {
            let mut status = json!({
                "master": "a", "published": { "name": "a", "epoch": 2, "offset": 7, "at": "1" },
                "position": { "offset": 7 }
            });
            change(&mut status);
            status
        };
        type Row = (fn(&mut Value), bool);
        let rows: [Row; 6] = [
            (|_| (), true),
            (|status| status["position"] = json!({ "offset": 9 }), true),
            (|status| drop(status.as_object_mut().unwrap().remove("position")), true),
            (
                |status| (status["published"]["offset"], status["published"]["at"]) = (json!(9), json!("2")),
                true,
            ),
            (|status| status["published"]["epoch"] = json!(3), false),
            (|status| drop(status.as_object_mut().unwrap().remove("published")), false),
        ];
        for (change, expected) in rows {
            let (one, other) = (status(|_| ()), status(change));
            assert_eq!(is_same_but_position(&one, &other), expected, "{other}");
        }
    }

    #[test]
    fn fields_of_other_managers_that_the_status_lacks_are_removed() {
        let status = json!({ "master": "a", "conditions": [], "lastFailover": { "to": "a" } });
        let all = json!({ "f:master": {}, "f:conditions": {}, "f:lastFailover": { ".": {}, "f:to": {} } });
        let shadow = json!({ "f:shadow": { ".": {}, "f:policy": {} }, "f:master": {} });
        let from = json!({ "f:lastFailover": { ".": {}, "f:from": {}, "f:to": {} } });
        let rows = [
            ("only this operator has written", vec![entry(FIELD_MANAGER, "Apply", "status", &shadow)], None),
            (
                "a former operator wrote what still holds",
                vec![entry("unknown", "Update", "status", &all)],
                None,
            ),
            (
                "a former operator wrote what holds no more",
                vec![entry("unknown", "Update", "status", &shadow)],
                Some(json!({ "shadow": null })),
            ),
            (
                "and something inside of what still holds",
                vec![entry("unknown", "Update", "status", &from)],
                Some(json!({ "lastFailover": { "from": null } })),
            ),
            (
                "an operator of the same name that did not apply",
                vec![entry(FIELD_MANAGER, "Update", "status", &shadow)],
                Some(json!({ "shadow": null })),
            ),
            (
                "three others wrote",
                vec![
                    entry("unknown", "Update", "status", &shadow),
                    entry("kubectl-edit", "Update", "status", &from),
                    entry("kubectl-patch", "Update", "status", &json!({ "f:lastFailover": { "f:at": {} } })),
                ],
                Some(json!({ "shadow": null, "lastFailover": { "from": null, "at": null } })),
            ),
            ("another subresource is no status", vec![entry("x", "Update", "scale", &shadow)], None),
        ];
        for (fact, managed, expected) in rows {
            assert_eq!(plan_removal(&managed, &status), expected, "{fact}");
        }
    }
}
