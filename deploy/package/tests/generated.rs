//! What is committed is what it is made from; what a chart says of itself holds.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::documents::documents;
use package::generated::generated;
use package::values::{differences, rows};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

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
            std::fs::read_to_string(root().join(&file.path)).is_ok_and(|content| content == file.content);
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
fn charts_have_the_version_of_the_program() {
    for chart in ["deploy/chart", "deploy/chart-redis"] {
        let (chart, version) = (parsed(&format!("{chart}/Chart.yaml")), env!("CARGO_PKG_VERSION"));
        assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    }
}

/// A sentence with a colon and without quotes is no YAML: neither Prometheus nor kustomize reads the file.
#[test]
fn the_alerts_are_yaml_and_the_same_for_prometheus_and_for_its_operator() {
    let (rules, resource) =
        (parsed("deploy/monitoring/rules.yaml"), parsed("deploy/monitoring/prometheusrule.yaml"));
    assert!(rules["groups"][0]["rules"].as_array().unwrap().len() > 10);
    assert_eq!(resource["spec"], rules);
}

#[test]
fn an_overlay_takes_the_components() {
    let overlay = root().join("target/overlay");
    std::fs::create_dir_all(&overlay).unwrap();
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../deploy/namespaced]\n\
                         components: [../../deploy/components/monitoring]\nnamespace: shop\n";
    std::fs::write(overlay.join("kustomization.yaml"), kustomization).unwrap();
    let ours = root().join("target/cluster/kubectl");
    let kubectl = if ours.is_file() { ours } else { "kubectl".into() };
    let Ok(output) = Command::new(kubectl).arg("kustomize").arg(&overlay).output() else {
        println!("skipped: overlays: no kubectl; tests/setup/setup.sh cluster builds one");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = documents(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let of = |kind: &str| {
        objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    };
    for kind in ["Deployment", "PodMonitor", "PrometheusRule", "Role", "ConfigMap"] {
        assert_eq!(of(kind)["metadata"]["namespace"], "shop", "{kind}");
    }
}
