//! Policies as resources: what a FailoverPolicy does for the groups that name it, and what a bad one does not
//! do.

use super::redisfailover::{self, Version};
use super::rig::{Customer, Operator, another_master, condition, example, redis, settled};
use super::watched::{self, made};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use redis_operator::kubernetes::crd::{FailoverPolicy, FailoverPolicyStatus};
use redis_operator::policy::{EMBEDDED, digest_of};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;
use tests::cluster::{Cluster, Signal, until};
use tests::policies::{CLASSIC, hostile, noted};
use tests::real::build_program;
use tests::registry::Registry;

/// Three servers, with `policy` in the spec.
fn group(namespace: &str, policy: &str) -> String {
    example(
        namespace,
        3,
        &format!(
            "  policy: {policy}
"
        ),
    )
}

fn policy(name: &str, spec: &Value) -> FailoverPolicy {
    let metadata = json!({ "name": name });
    serde_json::from_value(json!({ "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "FailoverPolicy",
        "metadata": metadata, "spec": spec }))
    .unwrap()
}

async fn create(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    spec: &Value,
) -> Result<FailoverPolicy, kube::Error> {
    Api::namespaced(cluster.client(), namespace).create(&PostParams::default(), &policy(name, spec)).await
}

/// Puts a component where the policy `mine` finds it.
async fn fill(cluster: &Cluster, namespace: &str, component: &[u8]) {
    let metadata = ObjectMeta { name: Some("policies".into()), ..ObjectMeta::default() };
    let map = ConfigMap {
        metadata,
        binary_data: Some([("mine.wasm".to_owned(), ByteString(component.to_vec()))].into()),
        ..ConfigMap::default()
    };
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": map.metadata,
        "binaryData": map.binary_data });
    let api: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
    api.patch("policies", &PatchParams::apply("tests").force(), &Patch::Apply(&map)).await.unwrap();
}

/// The component that `fill` puts there.
fn from_config_map(component: &[u8]) -> Value {
    let source = json!({ "configMap": { "name": "policies", "key": "mine.wasm" } });
    json!({ "source": source, "sha256": digest_of(component) })
}

