//! What the scenarios of the operator share: a running operator, the example resource, and a client of its
//! master Service that remembers what was acknowledged to it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use redis::aio::MultiplexedConnection;
use redis_operator::kubernetes::crd::Redis;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, HOME, is_ready, until};
use tests::real::build_program;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

/// A running operator, with its log at the end of a failed test. It ends with this.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// For one namespace.
    pub fn start(cluster: &Cluster, namespace: &str) -> Self {
        Self::named(cluster, namespace, "first")
    }

    /// One of several.
    pub fn named(cluster: &Cluster, namespace: &str, identity: &str) -> Self {
        Self::with(cluster, namespace, identity, &[])
    }

    /// The same, with further options.
    pub fn with(cluster: &Cluster, namespace: &str, identity: &str, further: &[&str]) -> Self {
        let log = std::env::temp_dir().join(format!("operator-{namespace}-{identity}.log"));
        let kubeconfig = cluster.admin_kubeconfig();
        let mut command = Command::new(build_program());
        command
            .args(["run", "--watch-namespace", namespace, "--namespace", namespace, "--identity", identity])
            // The registries of the tests are on this machine.
            .arg("--policy-allow-private")
            // It runs beside the Pods, where the API server does.
            .args(["--sentinel-address", &HOME.to_string()])
            .args(["--image", "redis-operator:of-the-tests"])
            .args(further)
            .env("KUBECONFIG", kubeconfig);
        let child = command.stderr(std::fs::File::create(&log).unwrap()).kill_on_drop(true).spawn().unwrap();
        Self { child, log }
    }

    /// As `kubectl delete` of its Pod does. It gives its Lease back.
    pub async fn stop(mut self) {
        self.signal(libc::SIGTERM);
        assert!(self.child.wait().await.unwrap().success());
    }

    /// As a lost node does.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGSTOP, SIGCONT.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        // SAFETY: a signal to a child that has not been waited for.
        #[allow(unsafe_code, reason = "libc's kill")]
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0);
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" observation")).collect();
            eprintln!("the operator said:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// The manifest, with further lines of its spec (two spaces deep, each with its line end).
pub fn example(namespace: &str, replicas: u16, further: &str) -> String {
    format!(
        "apiVersion: k8s.amaiz.com/v1alpha1\nkind: Redis\nmetadata: {{name: example, namespace: \
         {namespace}}}\nspec:\n  replicas: {replicas}\n  redis: {{image: redis:7}}\n{further}"
    )
}

/// The resource as it is. None: it is not there.
pub async fn redis(cluster: &Cluster, namespace: &str) -> Option<Redis> {
    Api::<Redis>::namespaced(cluster.client(), namespace).get_opt("example").await.ok().flatten()
}

/// The Pods of the resource.
pub async fn pods(cluster: &Cluster, namespace: &str) -> Vec<Pod> {
    let api = Api::<Pod>::namespaced(cluster.client(), namespace);
    api.list(&ListParams::default().labels("redis=example")).await.map(|list| list.items).unwrap_or_default()
}

/// Changes the resource by a merge patch.
pub async fn patch(cluster: &Cluster, namespace: &str, patch: &str) {
    cluster
        .kubectl(&["patch", "redis", "example", "--type", "merge", "-p", patch, "-n", namespace])
        .await
        .unwrap();
}

/// Waits until there is a master, all Pods are ready, and the Pods' labels agree. Returns the
/// master's name.
pub async fn settled(cluster: &Cluster, namespace: &str, count: usize) -> String {
    until("a master and its replicas, all ready", async || {
        let status = redis(cluster, namespace).await?.status?;
        let master = status.master.filter(|_| status.reason == "healthy")?;
        let role = |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get("role").cloned());
        let is_right = |pod: &Pod| {
            let wanted = if pod.metadata.name.as_ref() == Some(&master) { "master" } else { "replica" };
            is_ready(pod) && role(pod).as_deref() == Some(wanted) && pod.metadata.deletion_timestamp.is_none()
        };
        let all = pods(cluster, namespace).await;
        (all.len() == count && all.iter().all(is_right)).then_some(master)
    })
    .await
}

