//! The size of the claims. Kubernetes changes no claim template of a StatefulSet, so each claim of a Pod is
//! given the size that the resource asks for; one that is made later from the template grows as it appears.
//! [`plan`] decides; [`Volumes::settle`] asks and carries out.

use super::super::Context;
use super::snapshot::Snapshot;
use super::step::StepResult;
use crate::kubernetes::error::message;
use crate::kubernetes::quantity::bytes;
use crate::kubernetes::status::Problem;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was found to be as it is asked for: that size, of the claims of these Pods.
#[derive(Default)]
pub struct Volumes(Option<(u64, Vec<String>)>);

impl Volumes {
    /// Makes the claims of all Pods grow to the size that the resource asks for.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> StepResult {
        let Some(claim) = &snapshot.resource.settings.claim else { return StepResult::done() };
        let Some((storage, wanted)) = claim.storage.as_deref().and_then(|size| Some((size, bytes(size)?)))
        else {
            return StepResult::done();
        };
        let named = snapshot.pods.values().filter_map(|pod| claim_of(pod, &claim.template));
        let names: Vec<String> = named.map(str::to_owned).collect();
        if self.0.as_ref().is_some_and(|(size, of)| (*size, of) == (wanted, &names)) {
            return StepResult::done();
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &snapshot.namespace());
        let mut claims = Vec::new();
        for name in &names {
            let _turn = context.turns.acquire().await;
            match api.get_opt(name).await {
                Ok(claim) => claims.extend(claim.as_ref().and_then(View::of)),
                // An account of before claims grew: where they were made as wanted, nothing is to do.
                Err(kube::Error::Api(error)) if error.code == 403 && was_made_so(snapshot, wanted) => {
                    return StepResult::done();
                }
                Err(error) => return StepResult::failed("ClaimsNotRead", &format!("claim {name}"), &error),
            }
        }
        let plan = plan(wanted, &claims, Timestamp::now());
        let mut result = StepResult { is_done: !plan.is_growing, problems: plan.problems };
        for View { name, uid, .. } in plan.grow {
            let patch = json!({
                "metadata": { "uid": uid },
                "spec": { "resources": { "requests": { "storage": storage } } }
            });
            let _turn = context.turns.acquire().await;
            match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {
                    tracing::info!(namespace = snapshot.namespace(), claim = name, storage, "claim resized")
                }
                Err(error @ kube::Error::Api(_)) => {
                    let message = format!(
                        "claim {name} cannot have {storage}: {}; set the size of the claims back, or move the data to \
                         another resource with larger ones",
                        message(&error)
                    );
                    result.add(StepResult::blocked(Problem { reason: "ClaimNotResized", message }));
                }
                Err(error) => result.add(StepResult::failed("ClaimNotResized", name, &error)),
            }
        }
        self.0 = (result.is_done && result.problems.is_empty()).then_some((wanted, names));
        result
    }
}

/// The StatefulSet makes claims of that size.
fn was_made_so(snapshot: &Snapshot, wanted: u64) -> bool {
    let size = snapshot.set_claims.pointer("/0/spec/resources/requests/storage");
    size.and_then(Value::as_str).and_then(bytes) == Some(wanted)
}

/// The claim that a Pod has for that volume.
fn claim_of<'a>(pod: &'a Pod, volume: &str) -> Option<&'a str> {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let named = volumes.find(|each| each.name == volume)?;
    Some(named.persistent_volume_claim.as_ref()?.claim_name.as_str())
}

/// A claim, as far as a plan needs it.
#[derive(Clone, Debug)]
struct View {
    name: String,
    uid: Option<String>,
    /// Bytes that it asks for.
    requested: u64,
    /// Bytes that it has. None: it is not bound yet.
    capacity: Option<u64>,
    /// Since when its file system waits to grow. None: it does not, or that is not said.
    waits_since: Option<Timestamp>,
    /// Why its storage does not grow.
    trouble: Option<String>,
}

impl View {
    fn of(claim: &PersistentVolumeClaim) -> Option<Self> {
        let storage = |of: &BTreeMap<String, Quantity>| of.get("storage").and_then(|size| bytes(&size.0));
        let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        let status = claim.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let with = |types: &[&str]| {
            conditions.iter().find(|each| types.contains(&each.type_.as_str()) && each.status == "True")
        };
        Some(Self {
            name: claim.name_any(),
            uid: claim.uid(),
            requested: storage(requests)?,
            capacity: status.capacity.as_ref().and_then(storage),
            waits_since: with(&["FileSystemResizePending"])
                .and_then(|each| Some(each.last_transition_time.as_ref()?.0)),
            trouble: with(&["ControllerResizeError", "NodeResizeError"])
                .and_then(|each| each.message.clone()),
        })
    }
}

/// What becomes of the claims.
#[derive(Debug, Default)]
struct Plan<'a> {
    /// These get the size that is wanted.
    grow: Vec<&'a View>,
    /// The storage of one is not there yet.
    is_growing: bool,
    /// What a user has to know.
    problems: Vec<Problem>,
}

