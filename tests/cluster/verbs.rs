//! The verbs of `kubectl redis …` that act on a whole group or tell of it: logs, report, cli, restart,
//! hibernate, wake. The operator is in a Pod.

use serde_json::Value;
use std::path::Path;
use tests::cluster::Cluster;
use tokio::process::Command;

use super::plugin::{Kubectl, Writer, operator_in_a_pod};
use super::redisfailover::{self, Version};
use super::rig::{example, pods, redis as resource, say, say_as, settled, write_through};

/// With the password in a Secret, and where users put one in plain.
const MARKED: &str = "Mark3d-Pass_word";

pub async fn logs_and_a_report_tell_what_happened_and_no_secret_and_cli_opens_the_group(
    cluster: &Cluster,
    namespace: &str,
) {
    operator_in_a_pod(cluster, namespace).await;
    cluster
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: word, namespace: {namespace}}}\nstringData: \
             {{password: {MARKED}}}\n"
        ))
        .await;
    let further = format!(
        "  password: {{secretKeyRef: {{name: word, key: password}}}}\n  annotations: {{mine: \
         {MARKED}}}\n  config: {{user: \"app on >{MARKED} ~* +@all\"}}\n"
    );
    cluster.apply(&example(namespace, 2, &further)).await;
    let master = settled(cluster, namespace, 2).await;
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");

    let timeline = kubectl.says(&format!("redis logs example {here}")).await;
    for part in
        [" operator INFO  authority gained ", "decided: healthy, healthy: ", &format!("instance={master}")]
    {
        assert!(timeline.contains(part), "{part}: {timeline}");
    }
    let lines = kubectl.says(&format!("redis logs example --since 1h -o json {here}")).await;
    let objects = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(objects.into_iter().any(|line| line["message"] == "published" && line["operator"] == "operator"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.tar.gz");
    let report = format!("redis report example --file {} {here}", file.display());
    let said = kubectl.says(&report).await;
    assert!(said.contains("bundle.tar.gz: ") && !said.contains("not in it"), "{said}");
    let files = unpacked(&file, dir.path()).await;
    for (path, text) in &files {
        assert!(!text.contains(MARKED) && !text.contains("Mark3d"), "{path} has the password");
    }
    let of = |part: &str| files.iter().find(|(path, _)| path.ends_with(part)).map(|(_, text)| text.as_str());
    assert!(
        of("objects/redis-example.json")
            .is_some_and(|text| text.contains(&format!("\"master\": \"{master}\"")))
    );
    assert!(of("timeline.txt").is_some_and(|text| text.contains("decided: healthy")));
    assert!(
        of("objects/configmap-redis-example-record.json")
            .is_some_and(|text| text.contains("k8s.amaiz.com/record"))
    );
    for part in [
        "observation.json",
        "decision.json",
        "events.json",
        "versions.json",
        "operators/pod-operator.json",
        "objects/statefulset-redis-example.json",
        "objects/secret-redis-example-binding.json",
        &format!("objects/pod-{master}.json"),
    ] {
        assert!(
            of(part).is_some_and(|text| text.len() > 100),
            "{part} is not in {:?}",
            files.iter().map(|(path, _)| path).collect::<Vec<_>>()
        );
    }
    let (code, why) = kubectl.complains(&report).await;
    assert!(code == Some(2) && why.contains("exists and is not changed"), "{why}");

    // The cluster of the tests has no exec: what would be run is run beside.
    let line = kubectl.says(&format!("redis cli example --print {here} -- SET written 1")).await;
    assert!(!line.contains(MARKED), "{line}");
    let (to, script) = line.trim().split_once(" -- sh -c '").unwrap();
    assert!(to.contains(&format!("--namespace={namespace} -i {master} --container=redis")), "{to}");
    let (script, arguments) = script.split_once("' redis-cli ").unwrap();
    let words = ["sh", "-c", script, "redis-cli"].into_iter().chain(arguments.split(' ')).map(str::to_owned);
    assert!(cluster.running(namespace, &master).exec("redis", &words.collect::<Vec<_>>()).await);
    let written = say_as(cluster, namespace, &master, Some(MARKED), &["GET", "written"]).await;
    assert_eq!(written.as_deref(), Some("1"));
}

pub async fn a_report_and_cli_know_a_redisfailover_with_its_password_and_port(
    cluster: &Cluster,
    namespace: &str,
) {
    operator_in_a_pod(cluster, namespace).await;
    cluster
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: word, namespace: {namespace}}}\nstringData: \
             {{password: {MARKED}}}\n---\n\
             apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\n\
             metadata: {{name: cart, namespace: {namespace}}}\nspec:\n  auth: {{secretPath: word}}\n  redis: {{replicas: 2, image: \"redis:7\", port: 7000}}\n  \
             sentinel: {{replicas: 1, image: \"redis:7\", mode: Assisted}}\n"
        ))
        .await;
    let at = (namespace, "cart");
    let master = redisfailover::settled(cluster, at, Version::V1, (2, 1)).await;
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.tar.gz");
    let said = kubectl.says(&format!("redis report cart --file {} {here}", file.display())).await;
    assert!(said.contains("bundle.tar.gz: ") && !said.contains("not in it"), "{said}");
    let files = unpacked(&file, dir.path()).await;
    for (path, text) in &files {
        assert!(!text.contains(MARKED) && !text.contains("Mark3d"), "{path} has the password");
    }
    for part in [
        "observation.json",
        "timeline.txt",
        "objects/redisfailover-cart.json",
        "objects/statefulset-rfr-cart.json",
        "objects/deployment-rfs-cart.json",
        "objects/configmap-rfr-cart.json",
        "objects/secret-word.json",
        &format!("objects/pod-{master}.json"),
    ] {
        let found = files.iter().find(|(path, _)| path.ends_with(part));
        let names = files.iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert!(found.is_some_and(|(_, text)| text.len() > 100), "{part} is not in {names:?}");
    }

    let line = kubectl.says(&format!("redis cli cart --print {here} -- SET written 1")).await;
    assert!(!line.contains(MARKED), "{line}");
    let (to, script) = line.trim().split_once(" -- sh -c '").unwrap();
    assert!(to.contains(&format!("--namespace={namespace} -i {master} --container=redis")), "{to}");
    let (script, arguments) = script.split_once("' redis-cli ").unwrap();
    let words = ["sh", "-c", script, "redis-cli"].into_iter().chain(arguments.split(' ')).map(str::to_owned);
    assert!(cluster.running(namespace, &master).exec("redis", &words.collect::<Vec<_>>()).await);
    let words = ["sh", "-c", script, "redis-cli", "GET", "written"].map(str::to_owned);
    assert!(cluster.running(namespace, &master).exec("redis", &words).await);
    let address = cluster.address(namespace, &master).await.unwrap();
    let client = redis::Client::open(format!("redis://:{MARKED}@{address}:7000/")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let written: String = redis::cmd("GET").arg("written").query_async(&mut connection).await.unwrap();
    assert_eq!(written, "1");
}

