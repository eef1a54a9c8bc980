//! The bundle for the Operator Lifecycle Manager (`registry+v1`), made from what `kubectl kustomize deploy`
//! renders, from the examples and from the definitions. OLM makes the account, the roles and the Deployment
//! from the ClusterServiceVersion; everything else is a file beside it.

use crate::documents::{named, yaml};
use crate::release::Release;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What a bundle is made from.
pub struct Source<'a> {
    /// What `kubectl kustomize deploy` renders.
    pub deployed: &'a [Value],
    /// One of each definition.
    pub examples: &'a [Value],
    /// SVG.
    pub icon: &'a str,
    /// RFC 3339.
    pub created: &'a str,
}

/// The files of the bundle: path in its folder, and content.
///
/// # Errors
/// If what it is made from lacks something, which is named.
pub fn bundle(release: &Release, source: &Source<'_>) -> Result<Vec<(String, String)>> {
    let mut files = vec![
        (format!("manifests/{NAME}.clusterserviceversion.yaml"), yaml(&service_version(release, source)?)?),
        ("metadata/annotations.yaml".into(), yaml(&json!({ "annotations": labels() }))?),
        ("tests/scorecard/config.yaml".into(), yaml(&scorecard())?),
        ("bundle.Dockerfile".into(), dockerfile()),
    ];
    for object in source.deployed {
        let (kind, name) = (text(object, "/kind")?, text(object, "/metadata/name")?);
        if BESIDE.contains(&(kind, name)) || kind == "CustomResourceDefinition" {
            let mut object = object.clone();
            // The namespace is the one that OLM installs into.
            object["metadata"].as_object_mut().context("metadata is an object")?.remove("namespace");
            files.push((format!("manifests/{name}.{}.yaml", kind.to_lowercase()), yaml(&object)?));
        }
    }
    Ok(files)
}

fn service_version(release: &Release, source: &Source<'_>) -> Result<Value> {
    let (deployed, version) = (source.deployed, &release.version);
    let image = format!("{}:{version}", release.image);
    let owned: Vec<Value> = deployed
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .map(owned)
        .collect::<Result<_>>()?;
    let rules =
        |kind: &str, name: &str| -> Result<Value> { Ok(named(deployed, kind, name)?["rules"].clone()) };
    let permission = |rules: Value| json!({"serviceAccountName": NAME, "rules": rules});
    let examples = serde_json::to_string(source.examples)?;
    let modes = ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"]
        .map(|mode| json!({"type": mode, "supported": true}));
    let mut annotations = json!({
        "alm-examples": examples,
        "capabilities": "Deep Insights",
        "categories": "Database",
        "containerImage": image,
        "createdAt": source.created,
        "description": SUMMARY,
        "repository": release.repository,
        "support": release.maintainer.name,
    });
    for (feature, has) in FEATURES {
        annotations[format!("features.operators.openshift.io/{feature}")] = json!(has.to_string());
    }
    Ok(json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": format!("{NAME}.v{version}"),
            "annotations": annotations,
            "labels": {"operatorframework.io/arch.amd64": "supported", "operatorframework.io/arch.arm64": "supported"},
        },
        "spec": {
            "displayName": "Redis Operator",
            "version": version,
            "description": DESCRIPTION,
            "icon": [{"base64data": STANDARD.encode(source.icon), "mediatype": "image/svg+xml"}],
            "keywords": ["redis", "valkey", "failover", "high availability", "database"],
            "maturity": "alpha",
            "minKubeVersion": "1.29.0",
            "provider": {"name": release.maintainer.name},
            "maintainers": [{"name": release.maintainer.name, "email": release.maintainer.email}],
            "links": [
                {"name": "Documentation", "url": release.book()},
                {"name": "Source", "url": release.repository},
            ],
            "relatedImages": [{"name": NAME, "image": image}],
            "installModes": modes,
            "customresourcedefinitions": {"owned": owned},
            "install": {
                "strategy": "deployment",
                "spec": {
                    // In the namespaces that OLM's OperatorGroup names, or in all.
                    "permissions": [
                        permission(rules("ClusterRole", NAME)?),
                        permission(rules("Role", NAME)?),
                    ],
                    "clusterPermissions": [
                        permission(rules("ClusterRole", "redis-operator-nodes")?),
                        permission(rules("ClusterRole", "redis-operator-reviews")?),
                    ],
                    "deployments": [{"name": NAME, "spec": deployment(deployed, &image)?}],
                },
            },
        },
    }))
}

/// The Deployment's spec with the released image, for the namespaces that OLM tells.
fn deployment(deployed: &[Value], image: &str) -> Result<Value> {
    let mut spec = named(deployed, "Deployment", NAME)?["spec"].clone();
    let container =
        spec.pointer_mut("/template/spec/containers/0").context("the Deployment has a container")?;
    let deployed = container["image"].take();
    container["image"] = json!(image);
    let env = container["env"].as_array_mut().context("the container has an environment")?;
    // What the operator itself starts is of the same image.
    for variable in env.iter_mut().filter(|variable| variable["value"] == deployed) {
        variable["value"] = json!(image);
    }
    let watched = env.iter_mut().find(|variable| variable["name"] == "WATCH_NAMESPACE");
    *watched.context("the container has WATCH_NAMESPACE")? = json!({
        "name": "WATCH_NAMESPACE",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}},
    });
    Ok(spec)
}

