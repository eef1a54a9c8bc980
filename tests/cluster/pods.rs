//! What a Pod is promised: to start, to have what its spec says, to end as it should, to be made again.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, Error, ResourceExt};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, is_ready, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn a_stateful_set_of_three_becomes_ready_and_each_answers_at_its_address(
    cluster: &Cluster,
    namespace: &str,
) {
    cluster.apply(&redis(namespace, 3)).await;
    for name in ["redis-0", "redis-1", "redis-2"] {
        let pod = cluster.pod_is_ready(namespace, name).await;
        let published = pod.status.unwrap().pod_ip.unwrap();
        let address = cluster.running(namespace, name).address();
        assert_eq!(published, address.to_string());
        assert!(answers(address).await, "{name} at {address}");
    }
    let slices = async || {
        cluster
            .kubectl(&["get", "endpointslices", "-n", namespace, "-o", "jsonpath={..conditions.ready}"])
            .await
            .ok()
    };
    until("three ready endpoints", async || {
        slices().await.filter(|ready| ready.as_str() == "true true true")
    })
    .await;
}

pub async fn what_the_spec_says_reaches_the_process(cluster: &Cluster, namespace: &str) {
    let script = r#"echo "$WORD $SECRET $NAME $WHERE $1"; cat /config/inner /var/run/secrets/kubernetes.io/serviceaccount/namespace;
        touch /root-is-written 2>/dev/null && echo writable; touch /empty/there && ls /empty; sleep 1000"#;
    cluster
        .apply(&format!(
            r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: words, namespace: {namespace}}}
data: {{word: plain, file: "from a file "}}
---
apiVersion: v1
kind: Secret
metadata: {{name: hidden, namespace: {namespace}}}
stringData: {{key: sesame}}
---
apiVersion: v1
kind: Pod
metadata: {{name: one, namespace: {namespace}}}
spec:
  containers:
  - name: main
    image: busybox:1
    command: ["/bin/sh", "-c", {script:?}, "main"]
    args: ["$(WORD)-$(ABSENT)"]
    securityContext: {{readOnlyRootFilesystem: true}}
    env:
    - {{name: WORD, valueFrom: {{configMapKeyRef: {{name: words, key: word}}}}}}
    - {{name: SECRET, valueFrom: {{secretKeyRef: {{name: hidden, key: key}}}}}}
    - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: WHERE, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
    volumeMounts: [{{name: config, mountPath: /config}}, {{name: empty, mountPath: /empty}}]
  volumes:
  - {{name: config, configMap: {{name: words, items: [{{key: file, path: inner}}]}}}}
  - {{name: empty, emptyDir: {{}}}}
"#
        ))
        .await;
    cluster.pod_is_ready(namespace, "one").await;
    let pod = cluster.running(namespace, "one");
    let expected =
        format!("plain sesame one {} plain-$(ABSENT)\nfrom a file {namespace}there\n", pod.address());
    until("what it printed", async || (pod.log("main") == expected).then_some(())).await;
}

pub async fn init_containers_run_first_and_a_job_of_a_pod_ends(cluster: &Cluster, namespace: &str) {
    let containers = r#"
  restartPolicy: Never
  initContainers:
  - {name: first, image: "busybox:1", command: ["/bin/sh", "-c", "echo made > /shared/it"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: main, image: "busybox:1", command: ["/bin/sh", "-c", "cat /shared/it; exit 3"], volumeMounts: [{name: shared, mountPath: /shared}]}
  volumes: [{name: shared, emptyDir: {}}]"#;
    cluster.apply(&pod(namespace, "job", containers)).await;
    let ended = cluster
        .pod_is(namespace, "job", "failed", |pod| {
            pod.status.as_ref().unwrap().phase.as_deref() == Some("Failed")
        })
        .await;
    let status = ended.status.unwrap().container_statuses.unwrap().remove(0);
    let end = status.state.unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref(), status.restart_count), (3, Some("Error"), 0));
    assert_eq!(cluster.running(namespace, "job").log("main"), "made\n");
}