/// Says which component is meant from now on.
async fn pin(cluster: &Cluster, namespace: &str, name: &str, component: &[u8]) {
    let api: Api<FailoverPolicy> = Api::namespaced(cluster.client(), namespace);
    let patch = json!({ "spec": { "sha256": digest_of(component) } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Waits until the status of a policy is as it is wanted.
async fn policy_is(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    what: &str,
    claim: impl Fn(&FailoverPolicyStatus) -> bool,
) -> FailoverPolicyStatus {
    let api: Api<FailoverPolicy> = Api::namespaced(cluster.client(), namespace);
    until(what, async || api.get_opt(name).await.ok()??.status.filter(&claim)).await
}

async fn is_active(cluster: &Cluster, namespace: &str, name: &str, component: &[u8]) -> FailoverPolicyStatus {
    let is_ready = |status: &FailoverPolicyStatus| {
        status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let is_it = |status: &FailoverPolicyStatus| {
        status.active.as_ref().is_some_and(|active| active.digest == digest_of(component))
    };
    policy_is(cluster, namespace, name, "the policy is active", |status| is_it(status) && is_ready(status))
        .await
}

/// Waits until a component has decided for the group.
async fn decided_by(cluster: &Cluster, namespace: &str, component: &[u8]) {
    let digest = digest_of(component);
    until("it decides", async || {
        redis(cluster, namespace).await?.status.filter(|status| status.policy.ends_with(&digest[..12]))
    })
    .await;
}

async fn kill_master(cluster: &Cluster, namespace: &str, master: &str) -> String {
    cluster.running(namespace, master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, master).await
}

pub async fn a_policy_that_does_not_know_sentinels_decides_for_no_group_that_has_them(
    cluster: &Cluster,
    namespace: &str,
) {
    let file = std::env::temp_dir().join("classic.wasm");
    std::fs::write(&file, CLASSIC).unwrap();
    let own = ["--policy", file.to_str().unwrap(), "--unproven-policy"];
    let _operator = Operator::with(cluster, namespace, "first", &own);
    let at = (namespace, "cart");
    made(cluster, at, "Assisted", "").await;
    let message = redisfailover::condition(cluster, at, "Degraded", "True", "PolicyWrongTopology").await;
    for part in ["the operator's own policy (classic", "topology sentinel", "RedisFailover cart", "Served"] {
        assert!(message.contains(part), "{message}");
    }
    let digest = digest_of(CLASSIC);
    let by = async || redisfailover::status(cluster, at, Version::V1).await.unwrap().group.policy;
    assert!(!by().await.ends_with(&digest[..12]), "{}", by().await);
    watched::patch(cluster, at, r#"{"spec":{"sentinel":{"mode":"Served"}}}"#).await;
    redisfailover::condition(cluster, at, "Degraded", "False", "Healthy").await;
    until("it decides", async || by().await.ends_with(&digest[..12]).then_some(())).await;
}

pub async fn a_bad_policy_is_refused_by_the_api_with_the_way_out(cluster: &Cluster, namespace: &str) {
    for (spec, words) in [
        (json!({ "source": {} }), "exactly one of"),
        (json!({ "source": { "embedded": {}, "file": { "path": "/policy.wasm" } } }), "exactly one of"),
        (
            json!({ "source": { "url": { "address": "https://example.com/policy.wasm" } } }),
            "add the digest of the file",
        ),
        (json!({ "source": { "oci": { "image": "ghcr.io/mine:1" } } }), "name the image with @sha256:"),
        (json!({ "source": { "file": { "path": "policy.wasm" } } }), "should match '^/'"),
        (json!({ "source": { "file": { "path": "/policies/mine.wasm" } } }), "add the digest of the file"),
        (
            json!({ "source": { "configMap": { "name": "policies", "key": "mine.wasm" } } }),
            "add the digest of the file",
        ),
        (json!({ "source": { "embedded": {} }, "sha256": "abc" }), "should match"),
    ] {
        let refused = create(cluster, namespace, "bad", &spec).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{spec}: {refused}");
    }
    let group = serde_json::from_value(json!({
        "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis", "metadata": { "name": "bad" },
        "spec": { "replicas": 1, "redis": { "image": "redis:7" }, "policy": { "name": "same",
            "shadow": "same" } }
    }));
    let api: Api<redis_operator::kubernetes::crd::Redis> = Api::namespaced(cluster.client(), namespace);
    let refused = api.create(&PostParams::default(), &group.unwrap()).await.unwrap_err().to_string();
    assert!(refused.contains("name another policy, or leave shadow out"), "{refused}");
}

pub async fn a_policy_in_a_config_map_is_swapped_while_a_master_dies_and_no_write_is_lost(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    fill(cluster, namespace, &noted(1)).await;
    create(cluster, namespace, "mine", &from_config_map(&noted(1))).await.unwrap();
    is_active(cluster, namespace, "mine", &noted(1)).await;
    let table = cluster.kubectl(&["get", "fp", "mine", "-n", namespace]).await.unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "ACTIVE", "DIGEST", "READY", "AGE"]);
    assert!(
        rows[1][0] == "mine" && rows[1].contains(&"True") && rows[1].contains(&digest_of(&noted(1)).as_str()),
        "{table}"
    );
    cluster.apply(&group(namespace, "{name: mine}")).await;
    let master = settled(cluster, namespace, 3).await;
    decided_by(cluster, namespace, &noted(1)).await;
    let customer = Customer::start(cluster, namespace, None).await;
    fill(cluster, namespace, &noted(2)).await;
    pin(cluster, namespace, "mine", &noted(2)).await;
    let next = kill_master(cluster, namespace, &master).await;
    is_active(cluster, namespace, "mine", &noted(2)).await;
    decided_by(cluster, namespace, &noted(2)).await;
    settled(cluster, namespace, 3).await;
    // Once more, with only the new policy to decide.
    let last = kill_master(cluster, namespace, &next).await;
    assert_eq!(settled(cluster, namespace, 3).await, last);
    customer.go_on(50).await;
    assert_eq!(customer.lost(cluster, namespace, &last).await.1, 0, "writes that a replica had");
}

pub async fn a_broken_policy_and_a_deleted_one_change_no_group(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    // The FailoverPolicy does not exist yet: the default policy decides.
    cluster.apply(&group(namespace, "{name: mine}")).await;
    let master = settled(cluster, namespace, 3).await;
    decided_by(cluster, namespace, EMBEDDED).await;
    let message = condition(cluster, namespace, "Degraded", "PolicyNotFound").await;
    assert!(
        message.contains("FailoverPolicy mine does not exist") && message.contains("create it"),
        "{message}"
    );
    fill(cluster, namespace, &noted(1)).await;
    create(cluster, namespace, "mine", &from_config_map(&noted(1))).await.unwrap();
    decided_by(cluster, namespace, &noted(1)).await;
    for (broken, reason) in [(&EMBEDDED[..EMBEDDED.len() / 2], "NoPolicy"), (CLASSIC, "Unproven")] {
        fill(cluster, namespace, broken).await;
        pin(cluster, namespace, "mine", broken).await;
        let is_refused = |status: &FailoverPolicyStatus| {
            status.refused.as_ref().is_some_and(|refused| refused.reason == reason)
        };
        let status = policy_is(cluster, namespace, "mine", reason, is_refused).await;
        assert_eq!(status.active.unwrap().digest, digest_of(&noted(1)));
        let refused = status.refused.unwrap();
        assert_eq!(refused.digest, Some(digest_of(broken)));
        assert!(!refused.message.is_empty());
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", reason));
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
    maps.delete("policies", &DeleteParams::default()).await.unwrap();
    let is_missing = |status: &FailoverPolicyStatus| {
        status.refused.as_ref().is_some_and(|refused| refused.reason == "SourceMissing")
    };
    policy_is(cluster, namespace, "mine", "its source is missing", is_missing).await;
    cluster.kubectl(&["delete", "fp", "mine", "-n", namespace]).await.unwrap();
    condition(cluster, namespace, "Degraded", "PolicyGone").await;
    let next = kill_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    decided_by(cluster, namespace, &noted(1)).await;
}

pub async fn a_policy_put_right_decides_while_the_bad_one_is_still_being_proven(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let slow = hostile("is-slow");
    fill(cluster, namespace, &slow).await;
    create(cluster, namespace, "mine", &from_config_map(&slow)).await.unwrap();
    cluster.apply(&group(namespace, "{name: mine}")).await;
    let is_candidate = |status: &FailoverPolicyStatus| {
        status.candidate.as_ref().is_some_and(|candidate| candidate.digest == digest_of(&slow))
    };
    policy_is(cluster, namespace, "mine", "the slow one is being proven", is_candidate).await;
    let begun = Instant::now();
    fill(cluster, namespace, &noted(7)).await;
    pin(cluster, namespace, "mine", &noted(7)).await;
    let status = is_active(cluster, namespace, "mine", &noted(7)).await;
    println!("a policy put right was active after {:.1} s", begun.elapsed().as_secs_f32());
    assert_eq!(status.refused, None, "the proof of the one before did not come to its end");
    settled(cluster, namespace, 3).await;
    decided_by(cluster, namespace, &noted(7)).await;
}

pub async fn a_shadow_is_counted_and_changes_nothing(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    create(cluster, namespace, "candidate", &json!({ "source": { "embedded": {} } })).await.unwrap();
    cluster.apply(&group(namespace, "{shadow: candidate}")).await;
    let master = settled(cluster, namespace, 3).await;
    let of_group = async || redis(cluster, namespace).await?.status?.shadow;
    let agreed = until("it agrees", async || of_group().await.filter(|shadow| shadow.agreed > 0)).await;
    assert_eq!((agreed.policy.as_str(), agreed.faults), ("candidate", 0));
    // With parameters that it does not know it refuses to decide: another answer than the one that counts.
    let api: Api<FailoverPolicy> = Api::namespaced(cluster.client(), namespace);
    let patch = json!({ "spec": { "parameters": { "nonsense": 1 } } });
    api.patch("candidate", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let differs = until("it differs", async || of_group().await.filter(|shadow| shadow.differed > 0)).await;
    let difference = differs.last_difference.unwrap();
    assert!(
        difference.starts_with("healthy (healthy)") && difference.contains("the shadow: refuse"),
        "{difference}"
    );
    let counts = |status: &FailoverPolicyStatus| {
        status.shadow.as_ref().is_some_and(|shadow| shadow.agreed > 0 && shadow.differed > 0)
    };
    policy_is(cluster, namespace, "candidate", "its counts", counts).await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
    decided_by(cluster, namespace, EMBEDDED).await;
    let next = kill_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
}

pub async fn a_policy_comes_from_a_registry_and_another_file_is_refused(cluster: &Cluster, namespace: &str) {
    if !Registry::is_possible() {
        println!("skipped: docker-registry is missing: tests/setup/setup.sh registry");
        return;
    }
    let registry = Registry::start().await;
    let _operator = Operator::start(cluster, namespace);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.wasm");
    let tag = format!("{}/policies/mine:1", registry.address);
    let push = |component: Vec<u8>| {
        std::fs::write(&file, component).unwrap();
        let output = Command::new(build_program())
            .args(["policy", "push", "--plain-http"])
            .arg(&file)
            .arg(&tag)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned()
    };
    let pinned = push(noted(3));
    let oci = |image: &str| json!({ "image": image, "plainHttp": true });
    create(cluster, namespace, "by-digest", &json!({ "source": { "oci": oci(&pinned) } })).await.unwrap();
    create(
        cluster,
        namespace,
        "by-tag",
        &json!({ "source": { "oci": oci(&tag) }, "sha256": digest_of(&noted(3)) }),
    )
    .await
    .unwrap();
    // A blob of a registry is a file of a web server, too.
    let blob = format!("http://{}/v2/policies/mine/blobs/sha256:{}", registry.address, digest_of(&noted(3)));
    create(
        cluster,
        namespace,
        "by-url",
        &json!({ "source": { "url": { "address": blob } }, "sha256": digest_of(&noted(3)) }),
    )
    .await
    .unwrap();
    for name in ["by-digest", "by-tag", "by-url"] {
        is_active(cluster, namespace, name, &noted(3)).await;
    }
    push(noted(4));
    create(
        cluster,
        namespace,
        "moved",
        &json!({ "source": { "oci": oci(&tag) }, "sha256": digest_of(&noted(3)) }),
    )
    .await
    .unwrap();
    let is_refused = |status: &FailoverPolicyStatus| {
        status.refused.as_ref().is_some_and(|refused| refused.reason == "DigestMismatch")
    };
    let moved = policy_is(cluster, namespace, "moved", "a moved tag is refused", is_refused).await;
    assert_eq!(moved.refused.unwrap().digest, Some(digest_of(&noted(4))));
    // The way out that the message names: say which file is meant.
    pin(cluster, namespace, "moved", &noted(4)).await;
    is_active(cluster, namespace, "moved", &noted(4)).await;
}

/// A namespace's user asks the operator for what only the operator can reach.
pub async fn a_policy_reaches_no_file_and_no_secret_of_others(cluster: &Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    let sha256 = digest_of(EMBEDDED);
    let refused = async |name: &str, source: Value, reason: &str| {
        create(cluster, namespace, name, &json!({ "source": source, "sha256": sha256 })).await.unwrap();
        let is_refused = |status: &FailoverPolicyStatus| {
            status.refused.as_ref().is_some_and(|refused| refused.reason == reason)
        };
        policy_is(cluster, namespace, name, reason, is_refused).await.refused.unwrap()
    };
    let file = refused("file", json!({ "file": { "path": "/etc/hostname" } }), "SourceForbidden").await;
    assert!(file.digest.is_none() && file.message.contains("--policy-files"), "{}", file.message);
    let image = json!({ "image": "127.0.0.1:9/mine:1", "pullSecret": { "name": "pull" } });
    let missing = refused("secret", json!({ "oci": image }), "PullSecret").await;
    assert!(missing.message.contains("kubectl create secret docker-registry pull"), "{}", missing.message);
}
