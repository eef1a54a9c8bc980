//! Watches the resources of all kinds and their objects: a stream of changes, each with the resource to
//! reconcile.

use super::kinds::{KINDS, Kind, Resource};
use super::listed::{Change, Identity, Listed};
use super::nodes::{Place, place};
use super::objects::{FAILOVER, FAMILIES, Family, REDIS, SENTINEL_SLICES, face_of};
use super::outside::outside;
use super::ownership::Sighting;
use super::pods::owner;
use super::scope::{Scope, WatchedSecrets};
use backon::ExponentialBuilder;
use futures_util::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::watcher::{ExponentialBackoff, watcher};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// A resource by its namespace and name.
pub type Key = (String, String);

/// A change. Only the newest state of each object counts.
#[derive(Debug)]
pub enum WatchEvent {
    /// A resource was created or changed.
    Wanted(Key, Arc<Resource>),
    /// A resource of that kind does not fit the schema, with the reason.
    Invalid(Key, &'static Kind, String),
    /// A resource of that kind was deleted, or was missing when the watch started over.
    Unwanted(Key, &'static Kind),
    /// A Pod was created or changed.
    Pod(Key, Arc<Pod>),
    /// A Pod was deleted, by name.
    PodGone(Key, String),
    /// A StatefulSet with the name of a group's was created or changed.
    Set(Key, Arc<Set>),
    /// So many Sentinel endpoints of a group are ready.
    Sentinels(Key, i32),
    /// An object with the label of a group changed: its kind, its name, what it is now; None if it was
    /// deleted. Whose it is, its owners say.
    Object(Key, &'static str, String, Option<Sighting>),
    /// An operator added itself to the Sentinel endpoint of a group, or was removed: the name of its slice,
    /// and what it says; None if it was deleted.
    Face(Key, String, Option<SeenFace>),
    /// Any Secret was created, changed or deleted: its namespace and name. Its content is not read here.
    Secret(Key),
    /// A node was created or changed.
    Node(String, Place),
    /// A list is complete: everything of the kind that exists was an event, and so was the end of what does
    /// not.
    Listed(&'static str),
    /// The right to list or watch a kind is missing. Sent again with each retry.
    Refused(&'static str),
}

/// What the Pods of a group are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its uid and owners.
    pub sighting: Sighting,
    /// The revision that its Pods should have. Empty: not known yet.
    pub revision: String,
    /// Its controller has seen its newest version, so the revision is that of the newest template.
    pub is_current: bool,
    /// Its claim templates, a list, which never change. Null: it has none.
    pub claims: Value,
}

/// The slice by which an operator adds itself to a Sentinel endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFace {
    /// Its uid, version and owners.
    pub sighting: Sighting,
    /// Where that operator's face listens: host and port.
    pub place: (String, u16),
}

/// The names of all that is listed; each list ends with [`WatchEvent::Listed`] if the API server permits it.
pub fn lists(scope: &Scope) -> impl Iterator<Item = &'static str> {
    let objects = ["Pod", "StatefulSet", "Deployment", "Service", "ConfigMap", "PodDisruptionBudget", POLICY];
    let secrets = (scope.secrets == WatchedSecrets::All).then_some(SECRET);
    KINDS.iter().map(|kind| kind.name).chain(objects).chain(secrets)
}

/// Watches what is in the scope. The stream never ends: errors are retried.
pub fn watch(client: &Client, scope: &Scope) -> BoxStream<'static, WatchEvent> {
    let places = scope.places();
    let in_all = |of: &dyn Fn(Option<&str>) -> BoxStream<'static, WatchEvent>| {
        all_listed(places.iter().map(|place| of(*place)).collect())
    };
    // Objects of one kind that have the label of one family or of another are two lists.
    let of_all = |of: &dyn Fn(Option<&str>, &'static Family) -> BoxStream<'static, WatchEvent>| {
        let each = places.iter().flat_map(|place| FAMILIES.iter().map(move |family| of(*place, family)));
        all_listed(each.collect())
    };
    let mut streams: Vec<_> =
        KINDS.iter().map(|kind| in_all(&|place| resources(client, place, kind))).collect();
    streams.extend([
        of_all(&|place, family| {
            let owned = move |pod: &Pod| of_pod_owner(pod).filter(|_| is_of(pod, family));
            changes("Pod", ours::<Pod>(client, place, family), owned, |change| vec![of_pod(change)])
        }),
        of_all(&|place, family| {
            let sets = ours::<StatefulSet>(client, place, family);
            changes("StatefulSet", sets, labelled_by(family), move |change| of_set(family, change))
        }),
        in_all(&|place| {
            let deployments = ours::<Deployment>(client, place, &FAILOVER);
            changes("Deployment", deployments, labelled_by(&FAILOVER), of_deployment)
        }),
        of_all(&|place, family| services(client, place, family)),
        of_all(&|place, family| objects::<ConfigMap>(client, place, family, "ConfigMap")),
        of_all(&|place, family| objects::<PodDisruptionBudget>(client, place, family, "PodDisruptionBudget")),
        // Of kind Redis alone.
        in_all(&|place| objects::<NetworkPolicy>(client, place, &REDIS, POLICY)),
        in_all(&|place| faces(client, place)),
        nodes(client),
    ]);
    if scope.secrets == WatchedSecrets::All {
        streams.push(in_all(&|place| secrets(client, place, config())));
    }
    select_all(streams).boxed()
}

/// Watches one Secret.
pub fn watch_secret(client: &Client, namespace: &str, name: &str) -> BoxStream<'static, WatchEvent> {
    let only = config().fields(&format!("metadata.name={name}"));
    secrets(client, Some(namespace), only)
}

