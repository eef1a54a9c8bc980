//! Replaces Pods that run with what is not wanted any more, one at a time, each in sync again before the next: replicas first, and
//! the master by handover.

use super::super::Common;
use super::picture::Picture;
use super::tune::{Tuned, names_given};
use super::upkeep::{Mover, Step};
use crate::policy::contract::Health;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use std::sync::Arc;

/// One step further, if it is time for one.
pub async fn roll(common: &Common, picture: &Picture, tuned: &Tuned, mover: &mut Mover) -> Step {
    let is_old = |pod: &Pod| {
        let revision = pod.labels().get("controller-revision-hash");
        let has_lost_a_directive = names_given(pod).iter().any(|name| !picture.redis.spec.config.contains_key(*name));
        revision.is_some_and(|revision| *revision != picture.revision) || has_lost_a_directive || tuned.needs_a_start(pod)
    };
    let is_going = picture.pods.values().any(|pod| pod.metadata.deletion_timestamp.is_some());
    let Some(master) = picture.master() else { return Step::done() };
    let old = picture.pods.iter().filter(|(_, pod)| is_old(pod));
    let (old_master, old_replicas): (Vec<_>, Vec<_>) = old.partition(|(name, _)| *name == master);
    let is_all_new = old_master.is_empty() && old_replicas.is_empty();
    if picture.revision.is_empty() || is_all_new || is_going || picture.redis.spec.paused || picture.is_switching {
        return Step::done();
    }
    // Either may be what holds everything up: one that does not run has nothing to lose, and an older version cannot copy from a newer master.
    let broken = old_replicas.iter().find(|(_, pod)| !runs(pod));
    let is_new_in_sync = |(name, pod): (&String, &Arc<Pod>)| is_old(pod) || picture.health(name) == Some(Health::InSync);
    let is_held_up = old_master.is_empty() && picture.is_whole() && picture.pods.iter().all(is_new_in_sync);
    let stuck = old_replicas.iter().find(|(name, _)| is_held_up && picture.health(name) == Some(Health::Syncing));
    match (broken.or(stuck), old_replicas.first(), old_master.first()) {
        (Some((_, pod)), ..) => replace(common, picture, pod).await,
        _ if !picture.is_healthy() => Step::done(),
        (None, Some((_, pod)), _) => replace(common, picture, pod).await,
        (None, None, _) if picture.pods.len() > 1 => mover.move_master(picture, None),
        // The only one: its claim keeps the data.
        (None, None, Some((_, pod))) if picture.redis.spec.data_volume_claim_template.is_some() => replace(common, picture, pod).await,
        (None, None, _) => Step {
            is_done: true,
            troubles: vec![crate::kubernetes::told::Trouble {
                reason: "RolloutBlocked",
                message: "the only instance has its data in memory and would lose it: raise spec.replicas, or delete the Pod yourself".into(),
            }],
        },
    }
}

/// Whether its Redis runs, whatever it answers.
fn runs(pod: &Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers
        .into_iter()
        .flatten()
        .any(|container| container.name == "redis" && container.state.as_ref().is_some_and(|state| state.running.is_some()))
}

async fn replace(common: &Common, picture: &Picture, pod: &Pod) -> Step {
    let api: Api<Pod> = Api::namespaced(common.client.clone(), &picture.namespace());
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    tracing::info!(
        namespace = picture.namespace(),
        name = picture.redis.name_any(),
        pod = pod.name_any(),
        "replaced: it runs with what was wanted before"
    );
    match api.delete(&pod.name_any(), &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Step::done(),
        // It went by itself, or another has its name.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Step::done(),
        Err(error) => Step::failed("RolloutBlocked", &pod.name_any(), &error),
    }
}