/// Plans for each claim:
///
/// 1. One that asks for less than is wanted asks for that.
/// 2. One that asks for more, of storage that never came, asks for what is wanted: so a growth that failed is
///    taken back. Kubernetes allows that as long as it is more than the claim has.
/// 3. One that has more than is wanted stays: storage does not shrink.
/// 4. One that asks for what is wanted is waited for until it has it.
fn plan(wanted: u64, claims: &[View], now: Timestamp) -> Plan<'_> {
    let mut plan = Plan::default();
    for claim in claims {
        let View { name, requested, capacity, .. } = claim;
        let has = capacity.unwrap_or_default();
        if *requested < wanted || (*requested > wanted && capacity.is_some() && has < wanted) {
            plan.grow.push(claim);
            plan.is_growing = true;
        } else if *requested > wanted {
            let message = format!(
                "claim {name} has {requested} bytes, more than the resource asks for, and storage does not shrink: set \
                 the size of the claims back, or move the data to another resource with smaller ones"
            );
            plan.problems.push(Problem { reason: "ClaimNotShrunk", message });
        } else if capacity.is_some() && has < wanted {
            plan.is_growing = true;
            let is_long = |since: Timestamp| now.duration_since(since) > RESIZED_AFTER;
            if let Some(why) = &claim.trouble {
                let message = format!("claim {name} does not grow: {why}");
                plan.problems.push(Problem { reason: "ClaimNotResized", message });
            } else if claim.waits_since.is_some_and(is_long) {
                let message = format!(
                    "claim {name} has its storage, and the file system on it grows with the next start of its Pod: \
                     restart the group, `kubectl redis restart`"
                );
                plan.problems.push(Problem { reason: "ClaimAwaitsStart", message });
            }
        }
    }
    plan
}

/// A file system that grows while it is mounted has done so by then.
const RESIZED_AFTER: SignedDuration = SignedDuration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_grow_to_what_is_wanted_and_never_shrink() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let claim = |requested: u64, capacity: Option<u64>, change: fn(&mut View)| {
            let mut claim =
                View { name: "c".into(), uid: None, requested, capacity, waits_since: None, trouble: None };
            change(&mut claim);
            claim
        };
        let rows: Vec<(&str, View, bool, bool, Option<&str>)> = vec![
            ("it has what is wanted", claim(2, Some(2), |_| ()), false, false, None),
            ("it has more of its own accord", claim(2, Some(3), |_| ()), false, false, None),
            ("it is not bound yet", claim(2, None, |_| ()), false, false, None),
            ("it is too small", claim(1, Some(1), |_| ()), true, true, None),
            ("it is made of an old template, not bound yet", claim(1, None, |_| ()), true, true, None),
            ("its storage comes", claim(2, Some(1), |_| ()), false, true, None),
            (
                "its storage does not come",
                claim(2, Some(1), |claim| claim.trouble = Some("quota".into())),
                false,
                true,
                Some("ClaimNotResized"),
            ),
            (
                "its file system grows in a moment",
                claim(2, Some(1), |claim| claim.waits_since = Some("2026-01-01T00:09:00Z".parse().unwrap())),
                false,
                true,
                None,
            ),
            (
                "its file system needs a start",
                claim(2, Some(1), |claim| claim.waits_since = Some("2026-01-01T00:01:00Z".parse().unwrap())),
                false,
                true,
                Some("ClaimAwaitsStart"),
            ),
            ("a growth that failed is taken back", claim(9, Some(1), |_| ()), true, true, None),
            ("it is larger", claim(9, Some(9), |_| ()), false, false, Some("ClaimNotShrunk")),
            ("it is as large", claim(9, Some(2), |_| ()), false, false, Some("ClaimNotShrunk")),
        ];
        for (fact, claim, grows, is_growing, problem) in rows {
            let claims = [claim];
            let plan = plan(2, &claims, now);
            assert_eq!((!plan.grow.is_empty(), plan.is_growing), (grows, is_growing), "{fact}");
            assert_eq!(plan.problems.first().map(|problem| problem.reason), problem, "{fact}");
        }
    }

    #[test]
    fn a_claim_is_read_from_the_pod_that_has_it_and_from_what_kubernetes_says_of_it() {
        let volumes = json!([
            { "name": "config", "configMap": { "name": "redis-cart" } },
            { "name": "redis-cart", "persistentVolumeClaim": { "claimName": "redis-cart-redis-cart-0" } }
        ]);
        let pod: Pod =
            serde_json::from_value(json!({ "spec": { "volumes": volumes, "containers": [] } })).unwrap();
        assert_eq!(claim_of(&pod, "redis-cart"), Some("redis-cart-redis-cart-0"));
        assert_eq!(claim_of(&pod, "config"), None);
        let claim = json!({
            "metadata": { "name": "c", "uid": "u" },
            "spec": { "resources": { "requests": { "storage": "2Gi" } } },
            "status": {
                "capacity": { "storage": "1Gi" },
                "conditions": [
                    { "type": "FileSystemResizePending", "status": "True",
                      "lastTransitionTime": "2026-01-01T00:00:00Z" },
                    { "type": "NodeResizeError", "status": "False", "message": "no more" }
                ]
            }
        });
        let view = View::of(&serde_json::from_value(claim).unwrap()).unwrap();
        assert_eq!((view.requested, view.capacity, view.trouble), (2 << 30, Some(1 << 30), None));
        assert_eq!(view.waits_since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
    }
}