/// The lists of one kind in several namespaces as one list: it is complete when all of them are.
fn all_listed(streams: Vec<BoxStream<'static, WatchEvent>>) -> BoxStream<'static, WatchEvent> {
    let count = streams.len();
    let mut listed = BTreeSet::new();
    let numbered = streams.into_iter().enumerate();
    let numbered = numbered.map(|(number, stream)| stream.map(move |event| (number, event)).boxed());
    let events = select_all(numbered).filter_map(move |(number, event)| {
        let is_part = matches!(&event, WatchEvent::Listed(_)) && {
            listed.insert(number);
            listed.len() < count
        };
        std::future::ready((!is_part).then_some(event))
    });
    events.boxed()
}

/// The resources of one kind. Parsed by hand, so that a resource that does not fit hides no other.
fn resources(
    client: &Client,
    namespace: Option<&str>,
    kind: &'static Kind,
) -> BoxStream<'static, WatchEvent> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.api()),
        None => Api::all_with(client.clone(), &kind.api()),
    };
    let watched = watcher(api, config()).backoff(pace()).boxed();
    // A kind whose definition is not there has no resources: what an operator serves was not all installed.
    let mut is_absence_said = false;
    let watched = watched.flat_map(move |event| {
        let events = match event {
            Err(error) if is_absence(&error) => {
                if !std::mem::replace(&mut is_absence_said, true) {
                    tracing::info!(kind = kind.name, "no definition of this kind: apply deploy/crds.yaml");
                }
                vec![Ok(Event::Init), Ok(Event::InitDone)]
            }
            event => vec![event],
        };
        futures_util::stream::iter(events)
    });
    let watched = watched.boxed();
    changes(kind.name, watched, itself, move |change| vec![of_resource(kind, change)])
}

fn of_resource(kind: &'static Kind, change: Change<DynamicObject>) -> WatchEvent {
    match change {
        Change::Seen(Identity { of, .. }, object) => match kind.read(object, Timestamp::now()) {
            Ok(resource) => WatchEvent::Wanted(of, Arc::new(resource)),
            Err(error) => WatchEvent::Invalid(of, kind, error),
        },
        Change::Gone(Identity { of, .. }) => WatchEvent::Unwanted(of, kind),
        Change::Complete => WatchEvent::Listed(kind.name),
    }
}

fn of_pod(change: Change<Pod>) -> WatchEvent {
    match change {
        Change::Seen(Identity { of, .. }, pod) => WatchEvent::Pod(of, Arc::new(pod)),
        Change::Gone(Identity { of, name }) => WatchEvent::PodGone(of, name),
        Change::Complete => WatchEvent::Listed("Pod"),
    }
}

/// The Deployment of the Sentinel endpoints: the only one with the label.
fn of_deployment(change: Change<Deployment>) -> Vec<WatchEvent> {
    let ready = match &change {
        Change::Seen(Identity { of, .. }, deployment) => {
            let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas);
            Some(WatchEvent::Sentinels(of.clone(), ready.unwrap_or_default()))
        }
        Change::Gone(Identity { of, .. }) => Some(WatchEvent::Sentinels(of.clone(), 0)),
        Change::Complete => None,
    };
    ready.into_iter().chain([object("Deployment", change)]).collect()
}

fn of_set(family: &Family, change: Change<StatefulSet>) -> Vec<WatchEvent> {
    let set = match &change {
        Change::Seen(Identity { of, name }, set) if *name == family.set_name(&of.1) => {
            let revision = set.status.as_ref().and_then(|status| status.update_revision.clone());
            let revision = revision.unwrap_or_default();
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            let is_current = observed.is_some() && observed == set.metadata.generation;
            let claims = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref());
            let claims = claims.map(|claims| json!(claims)).unwrap_or_default();
            Sighting::of(set).map(|sighting| {
                let set = Set { sighting, revision, is_current, claims };
                WatchEvent::Set(of.clone(), Arc::new(set))
            })
        }
        Change::Seen(..) | Change::Gone(_) | Change::Complete => None,
    };
    set.into_iter().chain([object("StatefulSet", change)]).collect()
}

