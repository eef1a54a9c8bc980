//! What happens to the resources and to what belongs to them, as a stream of who must be looked at again.

use super::crd::{Redis, parse};
use super::objects::GROUP_LABEL;
use super::pods::owner;
use futures_util::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher::watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::ready;

/// A resource by its namespace and name.
pub type Key = (String, String);

/// What happened. The newest state of each thing is what counts.
#[derive(Debug)]
pub enum Happening {
    /// A resource is there, or has changed. It may not be what it should be.
    Wanted(Key, Box<Result<Redis, String>>),
    /// A resource is gone, or was gone when the watch began anew.
    Unwanted(Key),
    /// A Pod is there, or has changed.
    Pod(Key, Box<Pod>),
    /// A Pod is gone, by name.
    PodGone(Key, String),
    /// The revision that a StatefulSet's Pods should have.
    Revision(Key, String),
    /// An object of ours is not as it was: its kind, its name, its resource version now; none if it is gone.
    Object(Key, &'static str, String, Option<String>),
    /// The watch began anew: whatever is not told until [`Happening::Listed`] is gone.
    Listing(&'static str),
    /// Everything that is there has been told.
    Listed(&'static str),
}

/// Watches one namespace, or all. Ends never: what fails is tried again, ever more slowly.
pub fn watch(client: &Client, namespace: Option<&str>) -> BoxStream<'static, Happening> {
    let resource = ApiResource::erase::<Redis>(&());
    let redis: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    // By hand, so that one that does not fit hides no other.
    let wanted = watcher(redis, watcher::Config::default()).default_backoff().filter_map(async |event| match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            let key = key(&object, object.name_any());
            let redis = serde_json::to_value(&object).map_err(|error| error.to_string()).and_then(parse);
            Some(Happening::Wanted(key, Box::new(redis)))
        }
        Ok(Event::Delete(object)) => Some(Happening::Unwanted(key(&object, object.name_any()))),
        Ok(Event::Init) => Some(Happening::Listing("Redis")),
        Ok(Event::InitDone) => Some(Happening::Listed("Redis")),
        Err(error) => trouble("Redis", &error),
    });
    let pods = ours::<Pod>(client, namespace).filter_map(async |event| match event {
        Ok(Event::Apply(pod) | Event::InitApply(pod)) => owner(&pod).map(str::to_owned).map(|name| Happening::Pod(key(&pod, name), Box::new(pod))),
        Ok(Event::Delete(pod)) => owner(&pod).map(str::to_owned).map(|name| Happening::PodGone(key(&pod, name), pod.name_any())),
        Ok(Event::Init) => Some(Happening::Listing("Pod")),
        Ok(Event::InitDone) => Some(Happening::Listed("Pod")),
        Err(error) => trouble("Pod", &error),
    });
    let sets = ours::<StatefulSet>(client, namespace).flat_map(|event| {
        let revision = match &event {
            Ok(Event::Apply(set) | Event::InitApply(set)) => {
                let revision = set.status.as_ref().and_then(|status| status.update_revision.clone());
                group(set).zip(revision).map(|(key, revision)| Happening::Revision(key, revision))
            }
            _ => None,
        };
        futures_util::stream::iter([revision, object("StatefulSet", event)].into_iter().flatten())
    });
    select_all([
        wanted.boxed(),
        pods.boxed(),
        sets.boxed(),
        objects::<Service>(client, namespace, "Service"),
        objects::<ConfigMap>(client, namespace, "ConfigMap"),
        objects::<Secret>(client, namespace, "Secret"),
        objects::<PodDisruptionBudget>(client, namespace, "PodDisruptionBudget"),
    ])
    .boxed()
}

type Stream<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

fn ours<K>(client: &Client, namespace: Option<&str>) -> Stream<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    watcher(api, watcher::Config::default().labels(GROUP_LABEL)).default_backoff().boxed()
}

fn objects<K>(client: &Client, namespace: Option<&str>, kind: &'static str) -> BoxStream<'static, Happening>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    ours::<K>(client, namespace).filter_map(move |event| ready(object(kind, event))).boxed()
}

fn object<K: Resource>(kind: &'static str, event: Result<Event<K>, watcher::Error>) -> Option<Happening> {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            Some(Happening::Object(group(&object)?, kind, object.name_any(), object.resource_version()))
        }
        Ok(Event::Delete(object)) => Some(Happening::Object(group(&object)?, kind, object.name_any(), None)),
        Ok(Event::Init | Event::InitDone) => None,
        Err(error) => trouble(kind, &error),
    }
}

fn trouble(kind: &str, error: &watcher::Error) -> Option<Happening> {
    tracing::warn!(kind, %error, "watch interrupted; it is tried again");
    None
}

fn group(object: &impl ResourceExt) -> Option<Key> {
    Some(key(object, object.labels().get(GROUP_LABEL)?.clone()))
}

fn key(object: &impl ResourceExt, name: String) -> Key {
    (object.namespace().unwrap_or_default(), name)
}
