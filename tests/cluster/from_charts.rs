//! Moving in from a chart: Pods as Bitnami's and DandyDeveloper's charts lay them, a Sentinel beside each
//! Redis, and the commands of `deploy/docs/src/moving/charts.md`, as they stand there.

use super::deployed::of_the_clone;
use super::rig::{Operator, another_master, condition, example, patch, say_as, settled};
use super::watched::SentinelClient;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::DeleteParams;
use package::book::{BOOK, commands, fences};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tests::cluster::{Cluster, until};

/// How a chart calls what it lays down, for the release `my-redis`.
struct Chart {
    set: &'static str,
    labels: fn() -> Value,
    /// The Service by which its Pods have names.
    headless: &'static str,
    secret: &'static str,
    key: &'static str,
}

const BITNAMI: Chart = Chart {
    set: "my-redis-node",
    labels: || {
        json!({
            "app.kubernetes.io/instance": "my-redis", "app.kubernetes.io/name": "redis",
            "app.kubernetes.io/component": "node"
        })
    },
    headless: "my-redis-headless",
    secret: "my-redis",
    key: "redis-password",
};

const DANDYDEVELOPER: Chart = Chart {
    set: "my-redis-redis-ha-server",
    labels: || json!({ "app": "redis-ha", "release": "my-redis" }),
    headless: "my-redis-redis-ha",
    secret: "my-redis-redis-ha",
    key: "auth",
};

const PASSWORD: &str = "of-the-chart";

impl Chart {
    fn pod(&self, number: usize) -> String {
        format!("{}-{number}", self.set)
    }

    async fn lay_down(&self, cluster: &Cluster, namespace: &str) {
        let metadata =
            |name: &str| json!({ "name": name, "namespace": namespace, "labels": (self.labels)() });
        let redis =
            json!(["redis-server", "--save", "", "--requirepass", PASSWORD, "--masterauth", PASSWORD]);
        let sentinel =
            "touch /tmp/sentinel.conf && exec redis-server /tmp/sentinel.conf --sentinel --protected-mode no";
        let container = |name: &str, command: Value, port: &str| {
            let asked = ["redis-cli", "-p", port, "ping"];
            let ready = json!({ "exec": { "command": asked }, "periodSeconds": 1 });
            json!({ "name": name, "image": "redis:7", "command": command, "readinessProbe": ready })
        };
        let sentinel = json!(["sh", "-c", sentinel]);
        let pod = json!({
            "containers": [container("redis", redis, "6379"), container("sentinel", sentinel, "26379")]
        });
        let all = [
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata(self.secret),
                "stringData": { self.key: PASSWORD }
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata(self.headless),
                "spec": {
                    "clusterIP": "None", "publishNotReadyAddresses": true, "selector": (self.labels)(),
                    "ports": [{ "name": "tcp-redis", "port": 6379 }, { "name": "tcp-sentinel", "port": 26379 }]
                }
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(self.set),
                "spec": {
                    "replicas": 3, "serviceName": self.headless, "podManagementPolicy": "Parallel",
                    "selector": { "matchLabels": (self.labels)() },
                    "template": { "metadata": { "labels": (self.labels)() }, "spec": pod }
                }
            }),
        ];
        for object in all {
            cluster.apply(&object.to_string()).await;
        }
        for number in 0..3 {
            cluster.pod_is_ready(namespace, &self.pod(number)).await;
        }
    }

    /// Does what the scripts of the chart do at first: replicas follow the first Pod, and Sentinels watch
    /// it, with its `down-after-milliseconds`. Returns the addresses of all.
    async fn begin(&self, cluster: &Cluster, namespace: &str) -> Vec<String> {
        let mut addresses = vec![];
        for number in 0..3 {
            addresses.push(cluster.address(namespace, &self.pod(number)).await.unwrap());
        }
        for number in 1..3 {
            let words = ["REPLICAOF", &addresses[0], "6379"];
            say_as(cluster, namespace, &self.pod(number), Some(PASSWORD), &words).await.unwrap();
        }
        for address in &addresses {
            let mut words = redis::pipe();
            words.cmd("SENTINEL").arg(&["MONITOR", "mymaster", &addresses[0], "6379", "2"]).ignore();
            words.cmd("SENTINEL").arg(&["SET", "mymaster", "auth-pass", PASSWORD]).ignore();
            words.cmd("SENTINEL").arg(&["SET", "mymaster", "down-after-milliseconds", "10000"]).ignore();
            words.query_async::<()>(&mut sentinel(address).await).await.unwrap();
        }
        for address in &addresses {
            until("each Sentinel knows both replicas and both others", async || {
                let master = fields(address, "MASTER").await?;
                let is = |name: &str| field(&master, name) == Some("2");
                (is("num-slaves") && is("num-other-sentinels")).then_some(())
            })
            .await;
        }
        addresses
    }
}

