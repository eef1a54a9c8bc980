//! One Pod on a node: network, volumes, init containers, containers, and its end. It lives as a task of its
//! own, and all that it started ends with that task.

mod container;
mod environment;
mod ledger;
mod probe;
mod process;
mod status;
mod volumes;

pub(super) use status::holds;
pub(super) use volumes::token_of;

use super::agent::Shared;
use super::network::PodNetwork;
use super::node::Node;
use anyhow::{Context, Result};
use container::{asked, keep};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Error, ResourceExt};
use ledger::{Ledger, now};
use redis_operator::local::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use volumes::Volumes;

/// What the parts of a Pod share, and faults reach.
pub(super) struct Seat {
    pub(super) network: PodNetwork,
    pub(super) node: Arc<Node>,
    shared: Arc<Shared>,
    pod: watch::Receiver<Arc<Pod>>,
    ledger: Ledger,
    folders: Mutex<BTreeMap<String, PathBuf>>,
    dir: PathBuf,
    started_at: Time,
    since: Mutex<status::Since>,
}

impl Seat {
    /// Signals the first process of a container.
    pub(super) fn signal(&self, container: &str, what: Signal) -> Result<()> {
        let pid =
            self.ledger.pid(container).with_context(|| format!("container {container} does not run"))?;
        Ok(process::signal(pid, what)?)
    }

    /// Runs a command in a container, with nothing of its environment but the path.
    pub(super) async fn exec(&self, container: &str, words: &[String]) -> Result<bool> {
        let pid =
            self.ledger.pid(container).with_context(|| format!("container {container} does not run"))?;
        process::exec(pid, words, &environment::defaults(), Duration::from_secs(30)).await
    }

    /// Where a container's output is.
    pub(super) fn log(&self, container: &str) -> PathBuf {
        self.dir.join(format!("{container}.log"))
    }

    /// What its own hosts file has of it.
    pub(super) fn own_names(&self) -> String {
        own_names(&self.network, &self.pod.borrow().name_any())
    }

    /// What DNS has of it: an address and a name, for a Pod with a subdomain.
    pub(super) fn dns(&self) -> Option<String> {
        let pod = self.pod.borrow();
        let spec = pod.spec.as_ref()?;
        let (host, domain, namespace) = (spec.hostname.as_ref()?, spec.subdomain.as_ref()?, pod.namespace()?);
        Some(format!("{} {host}.{domain}.{namespace}.svc\n", self.network.address()))
    }

    /// Where its hosts file is.
    pub(super) fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    fn grace(&self) -> Duration {
        let pod = self.pod.borrow();
        let asked = pod.metadata.deletion_grace_period_seconds;
        let usual = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(asked.or(usual).and_then(|seconds| seconds.try_into().ok()).unwrap_or(30))
    }

    fn containers(&self) -> (Vec<Container>, Vec<Container>, String) {
        let spec = self.pod.borrow().spec.clone().unwrap_or_default();
        let policy = spec.restart_policy.unwrap_or_else(|| "Always".into());
        (spec.init_containers.unwrap_or_default(), spec.containers, policy)
    }
}

/// Runs a Pod until it is done and deleted. `gone` is set when the object vanished: then all of it is killed
/// at once.
pub(super) async fn live(
    shared: Arc<Shared>,
    node: Arc<Node>,
    pod: watch::Receiver<Arc<Pod>>,
    mut gone: watch::Receiver<bool>,
) {
    node.is_found().await;
    let Ok(seat) = sit_down(&shared, &node, pod) else { return };
    shared.seats.lock().expect("no holder panics").insert(shared.key(&seat.pod.borrow()), Arc::clone(&seat));
    shared.write_names();
    let is_gone = async {
        let _ = gone.wait_for(|gone| *gone).await;
        node.is_found().await;
    };
    tokio::select! {
        () = run(&seat) => {}
        () = is_gone => {}
    }
    let key = shared.key(&seat.pod.borrow());
    {
        let mut seats = shared.seats.lock().expect("no holder panics");
        if seats.get(&key).is_some_and(|present| Arc::ptr_eq(present, &seat)) {
            seats.remove(&key);
        }
    }
    shared.write_names();
}

fn own_names(network: &PodNetwork, name: &str) -> String {
    format!("127.0.0.1 localhost\n{} {name}\n", network.address())
}

