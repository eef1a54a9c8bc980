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

/// As YAML.
///
/// # Errors
/// If the value cannot be written.
pub fn yaml(value: &Value) -> Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}