/// Waits until the status names another master.
pub async fn another_master(cluster: &Cluster, namespace: &str, than: &str) -> String {
    until("another master", async || {
        redis(cluster, namespace).await?.status?.master.filter(|next| next != than)
    })
    .await
}

/// Waits for a condition with that reason.
pub async fn condition(cluster: &Cluster, namespace: &str, type_: &str, reason: &str) -> String {
    until(&format!("condition {type_} because of {reason}"), async || {
        let conditions = redis(cluster, namespace).await?.status?.conditions;
        conditions
            .into_iter()
            .find(|of| of.type_ == type_ && of.status == "True" && of.reason == reason)
            .map(|of| of.message)
    })
    .await
}

/// One command to the Redis in a Pod.
pub async fn say(cluster: &Cluster, namespace: &str, pod: &str, words: &[&str]) -> Option<String> {
    say_as(cluster, namespace, pod, None, words).await
}

/// The same, with a password.
pub async fn say_as(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    password: Option<&str>,
    words: &[&str],
) -> Option<String> {
    let mut connection = connect(&cluster.address(namespace, pod).await?, password).await?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.ok()
}

/// The same as that user, or why not.
pub async fn login_as(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    user: &str,
    password: &str,
    words: &[&str],
) -> Result<String, String> {
    let address = cluster.address(namespace, pod).await.ok_or("no address")?;
    let mut connection = connect(&address, None).await.ok_or("no connection")?;
    let mut pipeline = redis::pipe();
    pipeline.cmd("AUTH").arg(user).arg(password).ignore();
    pipeline.cmd(words[0]).arg(&words[1..]);
    let replies: Result<(String,), _> = pipeline.query_async(&mut connection).await;
    replies.map(|(reply,)| reply).map_err(|error| error.to_string())
}

/// Writes, and waits until a replica has it: for most of a second after a full copy a replica is in sync by
/// what both sides say, and gets nothing yet.
pub async fn write_through(cluster: &Cluster, namespace: &str, pod: &str, key: &str, value: &str) {
    let mut pipeline = redis::pipe();
    // On one connection, since Redis waits for what the same client wrote.
    pipeline.cmd("SET").arg(key).arg(value).cmd("WAIT").arg(1).arg(2000);
    until(&format!("{key} at a replica"), async || {
        let mut connection = connect(&cluster.address(namespace, pod).await?, None).await?;
        let (_, replicas) = pipeline.query_async::<(String, u64)>(&mut connection).await.ok()?;
        (replicas > 0).then_some(())
    })
    .await;
}

async fn connect(address: &str, password: Option<&str>) -> Option<MultiplexedConnection> {
    let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let client = redis::Client::open(format!("redis://{login}{address}:6379/")).ok()?;
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(Some(Duration::from_secs(1)));
    client
        .get_multiplexed_async_connection_with_config(
            &config.set_response_timeout(Some(Duration::from_secs(3))),
        )
        .await
        .ok()
}

/// Writes through the address that the master Service's EndpointSlice shows, one key after the other, for as
/// long as it lives.
pub struct Customer {
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    password: Option<String>,
    /// What was acknowledged, when, by which server, and whether a replica had it before the next was sent.
    acknowledged: Vec<Write>,
    failures: usize,
}

#[derive(Clone, Debug)]
pub struct Write {
    pub number: u64,
    pub at: Instant,
    pub address: String,
    pub is_replicated: bool,
}

impl Customer {
    /// Returns once it has written something.
    pub async fn start(cluster: &Cluster, namespace: &str, password: Option<&str>) -> Self {
        let state = Arc::new(Mutex::new(State { password: password.map(str::to_owned), ..State::default() }));
        let task = tokio::spawn(write(Api::namespaced(cluster.client(), namespace), Arc::clone(&state)))
            .abort_handle();
        let customer = Self { state, task };
        customer.go_on(1).await;
        customer
    }

