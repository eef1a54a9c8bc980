//! Failover and repair on a Kubernetes cluster: a real control plane, Pods as processes (`tests::cluster`),
//! and the operator as a process with a kubeconfig. A program of its own, since it starts itself again in
//! namespaces of its own. `cargo bench -p tests -- cluster` runs this part only.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark: a failure ends it where it happens"
)]

#[path = "failover/sample.rs"]
mod sample;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use redis_operator::kubernetes::crd::Redis;
use sample::{Sample, verdict};
use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::cluster::{self, Cluster, Settings, Signal, until};
use tests::real::build_program;
use tokio::process::{Child, Command};

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| word.chars().all(char::is_alphabetic)).collect();
    if !words.is_empty() && !words.iter().any(|word| word == "cluster") {
        return;
    }
    if let Err(why) = Cluster::is_possible().and_then(|()| cluster::enter(|| Ok(None))) {
        println!("{TITLE}\n  skipped: {why:#}");
        return;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run());
}

async fn run() {
    println!("{TITLE}");
    // Killed again and again: restarts are no part of what is measured.
    let settings =
        Settings { first: vec![CRDS.into()], back_off: Duration::from_millis(100), ..Settings::default() };
    let cluster = Cluster::start(Path::new("/run/cluster"), settings).await.unwrap();
    cluster.create_namespace(NAMESPACE).await;
    let _operator = operator(&cluster);
    cluster.apply(EXAMPLE).await;
    let seen = Seen::watch(&cluster);
    let [mut to_write, mut ours, mut theirs, mut repaired] = [(); 4].map(|()| Sample::default());
    for _ in 0..RUNS {
        let master = settled(&cluster).await;
        let (old, killed) = (cluster.running(NAMESPACE, &master).address().to_string(), Instant::now());
        cluster.running(NAMESPACE, &master).signal("redis", Signal::Kill);
        let written = first_write_elsewhere(&seen, &old).await;
        to_write.add(written - killed);
        let (labelled, bridged, shown) = until("label and both slices", async || seen.of(&old)).await;
        ours.add(bridged.saturating_duration_since(labelled));
        theirs.add(shown.saturating_duration_since(labelled));
    }
    for _ in 0..RUNS {
        settled(&cluster).await;
        repaired.add(repair(&cluster).await);
    }
    to_write.print("death -> write at the slice's address", "");
    ours.print("label seen -> the operator's slice seen", "");
    theirs.print("label seen -> Kubernetes' slice seen", "");
    repaired.print("deleted Service -> back", "");
    verdict("median ms to a write by the Service", to_write.median(), 100.0);
    verdict("worst ms of repair", repaired.max(), 2000.0);
}

/// Until the API has the Service again under another uid.
async fn repair(cluster: &Cluster) -> Duration {
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let uid = async || services.get_opt(SERVICE).await.unwrap().and_then(|service| service.metadata.uid);
    let before = uid().await;
    services.delete(SERVICE, &DeleteParams::default()).await.unwrap();
    let deleted = Instant::now();
    until("the service is back", async || uid().await.filter(|now| before.as_ref() != Some(now))).await;
    deleted.elapsed()
}