/// A definition as the ClusterServiceVersion lists it: each field of spec and status with its sentence.
fn owned(definition: &Value) -> Result<Value> {
    let version = definition.pointer("/spec/versions/0").context("the definition has a version")?;
    let schema = version.pointer("/schema/openAPIV3Schema").context("the version has a schema")?;
    let kind = text(definition, "/spec/names/kind")?;
    let descriptors = |part: &str| -> Vec<Value> {
        let fields = schema.pointer(&format!("/properties/{part}/properties")).and_then(Value::as_object);
        fields.into_iter().flatten().map(|(path, field)| descriptor(path, field)).collect()
    };
    let made = if kind == "FailoverPolicy" { READ } else { MADE };
    let resources: Vec<Value> =
        made.iter().map(|kind| json!({"kind": kind, "name": "", "version": "v1"})).collect();
    Ok(json!({
        "name": text(definition, "/metadata/name")?,
        "version": text(version, "/name")?,
        "kind": kind,
        "displayName": words(kind),
        "description": text(schema, "/description")?,
        "resources": resources,
        "specDescriptors": descriptors("spec"),
        "statusDescriptors": descriptors("status"),
    }))
}

fn descriptor(path: &str, field: &Value) -> Value {
    let description = field["description"].as_str().unwrap_or_default();
    json!({"path": path, "displayName": words(path), "description": description})
}

/// `dataVolumeClaimTemplate` as people read it.
fn words(name: &str) -> String {
    let mut text = String::new();
    for (place, letter) in name.chars().enumerate() {
        match (place, letter.is_uppercase()) {
            (0, _) => text.extend(letter.to_uppercase()),
            (_, true) => {
                text.push(' ');
                text.extend(letter.to_lowercase());
            }
            (_, false) => text.push(letter),
        }
    }
    text
}

/// Of the bundle's image, and of `metadata/annotations.yaml`.
fn labels() -> Value {
    let mut labels = Map::new();
    for (name, value) in LABELS {
        labels.insert(format!("operators.operatorframework.io.{name}"), json!(value));
    }
    Value::Object(labels)
}

fn dockerfile() -> String {
    let mut text = String::from("FROM scratch\n");
    for (name, value) in LABELS {
        text += &format!("LABEL operators.operatorframework.io.{name}={value}\n");
    }
    text + "COPY manifests /manifests/\nCOPY metadata /metadata/\nCOPY tests/scorecard /tests/scorecard/\n"
}

fn scorecard() -> Value {
    let test = |(suite, name): &(&str, &str)| {
        json!({
            "entrypoint": ["scorecard-test", name],
            "image": "quay.io/operator-framework/scorecard-test:v1.42.3",
            "labels": {"suite": suite, "test": format!("{name}-test")},
        })
    };
    json!({
        "apiVersion": "scorecard.operatorframework.io/v1alpha3",
        "kind": "Configuration",
        "metadata": {"name": "config"},
        "stages": [{"parallel": true, "tests": SCORECARD.iter().map(test).collect::<Vec<_>>()}],
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer}"))
}

const NAME: &str = "redis-operator";
const SUMMARY: &str = "Failover for Redis and Valkey without Sentinel, decided by a WebAssembly component";
const DESCRIPTION: &str = "\
Keeps groups of Redis or Valkey servers available: a master that dies is replaced by its most advanced \
replica, without Sentinel, and every byte that may be lost by it is accounted for.

Create a `Redis`, and connect to the Service `redis-NAME-master`. A `FailoverPolicy` replaces the policy \
that decides by a WebAssembly component of your own; it is verified first.

`kubectl redis` shows a group through the operator if `--operator-namespace` names the operator's namespace. \
It needs a kubeconfig with a token: the account that others borrow is bound by the manifests and the chart, \
not by this bundle.
";

/// What belongs to an installation, and is made by no part of the ClusterServiceVersion. The binding for
/// `redis-operator-ask` names a namespace, which a bundle does not know.
const BESIDE: &[(&str, &str)] = &[
    ("ClusterRole", "redis-operator-view"),
    ("ClusterRole", "redis-operator-edit"),
    ("Role", "redis-operator-ask"),
    ("PodDisruptionBudget", NAME),
    ("Service", "redis-operator-metrics"),
];

/// What is made of a group.
const MADE: &[&str] = &["StatefulSet", "Pod", "Service", "ConfigMap", "Secret", "PodDisruptionBudget"];
/// What a policy is read from.
const READ: &[&str] = &["ConfigMap"];

const FEATURES: &[(&str, bool)] = &[
    ("disconnected", true),
    ("fips-compliant", false),
    ("proxy-aware", false),
    ("tls-profiles", false),
    ("token-auth-aws", false),
    ("token-auth-azure", false),
    ("token-auth-gcp", false),
];

const LABELS: &[(&str, &str)] = &[
    ("bundle.mediatype.v1", "registry+v1"),
    ("bundle.manifests.v1", "manifests/"),
    ("bundle.metadata.v1", "metadata/"),
    ("bundle.package.v1", NAME),
    ("bundle.channels.v1", "stable"),
    ("bundle.channel.default.v1", "stable"),
    ("test.mediatype.v1", "scorecard+v1"),
    ("test.config.v1", "tests/scorecard/"),
];

const SCORECARD: &[(&str, &str)] = &[
    ("basic", "basic-check-spec"),
    ("olm", "olm-bundle-validation"),
    ("olm", "olm-crds-have-validation"),
    ("olm", "olm-crds-have-resources"),
    ("olm", "olm-spec-descriptors"),
    ("olm", "olm-status-descriptors"),
];
