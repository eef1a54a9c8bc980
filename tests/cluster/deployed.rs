//! The operator as a user deploys it: by `deploy/`, as two Pods, with the rights of its service account and
//! no more. These come last of all, since what is deployed looks after all namespaces.

use super::claims;
use super::docs::resources_of_the_pages;
use super::plugin::Kubectl;
use super::rig::{another_master, redis, say, settled, write_through};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Signal, is_ready, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const HOME: &str = "redis-operator";

/// Granted for what cannot be seen here: a check of the API server's own, which another test provokes, and an
/// event that is reported again.
const UNSEEN: &[&str] = &[
    "update k8s.amaiz.com/redis/finalizers",
    "update databases.spotahome.com/redisfailovers/finalizers",
    "update spotahome.com/redisfailovers/finalizers",
    "patch events.k8s.io/events",
    // What another operator made is adopted: nothing here is.
    "patch databases.spotahome.com/redisfailovers",
    "list coordination.k8s.io/leases",
];

pub fn of_the_clone(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// As `kubectl apply -k deploy` does, unless it was done before. Returns when all replicas are ready.
pub async fn deploy(cluster: &Cluster) {
    // Objects of other tests have no operator any more.
    for kind in ["redis", "redisfailovers.databases.spotahome.com", "redisfailovers.spotahome.com"] {
        let words = ["get", kind, "-A", "-o", "jsonpath={.items[*].metadata.namespace}"];
        let namespaces = cluster.kubectl(&words).await.unwrap();
        for namespace in namespaces.split_whitespace().collect::<BTreeSet<_>>() {
            cluster.kubectl(&["delete", kind, "--all", "-n", namespace]).await.unwrap();
        }
    }
    cluster
        .kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-k",
            of_the_clone("deploy").to_str().unwrap(),
        ])
        .await
        .unwrap();
    rolled_out(cluster).await;
}

pub async fn rolled_out(cluster: &Cluster) {
    cluster
        .kubectl(&["rollout", "status", "deployment/redis-operator", "-n", HOME, "--timeout=120s"])
        .await
        .unwrap();
    all_ready(cluster).await;
}

/// Both replicas, the one that acts and the one that looks on.
async fn all_ready(cluster: &Cluster) -> Vec<Pod> {
    until("two operators, both ready", async || {
        let pods = operators(cluster).await;
        (pods.len() == 2 && pods.iter().all(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none()))
            .then_some(pods)
    })
    .await
}