async fn sentinel(address: &str) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{address}:26379/")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// What a Sentinel says of the master; of its replicas, all in one list.
async fn fields(address: &str, of: &str) -> Option<Vec<String>> {
    let mut connection = sentinel(address).await;
    let words = redis::cmd("SENTINEL").arg(of).arg("mymaster").to_owned();
    let reply: redis::Value = words.query_async(&mut connection).await.ok()?;
    let mut flat = vec![];
    flatten(&reply, &mut flat);
    Some(flat)
}

fn flatten(value: &redis::Value, into: &mut Vec<String>) {
    match value {
        redis::Value::Array(all) => all.iter().for_each(|value| flatten(value, into)),
        other => into.push(redis::from_redis_value(other.clone()).unwrap_or_default()),
    }
}

fn field<'a>(fields: &'a [String], name: &str) -> Option<&'a str> {
    let at = fields.iter().position(|field| field == name)?;
    fields.get(at + 1).map(String::as_str)
}

/// The commands of the page's blocks that copy, that make Sentinels forget, and that cut over.
fn steps() -> [Vec<String>; 3] {
    let page = std::fs::read_to_string(of_the_clone(BOOK).join("moving/charts.md")).unwrap();
    let all: Vec<Vec<String>> = fences(&page).iter().map(|fence| commands(&fence.content)).collect();
    let with = |first: &str| all.iter().find(|block| block[0].starts_with(first)).cloned().unwrap();
    [
        with("MASTER="),
        with("for POD in my-redis-node-0"),
        with("kubectl exec $MASTER -c redis -- redis-cli INFO replication"),
    ]
}

/// Who carries out the steps.
struct Mover<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    master: String,
    password: Option<String>,
    source: String,
}

impl Mover<'_> {
    /// One line of the page: what needs a kubelet is said to the Pod itself, with the group's password.
    async fn carry_out(&self, line: &str) {
        let line = line
            .replace("$MASTER", &self.master)
            .replace("\"$PASSWORD\"", PASSWORD)
            .replace("\"$SOURCE\"", &self.source);
        let words: Vec<&str> =
            line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect();
        match &words[..] {
            [assignment, ..] if assignment.starts_with("MASTER=") => {
                let path = line.split_once("jsonpath='").unwrap().1.split_once('\'').unwrap().0;
                let jsonpath = format!("jsonpath={path}");
                let asked = ["get", "redis", "example", "-o", &jsonpath, "-n", self.namespace];
                assert_eq!(self.cluster.kubectl(&asked).await.unwrap(), self.master);
            }
            ["kubectl", "redis", verb @ ("pause" | "resume"), "cart"] => {
                let paused = *verb == "pause";
                patch(self.cluster, self.namespace, &json!({ "spec": { "paused": paused } }).to_string())
                    .await;
                if paused {
                    condition(self.cluster, self.namespace, "Paused", "Healthy").await;
                }
            }
            ["kubectl", "exec", pod, "-c", "redis", "--", "redis-cli", said @ ..] => {
                let reply = self.say(pod, said).await;
                assert!(reply == "OK" || said[0] == "INFO", "{line}: {reply}");
            }
            ["kubectl", "wait", ..] => _ = settled(self.cluster, self.namespace, 3).await,
            ["kubectl", "delete", "pod", pod] => {
                let pods = Api::<Pod>::namespaced(self.cluster.client(), self.namespace);
                pods.delete(pod, &DeleteParams::default()).await.unwrap();
            }
            _ => panic!("a step that this test does not know: {line}"),
        }
    }

    async fn say(&self, pod: &str, words: &[&str]) -> String {
        let reply = say_as(self.cluster, self.namespace, pod, self.password.as_deref(), words).await;
        reply.unwrap_or_else(|| panic!("{pod}: {words:?}"))
    }
}

