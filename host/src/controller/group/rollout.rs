//! Replaces Pods that run with what is not wanted any more, one at a time, each in sync again before the
//! next: replicas first, and the master by handover.

use super::super::Context;
use super::live_config::{LiveConfig, directive_names};
use super::maintain::{StepResult, SwitchoverRequest};
use super::snapshot::Snapshot;
use crate::contract::Health;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use std::sync::Arc;

/// One step further, if it is time for one.
pub async fn roll(
    context: &Context,
    snapshot: &Snapshot,
    live_config: &LiveConfig,
    switchover: &mut SwitchoverRequest,
) -> StepResult {
    let is_old = |pod: &Pod| {
        let revision = pod.labels().get("controller-revision-hash");
        let has_lost_a_directive =
            directive_names(pod).iter().any(|name| !snapshot.redis.spec.config.contains_key(*name));
        revision.is_some_and(|revision| *revision != snapshot.revision)
            || has_lost_a_directive
            || live_config.needs_a_start(pod)
    };
    let is_going = snapshot.pods.values().any(|pod| pod.metadata.deletion_timestamp.is_some());
    let Some(master) = snapshot.master() else { return StepResult::done() };
    let old = snapshot.pods.iter().filter(|(_, pod)| is_old(pod));
    let (old_master, old_replicas): (Vec<_>, Vec<_>) = old.partition(|(name, _)| *name == master);
    let is_all_new = old_master.is_empty() && old_replicas.is_empty();
    if snapshot.revision.is_empty()
        || is_all_new
        || is_going
        || snapshot.redis.spec.paused
        || snapshot.is_switching
    {
        return StepResult::done();
    }
    // Either may be what holds everything up: one that does not run has nothing to lose, and an older version
    // cannot copy from a newer master.
    let broken = old_replicas.iter().find(|(_, pod)| !runs(pod));
    let is_new_in_sync =
        |(name, pod): (&String, &Arc<Pod>)| is_old(pod) || snapshot.health(name) == Some(Health::InSync);
    let is_held_up = old_master.is_empty() && snapshot.is_whole() && snapshot.pods.iter().all(is_new_in_sync);
    let stuck =
        old_replicas.iter().find(|(name, _)| is_held_up && snapshot.health(name) == Some(Health::Syncing));
    match (broken.or(stuck), old_replicas.first(), old_master.first()) {
        (Some((_, pod)), ..) => replace(context, snapshot, pod).await,
        _ if !snapshot.is_healthy() => StepResult::done(),
        (None, Some((_, pod)), _) => replace(context, snapshot, pod).await,
        (None, None, _) if snapshot.pods.len() > 1 => switchover.move_master(snapshot, None),
        // The only one: its claim keeps the data.
        (None, None, Some((_, pod))) if snapshot.redis.spec.data_volume_claim_template.is_some() => {
            replace(context, snapshot, pod).await
        }
        (None, None, _) => StepResult {
            is_done: true,
            problems: vec![crate::kubernetes::status::Problem {
                reason: "RolloutBlocked",
                message: "the only instance has its data in memory and would lose it: raise spec.replicas, \
                          or delete the Pod yourself"
                    .into(),
            }],
        },
    }
}

/// Whether its Redis runs, whatever it answers.
fn runs(pod: &Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().any(|container| {
        container.name == "redis" && container.state.as_ref().is_some_and(|state| state.running.is_some())
    })
}

async fn replace(context: &Context, snapshot: &Snapshot, pod: &Pod) -> StepResult {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &snapshot.namespace());
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    tracing::info!(
        namespace = snapshot.namespace(),
        name = snapshot.redis.name_any(),
        pod = pod.name_any(),
        "replaced: it runs with what was wanted before"
    );
    match api.delete(&pod.name_any(), &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => StepResult::done(),
        // It went by itself, or another has its name.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => StepResult::done(),
        Err(error) => StepResult::failed("RolloutBlocked", &pod.name_any(), &error),
    }
}