async fn operators(cluster: &Cluster) -> Vec<Pod> {
    let ours = ListParams::default().labels("app.kubernetes.io/name=redis-operator");
    Api::<Pod>::namespaced(cluster.client(), HOME).list(&ours).await.unwrap().items
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

/// The Pod with authority. None: no Pod.
async fn leader(cluster: &Cluster) -> Option<String> {
    let lease = Api::<Lease>::namespaced(cluster.client(), HOME).get_opt("redis-operator").await.unwrap();
    lease?.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

/// Everything that the operators have said so far.
async fn said(cluster: &Cluster) -> String {
    let pods = operators(cluster).await;
    pods.iter()
        .filter(|pod| is_running(pod))
        .filter_map(|pod| pod.metadata.name.as_deref())
        .map(|name| cluster.running(HOME, name).log("redis-operator"))
        .collect()
}

/// Verb, group and resource of every right of the service account.
async fn granted(cluster: &Cluster) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in [
        &["clusterrole", "redis-operator"][..],
        &["clusterrole", "redis-operator-nodes"],
        &["clusterrole", "redis-operator-reviews"],
        &["role", "redis-operator", "-n", HOME],
    ] {
        let role: Value =
            serde_json::from_str(&cluster.kubectl(&[&["get", "-o", "json"], role].concat()).await.unwrap())
                .unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let words = |field: &str| {
                rule[field]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|word| word.as_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            for (group, resource) in words("apiGroups")
                .iter()
                .flat_map(|group| words("resources").into_iter().map(move |resource| (group, resource)))
            {
                rights.extend(words("verbs").iter().map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    rights
}

/// How often the operators have asked the API server so far.
pub fn asked(cluster: &Cluster) -> usize {
    cluster.asked_by(HOME, "redis-operator").len()
}

/// The rights that were used since then, and those that were asked for in vain.
pub fn used(cluster: &Cluster, since: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in cluster.asked_by(HOME, "redis-operator").into_iter().skip(since) {
        let text =
            |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let part = match text("/objectRef/subresource") {
            part if part.is_empty() => part,
            part => format!("/{part}"),
        };
        let what = format!("{}/{}{part}", text("/objectRef/apiGroup"), text("/objectRef/resource"));
        let code = line["responseStatus"]["code"].as_u64().unwrap_or(0);
        let right = format!("{} {what}", text("/verb"));
        if code == 403 {
            refused.insert(right);
        } else {
            // What is applied and was not there is created.
            used.extend((code == 201).then(|| format!("create {what}")));
            used.insert(right);
        }
    }
    (used, refused)
}

/// The steps of the predecessor's README.
async fn walk_through(cluster: &Cluster, namespace: &str) {
    let exec = async |words: &[&str]| {
        let master = redis(cluster, namespace).await.unwrap().status.unwrap().master.unwrap();
        let words: Vec<String> = [&["redis-cli"], words].concat().into_iter().map(str::to_owned).collect();
        assert!(cluster.running(namespace, &master).exec("redis", &words).await, "{words:?}");
        say(cluster, namespace, &master, &["GET", "lol"]).await
    };
    let deployment = cluster.kubectl(&["-n", HOME, "get", "deployment"]).await.unwrap();
    let row =
        |table: &str| table.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(row(&deployment)[..4], ["redis-operator", "2/2", "2", "2"]);

    let example = of_the_clone("example/k8s_v1alpha1_redis_cr.yaml");
    cluster.kubectl(&["apply", "-f", example.to_str().unwrap(), "-n", namespace]).await.unwrap();
    let master = settled(cluster, namespace, 3).await;
    until("a row of three", async || {
        let table = cluster.kubectl(&["get", "redis", "example", "-n", namespace]).await.ok()?;
        (row(&table)[..4] == ["example", &master, "3", "3"]).then_some(())
    })
    .await;

    assert_eq!(exec(&["set", "lol", "woot"]).await.as_deref(), Some("woot"));
    cluster.kubectl(&["delete", "pod", "-l", "redis=example,role=master", "-n", namespace]).await.unwrap();
    another_master(cluster, namespace, &master).await;
    assert_eq!(exec(&["get", "lol"]).await.as_deref(), Some("woot"));

    cluster.kubectl(&["scale", "redis", "example", "--replicas", "4", "-n", namespace]).await.unwrap();
    settled(cluster, namespace, 4).await;
    until("a row of four", async || {
        let table = cluster.kubectl(&["get", "redis", "-n", namespace]).await.ok()?;
        (row(&table)[2..4] == ["4", "4"]).then_some(())
    })
    .await;
    let services = [
        "service/redis-example",
        "service/redis-example-headless",
        "service/redis-example-master",
        "service/redis-example-replicas",
    ];
    let others =
        ["configmap/redis-example", "poddisruptionbudget/redis-example", "statefulset/redis-example"];
    cluster.kubectl(&[&["get", "-n", namespace], &services[..], &others[..]].concat()).await.unwrap();

    for (file, kind) in [
        ("basic", "redisfailovers.databases.spotahome.com/basic"),
        ("seed", "redisfailovers.spotahome.com/myredisfailover"),
    ] {
        let file = of_the_clone(&format!("example/redisfailover/{file}.yaml"));
        cluster.kubectl(&["apply", "-f", file.to_str().unwrap(), "-n", namespace]).await.unwrap();
        let phase = ["get", kind, "-n", namespace, "-o", "jsonpath={.status.phase} {.status.sentinels}"];
        until("a RedisFailover that runs", async || {
            cluster.kubectl(&phase).await.ok().filter(|phase| phase == "Running 3")
        })
        .await;
        cluster.kubectl(&["delete", kind, "-n", namespace]).await.unwrap();
    }
}

pub async fn what_is_deployed_does_the_walk_through_and_its_rights_are_enough_and_no_more(
    cluster: &Cluster,
    namespace: &str,
) {
    deploy(cluster).await;
    let deployed = asked(cluster);
    walk_through(cluster, namespace).await;

    // What the walk-through has not shown: the plugin, a policy, a Secret and its end, and a rollout.
    let kubectl = Kubectl::new(cluster, cluster.admin_kubeconfig());
    let screen = kubectl.says(&format!("redis status example -n {namespace}")).await;
    assert!(screen.contains(&format!("From {}, ", leader(cluster).await.unwrap())), "{screen}");
    let policy = "apiVersion: k8s.amaiz.com/v1alpha1\nkind: FailoverPolicy\nspec: {source: {embedded: {}}}\n";
    cluster.apply(&format!("{policy}metadata: {{name: own, namespace: {namespace}}}\n")).await;
    cluster
        .kubectl(&[
            "apply",
            "-f",
            of_the_clone("example/redis/password.yaml").to_str().unwrap(),
            "-n",
            namespace,
        ])
        .await
        .unwrap();
    until("a Secret for its Pods", async || {
        cluster.kubectl(&["get", "secret", "redis-password", "-n", namespace]).await.ok()
    })
    .await;
    let change = async |name: &str, change: &str| {
        cluster.kubectl(&["patch", "redis", name, "-n", namespace, "--type=merge", "-p", change]).await
    };
    change("password", r#"{"spec": {"password": null}}"#).await.unwrap();
    let endpoint = async || {
        let labels = "-l=kubernetes.io/service-name=redis-password-sentinel";
        let words = ["get", "endpointslices", labels, "-o", "name", "-n", namespace];
        cluster.kubectl(&words).await.map(|names| names.lines().count())
    };
    change("password", r#"{"spec": {"sentinelEndpoint": {}}}"#).await.unwrap();
    until("a Sentinel endpoint at both operators", async || (endpoint().await.ok()? == 2).then_some(()))
        .await;
    change("password", r#"{"spec": {"sentinelEndpoint": null}}"#).await.unwrap();
    until("no Sentinel endpoint", async || {
        let service = cluster.kubectl(&["get", "service", "redis-password-sentinel", "-n", namespace]).await;
        (endpoint().await.ok()? == 0 && service.is_err()).then_some(())
    })
    .await;
    claims::a_claim_grows_and_a_network_policy_goes(cluster, namespace).await;
    change("example", r#"{"spec": {"annotations": {"rolled": "yes"}}}"#).await.unwrap();
    until("all Pods rolled", async || {
        let pods = Api::<Pod>::namespaced(cluster.client(), namespace)
            .list(&ListParams::default().labels("redis=example"))
            .await
            .ok()?
            .items;
        let is_rolled =
            |pod: &Pod| pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("rolled"));
        (pods.len() == 4 && pods.iter().all(is_rolled)).then_some(())
    })
    .await;
    let master = settled(cluster, namespace, 4).await;
    assert_eq!(say(cluster, namespace, &master, &["GET", "lol"]).await.as_deref(), Some("woot"));

    until("no Secret for its Pods", async || {
        cluster.kubectl(&["get", "secret", "redis-password", "-n", namespace]).await.is_err().then_some(())
    })
    .await;

    let events: Value = serde_json::from_str(
        &cluster.kubectl(&["get", "events", "-o", "json", "-n", namespace]).await.unwrap(),
    )
    .unwrap();
    let of_groups =
        events["items"].as_array().unwrap().iter().filter(|event| event["involvedObject"]["kind"] == "Redis");
    let tellers: BTreeSet<_> =
        of_groups.map(|event| event["reportingInstance"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tellers, BTreeSet::from([leader(cluster).await.unwrap()]), "only the leader writes Events");

    let (_, refused) = used(cluster, deployed);
    assert!(refused.is_empty(), "{refused:?}");
    // A case before this one may have deployed the same.
    let (used, _) = used(cluster, 0);
    let said = said(cluster).await;
    let complaints: Vec<_> = said.lines().filter(|line| line.contains("orbidden")).collect();
    assert!(said.contains("decided") && complaints.is_empty(), "{complaints:?}");
    let granted = granted(cluster).await;
    let idle: Vec<_> = granted.difference(&used).filter(|right| !UNSEEN.contains(&right.as_str())).collect();
    assert_eq!(idle, Vec::<&String>::new(), "granted, and used for nothing");

    cluster.kubectl(&["delete", "redis", "--all", "-n", namespace]).await.unwrap();
    until("all of it is gone", async || {
        let left = cluster
            .kubectl(&[
                "get",
                "statefulset,service,configmap,pdb,pod",
                "-l",
                "redis=example",
                "-o",
                "name",
                "-n",
                namespace,
            ])
            .await;
        left.ok()?.is_empty().then_some(())
    })
    .await;
}

pub async fn an_operator_that_is_killed_is_back_and_one_that_is_gone_is_replaced_by_the_other(
    cluster: &Cluster,
    namespace: &str,
) {
    deploy(cluster).await;
    let file = of_the_clone("example/redis/minimal.yaml");
    let manifest = std::fs::read_to_string(file).unwrap().replace("name: minimal", "name: example");
    let path = std::env::temp_dir().join("example.yaml");
    std::fs::write(&path, manifest).unwrap();
    cluster.kubectl(&["apply", "-f", path.to_str().unwrap(), "-n", namespace]).await.unwrap();
    let first = settled(cluster, namespace, 3).await;
    write_through(cluster, namespace, &first, "lol", "woot").await;

    let leading = leader(cluster).await.unwrap();
    cluster.running(HOME, &leading).signal("redis-operator", Signal::Kill);
    cluster.running(namespace, &first).signal("redis", Signal::Kill);
    let second = another_master(cluster, namespace, &first).await;
    assert_eq!(settled(cluster, namespace, 3).await, second);
    all_ready(cluster).await;

    // Gone without a word: the Lease is not given back, and has to run out.
    let leading = leader(cluster).await.unwrap();
    cluster.kubectl(&["delete", "pod", &leading, "-n", HOME, "--force", "--grace-period=0"]).await.unwrap();
    cluster.running(namespace, &second).signal("redis", Signal::Kill);
    let third = another_master(cluster, namespace, &second).await;
    assert_ne!(leader(cluster).await.unwrap(), leading);
    assert_eq!(settled(cluster, namespace, 3).await, third);
    assert_eq!(say(cluster, namespace, &third, &["GET", "lol"]).await.as_deref(), Some("woot"));

    // Asked to go: the Lease is free at once.
    let leading = leader(cluster).await.unwrap();
    cluster.kubectl(&["delete", "pod", &leading, "-n", HOME]).await.unwrap();
    until("the other one acts", async || leader(cluster).await.filter(|next| *next != leading)).await;
    all_ready(cluster).await;
}

pub async fn a_missing_right_is_named_in_the_log_and_an_operator_without_it_is_not_ready(
    cluster: &Cluster,
    namespace: &str,
) {
    deploy(cluster).await;
    let take_away = async |resource: &str| {
        let role = cluster.kubectl(&["get", "clusterrole", "redis-operator", "-o", "json"]).await.unwrap();
        let mut role: Value = serde_json::from_str(&role).unwrap();
        for rule in role["rules"].as_array_mut().unwrap() {
            rule["resources"].as_array_mut().unwrap().retain(|of| of != resource);
        }
        role["rules"]
            .as_array_mut()
            .unwrap()
            .retain(|rule| !rule["resources"].as_array().unwrap().is_empty());
        role["metadata"].as_object_mut().unwrap().remove("managedFields");
        cluster.apply(&role.to_string()).await;
    };
    let log_says = async |words: &str| {
        until(&format!("the log says: {words}"), async || said(cluster).await.contains(words).then_some(()))
            .await;
    };
    take_away("redis/finalizers").await;
    cluster
        .kubectl(&[
            "apply",
            "-f",
            of_the_clone("example/redis/minimal.yaml").to_str().unwrap(),
            "-n",
            namespace,
        ])
        .await
        .unwrap();
    log_says("cannot set blockOwnerDeletion").await;
    deploy(cluster).await;

    // A running watch is not asked again for its right for minutes; a new operator's is.
    take_away("secrets").await;
    let before: BTreeSet<_> =
        operators(cluster).await.into_iter().filter_map(|pod| pod.metadata.name).collect();
    let leading = leader(cluster).await.unwrap();
    cluster.kubectl(&["delete", "pod", &leading, "-n", HOME]).await.unwrap();
    let new = until("a new operator", async || {
        let names =
            operators(cluster).await.into_iter().filter(is_running).filter_map(|pod| pod.metadata.name);
        names.into_iter().find(|name| !before.contains(name))
    })
    .await;
    log_says("secrets is forbidden").await;
    let page =
        async |path: &str| page(SocketAddr::from((cluster.running(HOME, &new).address(), 8080)), path).await;
    let why = "the list of Secret objects: access refused; the log names the missing right";
    let answer = until("an answer that names the list", async || {
        page("/readyz").await.filter(|page| page.contains(why))
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(page("/healthz").await.is_some_and(|page| page.starts_with("HTTP/1.1 200 ")));
    deploy(cluster).await;
}

pub async fn page(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: operator\r\n\r\n").as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

/// With everything that the annotated example of the predecessor has, what Kubernetes does not know there
/// included.
const PREDECESSOR: &str = r#"
apiVersion: k8s.amaiz.com/v1alpha1
kind: Redis
metadata: {name: predecessor, labels: {lol: woot}}
spec:
  replicas: 3
  config: {repl-ping-replica-period: "10"}
  password: {secretKeyRef: {key: password, name: redis-password-secret}}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - podAffinityTerm:
          labelSelector: {matchExpressions: [{key: lol, operator: In, values: [woot]}]}
          topologyKey: kubernetes.io/hostname
        weight: 70
  annotations: {seccomp.security.alpha.kubernetes.io/pod: runtime/default}
  dataVolumeClaimTemplate:
    metadata: {name: redis-data}
    spec: {storageClassName: standard, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  redis:
    image: redis:5-alpine
    initialDelaySeconds: 10
    resources: {limits: {cpu: 100m, memory: 200Mi}}
    securityContext: &security
      allowPrivilegeEscalation: false
      capabilities: {drop: [all]}
      readOnlyRootFilesystem: true
      runAsUser: 7777777
      runAsGroup: 7777777
      fsGroup: 7777777
      runAsNonRoot: true
  exporter: {image: "oliver006/redis_exporter:v1.2.1", securityContext: *security}
  volumes: [{name: sys, hostPath: {path: /sys}}]
  initContainers:
  - name: disable-thp
    image: busybox
    command: [sh, -c]
    args: [echo never > /rootfs/sys/kernel/mm/transparent_hugepage/enabled]
    volumeMounts: [{name: sys, mountPath: /rootfs/sys, type: Directory}]
"#;

pub async fn every_example_fits_the_schema(cluster: &Cluster, namespace: &str) {
    let folders = ["example", "example/redis", "example/redisfailover"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(of_the_clone(folder)).unwrap());
    let mut files: Vec<PathBuf> = folders
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    assert!(files.len() > 4);
    let predecessor = std::env::temp_dir().join("predecessor.yaml");
    std::fs::write(&predecessor, PREDECESSOR).unwrap();
    files.push(predecessor);
    for (number, resource) in resources_of_the_pages().into_iter().enumerate() {
        let file = std::env::temp_dir().join(format!("docs-{number}.yaml"));
        std::fs::write(&file, resource).unwrap();
        files.push(file);
    }
    for file in files {
        cluster
            .kubectl(&[
                "apply",
                "--dry-run=server",
                "--validate=strict",
                "-n",
                namespace,
                "-f",
                file.to_str().unwrap(),
            ])
            .await
            .unwrap();
    }
}
