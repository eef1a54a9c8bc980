//! A Pod as an instance of a group: a Redis of its StatefulSet, or a Sentinel of its Deployment.

use super::kinds::ObservedPod;
use super::objects::Family;
use crate::contract::{Address, InstanceKind, Pod as Facts};
use crate::group::Member;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use std::time::SystemTime;

/// The resource, in the Pod's namespace, that a Pod claims to belong to: it names the StatefulSet of that
/// resource as its controller, and is named as one of its Pods; or it is of the Deployment of its Sentinels.
/// None: it does not, whatever its labels are. Whether the claim holds, [`set_uid`] says of the former.
pub fn owner(pod: &Pod) -> Option<&str> {
    let (family, resource) = Family::of(pod)?;
    let set = family.set_name(resource);
    let is_ours = controller(pod).is_some_and(|owner| owner.name == set);
    let is_instance = is_ours && ordinal(&pod.name_any(), &set).is_some();
    (is_instance || is_of_sentinels(pod)).then_some(resource)
}

/// Whether a Pod claims to be of the Deployment of a resource's Sentinels: its controller is a ReplicaSet
/// that is called as that Deployment and the Pod's own template.
pub fn is_of_sentinels(pod: &Pod) -> bool {
    let deployment = Family::of(pod).and_then(|(family, resource)| family.sentinels_name(resource));
    let template = pod.labels().get(TEMPLATE_LABEL);
    let made = deployment.zip(template).map(|(deployment, template)| format!("{deployment}-{template}"));
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| owner.kind == "ReplicaSet" && Some(&owner.name) == made.as_ref())
}

/// The uid of the StatefulSet that controls a Pod. None: none does. A name may be anybody's: only a Pod of
/// the StatefulSet with the uid of the group's own is a member.
pub fn set_uid(pod: &Pod) -> Option<&str> {
    controller(pod).map(|owner| owner.uid.as_str())
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let is_set = |owner: &&OwnerReference| owner.controller == Some(true) && owner.kind == "StatefulSet";
    pod.owner_references().iter().find(is_set)
}

/// The number of a Pod of a StatefulSet, as Kubernetes writes it.
fn ordinal(pod: &str, set: &str) -> Option<u32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    digits.parse().ok().filter(|ordinal: &u32| ordinal.to_string() == digits)
}

/// The revision of its StatefulSet that a Pod was made from.
pub fn revision(pod: &Pod) -> Option<&str> {
    pod.labels().get(REVISION_LABEL).map(String::as_str)
}

/// Whether its Redis or Sentinel process runs, whatever it answers.
pub fn is_running(pod: &Pod) -> bool {
    running(pod).is_some()
}

/// The container of its process, if that runs.
pub fn running(pod: &Pod) -> Option<&ContainerStatus> {
    let container = container(pod)?;
    container.state.as_ref()?.running.as_ref()?;
    Some(container)
}

/// The container of its process. None: none was started yet.
fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let name = if is_of_sentinels(pod) { SENTINEL_CONTAINER } else { REDIS_CONTAINER };
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|container| container.name == name)
}

/// Whether its probes call it ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Its address. None: it has none yet, or its process has ended for good. A Pod that was called failed while
/// its container was still seen running (its node is lost) may live on.
pub fn address(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) && !is_running(pod);
    status.pod_ip.as_deref().filter(|host| !host.is_empty() && !has_ended)
}

/// The member that a Pod is. None: it has no address, so there is nobody to dial, or it has ended for good.
/// `port`: that of every instance.
pub fn member(observed: &ObservedPod<'_>, port: u16, now: SystemTime) -> Option<Member> {
    instance(observed, InstanceKind::Redis, port, now)
}

/// The Sentinel that a Pod is. None: as of [`member`], or this program answers there in place of a Sentinel.
pub fn sentinel(pod: &Pod, port: u16, now: SystemTime) -> Option<Member> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut first = containers.filter(|container| container.name == SENTINEL_CONTAINER);
    let words = first.next()?.args.iter().flatten();
    let is_face = words.map(String::as_str).next() == Some(FACE);
    let observed = ObservedPod { pod, revision: "", place: None };
    instance(&observed, InstanceKind::Sentinel, port, now).filter(|_| !is_face)
}

