//! Where the face of a group listens, as an EndpointSlice. Each operator publishes its own, the one on
//! standby, too: a look-up needs no authority. The slice of an operator that is gone is deleted by any other
//! one, which its face tells apart from one that answers. [`plan`] decides, [`EndpointPublisher::apply`]
//! writes.

use super::super::Context;
use super::super::endpoints::Endpoints;
use super::snapshot::Snapshot;
use crate::kubernetes::apply::{FIELD_MANAGER, Standing, delete, standing, version};
use crate::kubernetes::error::message;
use crate::kubernetes::objects::{sentinel_slice, sentinel_slice_name};
use crate::kubernetes::watch::SeenFace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The slice of one group that leads here, and those that lead to operators that are gone.
#[derive(Default)]
pub struct EndpointPublisher {
    /// As applied last, and the version that came of it. None: not yet.
    applied: Option<(EndpointSlice, u64)>,
    /// Slices of operators that did not answer, which were deleted. One that is there again was made by an
    /// operator that lives, and that only this one cannot reach.
    deleted: BTreeSet<String>,
    /// Nothing is written before.
    again_at: Option<Instant>,
}

/// What the next steps rest on.
struct SlicesView<'a> {
    /// Whether the resource asks for an endpoint.
    has_endpoint: bool,
    /// The name of the slice that leads here.
    own: &'a str,
    /// The slice that should lead here. None: this operator has no face of the group.
    wanted: Option<EndpointSlice>,
    applied: Option<&'a (EndpointSlice, u64)>,
    /// The slices of this resource, as they were seen last. None: deleted.
    seen: &'a BTreeMap<String, Option<SeenFace>>,
    /// The places of faces that have not answered for long.
    lost: Vec<(String, u16)>,
    deleted: &'a BTreeSet<String>,
}

/// A step.
#[derive(Debug, PartialEq)]
enum SliceStep {
    Apply(Box<EndpointSlice>),
    Delete { name: String, uid: String },
}

impl EndpointPublisher {
    /// Makes the slices true. Returns whether they are.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> bool {
        let Some(endpoints) = context.endpoints.as_ref().filter(|endpoints| !endpoints.has_ended()) else {
            return true;
        };
        let settings = snapshot.resource.settings.endpoint.as_ref();
        if settings.is_none() && snapshot.faces.values().all(Option::is_none) {
            self.applied = None;
            return true;
        }
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let own = settings.map(|settings| sentinel_slice_name(&settings.service, &endpoints.identity));
        let open = snapshot.endpoint.as_ref();
        let wanted = settings
            .zip(open)
            .map(|(settings, open)| sentinel_slice(&settings.service, &endpoints.identity, open.place));
        let lost = open.map(|open| open.face.lost_peers()).unwrap_or_default();
        let lost: Vec<_> = lost
            .into_iter()
            .filter(|(_, down)| *down >= LOST_AFTER)
            .map(|(peer, _)| (peer.host, peer.port))
            .collect();
        let is_lost = |seen: &SeenFace| lost.contains(&seen.place);
        // One that answers again may be lost again.
        self.deleted.retain(|name| snapshot.faces.get(name).and_then(Option::as_ref).is_none_or(is_lost));
        let view = SlicesView {
            has_endpoint: settings.is_some(),
            own: own.as_deref().unwrap_or_default(),
            wanted,
            applied: self.applied.as_ref(),
            seen: &snapshot.faces,
            lost,
            deleted: &self.deleted,
        };
        for step in plan(&view) {
            if let Err(error) = self.apply(context, endpoints, snapshot, step).await {
                tracing::warn!(
                    namespace = snapshot.namespace(),
                    name = snapshot.resource.name(),
                    error = message(&error),
                    "slice of the sentinel endpoint not written, will retry"
                );
                self.again_at = Some(Instant::now() + RETRY_AFTER);
                return false;
            }
        }
        self.again_at = None;
        true
    }

    /// Carries a step out.
    async fn apply(
        &mut self,
        context: &Context,
        endpoints: &Endpoints,
        snapshot: &Snapshot,
        step: SliceStep,
    ) -> Result<(), kube::Error> {
        let (client, namespace) = (&context.client, snapshot.namespace());
        match step {
            SliceStep::Apply(slice) => {
                let name = slice.name_any();
                let object = serde_json::to_value(&slice).map_err(kube::Error::SerdeError)?;
                if self.applied.is_none() && standing(client, &namespace, &object).await? == Standing::Foreign
                {
                    tracing::warn!(
                        namespace,
                        name,
                        "not published: another's slice has this name: delete it"
                    );
                    return Ok(());
                }
                let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
                let params = PatchParams::apply(FIELD_MANAGER).force();
                let applied = api.patch(&name, &params, &Patch::Apply(&slice)).await?;
                endpoints.note_published(&namespace, &name, applied.uid().unwrap_or_default());
                self.applied = Some((*slice, version(&applied).unwrap_or_default()));
            }
            SliceStep::Delete { name, uid } => {
                delete::<EndpointSlice>(client, &namespace, &name, &uid).await?;
                endpoints.note_deleted(&namespace, &name);
                if self.applied.as_ref().is_some_and(|(applied, _)| applied.name_any() == name) {
                    self.applied = None;
                }
                self.deleted.insert(name);
            }
        }
        Ok(())
    }
}

