//! An EndpointSlice that leads clients of the master Service to a new master at once: Kubernetes' own
//! controller takes a second where two of its Pods have changed within milliseconds, as they do when a master
//! dies. The slice stands for as long as that takes, and never longer than ten seconds while the API server
//! answers. [`plan`] decides, [`apply`] writes.

use super::super::Context;
use super::snapshot::Snapshot;
use crate::kubernetes::error::message;
use crate::kubernetes::objects::{SERVICE_LABEL, failover_slice, lead_to};
use crate::kubernetes::ownership::is_owned_by;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use std::time::{Duration, Instant};

/// The slice of one group.
pub struct FailoverSlice {
    /// The newest epoch that got its slice, or needed none.
    epoch: Option<u64>,
    /// None: there is no slice.
    stands_until: Option<Instant>,
}

/// What the next step rests on.
#[derive(Clone, Debug)]
struct SliceView {
    /// The newest published epoch. None: none since the operator started.
    epoch: Option<u64>,
    /// The newest epoch that got its slice, or needed none.
    epoch_done: Option<u64>,
    /// The published master's Pod exists, has an address, and lacks the label that the Service selects.
    is_master_unlabelled: bool,
    /// None: there is no slice.
    stands_until: Option<Instant>,
    /// Whether Kubernetes' own slices lead to the master alone. None: not observed.
    is_led_there: Option<bool>,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SliceStep {
    /// A slice that leads to the published master replaces any other.
    Create,
    /// Whether the slice is still needed is not known: observe, and plan again.
    Observe,
    /// The slice is still needed.
    Keep,
    Delete,
    /// There is no slice, and none is needed.
    None,
}

impl FailoverSlice {
    /// A predecessor may have left one: the first plan deletes it.
    pub fn new() -> Self {
        Self { epoch: None, stands_until: Some(Instant::now()) }
    }

    /// Whether it must be planned again, although nothing changes.
    pub fn stands(&self) -> bool {
        self.stands_until.is_some()
    }

    /// Creates the slice for a new master, and deletes it when it is not needed any more.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) {
        let Some(service) = &snapshot.resource.settings.master_service else {
            self.stands_until = None;
            return;
        };
        if let Err(error) = self.try_settle(context, snapshot, service).await {
            // Kubernetes leads clients there as well, and later.
            tracing::warn!(
                namespace = snapshot.namespace(),
                name = snapshot.resource.name(),
                error = message(&error),
                "failover slice not settled, will retry"
            );
        }
    }

    async fn try_settle(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        service: &Service,
    ) -> Result<(), kube::Error> {
        let api: Api<EndpointSlice> = Api::namespaced(context.client.clone(), &snapshot.namespace());
        let mut view = self.view(snapshot);
        let mut step = plan(&view, Instant::now());
        // Whatever comes of it: Kubernetes is fast enough for a second try.
        self.epoch = view.epoch.or(self.epoch);
        if step == SliceStep::Observe {
            view.is_led_there = Some(observe(&api, snapshot, service).await?);
            step = plan(&SliceView { epoch_done: self.epoch, ..view }, Instant::now());
        }
        self.apply(&api, snapshot, service, step).await
    }

    fn view(&self, snapshot: &Snapshot) -> SliceView {
        let family = snapshot.resource.settings.family;
        let is_unlabelled = snapshot.master_pod().is_some_and(|(name, pod)| {
            let role = pod.labels().get(family.role_label);
            role.is_none_or(|role| role != family.master) && snapshot.address(name).is_some()
        });
        SliceView {
            epoch: snapshot.record.as_ref().map(|(record, _)| record.published.epoch),
            epoch_done: self.epoch,
            is_master_unlabelled: is_unlabelled,
            stands_until: self.stands_until,
            is_led_there: None,
        }
    }

    /// Carries a step out.
    async fn apply(
        &mut self,
        api: &Api<EndpointSlice>,
        snapshot: &Snapshot,
        service: &Service,
        step: SliceStep,
    ) -> Result<(), kube::Error> {
        match step {
            SliceStep::Create => {
                let master = snapshot.master().and_then(|master| snapshot.pods.get(master));
                let Some(slice) = master.and_then(|pod| failover_slice(service, pod)) else {
                    return Ok(());
                };
                // Whatever the answer: it may have been lost on its way back.
                self.stands_until = Some(Instant::now() + STANDS_AT_MOST);
                create(api, &slice, snapshot.resource.uid()).await
            }
            SliceStep::Delete => {
                let (is_gone, result) =
                    outcome(delete(api, &service.name_any(), snapshot.resource.uid()).await);
                if is_gone {
                    self.stands_until = None;
                }
                result
            }
            SliceStep::Observe | SliceStep::Keep | SliceStep::None => Ok(()),
        }
    }
}

/// Plans the next step:
///
/// 1. A new epoch gets a slice, if its master's Pod still lacks the label: once labelled, Kubernetes leads
///    clients there by itself.
/// 2. A slice is deleted when Kubernetes' own slices lead to the master alone, or when its time is over: one
///    that stays for ever would lead clients wrong at the next change.
fn plan(view: &SliceView, now: Instant) -> SliceStep {
    let is_new = view.epoch.is_some() && view.epoch != view.epoch_done;
    if is_new && view.is_master_unlabelled {
        return SliceStep::Create;
    }
    match (view.stands_until, view.is_led_there) {
        (None, _) => SliceStep::None,
        (Some(until), _) if now >= until => SliceStep::Delete,
        (Some(_), None) => SliceStep::Observe,
        (Some(_), Some(true)) => SliceStep::Delete,
        (Some(_), Some(false)) => SliceStep::Keep,
    }
}

