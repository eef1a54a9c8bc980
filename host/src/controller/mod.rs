//! Looks after all Redis resources: one task for each, so that one that is stuck delays nobody. The only one
//! that sees all.

pub mod policy;

mod context;
mod group;

pub use context::Context;

use crate::driver::moment;
use crate::group::Moment;
use crate::kubernetes::crd::Redis;
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::status::refuse;
use crate::kubernetes::watch::{KINDS, Key, WatchEvent, watch};
use crate::report::Dependency;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::StreamExt;
use group::{Word, reconcile};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch::Receiver;

/// Everything that is known of the cluster, by resource.
struct Controller {
    context: Arc<Context>,
    authority: Receiver<bool>,
    reconcilers: BTreeMap<Key, Handle>,
    /// Pods may be told of before what they belong to.
    pods: BTreeMap<Key, BTreeMap<String, Arc<Pod>>>,
    revisions: BTreeMap<Key, String>,
    nodes: BTreeMap<String, Place>,
    /// What a watch that began anew has told so far: resources, and Pods.
    listed: Option<BTreeSet<Key>>,
    listed_pods: Option<BTreeSet<(Key, String)>>,
    /// Who has not seen all of these yet, cannot take over.
    lists: Vec<(&'static str, Dependency)>,
}

struct Handle {
    words: UnboundedSender<Word>,
    /// The Secrets that it names.
    secrets: Vec<String>,
}

/// Looks after the resources of one namespace, or of all, until dropped.
pub async fn run(context: Context, namespace: Option<&str>, authority: Receiver<bool>) {
    let mut happenings = watch(&context.watches, namespace);
    let (reconcilers, pods, revisions, nodes) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let lists = KINDS
        .iter()
        .map(|kind| (*kind, context.health.dependency(format!("the list of {kind} objects"), u64::MAX)))
        .collect();
    let mut controller = Controller {
        context: Arc::new(context),
        authority,
        reconcilers,
        pods,
        revisions,
        nodes,
        listed: None,
        listed_pods: None,
        lists,
    };
    while let Some(happening) = happenings.next().await {
        controller.take(happening);
    }
}

impl Controller {
    fn take(&mut self, happening: WatchEvent) {
        match happening {
            WatchEvent::Wanted(key, redis) => {
                self.note_listed(&key);
                self.want(key, redis);
            }
            WatchEvent::Invalid(key, error) => {
                self.note_listed(&key);
                tracing::warn!(
                    namespace = key.0,
                    name = key.1,
                    error,
                    "not understood; what was wanted before stands"
                );
                if self.reconcilers.contains_key(&key) {
                    self.tell(&key, Word::Invalid(error));
                } else if *self.authority.borrow() {
                    tokio::spawn(refuse(self.context.client.clone(), key, error));
                }
            }
            WatchEvent::Unwanted(key) => drop(self.reconcilers.remove(&key)),
            WatchEvent::Pod(key, pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                if let Some(listed) = &mut self.listed_pods {
                    listed.insert((key.clone(), name.clone()));
                }
                self.pods.entry(key.clone()).or_default().insert(name, Arc::clone(&pod));
                self.words_of(&pod).into_iter().for_each(|word| self.tell(&key, word));
            }
            WatchEvent::PodGone(key, name) => self.forget_pod(&key, name),
            WatchEvent::Revision(key, revision) => {
                self.revisions.insert(key.clone(), revision.clone());
                self.tell(&key, Word::Revision(revision));
            }
            WatchEvent::Object(key, kind, name, version) => {
                self.tell(&key, Word::Object(kind, name, version))
            }
            WatchEvent::Secret((namespace, name)) => {
                let of = |(key, reconciler): &(&Key, &Handle)| {
                    key.0 == namespace && reconciler.secrets.contains(&name)
                };
                self.reconcilers
                    .iter()
                    .filter(of)
                    .for_each(|(_, reconciler)| drop(reconciler.words.unbounded_send(Word::Secret)));
            }
            WatchEvent::Node(name, place) => self.see_node(name, place),
            WatchEvent::Listing("Redis") => self.listed = Some(BTreeSet::new()),
            WatchEvent::Listing("Pod") => self.listed_pods = Some(BTreeSet::new()),
            WatchEvent::Listing(kind) => self.tell_all(&Word::Listing(kind)),
            WatchEvent::Listed(kind) => self.all_listed(kind),
            WatchEvent::Refused(kind) => self.lists_of(kind, Dependency::refused),
        }
    }

