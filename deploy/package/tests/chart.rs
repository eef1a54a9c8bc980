//! The charts, rendered by Helm 3 and 4: what they make is what kustomize makes, each value has an effect,
//! and bad values are refused with their name.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::documents::documents;
use package::values::rows;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Those that are set up: `tests/setup/setup.sh helm`.
fn helms() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = ["cluster/helm", "tools/bin/helm3"]
        .map(|name| root().join("target").join(name))
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    if found.is_empty() {
        println!("skipped: the charts: no Helm; tests/setup/setup.sh helm builds one");
    }
    found
}

/// What a chart renders with these words, or what Helm complains of.
fn render(helm: &Path, chart: &str, words: &[&str]) -> Result<Vec<Value>, String> {
    let chart = root().join("deploy").join(chart);
    // For the same version of Kubernetes whatever Helm was built with.
    let output = Command::new(helm)
        .args(["template", "--kube-version", "1.36.0"])
        .args(words)
        .arg(chart)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(documents(&text(output.stdout)).unwrap())
    } else {
        Err(text(output.stderr))
    }
}

/// What kustomize renders. None: there is no kubectl.
fn kustomize(folder: &str) -> Option<Vec<Value>> {
    let ours = root().join("target/cluster/kubectl");
    let kubectl = if ours.is_file() { ours } else { "kubectl".into() };
    let Ok(output) = Command::new(kubectl).arg("kustomize").arg(root().join(folder)).output() else {
        println!("skipped: what kustomize renders: no kubectl; tests/setup/setup.sh cluster builds one");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(documents(&String::from_utf8(output.stdout).unwrap()).unwrap())
}

/// Without what may differ: labels, but those that mean something, Helm's annotations, and the release in
/// selectors. By kind and name, in order.
fn comparable(objects: Vec<Value>) -> Vec<Value> {
    let mut objects: Vec<Value> =
        objects.into_iter().filter(|object| object["kind"] != "Namespace").collect();
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().unwrap();
        keep(metadata, "labels", |name| name.starts_with("rbac.") || name == "grafana_dashboard");
        keep(metadata, "annotations", |name| !name.starts_with("helm.sh/"));
        remove_everywhere(object, "app.kubernetes.io/instance");
    }
    let text = |object: &Value, field: &str| {
        object.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    objects.sort_by_key(|object| {
        (text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
    });
    objects
}

fn keep(metadata: &mut Map<String, Value>, field: &str, is_kept: impl Fn(&str) -> bool) {
    let is_empty = metadata.get_mut(field).and_then(Value::as_object_mut).is_some_and(|all| {
        all.retain(|name, _| is_kept(name));
        all.is_empty()
    });
    if is_empty {
        metadata.remove(field);
    }
}

fn remove_everywhere(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(name);
            fields.values_mut().for_each(|inner| remove_everywhere(inner, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| remove_everywhere(inner, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn assert_same(rendered: Vec<Value>, expected: Vec<Value>) {
    let (rendered, expected) = (comparable(rendered), comparable(expected));
    let names = |objects: &[Value]| -> Vec<String> {
        objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect()
    };
    assert_eq!(names(&rendered), names(&expected));
    for (rendered, expected) in rendered.iter().zip(&expected) {
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        let (rendered, expected) = (text(rendered), text(expected));
        let differs = rendered.lines().zip(expected.lines()).position(|(one, other)| one != other);
        let around = |text: &str| {
            text.lines().skip(differs.unwrap_or(0).saturating_sub(4)).take(9).collect::<Vec<_>>().join("\n")
        };
        let head = expected.lines().find(|line| line.contains("\"name\"")).unwrap_or_default();
        assert!(
            rendered == expected,
            "{head}: the chart has\n{}\nkustomize has\n{}",
            around(&rendered),
            around(&expected)
        );
    }
}

const HERE: &[&str] = &["redis-operator", "--namespace", "redis-operator", "--skip-tests"];

#[test]
fn the_chart_renders_what_kustomize_renders() {
    for helm in helms() {
        let Some(mut expected) = kustomize("deploy") else { return };
        assert_same(render(&helm, "chart", HERE).unwrap(), expected.clone());
        expected.extend(kustomize("deploy/monitoring").unwrap());
        let monitored = "monitoring.podMonitorEnabled=true,monitoring.prometheusRule.enabled=true,monitoring.grafanaDashboard.create=true";
        assert_same(render(&helm, "chart", &[HERE, &["--set", monitored]].concat()).unwrap(), expected);
    }
}

#[test]
fn with_named_namespaces_it_renders_what_kustomize_renders_for_them() {
    for helm in helms() {
        let Some(mut expected) = kustomize("deploy/namespaced") else { return };
        // A name in place of the Pod's own namespace, which is the same one.
        let deployment = expected.iter_mut().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"][0] =
            json!({"name": "WATCH_NAMESPACE", "value": "redis-operator"});
        let named = "watchNamespaces={redis-operator},rbac.clusterRoles=false,crds.create=false";
        let rendered = render(&helm, "chart", &[HERE, &["--set", named]].concat()).unwrap();
        assert!(rendered.iter().all(|object| !object["kind"].as_str().unwrap().starts_with("Cluster")));
        assert_same(rendered, expected);

        let two = "watchNamespaces={shop,bank},watchSecretNames={redis-cart,users}";
        let rendered = render(&helm, "chart", &[HERE, &["--set", two]].concat()).unwrap();
        for namespace in ["shop", "bank"] {
            let of = |kind: &str| {
                rendered
                    .iter()
                    .find(|object| object["kind"] == kind && object["metadata"]["namespace"] == namespace)
                    .unwrap()
                    .clone()
            };
            let role = of("Role");
            assert_eq!(of("RoleBinding")["roleRef"]["name"], role["metadata"]["name"]);
            assert_eq!(of("RoleBinding")["subjects"][0]["namespace"], "redis-operator");
            let secrets: Vec<&Value> = role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|rule| rule["resources"] == json!(["secrets"]))
                .collect();
            assert_eq!(secrets.len(), 2);
            assert_eq!(secrets[0]["resourceNames"], json!(["redis-cart", "users"]));
            assert_eq!(secrets[0]["verbs"], json!(["get", "list", "watch", "patch", "delete"]));
            assert_eq!(
                (&secrets[1]["verbs"], &secrets[1]["resourceNames"]),
                (&json!(["create"]), &Value::Null)
            );
        }
        assert!(
            !rendered
                .iter()
                .any(|object| object["kind"] == "ClusterRole"
                    && object["metadata"]["name"] == "redis-operator")
        );
    }
}

/// Of another release in another namespace, all objects have its name, but the two that `kubectl redis` asks
/// for by theirs.
#[test]
fn another_release_has_other_names() {
    for helm in helms() {
        let words = [
            "main",
            "--namespace",
            "infra",
            "--set",
            "monitoring.grafanaDashboard.create=true,monitoring.podMonitorEnabled=true",
        ];
        for object in render(&helm, "chart", &words).unwrap() {
            let (kind, name) =
                (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            if kind == "CustomResourceDefinition" {
                assert_eq!(object["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
                continue;
            }
            assert!(name.starts_with("main-redis-operator") || name == "redis-operator-ask", "{kind} {name}");
            if !kind.starts_with("ClusterRole") {
                assert_eq!(object["metadata"]["namespace"], "infra", "{kind} {name}");
            }
            for subject in object["subjects"].as_array().into_iter().flatten() {
                assert_eq!(subject["namespace"], "infra");
            }
            let labels = &object["metadata"]["labels"];
            assert_eq!(
                (&labels["app.kubernetes.io/instance"], &labels["app.kubernetes.io/managed-by"]),
                (&json!("main"), &json!("Helm"))
            );
        }
    }
}

/// What is not read is no value, and what has no effect is a promise that is not kept.
#[test]
fn each_value_has_an_effect() {
    let Some(helm) = helms().into_iter().next() else { return };
    for (chart, changes, without_definitions) in
        [("chart", OPERATOR_CHANGES, "{\"crds\": {\"create\": false}}"), ("chart-redis", GROUP_CHANGES, "{}")]
    {
        let values = std::fs::read_to_string(root().join("deploy").join(chart).join("values.yaml")).unwrap();
        let documented: Vec<String> = rows(&values).unwrap().into_iter().map(|row| row.path).collect();
        let changed: Vec<&str> = changes.iter().map(|(path, ..)| *path).collect();
        assert_eq!(documented, changed, "each value of {chart} has a change here, in order");
        let mut before = BTreeMap::new();
        for (path, change, with) in changes {
            // The definitions are most of the work, and no other value changes them.
            let definitions = if path.starts_with("crds.") { "{}" } else { without_definitions };
            let words = ["main", "--set-json", definitions, "--set-json", with];
            let before =
                before.entry((definitions, with)).or_insert_with(|| render(&helm, chart, &words).unwrap());
            let value = format!("{path}={change}");
            let after = render(&helm, chart, &[&words[..], &["--set-json", &value]].concat()).unwrap();
            assert_ne!(*before, after, "{chart}: {value}");
        }
    }
}

/// Path, another value, and what it needs to be seen.
const OPERATOR_CHANGES: &[(&str, &str, &str)] = &[
    ("replicaCount", "3", "{}"),
    ("image.repository", "\"registry.example.com/redis-operator\"", "{}"),
    ("image.tag", "\"9.9.9\"", "{}"),
    ("image.digest", "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"", "{}"),
    ("image.pullPolicy", "\"Always\"", "{}"),
    ("imagePullSecrets", "[{\"name\": \"registry\"}]", "{}"),
    ("nameOverride", "\"other\"", "{}"),
    ("fullnameOverride", "\"other\"", "{}"),
    ("namespaceOverride", "\"other\"", "{}"),
    ("commonAnnotations", "{\"a\": \"b\"}", "{}"),
    ("commonLabels", "{\"a\": \"b\"}", "{}"),
    ("crds.create", "false", "{}"),
    ("crds.annotations", "{\"a\": \"b\"}", "{}"),
    ("watchNamespaces", "[\"shop\"]", "{}"),
    ("watchSecretNames", "[\"users\"]", "{\"watchNamespaces\": [\"shop\"]}"),
    ("serviceAccount.create", "false", "{}"),
    ("serviceAccount.name", "\"other\"", "{}"),
    ("serviceAccount.annotations", "{\"a\": \"b\"}", "{}"),
    ("rbac.create", "false", "{}"),
    ("rbac.clusterRoles", "false", "{\"watchNamespaces\": [\"shop\"]}"),
    ("rbac.aggregateClusterRoles", "false", "{}"),
    ("logLevel", "\"debug\"", "{}"),
    ("logFormat", "\"text\"", "{}"),
    ("policies.hosts", "[\"registry.example.com\"]", "{}"),
    ("policies.allowPrivate", "true", "{}"),
    ("additionalArgs", "[\"--policy-files=/p\"]", "{}"),
    ("additionalEnv", "[{\"name\": \"A\", \"value\": \"b\"}]", "{}"),
    ("additionalVolumes", "[{\"name\": \"a\", \"emptyDir\": {}}]", "{}"),
    ("additionalVolumeMounts", "[{\"name\": \"a\", \"mountPath\": \"/a\"}]", "{}"),
    ("podAnnotations", "{\"a\": \"b\"}", "{}"),
    ("podLabels", "{\"a\": \"b\"}", "{}"),
    ("podSecurityContext", "{\"runAsUser\": 1}", "{}"),
    ("containerSecurityContext", "{\"runAsUser\": 1}", "{}"),
    ("resources", "{\"limits\": {\"memory\": \"2Gi\"}}", "{}"),
    ("cacheSizeLimit", "\"1Gi\"", "{}"),
    ("nodeSelector", "{\"a\": \"b\"}", "{}"),
    ("tolerations", "[{\"operator\": \"Exists\"}]", "{}"),
    ("affinity", "{\"nodeAffinity\": {}}", "{}"),
    ("topologySpreadConstraints", "[{\"topologyKey\": \"a\"}]", "{}"),
    ("priorityClassName", "\"system-cluster-critical\"", "{}"),
    ("terminationGracePeriodSeconds", "20", "{}"),
    ("podDisruptionBudget.enabled", "false", "{}"),
    ("podDisruptionBudget.minAvailable", "2", "{\"replicaCount\": 3}"),
    ("networkPolicy.enabled", "false", "{}"),
    ("networkPolicy.metricsNamespaceLabels", "{\"a\": \"b\"}", "{}"),
    ("monitoring.podMonitorEnabled", "true", "{}"),
    (
        "monitoring.podMonitorAdditionalLabels",
        "{\"a\": \"b\"}",
        "{\"monitoring\": {\"podMonitorEnabled\": true}}",
    ),
    ("monitoring.interval", "\"30s\"", "{\"monitoring\": {\"podMonitorEnabled\": true}}"),
    ("monitoring.prometheusRule.enabled", "true", "{}"),
    (
        "monitoring.prometheusRule.additionalLabels",
        "{\"a\": \"b\"}",
        "{\"monitoring\": {\"prometheusRule\": {\"enabled\": true}}}",
    ),
    ("monitoring.grafanaDashboard.create", "true", "{}"),
    (
        "monitoring.grafanaDashboard.labels",
        "{\"a\": \"b\"}",
        "{\"monitoring\": {\"grafanaDashboard\": {\"create\": true}}}",
    ),
];

const GROUP_CHANGES: &[(&str, &str, &str)] = &[
    ("replicaCount", "2", "{}"),
    ("image.repository", "\"valkey/valkey\"", "{}"),
    ("image.tag", "\"8\"", "{}"),
    ("image.pullPolicy", "\"Always\"", "{}"),
    ("auth.existingSecret", "\"users\"", "{}"),
    ("auth.existingSecretPasswordKey", "\"other\"", "{\"auth\": {\"existingSecret\": \"users\"}}"),
    ("tls.existingSecret", "\"certificate\"", "{}"),
    ("tls.clientCertificates", "true", "{\"tls\": {\"existingSecret\": \"certificate\"}}"),
    ("persistence.enabled", "true", "{}"),
    ("persistence.size", "\"2Gi\"", "{\"persistence\": {\"enabled\": true}}"),
    ("persistence.storageClass", "\"fast\"", "{\"persistence\": {\"enabled\": true}}"),
    ("persistence.accessModes", "[\"ReadWriteOncePod\"]", "{\"persistence\": {\"enabled\": true}}"),
    ("config", "{\"maxmemory\": \"1gb\"}", "{}"),
    ("resources", "{\"limits\": {\"memory\": \"2Gi\"}}", "{}"),
    ("metrics.enabled", "true", "{}"),
    ("metrics.image.repository", "\"a\"", "{\"metrics\": {\"enabled\": true}}"),
    ("metrics.image.tag", "\"a\"", "{\"metrics\": {\"enabled\": true}}"),
    ("commonLabels", "{\"a\": \"b\"}", "{}"),
    ("podAnnotations", "{\"a\": \"b\"}", "{}"),
    ("spec", "{\"failover\": {\"prefer\": \"Consistency\"}}", "{}"),
];

#[test]
fn bad_values_are_refused_by_name() {
    for helm in helms() {
        for (chart, values, why) in [
            ("chart", "replicaCount=0", "replicaCount"),
            ("chart", "replicaCount=two", "replicaCount"),
            ("chart", "replicas=3", "replicas"),
            ("chart", "image=redis-operator:1", "image"),
            ("chart", "image.digest=sha256:abc", "digest"),
            ("chart", "image.pullPolicy=Sometimes", "pullPolicy"),
            ("chart", "image.tag=a b", "tag"),
            ("chart", "watchNamespaces=shop", "watchNamespaces"),
            ("chart", "watchNamespaces={Shop}", "watchNamespaces"),
            ("chart", "watchNamespaces={shop,shop}", "watchNamespaces"),
            ("chart", "watchSecretNames={users}", "watchSecretNames needs watchNamespaces"),
            ("chart", "rbac.clusterRoles=false", "rbac.clusterRoles=false needs watchNamespaces"),
            (
                "chart",
                "podDisruptionBudget.minAvailable=2",
                "podDisruptionBudget.minAvailable must be below replicaCount",
            ),
            ("chart", "logLevel=loud", "logLevel"),
            ("chart", "policies.hosts={a b}", "hosts"),
            ("chart", "resources.limit.memory=1Gi", "limit"),
            ("chart", "resources.limits.memory=lots", "memory"),
            ("chart", "terminationGracePeriodSeconds=1", "terminationGracePeriodSeconds"),
            ("chart", "podLabels.a=b c", "podLabels"),
            ("chart", "fullnameOverride=Main", "fullnameOverride"),
            ("chart", "crds.keep=false", "keep"),
            ("chart-redis", "replicaCount=0", "replicaCount"),
            ("chart-redis", "replicaCount=501", "replicaCount"),
            ("chart-redis", "auth.password=secret", "password"),
            ("chart-redis", "config.maxmemory=100", "maxmemory"),
            ("chart-redis", "persistence.size=big", "size"),
            ("chart-redis", "persistence.accessModes={Often}", "accessModes"),
            ("chart-redis", "tls.clientCertificates=true", "tls.clientCertificates needs tls.existingSecret"),
            ("chart-redis", "sentinel.enabled=true", "sentinel"),
        ] {
            let said = render(&helm, chart, &["main", "--set", values]).expect_err(values);
            assert!(said.contains(why), "{chart} {values}: {said}");
        }
        for name in ["a.b", "a-name-of-more-than-the-forty-four-characters"] {
            let said = render(&helm, "chart-redis", &[name]).expect_err(name);
            assert!(said.contains("44 characters at most and no dots"), "{said}");
        }
        let old = render(&helm, "chart", &["main", "--kube-version", "1.28.0"]).expect_err("it is too old");
        assert!(old.contains("1.29"), "{old}");
    }
}

#[test]
fn lint_finds_nothing() {
    for helm in helms() {
        for chart in ["chart", "chart-redis"] {
            let output = Command::new(&helm)
                .args(["lint", "--strict"])
                .arg(root().join("deploy").join(chart))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// Helm 3 shows them with a cluster only, as the tests of the cluster do.
#[test]
fn the_notes_say_what_to_do_next() {
    let Some(helm) = helms().into_iter().find(|path| path.ends_with("cluster/helm")) else { return };
    let output = Command::new(&helm)
        .args(["install", "main", "--namespace", "infra", "--dry-run=client"])
        .arg(root().join("deploy/chart"))
        .env("KUBECONFIG", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let notes = said.split("NOTES:").nth(1).unwrap();
    assert!(
        notes.contains("kubectl -n infra rollout status deployment/main-redis-operator")
            && notes.contains("--operator-namespace=infra")
            && notes.contains("metrics=enabled"),
        "{notes}"
    );
}
