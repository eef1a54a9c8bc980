//! The bundle keeps the rules by which OLM's scorecard and validators judge it; `make package` asks the
//! validators themselves.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::bundle::{Source, bundle};
use package::documents::{definitions, documents, examples};
use package::release::Release;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files, with their documents. None: there is no kubectl.
fn made() -> Option<BTreeMap<String, Value>> {
    let ours = root().join("target/cluster/kubectl");
    let kubectl = if ours.is_file() { ours } else { "kubectl".into() };
    let Ok(output) = Command::new(kubectl).arg("kustomize").arg(root().join("deploy")).output() else {
        println!("skipped: the bundle: no kubectl; tests/setup/setup.sh cluster builds one");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let deployed = documents(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let mut all = Vec::new();
    for folder in ["example", "example/redis", "example/redisfailover"] {
        for entry in std::fs::read_dir(root().join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "yaml") {
                all.extend(documents(&std::fs::read_to_string(path).unwrap()).unwrap());
            }
        }
    }
    let examples = examples(&definitions(&deployed), &all).unwrap();
    let release = Release {
        version: env!("CARGO_PKG_VERSION").into(),
        repository: "https://example.com/redis-operator".into(),
        image: "registry.example.com/redis-operator".into(),
        maintainer: "The authors <authors@example.com>".parse().unwrap(),
    };
    let icon = read("deploy/icon.svg");
    let source =
        Source { deployed: &deployed, examples: &examples, icon: &icon, created: "2026-01-02T03:04:05Z" };
    let files = bundle(&release, &source).unwrap();
    let yaml = files.into_iter().filter(|(path, _)| path.ends_with(".yaml"));
    Some(yaml.map(|(path, content)| (path, documents(&content).unwrap().remove(0))).collect())
}

fn version(files: &BTreeMap<String, Value>) -> &Value {
    &files["manifests/redis-operator.clusterserviceversion.yaml"]
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

#[test]
fn the_examples_fit_the_definitions_and_each_of_their_fields_is_described() {
    let Some(files) = made() else { return };
    let version = version(&files);
    let examples: Vec<Value> =
        serde_json::from_str(version["metadata"]["annotations"]["alm-examples"].as_str().unwrap()).unwrap();
    let owned = array(&version["spec"]["customresourcedefinitions"]["owned"]);
    assert!(owned.len() > 1 && owned.len() == examples.len());
    for of in owned {
        let (name, kind) = (of["name"].as_str().unwrap(), of["kind"].as_str().unwrap());
        let definition = &files[&format!("manifests/{name}.customresourcedefinition.yaml")];
        assert_eq!(definition["spec"]["versions"][0]["name"], of["version"]);
        assert!(!of["description"].as_str().unwrap().is_empty() && !array(&of["resources"]).is_empty());
        let version =
            format!("{}/{}", definition["spec"]["group"].as_str().unwrap(), of["version"].as_str().unwrap());
        let is_meant = |example: &&Value| example["kind"] == kind && example["apiVersion"] == version;
        let example = examples.iter().find(is_meant).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        for field in example["spec"].as_object().unwrap().keys() {
            assert!(schema["properties"][field].is_object(), "{kind} has no field {field}");
            let descriptor =
                array(&of["specDescriptors"]).iter().find(|described| described["path"] == *field);
            assert!(!descriptor.unwrap()["description"].as_str().unwrap().is_empty(), "{kind} {field}");
        }
    }
    let definitions = files.values().filter(|object| object["kind"] == "CustomResourceDefinition").count();
    assert_eq!(definitions, owned.len());
}

#[test]
fn what_olm_makes_is_no_file_and_everything_else_is_of_a_kind_that_it_takes() {
    let Some(files) = made() else { return };
    let install = &version(&files)["spec"]["install"]["spec"];
    let mut accounts: Vec<&Value> = Vec::new();
    for permission in array(&install["permissions"]).iter().chain(array(&install["clusterPermissions"])) {
        assert!(!array(&permission["rules"]).is_empty());
        accounts.push(&permission["serviceAccountName"]);
    }
    let deployment = &install["deployments"][0]["spec"]["template"]["spec"];
    accounts.push(&deployment["serviceAccountName"]);
    assert!(accounts.iter().all(|account| **account == json!("redis-operator")), "{accounts:?}");
    for (path, object) in files.iter().filter(|(path, _)| path.starts_with("manifests/")) {
        let kind = object["kind"].as_str().unwrap();
        assert!(
            !["ServiceAccount", "Namespace", "Deployment", "PodMonitor", "ClusterRoleBinding"]
                .contains(&kind),
            "{path}"
        );
        assert!(object["metadata"]["namespace"].is_null(), "{path} names a namespace");
    }
    let container = &deployment["containers"][0];
    assert_eq!(
        container["image"],
        format!("registry.example.com/redis-operator:{}", env!("CARGO_PKG_VERSION"))
    );
    assert!(container["resources"]["requests"]["memory"].is_string());
    let watched =
        array(&container["env"]).iter().find(|variable| variable["name"] == "WATCH_NAMESPACE").unwrap();
    assert_eq!(watched["valueFrom"]["fieldRef"]["fieldPath"], "metadata.annotations['olm.targetNamespaces']");
}

#[test]
fn it_is_small_enough_and_labelled_as_its_annotations_say() {
    let Some(files) = made() else { return };
    let bytes: usize = files.values().map(|document| document.to_string().len()).sum();
    assert!(bytes < 1024 * 1024, "{bytes}");
    let annotations = &files["metadata/annotations.yaml"]["annotations"];
    assert_eq!(annotations["operators.operatorframework.io.bundle.package.v1"], "redis-operator");
    assert_eq!(array(&files["tests/scorecard/config.yaml"]["stages"][0]["tests"]).len(), 6);
    let metadata = &version(&files)["metadata"];
    assert_eq!(metadata["name"], format!("redis-operator.v{}", env!("CARGO_PKG_VERSION")));
}