    fn all_listed(&mut self, kind: &'static str) {
        self.lists_of(kind, Dependency::answered);
        match kind {
            "Redis" => {
                if let Some(listed) = self.listed.take() {
                    self.reconcilers.retain(|key, _| listed.contains(key));
                }
            }
            "Pod" => {
                let Some(listed) = self.listed_pods.take() else { return };
                let known = self
                    .pods
                    .iter()
                    .flat_map(|(key, pods)| pods.keys().map(|name| (key.clone(), name.clone())));
                for (key, name) in known.filter(|pod| !listed.contains(pod)).collect::<Vec<_>>() {
                    self.forget_pod(&key, name);
                }
            }
            _ => self.tell_all(&Word::Listed(kind)),
        }
    }

    fn lists_of(&self, kind: &'static str, say: impl Fn(&Dependency, Moment)) {
        let now = moment(self.context.start, Instant::now());
        self.lists.iter().filter(|(of, _)| *of == kind).for_each(|(_, list)| say(list, now));
    }

    fn note_listed(&mut self, key: &Key) {
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
    }

    fn want(&mut self, key: Key, redis: Arc<Redis>) {
        if redis.metadata.deletion_timestamp.is_some() {
            // Its objects go with it; until they are gone nobody repairs them.
            self.reconcilers.remove(&key);
            return;
        }
        let password = redis.spec.password.as_ref().map(|password| password.secret_key_ref.name.clone());
        let secrets =
            password.into_iter().chain(redis.spec.tls.as_ref().map(|tls| tls.secret_name.clone())).collect();
        if let Some(reconciler) = self.reconcilers.get_mut(&key) {
            reconciler.secrets = secrets;
            return self.tell(&key, Word::Wanted(redis));
        }
        let (words, heard) = unbounded();
        tokio::spawn(reconcile(Arc::clone(&self.context), redis, heard, self.authority.clone()));
        for pod in self.pods.get(&key).into_iter().flat_map(BTreeMap::values) {
            self.words_of(pod).into_iter().for_each(|word| drop(words.unbounded_send(word)));
        }
        if let Some(revision) = self.revisions.get(&key) {
            drop(words.unbounded_send(Word::Revision(revision.clone())));
        }
        self.reconcilers.insert(key, Handle { words, secrets });
    }

    /// A Pod, after the node that it runs on.
    fn words_of(&self, pod: &Arc<Pod>) -> Vec<Word> {
        let known = node(pod).and_then(|name| self.nodes.get_key_value(name));
        let place = known.map(|(name, place)| Word::Node(name.clone(), place.clone()));
        place.into_iter().chain([Word::Pod(Arc::clone(pod))]).collect()
    }

    fn see_node(&mut self, name: String, place: Place) {
        if self.nodes.get(&name) == Some(&place) {
            return;
        }
        let runs_there =
            |pods: &BTreeMap<String, Arc<Pod>>| pods.values().any(|pod| node(pod) == Some(&name));
        for key in self.pods.iter().filter(|(_, pods)| runs_there(pods)).map(|(key, _)| key) {
            self.tell(key, Word::Node(name.clone(), place.clone()));
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
        self.tell(key, Word::PodGone(name));
    }

    fn tell(&self, key: &Key, word: Word) {
        if let Some(reconciler) = self.reconcilers.get(key) {
            // A reconciler that has ended is about to be dropped here, too.
            drop(reconciler.words.unbounded_send(word));
        }
    }

    fn tell_all(&self, word: &Word) {
        self.reconcilers.keys().for_each(|key| self.tell(key, word.clone()));
    }
}
