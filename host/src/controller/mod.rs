//! Dispatches watch events to reconcilers: one task for each resource, of whichever kind, so that one that is
//! stuck delays no other.

pub mod policy;

mod claims;
mod context;
mod endpoints;
mod group;

pub use context::Context;
pub use endpoints::Endpoints;
pub use group::FormerPods;

use crate::driver::moment;
use crate::group::Moment;
use crate::kubernetes::kinds::{Kind, Resource};
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::ownership::Sighting;
use crate::kubernetes::record::record_name;
use crate::kubernetes::scope::{Scope, WatchedSecrets};
use crate::kubernetes::status::{Problem, refuse};
use crate::kubernetes::watch::{Key, SeenFace, Set, WatchEvent, lists, watch, watch_secret};
use crate::report::{Backoff, Dependency, Task, restarts};
use claims::Claims;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use group::{Observed, reconcile};
use k8s_openapi::api::core::v1::Pod;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::sync::watch::Receiver;
use tokio::task::{Id, JoinError, JoinSet};

/// Everything that is known of the cluster, by resource.
struct Controller {
    context: Arc<Context>,
    authority: Receiver<bool>,
    reconcilers: BTreeMap<Key, Handle>,
    /// Which resource has which name.
    claims: Claims,
    /// Why resources are not served, by kind.
    refusals: BTreeMap<(Key, &'static str), Refusal>,
    /// Pods may be observed before the resource that they belong to.
    pods: BTreeMap<Key, BTreeMap<String, Arc<Pod>>>,
    sets: BTreeMap<Key, Arc<Set>>,
    /// The slices by which operators serve Sentinel endpoints.
    faces: BTreeMap<Key, BTreeMap<String, SeenFace>>,
    /// How many Sentinel endpoints are ready.
    sentinels: BTreeMap<Key, i32>,
    /// The objects of each resource, for a reconciler that starts later: each kind has a watch of its own, so
    /// they may be listed before their resource, and no event says again what does not change.
    objects: BTreeMap<Key, BTreeMap<(&'static str, String), Arc<Sighting>>>,
    /// The objects with the records of groups.
    records: BTreeMap<Key, Arc<Sighting>>,
    /// The list of those is complete, or refused.
    are_records_listed: bool,
    nodes: BTreeMap<String, Place>,
    /// An operator that has not seen all of these cannot take over, so it is not ready.
    lists: Vec<(&'static str, Dependency)>,
    /// The reconcilers, as tasks.
    tasks: JoinSet<()>,
    /// Of the tasks that run, whose each is.
    keys: BTreeMap<Id, Key>,
    /// Tasks that ended by a fault: one ends when its resource is due for another.
    due: JoinSet<(Key, Id)>,
    happenings: SelectAll<BoxStream<'static, WatchEvent>>,
    /// Each Secret has a watch of its own.
    are_secrets_named: bool,
}

/// Why a resource is not served.
struct Refusal {
    kind: &'static Kind,
    why: Problem,
    is_written: bool,
}

struct Handle {
    resource: Arc<Resource>,
    task: Id,
    began: Instant,
    backoff: Backoff,
    observed: UnboundedSender<Observed>,
    /// The Secrets that it names.
    secrets: Vec<String>,
    /// The watches of single Secrets, by name: each ends when its sender is dropped.
    watches: BTreeMap<String, oneshot::Sender<()>>,
}

/// Looks after the resources in the scope until dropped.
pub async fn run(context: Context, scope: &Scope, authority: Receiver<bool>) {
    let happenings = select_all([watch(&context.watches, scope)]);
    let (reconcilers, pods, sets, nodes) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let lists = lists(scope)
        .map(|kind| (kind, context.health.dependency(format!("the list of {kind} objects"), u64::MAX)))
        .collect();
    let mut controller = Controller {
        context: Arc::new(context),
        authority,
        reconcilers,
        claims: Claims::default(),
        refusals: BTreeMap::new(),
        pods,
        sets,
        faces: BTreeMap::new(),
        sentinels: BTreeMap::new(),
        objects: BTreeMap::new(),
        records: BTreeMap::new(),
        are_records_listed: false,
        nodes,
        lists,
        tasks: JoinSet::new(),
        keys: BTreeMap::new(),
        due: JoinSet::new(),
        happenings,
        are_secrets_named: scope.secrets == WatchedSecrets::Named,
    };
    let mut count = tokio::time::interval(COUNT_EVERY);
    loop {
        tokio::select! {
            happening = controller.happenings.next() => match happening {
                Some(happening) => controller.take(happening),
                None => return,
            },
            Some(ended) = controller.tasks.join_next_with_id() => controller.observe_end(ended),
            Some(due) = controller.due.join_next() => controller.restart(due),
            Ok(()) = controller.authority.changed() => controller.write_refusals(),
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
                if self.reconcilers.get(&key).is_some_and(|known| kind.is_of(&known.resource)) {
                    self.tell(&key, Observed::Invalid(error));
                } else {
                    self.refuse(kind, key, Problem { reason: "InvalidSpec", message: error });
                }
            }
            WatchEvent::Unwanted(key, kind) => {
                self.claims.withdraw(&key, kind);
                self.refusals.remove(&(key.clone(), kind.name));
                self.serve_holder(&key);
            }
            WatchEvent::Sentinels(key, ready) => {
                self.sentinels.insert(key.clone(), ready);
                self.tell(&key, Observed::Sentinels(ready));
            }
            WatchEvent::Pod(key, pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.pods.entry(key.clone()).or_default().insert(name, Arc::clone(&pod));
                self.observed_with(&pod).into_iter().for_each(|word| self.tell(&key, word));
            }
            WatchEvent::PodGone(key, name) => self.forget_pod(&key, name),
            WatchEvent::Set(key, set) => {
                self.sets.insert(key.clone(), Arc::clone(&set));
                self.tell(&key, Observed::Set(set));
            }
            WatchEvent::Object(key, kind, name, sighting) => {
                let sighting = sighting.map(Arc::new);
                if kind == RECORDS && name == record_name(&key.1) {
                    match &sighting {
                        Some(sighting) => drop(self.records.insert(key.clone(), Arc::clone(sighting))),
                        None => drop(self.records.remove(&key)),
                    }
                } else {
                    self.remember(&key, (kind, name.clone()), sighting.as_ref());
                }
                self.tell(&key, Observed::Object(kind, name, sighting))
            }
            WatchEvent::Face(key, name, seen) => {
                let faces = self.faces.entry(key.clone()).or_default();
                match &seen {
                    Some(seen) => drop(faces.insert(name.clone(), seen.clone())),
                    None => drop(faces.remove(&name)),
                }
                if faces.is_empty() {
                    self.faces.remove(&key);
                }
                self.tell(&key, Observed::Face(name, seen));
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
            WatchEvent::Listed(kind) => {
                self.lists_of(kind, Dependency::answered);
                self.know_records(kind);
            }
            WatchEvent::Refused(kind) => {
                self.lists_of(kind, Dependency::refused);
                self.know_records(kind);
            }
        }
    }

    /// Keeps an object for a reconciler that starts later.
    fn remember(&mut self, key: &Key, object: (&'static str, String), sighting: Option<&Arc<Sighting>>) {
        match sighting {
            Some(seen) => {
                self.objects.entry(key.clone()).or_default().insert(object, Arc::clone(seen));
            }
            None => {
                if let Some(known) = self.objects.get_mut(key) {
                    known.remove(&object);
                    if known.is_empty() {
                        self.objects.remove(key);
                    }
                }
            }
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

    /// What was not seen by now of stored records does not exist, or will not be seen.
    fn know_records(&mut self, kind: &str) {
        if kind == RECORDS && !std::mem::replace(&mut self.are_records_listed, true) {
            let all = self.reconcilers.values();
            all.for_each(|known| drop(known.observed.unbounded_send(Observed::RecordsListed)));
        }
    }

    /// Notes why a resource has no reconciler, and writes that as its conditions.
    fn refuse(&mut self, kind: &'static Kind, key: Key, why: Problem) {
        let refusal = Refusal { kind, why, is_written: false };
        let known = self.refusals.get(&(key.clone(), kind.name));
        // Once for each reason: another operator whose resource it is may write its status as well.
        if known.is_none_or(|known| known.why != refusal.why) {
            self.refusals.insert((key, kind.name), refusal);
            self.write_refusals();
        }
    }

    /// Writes what was not written yet, if this operator has authority.
    fn write_refusals(&mut self) {
        if !*self.authority.borrow() {
            return;
        }
        for ((key, _), refusal) in self.refusals.iter_mut().filter(|(_, refusal)| !refusal.is_written) {
            refusal.is_written = true;
            let (client, kind) = (self.context.client.clone(), refusal.kind.api());
            tokio::spawn(refuse(client, kind, key.clone(), refusal.why.clone()));
        }
    }

    fn want(&mut self, key: Key, resource: Arc<Resource>) {
        if resource.object.metadata.deletion_timestamp.is_some() {
            // Its objects go with it; until they are gone, they are not repaired.
            self.claims.withdraw(&key, resource.kind);
            return self.serve_holder(&key);
        }
        if let Some((kind, why)) = self.claims.enter(&key, resource) {
            self.refuse(kind, key.clone(), why);
        }
        self.serve_holder(&key);
    }

    /// Serves the resource that has a name now, and no other.
    fn serve_holder(&mut self, key: &Key) {
        let Some(resource) = self.claims.holder(key) else {
            self.reconcilers.remove(key);
            self.sentinels.remove(key);
            return;
        };
        let known = self.reconcilers.get(key);
        if known.is_none_or(|known| !Arc::ptr_eq(&known.resource, &resource)) {
            self.serve(key.clone(), resource);
        }
    }

    fn serve(&mut self, key: Key, resource: Arc<Resource>) {
        self.refusals.remove(&(key.clone(), resource.kind.name));
        // Another uid is another group, whatever its name is.
        let known = self.reconcilers.get_mut(&key).filter(|known| known.resource.uid() == resource.uid());
        if let Some(reconciler) = known {
            reconciler.secrets = secrets(&resource);
            reconciler.resource = Arc::clone(&resource);
            self.watch_secrets(&key);
            return self.tell(&key, Observed::Resource(resource));
        }
        self.start(key, resource, Backoff::default());
    }

    /// Starts the reconciler of a resource, in place of any other, with all that is known of it.
    fn start(&mut self, key: Key, resource: Arc<Resource>, backoff: Backoff) {
        let (observed, inputs) = unbounded();
        let (context, authority) = (Arc::clone(&self.context), self.authority.clone());
        let task = self.tasks.spawn(reconcile(context, Arc::clone(&resource), inputs, authority)).id();
        self.keys.insert(task, key.clone());
        if let Some(sighting) = self.records.get(&key) {
            let (name, sighting) = (record_name(&key.1), Some(Arc::clone(sighting)));
            drop(observed.unbounded_send(Observed::Object(RECORDS, name, sighting)));
        }
        if self.are_records_listed {
            drop(observed.unbounded_send(Observed::RecordsListed));
        }
        if let Some(ready) = self.sentinels.get(&key) {
            drop(observed.unbounded_send(Observed::Sentinels(*ready)));
        }
        if let Some(set) = self.sets.get(&key) {
            drop(observed.unbounded_send(Observed::Set(Arc::clone(set))));
        }
        for ((kind, name), seen) in self.objects.get(&key).into_iter().flatten() {
            drop(observed.unbounded_send(Observed::Object(kind, name.clone(), Some(Arc::clone(seen)))));
        }
        for (name, seen) in self.faces.get(&key).into_iter().flatten() {
            drop(observed.unbounded_send(Observed::Face(name.clone(), Some(seen.clone()))));
        }
        for pod in self.pods.get(&key).into_iter().flat_map(BTreeMap::values) {
            self.observed_with(pod).into_iter().for_each(|word| drop(observed.unbounded_send(word)));
        }
        let secrets = secrets(&resource);
        let (began, watches) = (Instant::now(), BTreeMap::new());
        let handle = Handle { resource, task, began, backoff, observed, secrets, watches };
        self.reconcilers.insert(key.clone(), handle);
        self.watch_secrets(&key);
    }

    /// Watches the Secrets that a resource names now, and its own, where each has a watch of its own.
    fn watch_secrets(&mut self, key: &Key) {
        let Some(reconciler) = self.reconcilers.get_mut(key).filter(|_| self.are_secrets_named) else {
            return;
        };
        let own = reconciler.resource.settings.family.secrets(&key.1);
        let wanted: BTreeSet<String> = reconciler.secrets.iter().cloned().chain(own).collect();
        reconciler.watches.retain(|name, _| wanted.contains(name));
        for name in wanted {
            let Entry::Vacant(entry) = reconciler.watches.entry(name) else { continue };
            let (watch, ended) = oneshot::channel();
            let events = watch_secret(&self.context.watches, &key.0, entry.key()).take_until(ended);
            self.happenings.push(events.boxed());
            entry.insert(watch);
        }
    }

    /// A reconciler has ended: because its handle was dropped, or by a fault.
    fn observe_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, is_fault) = match &ended {
            Ok((task, ())) => (*task, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(key) = self.keys.remove(&task) else { return };
        let Some(reconciler) = self.reconcilers.get_mut(&key).filter(|known| known.task == task) else {
            return;
        };
        if is_fault {
            let delay = reconciler.backoff.next(reconciler.began.elapsed());
            let of = format!("{}/{}", key.0, key.1);
            restarts(Task::Reconciler, &of, &self.context.metrics, delay);
            self.due.spawn(async move {
                tokio::time::sleep(delay).await;
                (key, task)
            });
        }
    }

    /// Starts the reconciler again that ended by a fault, unless its resource is gone or has another.
    fn restart(&mut self, due: Result<(Key, Id), JoinError>) {
        let Ok((key, task)) = due else { return };
        let known = self.reconcilers.get(&key).filter(|known| known.task == task);
        if let Some((resource, backoff)) = known.map(|known| (Arc::clone(&known.resource), known.backoff)) {
            self.start(key, resource, backoff);
        }
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

/// The names of the Secrets that a resource names.
fn secrets(resource: &Resource) -> Vec<String> {
    resource.references.secrets().map(str::to_owned).collect()
}

/// The kind of the objects with records.
const RECORDS: &str = "ConfigMap";
const COUNT_EVERY: Duration = Duration::from_secs(1);
