//! The claim templates of a StatefulSet that exists. Kubernetes changes none, and refuses the whole
//! StatefulSet with one that differs: so it keeps those that it has. How large the claims are is `volumes`'
//! affair.

use crate::kubernetes::quantity::bytes;
use crate::kubernetes::status::Problem;
use serde_json::Value;

/// Gives a StatefulSet the claim templates that `there` has, where they differ. Returns what the resource
/// asks for in vain.
pub fn keep(set: &mut Value, there: &Value) -> Option<Problem> {
    let (Some(wanted), Some(there)) = (set.pointer_mut(TEMPLATE), there.get(0)) else { return None };
    // Another name is another volume: the API server says so.
    if wanted.pointer("/metadata/name") != there.pointer("/metadata/name") {
        return None;
    }
    let same_size = size(wanted) == size(there);
    let part = PARTS.iter().find(|part| !fits(wanted.pointer(part), there.pointer(part)));
    if same_size && part.is_none() {
        return None;
    }
    for part in ["metadata", "spec"] {
        wanted[part] = there[part].clone();
    }
    part.map(|part| Problem {
        reason: "ClaimTemplateFixed",
        message: format!(
            "of the claims of a StatefulSet only the size changes, and {} differs from what was asked for at first: \
             set it back, or move the data to another resource",
            part.trim_start_matches('/').replace('/', ".")
        ),
    })
}

fn size(template: &Value) -> Option<u64> {
    bytes(template.pointer("/spec/resources/requests/storage")?.as_str()?)
}

/// Whether a part is as wanted. What the API server added by itself counts for nothing, and a size is not
/// compared.
fn fits(wanted: Option<&Value>, there: Option<&Value>) -> bool {
    match (wanted, there) {
        (Some(Value::Object(wanted)), Some(Value::Object(there))) => {
            wanted.iter().all(|(name, part)| name == "storage" || fits(Some(part), there.get(name)))
        }
        (None | Some(Value::Null), _) => true,
        (Some(Value::Object(wanted)), None) => wanted.is_empty(),
        (wanted, there) => wanted == there,
    }
}

const TEMPLATE: &str = "/spec/volumeClaimTemplates/0";
/// What a user writes of a template.
const PARTS: &[&str] = &[
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/accessModes",
    "/spec/storageClassName",
    "/spec/volumeMode",
    "/spec/volumeName",
    "/spec/selector",
    "/spec/dataSource",
    "/spec/dataSourceRef",
    "/spec/volumeAttributesClassName",
    "/spec/resources",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statefulset_keeps_its_claim_templates_and_says_what_of_them_was_asked_for_in_vain() {
        let template = |size: &str, class: &str| {
            json!({
                "metadata": { "name": "data", "labels": { "a": "b" } },
                "spec": { "storageClassName": class, "resources": { "requests": { "storage": size } } }
            })
        };
        let mut there = template("1Gi", "fast");
        there["spec"]["volumeMode"] = json!("Filesystem");
        there["status"] = json!({ "phase": "Pending" });
        let there = json!([there]);
        let kept = |wanted: Value| {
            let mut set = json!({ "spec": { "volumeClaimTemplates": [wanted] } });
            let problem = keep(&mut set, &there);
            (set.pointer(TEMPLATE).unwrap().clone(), problem.map(|problem| problem.message))
        };
        let spec = &there[0]["spec"];
        for same in [template("1Gi", "fast"), template("1024Mi", "fast")] {
            assert_eq!(kept(same.clone()), (same, None), "not touched: it would be applied again and again");
        }
        let (template_kept, problem) = kept(template("2Gi", "fast"));
        assert_eq!((&template_kept["spec"], problem), (spec, None));
        let (template_kept, problem) = kept(template("2Gi", "slow"));
        assert_eq!(&template_kept["spec"], spec);
        assert!(problem.unwrap().contains("spec.storageClassName differs"));
        let mut renamed = template("2Gi", "fast");
        renamed["metadata"]["name"] = json!("other");
        assert_eq!(kept(renamed.clone()), (renamed, None));
        let mut without = json!({ "spec": {} });
        assert!(keep(&mut without, &there).is_none() && without == json!({ "spec": {} }));
    }
}