    /// Logs in with this from the next connection on.
    pub fn log_in_with(&self, password: Option<&str>) {
        self.state.lock().unwrap().password = password.map(str::to_owned);
    }

    /// Waits for so many more acknowledged writes.
    pub async fn go_on(&self, writes: usize) {
        let target = self.count() + writes;
        until("writes go on", async || (self.count() >= target).then_some(())).await;
    }

    /// The first write that was acknowledged after `since` by another than `address`.
    pub async fn first_elsewhere(&self, address: &str, since: Instant) -> Write {
        until("a write elsewhere", async || {
            self.state
                .lock()
                .unwrap()
                .acknowledged
                .iter()
                .find(|write| write.at > since && write.address != address)
                .cloned()
        })
        .await
    }

    /// How many were acknowledged.
    pub fn count(&self) -> usize {
        self.state.lock().unwrap().acknowledged.len()
    }

    /// How many attempts came to nothing.
    pub fn failures(&self) -> usize {
        self.state.lock().unwrap().failures
    }

    /// Ends, and counts what the master has not: of all that was acknowledged, and of what had reached a
    /// replica.
    pub async fn lost(self, cluster: &Cluster, namespace: &str, master: &str) -> (usize, usize) {
        self.task.abort();
        let (writes, password) = {
            let state = self.state.lock().unwrap();
            (state.acknowledged.clone(), state.password.clone())
        };
        let address = cluster.address(namespace, master).await.unwrap();
        let mut connection = connect(&address, password.as_deref()).await.unwrap();
        let (mut lost, mut lost_replicated) = (0, 0);
        for some in writes.chunks(1000) {
            let mut pipeline = redis::pipe();
            for write in some {
                pipeline.cmd("EXISTS").arg(write.number);
            }
            let held: Vec<bool> = pipeline.query_async(&mut connection).await.unwrap();
            lost += held.iter().filter(|held| !**held).count();
            lost_replicated +=
                some.iter().zip(&held).filter(|(write, held)| write.is_replicated && !**held).count();
        }
        (lost, lost_replicated)
    }
}

impl Drop for Customer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(slices: Api<EndpointSlice>, state: Arc<Mutex<State>>) {
    let mut number = 0;
    loop {
        let password = state.lock().unwrap().password.clone();
        let Some((address, mut connection)) = reach(&slices, password.as_deref()).await else {
            state.lock().unwrap().failures += 1;
            tokio::time::sleep(PACE).await;
            continue;
        };
        loop {
            number += 1;
            let mut pipeline = redis::pipe();
            pipeline.cmd("SET").arg(number).arg(number).cmd("WAIT").arg(1).arg(20);
            let Ok((ok, replicas)) = pipeline.query_async::<(String, u64)>(&mut connection).await else {
                state.lock().unwrap().failures += 1;
                break;
            };
            assert_eq!(ok, "OK");
            let write =
                Write { number, at: Instant::now(), address: address.clone(), is_replicated: replicas > 0 };
            state.lock().unwrap().acknowledged.push(write);
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn reach(
    slices: &Api<EndpointSlice>,
    password: Option<&str>,
) -> Option<(String, MultiplexedConnection)> {
    let list = slices
        .list(&ListParams::default().labels("kubernetes.io/service-name=redis-example-master"))
        .await
        .ok()?;
    let endpoints = list.items.iter().flat_map(|slice| slice.endpoints.iter());
    let is_serving = |ready: Option<bool>| ready != Some(false);
    let ready = endpoints
        .filter(|endpoint| is_serving(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)));
    let address = ready.flat_map(|endpoint| endpoint.addresses.first().cloned()).next()?;
    let connection = connect(&address, password).await?;
    Some((address, connection))
}

/// Between two writes, and two attempts.
const PACE: Duration = Duration::from_millis(2);
