//! The charts on a real API server, by Helm 3 and 4: installed, tested, upgraded, rolled back, uninstalled
//! and reinstalled, while a client writes.

use super::deployed::of_the_clone;
use super::rig::{Customer, another_master, pods, redis, say, settled, write_through};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tests::cluster::{Cluster, Signal, until};
use tokio::process::Command;

/// A Helm with a home of its own.
struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: tempfile::TempDir,
}

impl Helm {
    /// None: it is not set up.
    fn find(cluster: &Cluster, name: &str, namespace: &str) -> Option<Self> {
        let program = of_the_clone("target").join(name);
        if !program.is_file() {
            println!("skipped: the charts with {name}: tests/setup/setup.sh helm helm3 builds it");
            return None;
        }
        let (kubeconfig, namespace) = (cluster.admin_kubeconfig(), namespace.to_owned());
        Some(Self { program, kubeconfig, namespace, home: tempfile::tempdir().unwrap() })
    }

    async fn run(&self, line: &str) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(line.split(' '))
            .args(["--namespace", &self.namespace])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .current_dir(of_the_clone("deploy"));
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
    }

    async fn does(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(output.status.success(), "helm {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn refuses(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(!output.status.success(), "helm {line}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// For one namespace, so that other groups have other operators.
pub async fn chart_of_helm_4_lives_through_all_its_releases_with_live_data(
    cluster: &Cluster,
    namespace: &str,
) {
    if let Some(helm) = Helm::find(cluster, "cluster/helm", namespace) {
        let main = format!("main chart --set watchNamespaces={{{namespace}}}");
        lives_through_all_its_releases(cluster, namespace, &helm, &main).await;
    }
}

/// For all namespaces. `make package` alone sets Helm 3 up.
pub async fn chart_of_helm_3_lives_through_all_its_releases_with_live_data(
    cluster: &Cluster,
    namespace: &str,
) {
    if let Some(helm) = Helm::find(cluster, "tools/bin/helm3", namespace) {
        lives_through_all_its_releases(cluster, namespace, &helm, "main chart").await;
    }
}

/// `main`: name, chart and values of the operator's release.
async fn lives_through_all_its_releases(cluster: &Cluster, namespace: &str, helm: &Helm, main: &str) {
    // Refused before anything is made.
    assert!(helm.refuses("install main chart --set replicaCount=none").await.contains("replicaCount"));
    assert!(
        helm.refuses("install main chart --set watchNamespaces={nowhere} --take-ownership")
            .await
            .contains("nowhere")
    );
    helm.does("uninstall main --ignore-not-found").await;

    // The definitions were applied by kubectl before: they are taken over.
    let notes = helm.does(&format!("install {main} --take-ownership --wait --timeout 3m")).await;
    assert!(
        notes.contains(&format!("kubectl -n {namespace} rollout status deployment/main-redis-operator")),
        "{notes}"
    );
    helm.does("test main --timeout 2m").await;

    let refused = helm.refuses("install example chart-redis --set spec.replicas=0").await;
    assert!(refused.contains("spec.replicas"), "{refused}");
    helm.does("uninstall example --ignore-not-found").await;
    helm.does("install example chart-redis --wait --timeout 3m").await;
    let master = settled(cluster, namespace, 3).await;
    write_through(cluster, namespace, &master, "lol", "woot").await;
    let customer = Customer::start(cluster, namespace, None).await;
    let servers = uids(cluster, namespace).await;

    // Another operator, the same servers.
    helm.does(&format!("upgrade {main} --set logLevel=debug --wait --timeout 3m")).await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
    assert_eq!(uids(cluster, namespace).await, servers, "an upgrade of the operator restarts no server");

    // Definitions that leave the release stay, and come back into it.
    for create in ["false", "true"] {
        helm.does(&format!("upgrade {main} --set crds.create={create} --wait --timeout 3m")).await;
        assert!(redis(cluster, namespace).await.is_some());
    }
    assert_eq!(settled(cluster, namespace, 3).await, master);

    // One that cannot start: the former operators stay, and fail over.
    helm.refuses(&format!("upgrade {main} --set image.tag=nowhere --wait --timeout 10s")).await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let second = another_master(cluster, namespace, &master).await;
    assert_eq!(settled(cluster, namespace, 3).await, second);
    helm.does("rollback main 1 --wait --timeout 3m").await;
    helm.does("test main --timeout 2m").await;
    assert_eq!(settled(cluster, namespace, 3).await, second);
    assert_eq!(uids(cluster, namespace).await, servers);

    // Of the group: every server is another, the data is the same.
    helm.does("upgrade example chart-redis --set podAnnotations.rolled=yes --wait --timeout 3m").await;
    rolled(cluster, namespace, Some("yes")).await;
    helm.does("rollback example 1 --wait --timeout 3m").await;
    rolled(cluster, namespace, None).await;
    let third = settled(cluster, namespace, 3).await;
    assert_eq!(say(cluster, namespace, &third, &["GET", "lol"]).await.as_deref(), Some("woot"));

    // Without an operator everything else is as it was.
    let servers = uids(cluster, namespace).await;
    helm.does("uninstall main --wait --timeout 2m").await;
    let kept =
        cluster.kubectl(&["get", "crd", "redis.k8s.amaiz.com", "failoverpolicies.k8s.amaiz.com"]).await;
    assert!(kept.is_ok(), "definitions survive the operator");
    assert!(redis(cluster, namespace).await.is_some());
    assert_eq!(uids(cluster, namespace).await, servers);
    assert_eq!(say(cluster, namespace, &third, &["GET", "lol"]).await.as_deref(), Some("woot"));
    let left = [
        "get",
        "deployment,role,rolebinding,serviceaccount,networkpolicy",
        "-l",
        "app.kubernetes.io/instance=main",
    ];
    let left = cluster.kubectl(&[&left[..], &["-o", "name", "-n", namespace]].concat()).await.unwrap();
    assert_eq!(left, "", "nothing else is left of it");

    helm.does(&format!("install {main} --wait --timeout 3m")).await;
    cluster.running(namespace, &third).signal("redis", Signal::Kill);
    let fourth = another_master(cluster, namespace, &third).await;
    assert_eq!(settled(cluster, namespace, 3).await, fourth);
    assert_eq!(say(cluster, namespace, &fourth, &["GET", "lol"]).await.as_deref(), Some("woot"));
    assert_eq!(customer.lost(cluster, namespace, &fourth).await.1, 0, "no write that a replica had is lost");

    helm.does("uninstall example --wait --timeout 2m").await;
    until("the group is gone with its release", async || {
        pods(cluster, namespace).await.is_empty().then_some(())
    })
    .await;
    helm.does("uninstall main --wait --timeout 2m").await;
}

async fn uids(cluster: &Cluster, namespace: &str) -> BTreeSet<String> {
    pods(cluster, namespace).await.into_iter().filter_map(|pod| pod.metadata.uid).collect()
}

/// Waits until all Pods have the annotation, or none has it.
async fn rolled(cluster: &Cluster, namespace: &str, value: Option<&str>) {
    until("all Pods rolled", async || {
        let pods = pods(cluster, namespace).await;
        let is_rolled = pods.iter().all(|pod| {
            let annotations = pod.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get("rolled")).map(String::as_str) == value
        });
        (pods.len() == 3 && is_rolled).then_some(())
    })
    .await;
    settled(cluster, namespace, 3).await;
}
