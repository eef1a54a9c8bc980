//! Kubernetes objects of a YAML file with several documents.

use anyhow::{Context, Result};
use serde_json::Value;

/// The documents, without empty ones.
///
/// # Errors
/// If the text is no YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// The object with that kind and name.
///
/// # Errors
/// If there is none.
pub fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .with_context(|| format!("no {kind} is called {name}"))
}

/// The definitions among the objects.
pub fn definitions(objects: &[Value]) -> Vec<&Value> {
    objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect()
}

/// For each definition the smallest example of its kind, as one of its group and version.
///
/// # Errors
/// If a kind has no example.
pub fn examples(definitions: &[&Value], all: &[Value]) -> Result<Vec<Value>> {
    let smallest = |definition: &&Value| {
        let (kind, group) = (&definition["spec"]["names"]["kind"], &definition["spec"]["group"]);
        let version = &definition["spec"]["versions"][0]["name"];
        let of_kind = all.iter().filter(|example| example["kind"] == *kind);
        let example = of_kind.min_by_key(|example| example["spec"].to_string().len());
        let mut example = example.with_context(|| format!("no example of {kind}"))?.clone();
        let (group, version) = (group.as_str().unwrap_or_default(), version.as_str().unwrap_or_default());
        example["apiVersion"] = format!("{group}/{version}").into();
        Ok(example)
    };
    definitions.iter().map(smallest).collect()
}

/// As YAML.
///
/// # Errors
/// If the value cannot be written.
pub fn yaml(value: &Value) -> Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}