/// The slices of all operators.
fn faces(client: &Client, namespace: Option<&str>) -> BoxStream<'static, WatchEvent> {
    let which = config().labels(SENTINEL_SLICES);
    let watched = watcher(all::<EndpointSlice>(client, namespace), which).backoff(pace()).boxed();
    changes("EndpointSlice", watched, labelled_by(&REDIS), |change| match change {
        Change::Seen(Identity { of, name }, slice) => {
            let seen = face_of(&slice).zip(Sighting::of(&slice));
            let seen = seen.map(|(place, sighting)| SeenFace { sighting, place });
            seen.map(|seen| WatchEvent::Face(of, name, Some(seen))).into_iter().collect()
        }
        Change::Gone(Identity { of, name }) => vec![WatchEvent::Face(of, name, None)],
        Change::Complete => vec![WatchEvent::Listed("EndpointSlice")],
    })
}

/// An object with our label, whose content is not looked at here.
fn object<K: kube::Resource>(kind: &'static str, change: Change<K>) -> WatchEvent {
    match change {
        Change::Seen(Identity { of, name }, object) => {
            WatchEvent::Object(of, kind, name, Sighting::of(&object))
        }
        Change::Gone(Identity { of, name }) => WatchEvent::Object(of, kind, name, None),
        Change::Complete => WatchEvent::Listed(kind),
    }
}

/// The changes of one kind, as events.
fn changes<K: Send + 'static>(
    kind: &'static str,
    stream: Stream<K>,
    identity: impl Fn(&K) -> Option<Identity> + Send + 'static,
    events: impl Fn(Change<K>) -> Vec<WatchEvent> + Send + 'static,
) -> BoxStream<'static, WatchEvent> {
    let mut listed = Listed::default();
    let told = stream.flat_map(move |event| {
        let told: Vec<WatchEvent> = match event {
            Ok(event) => listed.on(event, &identity).into_iter().flat_map(&events).collect(),
            Err(error) => problem(kind, &error).into_iter().collect(),
        };
        futures_util::stream::iter(told)
    });
    told.boxed()
}

type Stream<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

fn ours<K>(client: &Client, namespace: Option<&str>, family: &Family) -> Stream<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    watcher(all(client, namespace), config().labels(family.label)).backoff(pace()).boxed()
}

fn all<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

fn objects<K>(
    client: &Client,
    namespace: Option<&str>,
    family: &'static Family,
    kind: &'static str,
) -> BoxStream<'static, WatchEvent>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let watched = watcher(all::<PartialObjectMeta<K>>(client, namespace), config().labels(family.label));
    let watched = watched.backoff(pace()).boxed();
    changes(kind, watched, labelled_by(family), move |change| vec![object(kind, change)])
}

/// Services whole, for how they are reached from outside.
fn services(
    client: &Client,
    namespace: Option<&str>,
    family: &'static Family,
) -> BoxStream<'static, WatchEvent> {
    changes("Service", ours::<Service>(client, namespace, family), labelled_by(family), |change| {
        let outside = match &change {
            Change::Seen(_, service) => outside(service),
            Change::Gone(_) | Change::Complete => None,
        };
        let mut event = object("Service", change);
        if let WatchEvent::Object(.., Some(sighting)) = &mut event {
            sighting.outside = outside;
        }
        vec![event]
    })
}

/// Names and versions of Secrets: the operator's own, and those with the users' passwords. Never their
/// content.
fn secrets(
    client: &Client,
    namespace: Option<&str>,
    which: watcher::Config,
) -> BoxStream<'static, WatchEvent> {
    let watched = watcher(all::<PartialObjectMeta<Secret>>(client, namespace), which).backoff(pace());
    let mut listed = Listed::default();
    let events = watched.flat_map(move |event| {
        let any = match &event {
            Ok(Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret)) => {
                Some(WatchEvent::Secret(key(secret, secret.name_any())))
            }
            Ok(Event::Init | Event::InitDone) | Err(_) => None,
        };
        let ours: Vec<WatchEvent> = match event {
            Ok(event) => {
                listed.on(event, labelled).into_iter().map(|change| object(SECRET, change)).collect()
            }
            Err(error) => problem(SECRET, &error).into_iter().collect(),
        };
        futures_util::stream::iter(ours.into_iter().chain(any))
    });
    events.boxed()
}

