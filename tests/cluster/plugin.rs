//! `kubectl redis …`, run by kubectl itself under the plugin's name, against an operator in a Pod, which only
//! the API server reaches.

use kube::api::GetParams;
use redis_operator::kubernetes::crd::Redis;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tests::cluster::{Cluster, until};
use tests::real::build_program;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::redisfailover::{self, Version};
use super::rig::{example, redis as resource, say, settled};

/// kubectl with the plugin beside it, and a kubeconfig.
pub struct Kubectl {
    program: PathBuf,
    path: String,
    kubeconfig: PathBuf,
    /// The plugin is here, as a link to the operator's program.
    _dir: tempfile::TempDir,
}

impl Kubectl {
    pub fn new(cluster: &Cluster, kubeconfig: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(build_program(), dir.path().join("kubectl-redis")).unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        Self { program: cluster.kubectl_dir().join("kubectl"), path, kubeconfig, _dir: dir }
    }

    async fn run(&self, line: &str) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(line.split(' '))
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("RUST_LOG");
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
    }

    /// What it prints when it is done.
    pub async fn says(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its exit code and the one line that it complains with.
    pub async fn complains(&self, line: &str) -> (Option<i32>, String) {
        let output = self.run(line).await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// The operator in a Pod of this namespace, with its Lease there, for this namespace only. It may do
/// anything. Those without a token get one of an account that may see its groups.
pub async fn operator_in_a_pod(cluster: &Cluster, namespace: &str) {
    let rbac = "apiVersion: rbac.authorization.k8s.io/v1";
    let role = |name: &str| {
        format!("roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}")
    };
    let account =
        |name: &str| format!("subjects: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]");
    let (admin, observe) = (role("cluster-admin"), role(&format!("{namespace}-observe")));
    let (own, ask) = (account("default"), account("redis-operator-ask"));
    cluster
        .apply(&format!(
            "{rbac}\nkind: ClusterRoleBinding\nmetadata: {{name: {namespace}}}\n{admin}\n{own}\n---\n{rbac}\nkind: \
             ClusterRole\nmetadata: {{name: {namespace}-observe}}\nrules: [{{apiGroups: [k8s.amaiz.com], \
             resources: [redis/observation], verbs: [get]}}]\n---\n{rbac}\nkind: RoleBinding\nmetadata: \
             {{name: ask, namespace: {namespace}}}\n{observe}\n{ask}\n---\napiVersion: v1\nkind: \
             ServiceAccount\nmetadata: {{name: redis-operator-ask, namespace: \
             {namespace}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: operator, namespace: \
             {namespace}}}\nspec:\n  containers:\n\x20 - name: redis-operator\n    image: \
             redis-operator:test\n    args: [run, --listen, \"0.0.0.0:8080\", --listen-groups, \
             \"0.0.0.0:8081\", --watch-namespace, {namespace}]\n\x20   ports: [{{name: http, \
             containerPort: 8080}}, {{name: groups, containerPort: 8081}}]\n    env:\n\x20   - {{name: \
             POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}\n\x20   - {{name: \
             POD_NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}\n"
        ))
        .await;
    cluster.pod_is_ready(namespace, "operator").await;
}

pub async fn a_group_is_shown_explained_and_observed_through_the_operator(
    cluster: &Cluster,
    namespace: &str,
) {
    operator_in_a_pod(cluster, namespace).await;
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");

    let screen = kubectl.says(&format!("redis status example {here}")).await;
    assert!(screen.starts_with(&format!("Redis {namespace}/example: healthy\n")), "{screen}");
    let row = screen
        .lines()
        .find(|line| line.starts_with(&master) && line.contains("   master    "))
        .unwrap_or_else(|| panic!("{screen}"));
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((cells[2], cells[6]), ("InSync", "yes"), "{screen}");
    assert!(cells[5].parse::<u64>().is_ok() && cells[7].starts_with("node-"), "{screen}");
    assert!(screen.contains("From operator, ") && !screen.contains('\x1b'), "{screen}");
    let json: Value =
        serde_json::from_str(&kubectl.says(&format!("redis status example -o json {here}")).await).unwrap();
    assert_eq!(
        (json["status"]["master"].as_str(), json["instances"].as_array().unwrap().len()),
        (Some(master.as_str()), 3)
    );
    let list = kubectl.says(&format!("redis status -A {here}")).await;
    assert!(
        list.lines().any(|line| line.split_whitespace().take(3).eq([namespace, "example", &master])),
        "{list}"
    );

    let explanation = kubectl.says(&format!("redis explain example {here}")).await;
    assert!(
        explanation.contains(&format!("Why is {master} master?"))
            && explanation.contains("number 1 in the order of succession"),
        "{explanation}"
    );

    // What is observed is decided as the operator decides it.
    let observed = kubectl.says(&format!("redis observe example {here}")).await;
    let decided: Value = serde_json::from_str(&decide(&observed).await).unwrap();
    let theirs = &json["view"]["decision"];
    for field in ["verdict", "reason", "master", "master_goal", "stages"] {
        assert_eq!(decided[field], theirs[field], "{field}");
    }

    // With the right to read Redis resources and no other, the rest is shown, and what is missing is said.
    let rights = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: reader, namespace: \
         {namespace}}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: \
         reader, namespace: {namespace}}}\nrules: [{{apiGroups: [k8s.amaiz.com], resources: [redis], verbs: \
         [get]}}, {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: \
         [get]}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: \
         reader, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, \
         name: reader}}\nsubjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]\n"
    );
    cluster.apply(&rights).await;
    let reader = Kubectl::new(cluster, cluster.account_kubeconfig(namespace, "reader").await);
    // The authorizer hears of new rights a moment later.
    let screen = until("the reader may read", async || {
        let output = reader.run(&format!("redis status example {here}")).await;
        let screen = String::from_utf8(output.stdout).unwrap();
        (output.status.success() && screen.contains("the right to get pods/proxy")).then_some(screen)
    })
    .await;
    assert!(screen.contains(&format!("Master      {master} since")), "{screen}");
    let (code, why) = reader.complains(&format!("redis observe example {here}")).await;
    assert!(
        code == Some(1)
            && why.contains(&format!("the right to get pods/proxy in namespace {namespace} is missing")),
        "{why}"
    );
    let (_, why) = reader.complains(&format!("redis pause example {here}")).await;
    assert!(why.contains("the right to patch redis.k8s.amaiz.com is missing"), "{why}");
    let (code, why) = kubectl.complains(&format!("redis status exmaple {here}")).await;
    assert!(code == Some(2) && why.contains("no Redis or RedisFailover exmaple in namespace"), "{why}");

    // With the way to the operator, too: the operator knows whose token it is, and shows nothing without the
    // right.
    let right = async |name: &str, group: &str, resource: &str| {
        cluster
            .apply(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: \
                 {namespace}}}\nrules: [{{apiGroups: [\"{group}\"], resources: [{resource}], verbs: \
                 [get]}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: \
                 {{name: {name}, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, \
                 kind: Role, name: {name}}}\nsubjects: [{{kind: ServiceAccount, name: reader, namespace: \
                 {namespace}}}]\n"
            ))
            .await;
    };
    let complains = async |words: &str| {
        until(&format!("the reader is told: {words}"), async || {
            let (code, why) = reader.complains(&format!("redis observe example {here}")).await;
            (code == Some(1) && why.contains(words)).then_some(())
        })
        .await;
    };
    right("way", "", "pods/proxy").await;
    complains(&format!(
        "system:serviceaccount:{namespace}:reader has no right to get redis/observation of example in \
         namespace {namespace}: bind ClusterRole redis-operator-view there"
    ))
    .await;
    right("see", "k8s.amaiz.com", "redis/observation").await;
    until("the reader is shown the group", async || {
        let output = reader.run(&format!("redis observe example {here}")).await;
        output.status.success().then_some(())
    })
    .await;
    // Past the plugin: no group without a token, and none where metrics are.
    let raw = async |at: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{at}/proxy/groups/{namespace}");
        let request = kube::core::Request::new(path).get("example", &GetParams::default()).unwrap();
        match cluster.client().request_text(request).await {
            Err(kube::Error::Api(status)) => (status.code, status.message),
            other => panic!("{other:?}"),
        }
    };
    let (code, why) = raw("https:operator:8081").await;
    assert!(code == 401 && why.contains("this page needs a token"), "{code} {why}");
    let (code, why) = raw("operator:8080").await;
    assert!(code == 404 && why.contains("/metrics, /healthz, /readyz"), "{code} {why}");
}

