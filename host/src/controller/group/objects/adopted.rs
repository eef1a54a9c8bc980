//! Objects of another operator as they are changed: fields that cannot be are left out, and so is the
//! template of Pods until they are to be replaced. Pure.

use super::super::snapshot::ObjectKey;
use crate::kubernetes::objects::{ADOPTED, MADE, MARK_ANNOTATION, ROLLED};
use serde_json::{Value, json};

/// The object that is applied in place of `object`. `mark`: of the one that exists.
pub fn adopted(
    (kind, _): &ObjectKey,
    mut object: Value,
    mark: Option<&str>,
    leaves_templates: bool,
) -> Value {
    if mark == Some(MADE) || !MAKES_PODS.contains(kind) {
        return object;
    }
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        spec.retain(
            |field, _| if leaves_templates { field == "replicas" } else { !FIXED.contains(&field.as_str()) },
        );
    }
    if let Some(marked) = object.pointer_mut("/metadata/annotations") {
        marked[MARK_ANNOTATION] = json!(if leaves_templates { ADOPTED } else { ROLLED });
    }
    object
}

/// The kinds of objects that make Pods.
pub const MAKES_PODS: &[&str] = &["StatefulSet", "Deployment"];
/// The API server lets nobody change them.
const FIXED: &[&str] = &["podManagementPolicy", "selector", "serviceName", "volumeClaimTemplates"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_left_until_it_is_to_be_replaced_and_what_is_fixed_always() {
        let object = json!({
            "kind": "StatefulSet", "metadata": { "name": "rfr-cart", "annotations": { MARK_ANNOTATION: MADE } },
            "spec": { "replicas": 3, "serviceName": "x", "selector": {}, "template": {}, "updateStrategy": {} }
        });
        let of = |kind, mark, leaves| {
            let applied = adopted(&(kind, "rfr-cart".into()), object.clone(), mark, leaves);
            let fields: Vec<String> = applied["spec"].as_object().unwrap().keys().cloned().collect();
            (
                fields.join(" "),
                applied["metadata"]["annotations"][MARK_ANNOTATION].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(of("StatefulSet", None, true), ("replicas".into(), ADOPTED.into()));
        assert_eq!(of("Deployment", Some(ADOPTED), true), ("replicas".into(), ADOPTED.into()));
        assert_eq!(
            of("StatefulSet", Some(ADOPTED), false),
            ("replicas template updateStrategy".into(), ROLLED.into())
        );
        for (kind, mark) in [("StatefulSet", Some(MADE)), ("ConfigMap", None)] {
            assert_eq!(
                of(kind, mark, true).0,
                "replicas selector serviceName template updateStrategy",
                "{kind}"
            );
        }
    }
}
