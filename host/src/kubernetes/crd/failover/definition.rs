//! The definitions of RedisFailover: without defaults, so that a stored object stays as it was written, and
//! with unknown fields kept, so that a manifest for a later version of the other operators applies as well.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// The definition of one version.
pub fn definition<K: CustomResourceExt>() -> CustomResourceDefinition {
    let definition = K::crd();
    let Ok(mut json) = serde_json::to_value(&definition) else { return definition };
    if let Some(spec) = json.pointer_mut(SPEC) {
        drop_defaults(spec);
        keep_unknown(spec);
        for part in ["/properties/redis", "/properties/sentinel"] {
            spec.pointer_mut(part).into_iter().for_each(keep_unknown);
        }
    }
    serde_json::from_value(json).unwrap_or(definition)
}

fn keep_unknown(schema: &mut Value) {
    if let Value::Object(fields) = schema {
        fields.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
    }
}

fn drop_defaults(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("default");
    // Keys of `properties` are field names, not schema keywords.
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(|properties| properties.values_mut()).for_each(drop_defaults);
    for inner in ["items", "additionalProperties"] {
        fields.get_mut(inner).into_iter().for_each(drop_defaults);
    }
}

const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