fn instance(observed: &ObservedPod<'_>, kind: InstanceKind, port: u16, now: SystemTime) -> Option<Member> {
    let ObservedPod { pod, revision, place } = *observed;
    let spec = pod.spec.as_ref()?;
    let host = address(pod)?.to_owned();
    let container = container(pod);
    let running = container.and_then(|container| container.state.as_ref()?.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref()).map(|at| SystemTime::from(at.0));
    let age_us =
        |at: SystemTime| now.duration_since(at).ok().and_then(|age| u64::try_from(age.as_micros()).ok());
    let names = pod
        .namespace()
        .zip(spec.subdomain.as_ref())
        .map(|(namespace, subdomain)| format!("{}.{subdomain}.{namespace}.svc", pod.name_any()));
    let facts = Facts {
        uid: pod.uid().unwrap_or_default(),
        ready: is_ready(pod),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        running: running.is_some(),
        restarts: container.and_then(|container| u32::try_from(container.restart_count).ok()).unwrap_or(0),
        started_age_us: started.and_then(age_us),
        node: spec.node_name.clone(),
        node_ready: place.and_then(|place| place.is_ready),
        zone: place.and_then(|place| place.zone.clone()),
        revision: self::revision(pod).unwrap_or_default().to_owned(),
        revision_target: revision.to_owned(),
    };
    let shard = match kind {
        InstanceKind::Redis => Some(0),
        InstanceKind::Sentinel => None,
    };
    Some(Member {
        id: pod.name_any(),
        kind,
        shard,
        address: Address { host, port },
        aliases: names.into_iter().map(|host| Address { host, port }).collect(),
        pod: Some(facts),
        is_former: false,
    })
}