fn sit_down(shared: &Arc<Shared>, node: &Arc<Node>, pod: watch::Receiver<Arc<Pod>>) -> Result<Arc<Seat>> {
    let network = shared.bridge.attach()?;
    let (ledger, dir, name) = {
        let pod = pod.borrow();
        let spec = pod.spec.as_ref().context("a Pod without a spec")?;
        let name = pod.metadata.name.clone().unwrap_or_default();
        let folder = format!(
            "{}_{name}_{}",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.uid.as_deref().unwrap_or_default()
        );
        (
            Ledger::new(spec.init_containers.iter().flatten().chain(&spec.containers)),
            shared.dir.join("pods").join(folder),
            name,
        )
    };
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("hosts"), own_names(&network, &name))?;
    let (shared, node) = (Arc::clone(shared), Arc::clone(node));
    Ok(Arc::new(Seat {
        network,
        node,
        shared,
        pod,
        ledger,
        folders: Mutex::default(),
        dir,
        started_at: now(),
        since: Mutex::default(),
    }))
}

async fn run(seat: &Seat) {
    let (end, ending) = watch::channel(None);
    let publishing = status::publish(seat);
    let work = async {
        let mut volumes = Volumes::new(seat.shared.client.clone(), seat.dir.join("volumes"));
        let mut asked_now = ending.clone();
        let is_prepared = tokio::select! {
            () = prepare(seat, &mut volumes) => true,
            _ = asked(&mut asked_now) => false,
        };
        if is_prepared {
            tokio::select! {
                () = work(seat, &ending) => {}
                () = refresh(seat, &mut volumes) => {}
            }
        }
        // Done by itself: the object stays until it is deleted.
        asked(&mut asked_now).await;
    };
    tokio::select! {
        () = work => {}
        () = await_deletion(seat, &end) => {}
        () = async { publishing.await; std::future::pending().await } => {}
    }
    status::publish_once(seat).await;
    delete(seat).await;
}

/// Init containers one after the other, then all others at once.
async fn work(seat: &Seat, ending: &container::Deadline) {
    let (first, main, policy) = seat.containers();
    let first_policy = if policy == "Never" { "Never" } else { "OnFailure" };
    for container in &first {
        if keep(seat, container, first_policy, ending.clone()).await != Some(0) {
            return;
        }
    }
    for container in &main {
        seat.ledger.waits(&container.name, "ContainerCreating", None);
    }
    join_all(main.iter().map(|container| keep(seat, container, &policy, ending.clone()))).await;
}

/// Returns when all volumes are there for the first time.
async fn prepare(seat: &Seat, volumes: &mut Volumes) {
    let mut changes = seat.shared.config.changes();
    while !update(seat, volumes).await {
        // A claim is bound, or a token issued, without an event.
        let _ = tokio::time::timeout(PACE, changes.changed()).await;
    }
}

/// Keeps them as ConfigMaps, Secrets and the Pod's own fields are, for ever.
async fn refresh(seat: &Seat, volumes: &mut Volumes) {
    let (mut changes, mut pod) = (seat.shared.config.changes(), seat.pod.clone());
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => {}
            Ok(()) = pod.changed() => {}
            else => std::future::pending().await,
        }
        update(seat, volumes).await;
    }
}

async fn update(seat: &Seat, volumes: &mut Volumes) -> bool {
    let pod = seat.pod.borrow().clone();
    let refreshed = volumes.refresh(&pod, &seat.network.address().to_string(), &seat.shared.config).await;
    if let Ok(folders) = refreshed {
        *seat.folders.lock().expect("no holder panics") = folders;
        return true;
    }
    false
}

/// Sets the deadline when the Pod is to end, and moves it when that changes. Never returns.
async fn await_deletion(seat: &Seat, end: &watch::Sender<Option<Instant>>) {
    let mut pod = seat.pod.clone();
    let mut last = None;
    loop {
        let deleted_at = pod.borrow_and_update().metadata.deletion_timestamp.clone();
        if deleted_at.is_some() && deleted_at != last {
            seat.node.is_found().await;
            let _ = end.send(Some(Instant::now() + seat.grace()));
            last = deleted_at;
        }
        if pod.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The last word of a node on a Pod: now it may go.
async fn delete(seat: &Seat) {
    let pod = seat.pod.borrow().clone();
    let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else { return };
    let pods: Api<Pod> = Api::namespaced(seat.shared.client.clone(), namespace);
    let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
    let now = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    loop {
        seat.node.is_found().await;
        match pods.delete(name, &now).await {
            Ok(_) => return,
            Err(Error::Api(answer)) if matches!(answer.code, 404 | 409) => return,
            Err(_) => tokio::time::sleep(PACE).await,
        }
    }
}

/// Between two attempts, where no event announces the change.
const PACE: Duration = Duration::from_millis(100);
