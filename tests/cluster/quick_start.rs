//! The script of the quick start, as it is.

use super::deployed::of_the_clone;
use super::rig::say_as;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use std::os::unix::fs::symlink;
use std::time::Instant;
use tests::cluster::{Cluster, until};
use tokio::process::Command;

pub async fn a_script_goes_from_a_cluster_with_helm_to_a_client_that_has_written(
    cluster: &Cluster,
    _namespace: &str,
) {
    let helm = of_the_clone("target/cluster/helm");
    if !helm.is_file() {
        return println!("skipped: the quick start: tests/setup/setup.sh helm builds Helm");
    }
    // From a cluster as it comes: without the definitions and the operator that other tests began with.
    let deploy = of_the_clone("deploy");
    cluster.kubectl(&["delete", "--ignore-not-found", "-k", deploy.to_str().unwrap()]).await.unwrap();
    cluster.kubectl(&["delete", "crd", "--all"]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(helm, dir.path().join("helm")).unwrap();
    symlink(of_the_clone("target/cluster/kubectl"), dir.path().join("kubectl")).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let script = std::fs::read_to_string(of_the_clone("example/quick-start.sh")).unwrap();
    assert!(script.lines().count() <= 10, "it is meant to be read");
    let begun = Instant::now();
    let mut command = Command::new(of_the_clone("example/quick-start.sh"));
    command.current_dir(of_the_clone("")).env("PATH", path).env("HOME", dir.path());
    let output =
        command.env("KUBECONFIG", cluster.admin_kubeconfig()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("from a cluster with Helm to a client's first write: {:.1} s", begun.elapsed().as_secs_f64());
    let secrets = Api::<Secret>::namespaced(cluster.client(), "default");
    let bound = secrets.get("redis-my-redis-binding").await.unwrap().data.unwrap();
    let password = String::from_utf8(bound["password"].0.clone()).unwrap();
    for pod in ["redis-my-redis-0", "redis-my-redis-1", "redis-my-redis-2"] {
        until(&format!("{pod} has the client's write"), async || {
            let value = say_as(cluster, "default", pod, Some(&password), &["GET", "greeting"]).await;
            (value.as_deref() == Some("hello")).then_some(())
        })
        .await;
    }
}