pub async fn a_group_takes_over_from_bitnami_s_chart_without_loss(cluster: &Cluster, namespace: &str) {
    moves(cluster, namespace, &BITNAMI, "  password: {generate: true}\n").await;
}

pub async fn a_group_takes_over_from_dandydeveloper_s_chart_without_loss(cluster: &Cluster, namespace: &str) {
    // Its Sentinels can enter such a group: one that is not made to forget it takes its master back.
    moves(cluster, namespace, &DANDYDEVELOPER, "").await;
}

/// `login`: of the group, as lines of its spec.
async fn moves(cluster: &Cluster, namespace: &str, chart: &Chart, login: &str) {
    let _operator = Operator::start(cluster, namespace);
    chart.lay_down(cluster, namespace).await;
    let sentinels = chart.begin(cluster, namespace).await;
    let client = SentinelClient::start(sentinels.clone(), Some(PASSWORD)).await;
    cluster.apply(&example(namespace, 3, login)).await;
    let master = settled(cluster, namespace, 3).await;
    let secrets = Api::<Secret>::namespaced(cluster.client(), namespace);
    let made = secrets.get_opt("redis-example-password").await.unwrap();
    let password = made.map(|secret| String::from_utf8(secret.data.unwrap()["password"].0.clone()).unwrap());
    let source = sentinels[0].clone();
    let mover = Mover { cluster, namespace, master: master.clone(), password: password.clone(), source };

    let [copy, forget, cut_over] = steps();
    for line in &copy {
        mover.carry_out(line).await;
    }
    until("the link to the source is up", async || {
        mover.say(&master, &["INFO", "replication"]).await.contains("master_link_status:up").then_some(())
    })
    .await;
    client.go_on(50).await;
    for address in &sentinels {
        until("each Sentinel takes the group's master for a replica of its own", async || {
            (field(&fields(address, "MASTER").await?, "num-slaves") == Some("3")).then_some(())
        })
        .await;
    }

    // Clients stop: what is acknowledged until then is what the group must have.
    let pause = ["CLIENT", "PAUSE", "600000", "WRITE"];
    say_as(cluster, namespace, &chart.pod(0), Some(PASSWORD), &pause).await.unwrap();
    let offset = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
    };
    until("the copy has all of the source", async || {
        let words = ["INFO", "replication"];
        let of_source = say_as(cluster, namespace, &chart.pod(0), Some(PASSWORD), &words).await?;
        let of_group = mover.say(&master, &words).await;
        let sent = offset(&of_source, "master_repl_offset:")?;
        (offset(&of_group, "slave_repl_offset:")? == sent).then_some(())
    })
    .await;
    let said = forget.iter().find_map(|line| line.split_once("SENTINEL ")).unwrap().1;
    for address in &sentinels {
        let words = redis::cmd("SENTINEL").arg(said.split_whitespace().collect::<Vec<_>>()).to_owned();
        words.query_async::<()>(&mut sentinel(address).await).await.unwrap();
        assert_eq!(fields(address, "MASTER").await, None, "it watches nothing");
    }
    for line in &cut_over {
        mover.carry_out(line).await;
    }
    let next = another_master(cluster, namespace, &master).await;
    settled(cluster, namespace, 3).await;
    let address = cluster.address(namespace, &next).await.unwrap();
    assert_eq!(client.lost(&address, password.as_deref()).await, (0, 0));
    // The Pod that copied has the group's own login again.
    let replication = mover.say(&master, &["INFO", "replication"]).await;
    assert!(replication.contains(&format!("master_host:{address}")), "{replication}");
    assert!(replication.contains("master_link_status:up"), "{replication}");
}