/// Whether Kubernetes' own slices of the Service lead to the published master alone.
async fn observe(
    api: &Api<EndpointSlice>,
    snapshot: &Snapshot,
    service: &Service,
) -> Result<bool, kube::Error> {
    let name = service.name_any();
    let slices = api.list(&ListParams::default().labels(&format!("{SERVICE_LABEL}={name}"))).await?;
    let address = snapshot.master_pod().and_then(|(master, _)| snapshot.address(master));
    Ok(address.is_some_and(|address| lead_to(&slices.items, &name, &address)))
}

/// By far the fastest of all writes; a slice that still stands leads to the master before.
async fn create(
    api: &Api<EndpointSlice>,
    slice: &EndpointSlice,
    owner: Option<&str>,
) -> Result<(), kube::Error> {
    match api.create(&PostParams::default(), slice).await {
        Err(kube::Error::Api(error)) if error.code == 409 => {
            delete(api, &slice.name_any(), owner).await?;
            api.create(&PostParams::default(), slice).await.map(drop)
        }
        created => created.map(drop),
    }
}

/// Deletes the slice of that name, if the resource owns it: another's stays.
async fn delete(api: &Api<EndpointSlice>, name: &str, owner: Option<&str>) -> Result<(), kube::Error> {
    // By a list: it needs no right beyond the one to observe.
    let there = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    for slice in there.items.iter().filter(|slice| is_owned_by(*slice, owner)) {
        let preconditions = Some(Preconditions { uid: slice.uid(), resource_version: None });
        api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await?;
    }
    Ok(())
}

/// Whether a slice is not there any more after an attempt to delete it, and what failed. A missing right will
/// be missing later, too; anything else that fails is tried again.
fn outcome<T>(deleted: Result<T, kube::Error>) -> (bool, Result<(), kube::Error>) {
    match deleted {
        Ok(_) => (true, Ok(())),
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => (true, Ok(())),
        Err(kube::Error::Api(error)) if error.code == 403 => (true, Err(kube::Error::Api(error))),
        Err(error) => (false, Err(error)),
    }
}

const STANDS_AT_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stands_from_a_new_epoch_until_kubernetes_leads_there_or_its_time_is_over() {
        let now = Instant::now();
        let later = Some(now + Duration::from_secs(1));
        let view = |epoch, epoch_done, is_master_unlabelled, stands_until, is_led_there| SliceView {
            epoch,
            epoch_done,
            is_master_unlabelled,
            stands_until,
            is_led_there,
        };
        let rows = [
            ("nothing was published", view(None, None, true, None, None), SliceStep::None),
            ("a predecessor may have left one", view(None, None, true, Some(now), None), SliceStep::Delete),
            ("a new master", view(Some(2), Some(1), true, None, None), SliceStep::Create),
            ("the first one", view(Some(1), None, true, Some(now), None), SliceStep::Create),
            (
                "a new master while a slice stands",
                view(Some(2), Some(1), true, later, None),
                SliceStep::Create,
            ),
            (
                "its Pod is labelled, gone or without address",
                view(Some(2), Some(1), false, None, None),
                SliceStep::None,
            ),
            ("and a slice to another stands", view(Some(2), Some(1), false, later, None), SliceStep::Observe),
            ("the epoch has its slice", view(Some(2), Some(2), true, later, None), SliceStep::Observe),
            (
                "Kubernetes leads elsewhere",
                view(Some(2), Some(2), false, later, Some(false)),
                SliceStep::Keep,
            ),
            ("Kubernetes leads there", view(Some(2), Some(2), false, later, Some(true)), SliceStep::Delete),
            ("its time is over", view(Some(2), Some(2), true, Some(now), Some(false)), SliceStep::Delete),
            ("it is deleted", view(Some(2), Some(2), false, None, None), SliceStep::None),
        ];
        for (fact, view, expected) in rows {
            assert_eq!(plan(&view, now), expected, "{fact}");
        }
    }

    /// The paths that were asked for, to delete a slice whose owner is `owner`.
    async fn deleting(owner: &'static str) -> Vec<String> {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let of = std::sync::Arc::clone(&asked);
        let api_server = tower::service_fn(move |request: hyper::Request<kube::client::Body>| {
            of.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let slice = serde_json::json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {
                    "name": "redis-cart-master", "uid": "s",
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "Redis", "name": "cart", "uid": owner }]
                }
            });
            let list = serde_json::json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": [slice]
            });
            let done = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
            let answer = if request.method() == hyper::Method::GET { list } else { done };
            let body = kube::client::Body::from(answer.to_string().into_bytes());
            std::future::ready(Ok::<_, std::convert::Infallible>(hyper::Response::new(body)))
        });
        let client = kube::Client::new(api_server, "default");
        delete(&Api::namespaced(client, "shop"), "redis-cart-master", Some("u")).await.unwrap();
        asked.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_slice_of_another_owner_stays() {
        let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
        assert_eq!(deleting("another").await, [format!("GET {slices}")]);
        let name = "redis-cart-master";
        assert_eq!(deleting("u").await, [format!("GET {slices}"), format!("DELETE {slices}/{name}")]);
    }

    #[test]
    fn a_slice_that_cannot_be_deleted_is_tried_again_but_for_a_missing_right() {
        let refused = |code: u16| {
            let status = kube::core::Status::failure("no", "No").with_code(code);
            let (is_gone, result) = outcome::<()>(Err(kube::Error::Api(Box::new(status))));
            (is_gone, result.is_ok())
        };
        assert!(outcome(Ok(())).0);
        assert_eq!([404, 403, 500].map(refused), [(true, true), (true, false), (false, false)]);
    }
}