/// Writes to the address of the Service, as soon as it is another than the dead master's.
async fn first_write_elsewhere(seen: &Seen, old: &str) -> Instant {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = {
            let watched = seen.0.lock().unwrap();
            [watched.bridge.clone(), watched.slice.clone()]
        };
        for (address, _) in shown.into_iter().flatten().filter(|(address, _)| address != old) {
            if set(&address).await.is_some() {
                return Instant::now();
            }
        }
        assert!(Instant::now() < deadline, "never a write");
        // The pace of asking, not a wait for time to pass.
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

async fn set(address: &str) -> Option<String> {
    let mut connection = redis::Client::open(format!("redis://{address}:6379/"))
        .ok()?
        .get_multiplexed_async_connection()
        .await
        .ok()?;
    redis::cmd("SET").arg("lol").arg("woot").query_async(&mut connection).await.ok()
}

/// The last values of a client's watches, and their times.
#[derive(Clone)]
struct Seen(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    /// The address of the Pod with the label of a master.
    label: Option<(String, Instant)>,
    /// The address in the EndpointSlice of the master Service that the operator makes for the time being.
    bridge: Option<(String, Instant)>,
    /// That in the one which Kubernetes keeps.
    slice: Option<(String, Instant)>,
}

impl Seen {
    fn watch(cluster: &Cluster) -> Self {
        let seen = Self(Arc::default());
        let (pods, slices) = (seen.clone(), seen.clone());
        let by = |labels: &str| watcher::Config::default().labels(labels);
        let pods_of = watcher(Api::<Pod>::namespaced(cluster.client(), NAMESPACE), by("redis=example"));
        let mut labelled = BTreeSet::new();
        tokio::spawn(follow(pods_of, move |pod: Pod| {
            let is_master = pod
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get("role"))
                .is_some_and(|role| role == "master");
            let Some(address) = pod.status.and_then(|status| status.pod_ip) else { return };
            if is_master {
                labelled.insert(address);
            } else {
                labelled.remove(&address);
            }
            if labelled.len() == 1 {
                note(&mut pods.0.lock().unwrap().label, labelled.first().unwrap().clone());
            }
        }));
        let slices_of = watcher(
            Api::<EndpointSlice>::namespaced(cluster.client(), NAMESPACE),
            by(&format!("kubernetes.io/service-name={SERVICE}")),
        );
        tokio::spawn(follow(slices_of, move |slice: EndpointSlice| {
            let is_ours = slice.metadata.name.as_deref() == Some(SERVICE);
            let addresses: Vec<String> =
                slice.endpoints.into_iter().flat_map(|endpoint| endpoint.addresses).collect();
            if let [address] = &addresses[..] {
                let mut watched = slices.0.lock().unwrap();
                note(if is_ours { &mut watched.bridge } else { &mut watched.slice }, address.clone());
            }
        }));
        seen
    }

    /// When label and slices came to name another.
    fn of(&self, old: &str) -> Option<(Instant, Instant, Instant)> {
        let watched = self.0.lock().unwrap();
        let ((label, labelled), (bridge, bridged), (slice, shown)) =
            (watched.label.clone()?, watched.bridge.clone()?, watched.slice.clone()?);
        (label == slice && label == bridge && label != old).then_some((labelled, bridged, shown))
    }
}

fn note(known: &mut Option<(String, Instant)>, address: String) {
    if known.as_ref().is_none_or(|(before, _)| *before != address) {
        *known = Some((address, Instant::now()));
    }
}

async fn follow<K: Clone + Resource>(
    stream: impl futures_util::Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    mut take: impl FnMut(K),
) {
    let mut objects = pin!(stream.default_backoff().applied_objects());
    loop {
        match objects.try_next().await {
            Ok(Some(object)) => take(object),
            Ok(None) => return,
            // It begins anew by itself.
            Err(_) => {}
        }
    }
}

fn operator(cluster: &Cluster) -> Child {
    let kubeconfig = cluster.admin_kubeconfig();
    let log = std::fs::File::create("/run/cluster/operator.log").unwrap();
    let mut command = Command::new(build_program());
    command
        .args(["run", "--watch-namespace", NAMESPACE, "--namespace", NAMESPACE])
        .env("KUBECONFIG", kubeconfig);
    command.stderr(log).kill_on_drop(true).spawn().unwrap()
}

/// Waits until all three are ready, and healthy by the operator's word. Returns the master's name.
async fn settled(cluster: &Cluster) -> String {
    let (all, pods): (Api<Redis>, Api<Pod>) =
        (Api::namespaced(cluster.client(), NAMESPACE), Api::namespaced(cluster.client(), NAMESPACE));
    until("a master and its replicas, all ready", async || {
        let master =
            all.get_opt("example").await.ok()??.status.filter(|status| status.reason == "healthy")?.master?;
        let pods = pods.list(&kube::api::ListParams::default().labels("redis=example")).await.ok()?;
        (pods.items.len() == 3 && pods.items.iter().all(cluster::is_ready)).then_some(master)
    })
    .await
}

const TITLE: &str = "\n== on a Kubernetes cluster: SIGKILL of the master's process, and a deleted Service";
const NAMESPACE: &str = "bench";
const SERVICE: &str = "redis-example-master";
const RUNS: usize = 11;
const EXAMPLE: &str = "apiVersion: k8s.amaiz.com/v1alpha1
kind: Redis
metadata: {name: example, namespace: bench}
spec:
  replicas: 3
  redis: {image: redis:7}
";
/// As `deploy/` has them.
const CRDS: &str = include_str!("../../deploy/crds.yaml");