pub async fn a_switchover_is_followed_while_writes_run_and_a_pause_holds_it_back(
    cluster: &Cluster,
    namespace: &str,
) {
    operator_in_a_pod(cluster, namespace).await;
    cluster.apply(&example(namespace, 3, "")).await;
    let master = settled(cluster, namespace, 3).await;
    let other = ["redis-example-0", "redis-example-1"].into_iter().find(|name| *name != master).unwrap();
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");

    let (code, why) =
        kubectl.complains(&format!("redis switchover example --to redis-example-7 {here}")).await;
    assert!(
        code == Some(2)
            && why.contains("redis-example-7 is no instance of example, which has redis-example-0"),
        "{why}"
    );
    let said = kubectl.says(&format!("redis switchover example --to {master} {here}")).await;
    assert_eq!(said, format!("{master} is already master\n"));

    let writer = Writer::start(cluster, namespace, [&master, other]).await;
    writer.goes_on().await;
    let said = kubectl.says(&format!("redis switchover example --to {other} {here}")).await;
    let done = said.lines().last().unwrap();
    assert!(
        done.starts_with(&format!("{other} is master; writes paused for "))
            && done.ends_with(" ms, nothing lost"),
        "{said}"
    );
    writer.goes_on().await;
    let acknowledged = writer.stop().await;
    settled(cluster, namespace, 3).await;
    let held = say(cluster, namespace, other, &["GET", "written"]).await.unwrap().parse::<u64>().unwrap();
    assert!(held >= acknowledged, "{acknowledged} were acknowledged, and {held} are there");
    let screen = kubectl.says(&format!("redis status example {here}")).await;
    assert!(
        screen.contains(&format!("  {master} handed the role over to {other}, on request\n")),
        "{screen}"
    );
    for phase in ["promote", "re-point", "publish", "pause"] {
        assert!(
            screen.lines().any(|line| line.trim_start().starts_with(phase) && line.contains(" ms ")),
            "{phase}: {screen}"
        );
    }

    let said = kubectl.says(&format!("redis pause example {here}")).await;
    assert!(said.contains("is paused"), "{said}");
    let paused = |redis: Redis| {
        redis.status.is_some_and(|status| {
            status.conditions.iter().any(|of| of.type_ == "Paused" && of.status == "True")
        })
    };
    assert!(resource(cluster, namespace).await.is_some_and(paused));
    let (code, why) = kubectl.complains(&format!("redis switchover example {here}")).await;
    assert!(
        code == Some(1) && why.contains("example is paused") && why.contains("kubectl redis resume example"),
        "{why}"
    );
    kubectl.says(&format!("redis resume example {here}")).await;
    settled(cluster, namespace, 3).await;
    kubectl.says(&format!("redis switchover example {here}")).await;
    assert_ne!(settled(cluster, namespace, 3).await, other);
}

