//! Dispatches watch events to reconcilers: one task for each resource, of whichever kind, so that one that is
//! stuck delays no other.

pub mod policy;

mod context;
mod group;

pub use context::Context;

use crate::driver::moment;
use crate::group::Moment;
use crate::kubernetes::kinds::Resource;
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::status::refuse;
use crate::kubernetes::watch::{Key, WatchEvent, lists, watch};
use crate::report::Dependency;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::StreamExt;
use group::{Observed, reconcile};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;

/// Everything that is known of the cluster, by resource.
struct Controller {
    context: Arc<Context>,
    authority: Receiver<bool>,
    reconcilers: BTreeMap<Key, Handle>,
    /// Pods may be observed before the resource that they belong to.
    pods: BTreeMap<Key, BTreeMap<String, Arc<Pod>>>,
    revisions: BTreeMap<Key, String>,
    nodes: BTreeMap<String, Place>,
    /// An operator that has not seen all of these cannot take over, so it is not ready.
    lists: Vec<(&'static str, Dependency)>,
}

struct Handle {
    observed: UnboundedSender<Observed>,
    /// The Secrets that it names.
    secrets: Vec<String>,
}

/// Looks after the resources of one namespace, or of all, until dropped.
pub async fn run(context: Context, namespace: Option<&str>, authority: Receiver<bool>) {
    let mut happenings = watch(&context.watches, namespace);
    let (reconcilers, pods, revisions, nodes) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let lists = lists()
        .map(|kind| (kind, context.health.dependency(format!("the list of {kind} objects"), u64::MAX)))
        .collect();
    let mut controller =
        Controller { context: Arc::new(context), authority, reconcilers, pods, revisions, nodes, lists };
    let mut count = tokio::time::interval(COUNT_EVERY);
    loop {
        tokio::select! {
            happening = happenings.next() => match happening {
                Some(happening) => controller.take(happening),
                None => return,
            },
            _ = count.tick() => controller.count(),
        }
    }
}

impl Controller {
    fn take(&mut self, happening: WatchEvent) {
        match happening {
            WatchEvent::Wanted(key, resource) => self.want(key, resource),
            WatchEvent::Invalid(key, kind, error) => {
                tracing::warn!(
                    namespace = key.0,
                    name = key.1,
                    error,
                    "resource not understood, its last version stands"
                );
                if self.reconcilers.contains_key(&key) {
                    self.tell(&key, Observed::Invalid(error));
                } else if *self.authority.borrow() {
                    tokio::spawn(refuse(self.context.client.clone(), kind.api(), key, error));
                }
            }
            WatchEvent::Unwanted(key) => drop(self.reconcilers.remove(&key)),
            WatchEvent::Pod(key, pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.pods.entry(key.clone()).or_default().insert(name, Arc::clone(&pod));
                self.observed_with(&pod).into_iter().for_each(|word| self.tell(&key, word));
            }
            WatchEvent::PodGone(key, name) => self.forget_pod(&key, name),
            WatchEvent::Revision(key, revision) => {
                self.revisions.insert(key.clone(), revision.clone());
                self.tell(&key, Observed::Revision(revision));
            }
            WatchEvent::Object(key, kind, name, version) => {
                self.tell(&key, Observed::Object(kind, name, version))
            }
            WatchEvent::Secret((namespace, name)) => {
                let of = |(key, reconciler): &(&Key, &Handle)| {
                    key.0 == namespace && reconciler.secrets.contains(&name)
                };
                self.reconcilers
                    .iter()
                    .filter(of)
                    .for_each(|(_, reconciler)| drop(reconciler.observed.unbounded_send(Observed::Secret)));
            }
            WatchEvent::Node(name, place) => self.see_node(name, place),
            WatchEvent::Listed(kind) => self.lists_of(kind, Dependency::answered),
            WatchEvent::Refused(kind) => self.lists_of(kind, Dependency::refused),
        }
    }

    /// Counts the groups by state. Without an event, silence stops being recent.
    fn count(&self) {
        let counts = self.context.census.refresh(moment(self.context.start, Instant::now()));
        self.context.metrics.count_groups(counts.by_state());
    }

    fn lists_of(&self, kind: &'static str, say: impl Fn(&Dependency, Moment)) {
        let now = moment(self.context.start, Instant::now());
        self.lists.iter().filter(|(of, _)| *of == kind).for_each(|(_, list)| say(list, now));
    }

    fn want(&mut self, key: Key, resource: Arc<Resource>) {
        if resource.object.metadata.deletion_timestamp.is_some() {
            // Its objects go with it; until they are gone, they are not repaired.
            self.reconcilers.remove(&key);
            return;
        }
        let secrets = resource.references.secrets().map(str::to_owned).collect();
        if let Some(reconciler) = self.reconcilers.get_mut(&key) {
            reconciler.secrets = secrets;
            return self.tell(&key, Observed::Resource(resource));
        }
        let (observed, inputs) = unbounded();
        tokio::spawn(reconcile(Arc::clone(&self.context), resource, inputs, self.authority.clone()));
        for pod in self.pods.get(&key).into_iter().flat_map(BTreeMap::values) {
            self.observed_with(pod).into_iter().for_each(|word| drop(observed.unbounded_send(word)));
        }
        if let Some(revision) = self.revisions.get(&key) {
            drop(observed.unbounded_send(Observed::Revision(revision.clone())));
        }
        self.reconcilers.insert(key, Handle { observed, secrets });
    }

    /// A Pod, after the node that it runs on.
    fn observed_with(&self, pod: &Arc<Pod>) -> Vec<Observed> {
        let known = node(pod).and_then(|name| self.nodes.get_key_value(name));
        let place = known.map(|(name, place)| Observed::Node(name.clone(), place.clone()));
        place.into_iter().chain([Observed::Pod(Arc::clone(pod))]).collect()
    }

    fn see_node(&mut self, name: String, place: Place) {
        if self.nodes.get(&name) == Some(&place) {
            return;
        }
        let runs_there =
            |pods: &BTreeMap<String, Arc<Pod>>| pods.values().any(|pod| node(pod) == Some(&name));
        for key in self.pods.iter().filter(|(_, pods)| runs_there(pods)).map(|(key, _)| key) {
            self.tell(key, Observed::Node(name.clone(), place.clone()));
        }
        self.nodes.insert(name, place);
    }

    fn forget_pod(&mut self, key: &Key, name: String) {
        if let Some(pods) = self.pods.get_mut(key) {
            pods.remove(&name);
            if pods.is_empty() {
                self.pods.remove(key);
            }
        }
        self.tell(key, Observed::PodGone(name));
    }

    fn tell(&self, key: &Key, word: Observed) {
        if let Some(reconciler) = self.reconcilers.get(key) {
            // A reconciler that has ended is about to be dropped here, too.
            drop(reconciler.observed.unbounded_send(word));
        }
    }
}

const COUNT_EVERY: Duration = Duration::from_secs(1);
