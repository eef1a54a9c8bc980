//! `redis-operator run` on a cluster: what a user does, and what becomes of the data.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use redis_operator::kubernetes::crd::Redis;
use std::net::SocketAddr;
use tests::cluster::{Cluster, HOME, Signal, is_ready, until};
use tests::real::build_program;
use tokio::process::{Child, Command};

/// A running operator, with its log at the end of a failed test. It ends with this.
struct Operator {
    child: Child,
    log: std::path::PathBuf,
}

impl Operator {
    fn start(cluster: &Cluster, namespace: &str) -> Self {
        let log = std::env::temp_dir().join(format!("operator-{namespace}.log"));
        let kubeconfig = cluster.admin_kubeconfig(SocketAddr::from((HOME, 6443)));
        let mut command = Command::new(build_program());
        command.args(["run", "--watch-namespace", namespace, "--namespace", namespace]).env("KUBECONFIG", kubeconfig);
        let child = command.stderr(std::fs::File::create(&log).unwrap()).kill_on_drop(true).spawn().unwrap();
        Self { child, log }
    }

    /// As `kubectl delete` of its Pod does. It gives its Lease back.
    async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        // SAFETY: a signal to a child that has not been waited for.
        #[allow(unsafe_code, reason = "libc's kill")]
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0);
        assert!(self.child.wait().await.unwrap().success());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" observation")).collect();
            eprintln!("the operator said:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

fn example(namespace: &str, replicas: u16) -> String {
    format!(
        "apiVersion: k8s.amaiz.com/v1alpha1\nkind: Redis\nmetadata: {{name: example, namespace: {namespace}}}\n\
         spec:\n  replicas: {replicas}\n  redis: {{image: redis:7}}\n"
    )
}

async fn redis(cluster: &Cluster, namespace: &str) -> Option<Redis> {
    Api::<Redis>::namespaced(cluster.client(), namespace).get_opt("example").await.unwrap()
}

/// Waits until somebody is master, all Pods are ready, and the Pods' labels say the same. Returns the master's name.
async fn settled(cluster: &Cluster, namespace: &str, pods: usize) -> String {
    until("a master and its replicas, all ready", async || {
        let status = redis(cluster, namespace).await?.status?;
        let master = status.master.filter(|_| status.reason == "healthy")?;
        let all = Api::<Pod>::namespaced(cluster.client(), namespace).list(&ListParams::default().labels("redis=example")).await.ok()?;
        let role = |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get("role").cloned());
        let is_right = |pod: &Pod| {
            let wanted = if pod.metadata.name.as_ref() == Some(&master) { "master" } else { "replica" };
            is_ready(pod) && role(pod).as_deref() == Some(wanted) && pod.metadata.deletion_timestamp.is_none()
        };
        (all.items.len() == pods && all.items.iter().all(is_right)).then_some(master)
    })
    .await
}

async fn say(cluster: &Cluster, namespace: &str, pod: &str, words: &[&str]) -> Option<String> {
    let address = cluster.running(namespace, pod).address();
    let client = redis::Client::open(format!("redis://{address}:6379/")).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.ok()
}

pub async fn the_walk_through_of_the_predecessor_works(cluster: &mut Cluster, namespace: &str) {
    let operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3)).await;
    let master = settled(cluster, namespace, 3).await;
    let table = cluster.kubectl(&["get", "redis", "example", "-n", namespace]).await.unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MASTER", "REPLICAS", "DESIRED", "AGE"]);
    assert_eq!(rows[1][..4], ["example", &master, "3", "3"]);
    assert_eq!(say(cluster, namespace, &master, &["SET", "lol", "woot"]).await.as_deref(), Some("OK"));
    Api::<Pod>::namespaced(cluster.client(), namespace).delete(&master, &DeleteParams::default()).await.unwrap();
    let next = until("another master", async || redis(cluster, namespace).await?.status?.master.filter(|next| *next != master)).await;
    assert_eq!(say(cluster, namespace, &next, &["GET", "lol"]).await.as_deref(), Some("woot"));
    settled(cluster, namespace, 3).await;
    cluster.kubectl(&["scale", "redis", "example", "--replicas", "4", "-n", namespace]).await.unwrap();
    settled(cluster, namespace, 4).await;
    operator.stop().await;
}

pub async fn a_killed_master_is_replaced_and_comes_back_as_a_replica_without_harm(cluster: &mut Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3)).await;
    let master = settled(cluster, namespace, 3).await;
    assert_eq!(say(cluster, namespace, &master, &["SET", "lol", "woot"]).await.as_deref(), Some("OK"));
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = until("another master", async || redis(cluster, namespace).await?.status?.master.filter(|next| *next != master)).await;
    assert_eq!(settled(cluster, namespace, 3).await, next);
    for pod in ["redis-example-0", "redis-example-1", "redis-example-2"] {
        assert_eq!(say(cluster, namespace, pod, &["GET", "lol"]).await.as_deref(), Some("woot"), "{pod}");
    }
}

pub async fn what_is_deleted_or_edited_is_made_right_again(cluster: &mut Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&example(namespace, 3)).await;
    let master = settled(cluster, namespace, 3).await;
    cluster.kubectl(&["delete", "service", "redis-example-master", "-n", namespace]).await.unwrap();
    cluster.kubectl(&["label", "pod", &master, "role=replica", "--overwrite", "-n", namespace]).await.unwrap();
    until("the service is back", async || cluster.kubectl(&["get", "service", "redis-example-master", "-n", namespace]).await.ok()).await;
    assert_eq!(settled(cluster, namespace, 3).await, master);
}
