//! The agent of all nodes: sees which Pods are bound to them, lives each as a task of its own, and makes a
//! volume for every claim. What a Pod does is its own affair.

use super::Settings;
use super::config::{Config, Steady};
use super::images::Image;
use super::kubelet;
use super::network::Bridge;
use super::node::Node;
use super::pod::{Seat, live};
use super::service_names::{ServiceNames, follow_services};
use anyhow::{Context, Result};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What every Pod needs of its environment.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) images: Vec<Image>,
    pub(super) bridge: Arc<Bridge>,
    pub(super) dir: PathBuf,
    pub(super) back_off: Duration,
    /// Those that are there, by namespace and name.
    pub(super) seats: Mutex<BTreeMap<(String, String), Arc<Seat>>>,
    /// What DNS has of Services.
    pub(super) services: Mutex<ServiceNames>,
}

impl Shared {
    /// Where a Pod is among the seats.
    pub(super) fn key(&self, pod: &Pod) -> (String, String) {
        (pod.namespace().unwrap_or_default(), pod.name_any())
    }

    /// Tells all Pods the names of those that have one in DNS: by their hosts files, in place of a server.
    pub(super) fn write_names(&self) {
        let seats = self.seats.lock().expect("no holder panics");
        let services = self.services.lock().expect("no holder panics").lines();
        let names: String = seats.values().filter_map(|seat| seat.dns()).chain(services).collect();
        for seat in seats.values() {
            // A Pod that is about to go needs no names.
            let _ = std::fs::write(seat.hosts(), seat.own_names() + &names);
        }
    }
}

/// The running agent. Dropping it ends it, and all Pods.
pub(super) struct Agent {
    pub(super) shared: Arc<Shared>,
    pub(super) nodes: Vec<Arc<Node>>,
    _tasks: JoinSet<()>,
}

impl Agent {
    /// Registers the nodes and begins.
    pub(super) async fn start(
        client: Client,
        bridge: Arc<Bridge>,
        dir: PathBuf,
        settings: Settings,
    ) -> Result<Self> {
        let Settings { nodes, images, first: _, back_off } = settings;
        let config = Config::watch(&client);
        let shared = Arc::new(Shared {
            client,
            config,
            images,
            bridge,
            dir,
            back_off,
            seats: Mutex::default(),
            services: Mutex::default(),
        });
        let nodes: Vec<_> = (0..nodes).map(|place| Arc::new(Node::new(place))).collect();
        let mut tasks = JoinSet::new();
        for node in &nodes {
            node.register(&shared.client).await?;
            let (node, client) = (Arc::clone(node), shared.client.clone());
            tasks.spawn({
                let node = Arc::clone(&node);
                async move { node.beat(&client).await }
            });
            tasks.spawn(kubelet::serve(node, Arc::clone(&shared)));
        }
        tasks.spawn(follow_pods(Arc::clone(&shared), nodes.clone()));
        tasks.spawn(follow_claims(Arc::clone(&shared)));
        tasks.spawn(follow_services(Arc::clone(&shared)));
        Ok(Self { shared, nodes, _tasks: tasks })
    }

    /// A node by its name.
    pub(super) fn node(&self, name: &str) -> Result<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name == name).with_context(|| format!("no node is called {name}"))
    }
}

/// The way to a Pod's task.
struct Line {
    pod: watch::Sender<Arc<Pod>>,
    gone: watch::Sender<bool>,
}

async fn follow_pods(shared: Arc<Shared>, nodes: Vec<Arc<Node>>) {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut listed = BTreeSet::new();
    let pods = watcher(Api::<Pod>::all(shared.client.clone()), watcher::Config::default()).backoff(Steady);
    let mut pods = std::pin::pin!(pods);
    let mut see = |pod: Pod, lines: &mut BTreeMap<String, Line>| {
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let (Some(uid), Some(node)) = (pod.uid(), nodes.iter().find(|node| Some(&node.name) == bound)) else {
            return;
        };
        let pod = Arc::new(pod);
        if let Some(line) = lines.get(&uid) {
            line.pod.send_replace(pod);
            return;
        }
        let line = Line { pod: watch::Sender::new(pod), gone: watch::Sender::new(false) };
        tasks.spawn(live(Arc::clone(&shared), Arc::clone(node), line.pod.subscribe(), line.gone.subscribe()));
        lines.insert(uid, line);
    };
    let leave = |line: Line| {
        line.gone.send_replace(true);
    };
    while let Some(event) = pods.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                see(pod, &mut lines);
            }
            Ok(Event::InitDone) => {
                lines.extract_if(.., |uid, _| !listed.contains(uid)).for_each(|(_, line)| leave(line))
            }
            Ok(Event::Apply(pod)) => see(pod, &mut lines),
            Ok(Event::Delete(pod)) => {
                pod.uid().and_then(|uid| lines.remove(&uid)).into_iter().for_each(leave)
            }
            // The API is away: the watch reconnects by itself.
            Err(_) => {}
        }
    }
}

/// Gives every claim a folder, as a volume that is meant for it alone; binding the two is the controller's
/// affair. A folder is as large as a claim asks for, as soon as it does.
async fn follow_claims(shared: Arc<Shared>) {
    let volumes: Api<PersistentVolume> = Api::all(shared.client.clone());
    let claims =
        watcher(Api::<PersistentVolumeClaim>::all(shared.client.clone()), watcher::Config::default());
    let claims = claims.backoff(Steady).applied_objects();
    let mut claims = std::pin::pin!(claims);
    while let Some(claim) = claims.next().await {
        let Ok(claim) = claim else { continue };
        let (Some(uid), Some(spec)) = (claim.uid(), &claim.spec) else { continue };
        let name = format!("folder-{uid}");
        let capacity = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        if spec.volume_name.is_some() {
            let has = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
            if has.is_some() && has != capacity {
                let larger = json!({ "spec": { "capacity": capacity } });
                let _ = volumes.patch(&name, &PatchParams::default(), &Patch::Merge(&larger)).await;
                let larger = json!({ "status": { "capacity": capacity } });
                let claims: Api<PersistentVolumeClaim> =
                    Api::namespaced(shared.client.clone(), &claim.namespace().unwrap_or_default());
                let of_claim = (claim.name_any(), PatchParams::default());
                let _ = claims.patch_status(&of_claim.0, &of_claim.1, &Patch::Merge(&larger)).await;
            }
            continue;
        }
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
            "capacity": capacity,
            "accessModes": spec.access_modes,
            "storageClassName": spec.storage_class_name.as_deref().unwrap_or_default(),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": shared.dir.join("volumes").join(&name)},
            "claimRef": {"namespace": claim.namespace(), "name": claim.name_any(), "uid": uid},
        }});
        // What fails is tried again with the claim's next event, or the next listing.
        let _ = volumes.patch(&name, &PatchParams::apply("node-agent").force(), &Patch::Apply(&volume)).await;
    }
}