/// `redis-operator policy decide -`.
async fn decide(observation: &str) -> String {
    let mut command = Command::new(build_program());
    command.args(["policy", "decide", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(observation.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Counts up in whichever of two servers takes writes, one at a time.
pub struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    pub async fn start(cluster: &Cluster, namespace: &str, pods: [&str; 2]) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut connections = Vec::new();
        for pod in pods {
            let client =
                redis::Client::open(format!("redis://{}:6379/", cluster.running(namespace, pod).address()))
                    .unwrap();
            connections.push((client.get_multiplexed_async_connection().await.unwrap(), client));
        }
        let task = tokio::spawn({
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    for (connection, client) in &mut connections {
                        let next = acknowledged.load(Ordering::Relaxed) + 1;
                        match redis::cmd("SET")
                            .arg("written")
                            .arg(next)
                            .query_async::<String>(connection)
                            .await
                        {
                            Ok(_) => acknowledged.store(next, Ordering::Relaxed),
                            // A replica says no; a master that hands over ends its clients' connections.
                            Err(error) if error.code() == Some("READONLY") => {}
                            Err(_) => {
                                if let Ok(fresh) = client.get_multiplexed_async_connection().await {
                                    *connection = fresh;
                                }
                            }
                        }
                    }
                    // The pace of writing.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        Self { stop, acknowledged, task }
    }

    /// Waits for a hundred more.
    pub async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        until("writes go on", async || {
            (self.acknowledged.load(Ordering::Relaxed) >= before + 100).then_some(())
        })
        .await;
    }

    /// Ends it, and returns the last number that was acknowledged.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

pub async fn the_verbs_know_a_redisfailover(cluster: &Cluster, namespace: &str) {
    operator_in_a_pod(cluster, namespace).await;
    cluster
        .apply(&format!(
            "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: cart, namespace: {namespace}}}\n\
             spec:\n  redis: {{replicas: 2, image: \"redis:7\"}}\n  \
             sentinel: {{replicas: 1, image: \"redis:7\", mode: Assisted}}\n"
        ))
        .await;
    let at = (namespace, "cart");
    let master = redisfailover::settled(cluster, at, Version::V1, (2, 1)).await;
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let here = format!("-n {namespace} --operator-namespace {namespace}");

    let screen = kubectl.says(&format!("redis status cart {here}")).await;
    assert!(screen.contains(&format!("RedisFailover {namespace}/cart: healthy")), "{screen}");
    assert!(
        screen.contains(&format!("Master      {master} since")) && screen.contains("From operator, "),
        "{screen}"
    );
    assert!(!screen.contains("rfs-cart"), "its Sentinels are no instances: {screen}");
    let list = kubectl.says(&format!("redis status {here}")).await;
    assert!(list.contains("redisfailover/cart"), "{list}");
    let explanation = kubectl.says(&format!("redis explain cart {here}")).await;
    assert!(explanation.contains(&format!("Why is {master} master?")), "{explanation}");
    kubectl.says(&format!("redis observe cart {here}")).await;
    kubectl.says(&format!("redis logs cart {here}")).await;

    kubectl.says(&format!("redis pause cart {here}")).await;
    let (code, why) = kubectl.complains(&format!("redis switchover cart {here}")).await;
    assert!(code == Some(1) && why.contains("kubectl redis resume cart"), "{why}");
    kubectl.says(&format!("redis resume cart {here}")).await;
    let said = kubectl.says(&format!("redis switchover cart {here}")).await;
    assert!(said.contains("nothing lost"), "{said}");
    let next = redisfailover::settled(cluster, at, Version::V1, (2, 1)).await;
    assert_ne!(next, master);
    let said = kubectl.says(&format!("redis restart cart {here}")).await;
    assert!(said.contains("2 of 2 Pods are new"), "{said}");
    let (code, why) = kubectl.complains(&format!("redis hibernate cart {here}")).await;
    assert!(code == Some(1) && why.contains("cart is a RedisFailover, and only a Redis hibernates"), "{why}");
    let (code, why) = kubectl.complains(&format!("redis wake cart {here}")).await;
    assert!(code == Some(1) && why.contains("kubectl redis pause cart"), "{why}");
}