pub async fn a_deleted_pod_ends_within_its_grace_and_is_made_again(cluster: &Cluster, namespace: &str) {
    let set = redis(namespace, 1).replace(
        "# lifecycle",
        r#"lifecycle: {preStop: {exec: {command: ["sh", "-c", "echo hook > /proc/1/fd/1"]}}}"#,
    );
    cluster.apply(&set).await;
    let old = cluster.pod_is_ready(namespace, "redis-0").await;
    let running = cluster.running(namespace, "redis-0");
    let began = Instant::now();
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete("redis-0", &DeleteParams::default())
        .await
        .unwrap();
    cluster.pod_is(namespace, "redis-0", "made again", |pod| pod.uid() != old.uid() && is_ready(pod)).await;
    assert!(began.elapsed() < Duration::from_secs(30), "the grace was waited out");
    let log = running.log("redis");
    let (hook, farewell) = (log.find("hook"), log.find("bye bye"));
    assert!(hook.is_some() && hook < farewell, "preStop, then SIGTERM: {log}");
}

pub async fn a_pod_that_ignores_sigterm_is_killed_after_its_grace(cluster: &Cluster, namespace: &str) {
    let containers = r#"
  terminationGracePeriodSeconds: 2
  containers: [{name: main, image: "busybox:1", command: ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}]"#;
    cluster.apply(&pod(namespace, "deaf", containers)).await;
    cluster.pod_is_ready(namespace, "deaf").await;
    let began = Instant::now();
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete("deaf", &DeleteParams::default())
        .await
        .unwrap();
    until("gone", async || cluster.pod(namespace, "deaf").await.is_none().then_some(())).await;
    assert!(began.elapsed() > Duration::from_millis(1900), "{:?}", began.elapsed());
}

pub async fn a_config_volume_is_updated_live_but_not_a_sub_path(cluster: &Cluster, namespace: &str) {
    let words = |word| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words, namespace: {namespace}}}\ndata: \
             {{word: {word}}}\n---\n"
        )
    };
    let containers = r#"
  containers:
  - name: main
    image: busybox:1
    command: ["/bin/sh", "-c", "while :; do echo $(cat /live/word) $(cat /fixed); sleep 0.1; done"]
    volumeMounts: [{name: words, mountPath: /live}, {name: words, mountPath: /fixed, subPath: word}]
  volumes: [{name: words, configMap: {name: words}}]"#;
    cluster.apply(&(words("old") + &pod(namespace, "reader", containers))).await;
    cluster.pod_is_ready(namespace, "reader").await;
    let reader = cluster.running(namespace, "reader");
    until("the old word", async || reader.log("main").contains("old old").then_some(())).await;
    cluster.apply(words("new").trim_end_matches("---\n")).await;
    until("the new word", async || reader.log("main").contains("new old").then_some(())).await;
}

pub async fn a_claim_keeps_what_a_pod_wrote(cluster: &Cluster, namespace: &str) {
    let claim = r#"volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"#;
    let set = redis(namespace, 1)
        .replace("# claims", claim)
        .replace("# mounts", "volumeMounts: [{name: data, mountPath: /data}]");
    cluster.apply(&set).await;
    let old = cluster.pod_is_ready(namespace, "redis-0").await;
    assert_eq!(
        send(cluster.running(namespace, "redis-0").address(), "SET kept yes").await.unwrap(),
        "+OK\r\n"
    );
    assert_eq!(send(cluster.running(namespace, "redis-0").address(), "SAVE").await.unwrap(), "+OK\r\n");
    Api::<Pod>::namespaced(cluster.client(), namespace)
        .delete("redis-0", &DeleteParams::default())
        .await
        .unwrap();
    cluster.pod_is(namespace, "redis-0", "made again", |pod| pod.uid() != old.uid() && is_ready(pod)).await;
    assert_eq!(
        send(cluster.running(namespace, "redis-0").address(), "GET kept").await.unwrap(),
        "$3\r\nyes\r\n"
    );
}