/// Plans the steps:
///
/// 1. The slice that leads here is applied when it should be otherwise, and when another client has changed
///    or deleted it.
/// 2. It goes when there is no face, and all go when the resource asks for no endpoint.
/// 3. The slice of a face that has not answered for long goes, once: if it is back, its operator lives.
fn plan(view: &SlicesView<'_>) -> Vec<SliceStep> {
    let seen = view.seen.iter().filter_map(|(name, seen)| Some((name, seen.as_ref()?)));
    let is_touched = |version: u64| match view.seen.get(view.own) {
        Some(Some(seen)) => seen.sighting.version > version,
        Some(None) => true,
        None => false,
    };
    let is_so = |wanted: &EndpointSlice| {
        view.applied.is_some_and(|(applied, version)| applied == wanted && !is_touched(*version))
    };
    let apply =
        view.wanted.clone().filter(|wanted| !is_so(wanted)).map(|wanted| SliceStep::Apply(Box::new(wanted)));
    let is_surplus = |name: &String, seen: &SeenFace| {
        if name == view.own {
            return view.wanted.is_none();
        }
        !view.has_endpoint || view.lost.contains(&seen.place) && !view.deleted.contains(name)
    };
    let surplus = seen.filter(|(name, seen)| is_surplus(name, seen));
    let delete =
        surplus.map(|(name, seen)| SliceStep::Delete { name: name.clone(), uid: seen.sighting.uid.clone() });
    apply.into_iter().chain(delete).collect()
}

/// A face is asked every two seconds, and down after five.
const LOST_AFTER: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::ownership::Sighting;
    use k8s_openapi::api::core::v1::Service;

    const OPERATOR: &str = "operator-a";

    fn service() -> Service {
        let metadata = serde_json::json!({ "name": "redis-cart-sentinel", "namespace": "shop" });
        serde_json::from_value(serde_json::json!({ "metadata": metadata })).unwrap()
    }

    fn slice(place: &str) -> EndpointSlice {
        sentinel_slice(&service(), OPERATOR, place.parse().unwrap())
    }

    fn seen(version: u64, port: u16) -> Option<SeenFace> {
        let sighting =
            Sighting { version, uid: format!("u-{port}"), owners: vec!["u".into()], ..Sighting::default() };
        Some(SeenFace { sighting, place: ("10.0.0.2".into(), port) })
    }

    #[test]
    fn a_slice_leads_here_while_there_is_a_face_and_those_of_lost_operators_go_once() {
        let own = sentinel_slice_name(&service(), OPERATOR);
        let (here, there) = (slice("10.0.0.1:1"), slice("10.0.0.1:2"));
        let applied = Some((here.clone(), 5));
        let at = |own_seen: Option<Option<SeenFace>>, peer: Option<SeenFace>| {
            let own = own_seen.map(|seen| (own.clone(), seen));
            let peer = peer.map(|seen| ("peer".to_owned(), Some(seen)));
            own.into_iter().chain(peer).collect::<BTreeMap<_, _>>()
        };
        type Row<'a> = (
            &'a str,
            (bool, Option<&'a EndpointSlice>, Option<&'a (EndpointSlice, u64)>),
            BTreeMap<String, Option<SeenFace>>,
            (bool, bool),
            &'a [&'a str],
        );
        let rows: Vec<Row<'_>> = vec![
            ("a face opened", (true, Some(&here), None), at(None, None), (false, false), &["apply 1"]),
            (
                "it is published, and the watch shows it",
                (true, Some(&here), applied.as_ref()),
                at(Some(seen(5, 1)), seen(3, 9)),
                (false, false),
                &[],
            ),
            (
                "it moved",
                (true, Some(&there), applied.as_ref()),
                at(Some(seen(5, 1)), None),
                (false, false),
                &["apply 2"],
            ),
            (
                "another client wrote it",
                (true, Some(&here), applied.as_ref()),
                at(Some(seen(6, 1)), None),
                (false, false),
                &["apply 1"],
            ),
            (
                "another client deleted it",
                (true, Some(&here), applied.as_ref()),
                at(Some(None), None),
                (false, false),
                &["apply 1"],
            ),
            (
                "the face closed",
                (true, None, applied.as_ref()),
                at(Some(seen(5, 1)), seen(3, 9)),
                (false, false),
                &["delete u-1"],
            ),
            (
                "no endpoint is asked for",
                (false, None, None),
                at(None, seen(3, 9)),
                (false, false),
                &["delete u-9"],
            ),
            (
                "a face is lost",
                (true, Some(&here), applied.as_ref()),
                at(Some(seen(5, 1)), seen(3, 9)),
                (true, false),
                &["delete u-9"],
            ),
            (
                "it is there again: its operator lives",
                (true, Some(&here), applied.as_ref()),
                at(Some(seen(5, 1)), seen(7, 9)),
                (true, true),
                &[],
            ),
        ];
        for (fact, (has_endpoint, wanted, applied), seen, (is_lost, was_deleted), expected) in rows {
            let deleted = was_deleted.then(|| "peer".to_owned()).into_iter().collect();
            let lost = is_lost.then(|| ("10.0.0.2".to_owned(), 9)).into_iter().collect();
            let view = SlicesView {
                has_endpoint,
                own: if has_endpoint { &own } else { "" },
                wanted: wanted.cloned(),
                applied,
                seen: &seen,
                lost,
                deleted: &deleted,
            };
            let words = |step: &SliceStep| match step {
                SliceStep::Apply(slice) => {
                    let ports = slice.ports.as_ref().unwrap();
                    format!("apply {}", ports[0].port.unwrap())
                }
                SliceStep::Delete { uid, .. } => format!("delete {uid}"),
            };
            assert_eq!(plan(&view).iter().map(words).collect::<Vec<_>>(), expected, "{fact}");
        }
    }
}
