//! The StatefulSet: it names the instances, keeps their volumes and restarts them.

use super::{label_selector, metadata, name, pod};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::kinds::ClaimSettings;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub fn stateful_set(redis: &Redis, replicas: i32) -> StatefulSet {
    let spec = StatefulSetSpec {
        replicas: Some(replicas),
        selector: label_selector(redis),
        service_name: Some(name(redis) + "-headless"),
        template: pod::template(redis),
        // All at once: after the loss of all, no Pod waits for one that may never become ready.
        pod_management_policy: Some("Parallel".into()),
        // The operator replaces the Pods: replicas first, each in sync again before the next, the master last
        // and by handover.
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("OnDelete".into()),
            ..StatefulSetUpdateStrategy::default()
        }),
        volume_claim_templates: redis.spec.data_volume_claim_template.as_ref().map(|_| vec![claim(redis)]),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: metadata(redis, ""), spec: Some(spec), ..StatefulSet::default() }
}

/// The claim of each instance, as its template has it.
pub fn claim_settings(redis: &Redis) -> Option<ClaimSettings> {
    let template = redis.spec.data_volume_claim_template.as_ref()?;
    let requests = template.spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let storage = requests.and_then(|requests| requests.get("storage")).map(|size| size.0.clone());
    Some(ClaimSettings { template: pod::data_volume(redis), storage })
}

fn claim(redis: &Redis) -> PersistentVolumeClaim {
    let template = redis.spec.data_volume_claim_template.as_ref();
    let named = template.and_then(|template| template.metadata.clone()).unwrap_or_default();
    let some = |map: std::collections::BTreeMap<String, String>| (!map.is_empty()).then_some(map);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::data_volume(redis)),
            labels: some(named.labels),
            annotations: some(named.annotations),
            ..ObjectMeta::default()
        },
        spec: template.map(|template| template.spec.clone()),
        ..PersistentVolumeClaim::default()
    }
}