pub async fn an_unknown_image_is_not_pulled(cluster: &Cluster, namespace: &str) {
    cluster
        .apply(&pod(namespace, "lost", "\n  containers: [{name: main, image: \"example.com/absent:1\"}]"))
        .await;
    let reason = |pod: &Pod| {
        pod.status.as_ref()?.container_statuses.as_ref()?[0].state.as_ref()?.waiting.as_ref()?.reason.clone()
    };
    let pod = cluster
        .pod_is(namespace, "lost", "in back-off", |pod| reason(pod).as_deref() == Some("ImagePullBackOff"))
        .await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
}

pub async fn an_eviction_is_refused_by_a_budget_and_else_granted(cluster: &Cluster, namespace: &str) {
    let budget = |least| {
        format!(
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: redis, namespace: \
             {namespace}}}\nspec: {{minAvailable: {least}, selector: {{matchLabels: {{app: redis}}}}}}"
        )
    };
    cluster.apply(&redis(namespace, 2)).await;
    cluster.apply(&budget(2)).await;
    let old = cluster.pod_is_ready(namespace, "redis-1").await;
    let healthy = ["get", "pdb", "redis", "-n", namespace, "-o", "jsonpath={.status.currentHealthy}"];
    until("both counted", async || cluster.kubectl(&healthy).await.ok().filter(|count| count == "2")).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let refused = pods.evict("redis-1", &EvictParams::default()).await.unwrap_err();
    assert!(matches!(&refused, Error::Api(status) if status.code == 429), "{refused}");
    cluster.apply(&budget(1)).await;
    until("granted", async || pods.evict("redis-1", &EvictParams::default()).await.ok()).await;
    cluster.pod_is(namespace, "redis-1", "made again", |pod| pod.uid() != old.uid() && is_ready(pod)).await;
}

pub async fn a_service_account_has_its_rights_and_no_more(cluster: &Cluster, namespace: &str) {
    let pods: Api<Pod> = Api::namespaced(cluster.account_client(namespace, "default").await, namespace);
    let list = async || pods.list(&ListParams::default()).await;
    assert!(matches!(list().await, Err(Error::Api(status)) if status.code == 403));
    let words = ["create", "rolebinding", "view", "--clusterrole=view", "-n", namespace];
    cluster
        .kubectl(&[&words[..], &[&format!("--serviceaccount={namespace}:default")]].concat())
        .await
        .unwrap();
    until("its rights", async || list().await.ok()).await;
    let refused = pods.delete("any", &DeleteParams::default()).await;
    assert!(matches!(refused, Err(Error::Api(status)) if status.code == 403));
}

/// A StatefulSet of Redis servers and its headless Service, with places for more.
pub fn redis(namespace: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: redis, namespace: {namespace}}}
spec: {{clusterIP: None, selector: {{app: redis}}, ports: [{{port: 6379}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: redis, namespace: {namespace}}}
spec:
  replicas: {replicas}
  serviceName: redis
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: redis}}}}
  template:
    metadata: {{labels: {{app: redis}}}}
    spec:
      # pod
      containers:
      - name: redis
        image: redis:7
        args: ["--protected-mode", "no"]
        readinessProbe: {{exec: {{command: [redis-cli, ping]}}, periodSeconds: 1, failureThreshold: 1}}
        # lifecycle
        # probes
        # mounts
  # claims
"#
    )
}

fn pod(namespace: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:{spec}\n")
}

/// Whether a Redis answers at that address, within a time that only a lost packet takes.
pub async fn answers(address: Ipv4Addr) -> bool {
    tokio::time::timeout(Duration::from_millis(500), send(address, "PING"))
        .await
        .is_ok_and(|answer| answer.is_ok_and(|answer| answer == "+PONG\r\n"))
}

async fn send(address: Ipv4Addr, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address, 6379)).await?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned())
}