/// Nodes are facts for policies, and nothing waits for them: deletions are ignored, and errors are retried
/// with long delays. Where the right to them is missing, as it may be, that is said once.
fn nodes(client: &Client) -> BoxStream<'static, WatchEvent> {
    let watched = watcher(Api::<Node>::all(client.clone()), config()).default_backoff();
    let mut is_refusal_said = false;
    let events = watched.filter_map(move |event| {
        std::future::ready(match event {
            Ok(Event::Apply(node) | Event::InitApply(node)) => {
                Some(WatchEvent::Node(node.name_any(), place(&node)))
            }
            Ok(Event::Delete(_) | Event::Init | Event::InitDone) => None,
            Err(error) if is_refusal(&error) => {
                if !std::mem::replace(&mut is_refusal_said, true) {
                    tracing::info!(%error, "nodes not watched: policies know no zones");
                }
                None
            }
            Err(error) => problem("Node", &error),
        })
    });
    events.boxed()
}

/// A watch ends after a minute and goes on from where it was: what got stuck on the way costs no more than
/// that. By default it is five minutes, and in tests a change was seen that much later.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().timeout(60)
}

/// The delays before a failed watch is retried: 100 ms, doubled up to 1.6 s, and up to as much again by
/// chance. All watches fail together when the API server restarts, so the retries are spread; a failover may
/// wait for them, so the delay stays short.
fn pace() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_millis(1600))
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .into()
}

fn problem(kind: &'static str, error: &watcher::Error) -> Option<WatchEvent> {
    tracing::warn!(kind, %error, "watch interrupted, will retry");
    is_refusal(error).then_some(WatchEvent::Refused(kind))
}

/// Whether the API server knows no such kind.
fn is_absence(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// Whether the right to list or watch is missing.
fn is_refusal(error: &watcher::Error) -> bool {
    let refusal = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => refusal(error),
        watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

const SECRET: &str = "Secret";
const POLICY: &str = "NetworkPolicy";

/// A resource by itself.
fn itself(object: &DynamicObject) -> Option<Identity> {
    Some(Identity { of: key(object, object.name_any()), name: object.name_any() })
}

fn of_pod_owner(pod: &Pod) -> Option<Identity> {
    Some(Identity { of: key(pod, owner(pod)?.to_owned()), name: pod.name_any() })
}

/// An object by the resource that its label names.
fn labelled(object: &impl ResourceExt) -> Option<Identity> {
    let (_, resource) = Family::of(object)?;
    Some(Identity { of: key(object, resource.to_owned()), name: object.name_any() })
}

/// The same, of one family alone.
fn labelled_by<K: ResourceExt>(family: &'static Family) -> impl Fn(&K) -> Option<Identity> + Send + 'static {
    move |object| labelled(object).filter(|_| is_of(object, family))
}

fn is_of(object: &impl ResourceExt, family: &Family) -> bool {
    Family::of(object).is_some_and(|(of, _)| of == family)
}

fn key(object: &impl ResourceExt, name: String) -> Key {
    (object.namespace().unwrap_or_default(), name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn a_list_in_several_namespaces_is_complete_when_all_of_them_are() {
        let gone = |name: &str| WatchEvent::PodGone(("shop".into(), "cart".into()), name.into());
        let of = |name: &str| {
            let events = vec![gone(name), WatchEvent::Listed("Pod"), WatchEvent::Listed("Pod")];
            stream::iter(events).boxed()
        };
        let words = async |streams| {
            let word = |event| match event {
                WatchEvent::PodGone(_, name) => name,
                WatchEvent::Listed(_) => "listed".to_owned(),
                other => panic!("{other:?}"),
            };
            all_listed(streams).map(word).collect::<Vec<_>>().await
        };
        assert_eq!(words(vec![of("a")]).await, ["a", "listed", "listed"]);
        let both = words(vec![of("a"), of("b")]).await;
        let complete = both.iter().position(|word| word == "listed").unwrap();
        let before = &both[..complete];
        assert!(before.contains(&"a".to_owned()) && before.contains(&"b".to_owned()), "{both:?}");
        assert!(both.iter().filter(|word| *word == "listed").count() < 4, "{both:?}");
    }

    #[test]
    fn without_names_all_namespaces_are_one_place() {
        assert_eq!(Scope::default().places(), [None]);
        let scope = Scope { namespaces: vec!["a".into(), "b".into()], secrets: WatchedSecrets::Named };
        assert_eq!(scope.places(), [Some("a"), Some("b")]);
        assert!(
            lists(&Scope::default()).any(|kind| kind == SECRET) && lists(&scope).all(|kind| kind != SECRET)
        );
    }
}