pub async fn a_restart_replaces_every_pod_and_the_master_by_handover(cluster: &Cluster, namespace: &str) {
    operator_in_a_pod(cluster, namespace).await;
    cluster.apply(&example(namespace, 2, "")).await;
    let master = settled(cluster, namespace, 2).await;
    write_through(cluster, namespace, &master, "kept", "1").await;
    let uids = async || {
        let pods = pods(cluster, namespace).await;
        pods.into_iter().filter_map(|pod| pod.metadata.uid).collect::<Vec<_>>()
    };
    let before = uids().await;
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");
    let said = kubectl.says(&format!("redis restart example {here}")).await;
    assert!(said.ends_with(&format!("2 of 2 Pods are new\n{namespace}/example is restarted\n")), "{said}");
    assert!(uids().await.iter().all(|uid| !before.contains(uid)));
    let next = settled(cluster, namespace, 2).await;
    assert_ne!(next, master);
    assert_eq!(say(cluster, namespace, &next, &["GET", "kept"]).await.as_deref(), Some("1"));
    let last = resource(cluster, namespace).await.unwrap().status.unwrap().last_failover.unwrap();
    assert_eq!((last.evidence.as_str(), last.to), ("Requested", next));
}

pub async fn a_group_hibernates_and_wakes_with_all_that_was_acknowledged(cluster: &Cluster, namespace: &str) {
    operator_in_a_pod(cluster, namespace).await;
    let claim = "  dataVolumeClaimTemplate:\n    metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], \
                 resources: {requests: {storage: 1Gi}}}\n";
    cluster.apply(&example(namespace, 2, claim)).await;
    let master = settled(cluster, namespace, 2).await;
    let other = ["redis-example-0", "redis-example-1"].into_iter().find(|name| *name != master).unwrap();
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");
    // Clients go on until the last moment: the master takes writes that no replica lives to copy.
    let writer = Writer::start(cluster, namespace, [&master, other]).await;
    writer.goes_on().await;
    let said = kubectl.says(&format!("redis hibernate example {here}")).await;
    assert!(said.contains("0 Pods are left") && said.contains("kubectl redis wake example"), "{said}");
    let acknowledged = writer.stop().await;
    assert!(pods(cluster, namespace).await.is_empty());
    let status = resource(cluster, namespace).await.unwrap().status.unwrap();
    assert_eq!(
        (status.reason.as_str(), status.master, status.published.unwrap().name),
        ("hibernated", None, master.clone())
    );
    let is_ready = |status: &[redis_operator::kubernetes::crd::Condition]| {
        status.iter().any(|of| of.type_ == "Ready" && of.status == "True" && of.reason == "Hibernated")
    };
    assert!(is_ready(&status.conditions), "{:?}", status.conditions);
    let (code, why) = kubectl.complains(&format!("redis restart example {here}")).await;
    assert!(code == Some(1) && why.contains("kubectl redis wake example"), "{why}");

    // Another operator wakes it, by what is stored.
    cluster.kubectl(&["delete", "pod", "operator", "-n", namespace]).await.unwrap();
    operator_in_a_pod(cluster, namespace).await;
    let said = kubectl.says(&format!("redis wake example {here}")).await;
    assert!(said.contains("2 of 2 Pods are back"), "{said}");
    let woken = settled(cluster, namespace, 2).await;
    let held = say(cluster, namespace, &woken, &["GET", "written"]).await.unwrap().parse::<u64>().unwrap();
    assert!(held >= acknowledged, "{acknowledged} were acknowledged, and {held} are there");

    // Without volumes there is nothing to wake from.
    let without = example(namespace, 1, "").replace("name: example", "name: memory");
    cluster.apply(&without).await;
    let (code, why) = kubectl.complains(&format!("redis hibernate memory {here}")).await;
    assert!(code == Some(1) && why.contains("has its data in memory and would lose it"), "{why}");
    let patch = [
        "patch",
        "redis",
        "memory",
        "--type",
        "merge",
        "-p",
        "{\"spec\":{\"hibernate\":true}}",
        "-n",
        namespace,
    ];
    let refused = cluster.kubectl(&patch).await.unwrap_err().to_string();
    assert!(refused.contains("hibernation keeps the data on volumes"), "{refused}");
}

/// The files of an archive, by tar itself.
async fn unpacked(archive: &Path, dir: &Path) -> Vec<(String, String)> {
    let mut command = Command::new("tar");
    command.arg("-xzf").arg(archive).arg("-C").arg(dir);
    assert!(command.status().await.unwrap().success());
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path != archive {
                files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}
