//! What is committed is what it is made from; what a chart says of itself holds.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::documents::documents;
use package::generated::generated;
use package::values::{differences, rows};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed(path: &str) -> Value {
    documents(&read(path)).unwrap().remove(0)
}

#[test]
fn generated_files_are_up_to_date() {
    for file in generated(&root()).unwrap() {
        let is_same =
            std::fs::read_to_string(root().join(file.path)).is_ok_and(|content| content == file.content);
        assert!(is_same, "{}: cargo run -p package -- generate writes it anew", file.path);
    }
}

#[test]
fn each_value_has_a_sentence_and_a_type() {
    for chart in ["deploy/chart", "deploy/chart-redis"] {
        let (values, schema) =
            (parsed(&format!("{chart}/values.yaml")), read(&format!("{chart}/values.schema.json")));
        let schema: Value = serde_json::from_str(&schema).unwrap();
        assert_eq!(differences(&values, &schema), Vec::<String>::new(), "{chart}");
        let rows = rows(&read(&format!("{chart}/values.yaml"))).unwrap();
        let mut leaves = Vec::new();
        collect_leaves(&values, "", &mut leaves);
        let is_told = |leaf: &&String| {
            rows.iter().any(|row| **leaf == row.path || leaf.starts_with(&format!("{}.", row.path)))
        };
        let untold: Vec<_> = leaves.iter().filter(|leaf| !is_told(leaf)).collect();
        assert!(leaves.len() > 10 && untold.is_empty(), "{chart}: no sentence for {untold:?}");
    }
}

fn collect_leaves(value: &Value, path: &str, leaves: &mut Vec<String>) {
    match value.as_object().filter(|object| !object.is_empty()) {
        Some(object) => {
            for (key, inner) in object {
                collect_leaves(
                    inner,
                    &if path.is_empty() { key.clone() } else { format!("{path}.{key}") },
                    leaves,
                );
            }
        }
        None => leaves.push(path.to_owned()),
    }
}

#[test]
fn charts_have_the_version_of_the_program_and_name_the_definitions() {
    let definitions = documents(&read("deploy/crds.yaml")).unwrap();
    for chart in ["deploy/chart", "deploy/chart-redis"] {
        let chart = parsed(&format!("{chart}/Chart.yaml"));
        assert_eq!(
            (&chart["version"], &chart["appVersion"]),
            (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
        );
    }
    let chart = parsed("deploy/chart/Chart.yaml");
    let annotation = |name: &str| {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        documents(text).unwrap().remove(0)
    };
    let listed = annotation("crds");
    let listed: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["name"].as_str().unwrap(), of["kind"].as_str().unwrap()))
        .collect();
    let real: Vec<(&str, &str)> = definitions
        .iter()
        .map(|of| (of["metadata"]["name"].as_str().unwrap(), of["spec"]["names"]["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, real);
    assert_eq!(annotation("crdsExamples").as_array().unwrap().len(), 2);
}