/// The command of this program in a container of mode Served.
pub const FACE: &str = "face";
/// The container of a Sentinel, as all operators of RedisFailover call it.
pub const SENTINEL_CONTAINER: &str = "sentinel";
const REDIS_CONTAINER: &str = "redis";
/// Set by the StatefulSet controller.
const REVISION_LABEL: &str = "controller-revision-hash";
/// Set by the Deployment controller.
const TEMPLATE_LABEL: &str = "pod-template-hash";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::nodes::Place;
    use serde_json::{Value, json};

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": "redis-example-0", "namespace": "shop", "uid": "u-1",
                "labels": { "redis": "example", "controller-revision-hash": "r-1" },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis-example", "uid": "s",
                    "controller": true
                }]
            },
            "spec": { "containers": [], "nodeName": "n1", "subdomain": "redis-example-headless" },
            "status": {
                "phase": "Running", "podIP": "10.0.0.7",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "containerStatuses": [{
                    "name": "redis", "image": "", "imageID": "", "ready": true, "restartCount": 2,
                    "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } }
                }]
            }
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    fn member_of(pod: &Pod) -> Option<Member> {
        let place = Place { is_ready: Some(false), zone: Some("a".into()) };
        member(
            &ObservedPod { pod, revision: "r-2", place: Some(&place) },
            6379,
            SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_610),
        )
    }

    #[test]
    fn a_running_pod_is_dialled_at_its_address_and_known_by_its_name() {
        let pod = pod(|_| ());
        let member = member_of(&pod).unwrap();
        assert_eq!(
            (owner(&pod), member.id.as_str(), member.address.host.as_str()),
            (Some("example"), "redis-example-0", "10.0.0.7")
        );
        assert_eq!(member.aliases[0].host, "redis-example-0.redis-example-headless.shop.svc");
        let facts = member.pod.unwrap();
        assert_eq!((facts.ready, facts.running, facts.terminating, facts.restarts), (true, true, false, 2));
        assert_eq!(
            (facts.node.as_deref(), facts.node_ready, facts.zone.as_deref()),
            (Some("n1"), Some(false), Some("a"))
        );
        assert_eq!(
            (facts.started_age_us, facts.revision.as_str(), facts.revision_target.as_str()),
            (Some(10_000_000), "r-1", "r-2")
        );
    }

    #[test]
    fn a_stopped_container_is_reported_and_a_pod_without_address_or_that_has_ended_is_no_member() {
        let waiting = pod(|pod| {
            pod["status"]["containerStatuses"][0]["state"] =
                json!({ "waiting": { "reason": "CrashLoopBackOff" } })
        });
        assert!(!member_of(&waiting).unwrap().pod.unwrap().running);
        assert_eq!(member_of(&pod(|pod| pod["status"]["podIP"] = json!(""))), None);
        assert!(
            member_of(&pod(|pod| pod["status"]["phase"] = json!("Failed"))).is_some(),
            "it was not seen to end"
        );
        let ended = |pod: &mut Value| {
            pod["status"]["phase"] = json!("Failed");
            pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": { "exitCode": 1 } });
        };
        assert_eq!(member_of(&pod(ended)), None);
    }

    #[test]
    fn a_pod_with_our_label_and_another_owner_is_not_ours() {
        assert_eq!(owner(&pod(|pod| pod["metadata"]["ownerReferences"] = json!([]))), None);
        assert_eq!(owner(&pod(|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("cart"))), None);
        assert_eq!(
            owner(&pod(|pod| pod["metadata"]["ownerReferences"][0]["controller"] = json!(false))),
            None
        );
        assert_eq!(set_uid(&pod(|_| ())), Some("s"));
        for name in ["redis-example-x", "redis-example-01", "redis-example-", "redis-example", "mine-0"] {
            assert_eq!(owner(&pod(|pod| pod["metadata"]["name"] = json!(name))), None, "{name}");
        }
    }

    fn of_sentinels(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": "rfs-cart-7d9f-x2", "namespace": "shop", "uid": "u-2",
                "labels": { "redisfailovers.databases.spotahome.com/name": "cart", "pod-template-hash": "7d9f" },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rfs-cart-7d9f", "uid": "s", "controller": true
                }]
            },
            "spec": { "containers": [{ "name": "sentinel", "command": ["redis-server", "/redis/sentinel.conf"] }] },
            "status": {
                "phase": "Running", "podIP": "10.0.0.9",
                "containerStatuses": [{
                    "name": "sentinel", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                    "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } }
                }]
            }
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_of_the_sentinels_is_one_at_its_address_and_a_face_in_its_place_is_none() {
        let read = |pod: &Pod| sentinel(pod, 26379, SystemTime::UNIX_EPOCH);
        let pod = of_sentinels(|_| ());
        let member = read(&pod).unwrap();
        assert_eq!((owner(&pod), member.kind, member.shard), (Some("cart"), InstanceKind::Sentinel, None));
        assert_eq!((member.address.host.as_str(), member.address.port), ("10.0.0.9", 26379));
        let facts = member.pod.unwrap();
        assert_eq!((facts.running, facts.restarts, facts.ready), (true, 1, false));
        let face =
            of_sentinels(|pod| pod["spec"]["containers"][0]["args"] = json!(["face", "--name", "cart"]));
        assert!(owner(&face).is_some() && read(&face).is_none());
        let stopped = of_sentinels(|pod| {
            pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": { "exitCode": 1 } })
        });
        assert!(!read(&stopped).unwrap().pod.unwrap().running);
        for (fact, pod) in [
            (
                "of another template",
                of_sentinels(|pod| pod["metadata"]["labels"]["pod-template-hash"] = json!("8")),
            ),
            (
                "of another Deployment",
                of_sentinels(|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("x")),
            ),
            ("of nobody", of_sentinels(|pod| pod["metadata"]["ownerReferences"] = json!([]))),
        ] {
            assert_eq!(owner(&pod), None, "{fact}");
        }
    }
}
