//! Replaces Pods that run with what is not wanted any more, one at a time, each in sync again before the
//! next: replicas first, and the master by handover. [`plan()`] decides from facts alone; [`apply`] carries
//! its one step out and decides nothing.

mod plan;

use super::super::Context;
use super::handover::HandoverRequest;
use super::live_config::{LiveConfig, directive_names};
use super::snapshot::Snapshot;
use super::step::StepResult;
use crate::kubernetes::pods::{is_running, revision};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use plan::{PodView, Rollout, RolloutView, plan};
use std::time::Instant;

/// One step further, if it is time for one.
pub async fn roll(
    context: &Context,
    snapshot: &Snapshot,
    live_config: &LiveConfig,
    handover: &mut HandoverRequest,
) -> StepResult {
    let now = Instant::now();
    let step = plan(&RolloutView::new(snapshot, live_config, *handover), now);
    apply(context, snapshot, step, handover, now).await
}

/// Whether a Pod runs with what is not wanted any more.
pub fn has_old_pods(snapshot: &Snapshot, live_config: &LiveConfig) -> bool {
    snapshot.pods.values().any(|pod| is_old(snapshot, live_config, pod))
}

fn is_old(snapshot: &Snapshot, live_config: &LiveConfig, pod: &Pod) -> bool {
    let wanted = &snapshot.resource.settings.directive_names;
    revision(pod).is_some_and(|revision| revision != snapshot.revision)
        || directive_names(pod).iter().any(|name| !wanted.contains(*name))
        || live_config.needs_a_start(pod)
}

/// Carries a step out.
async fn apply(
    context: &Context,
    snapshot: &Snapshot,
    step: Rollout,
    handover: &mut HandoverRequest,
    now: Instant,
) -> StepResult {
    let (namespace, name) = (snapshot.namespace(), snapshot.resource.name());
    match step {
        Rollout::Done => StepResult::done(),
        Rollout::Wait(why) => {
            tracing::debug!(namespace, name, reason = ?why, "rollout waits");
            if why.ends_by_time() { StepResult::again() } else { StepResult::done() }
        }
        Rollout::Replace { pod, uid, why } => {
            tracing::info!(namespace, name, pod, reason = ?why, "outdated Pod deleted");
            let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
            let preconditions = Some(Preconditions { uid, resource_version: None });
            match api.delete(&pod, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
                Ok(_) => StepResult::done(),
                // It is gone already: the watch shows it.
                Err(kube::Error::Api(error)) if error.code == 404 => StepResult::done(),
                // Another Pod has its name, or it was changed at the same time.
                Err(kube::Error::Api(error)) if error.code == 409 => StepResult::again(),
                Err(error) => StepResult::failed("RolloutBlocked", &pod, &error),
            }
        }
        Rollout::HandOver => {
            handover.send(snapshot.handle.as_ref(), None, now);
            StepResult::again()
        }
        Rollout::Blocked(problem) => StepResult::stopped(problem),
    }
}

impl RolloutView {
    fn new(snapshot: &Snapshot, live_config: &LiveConfig, handover: HandoverRequest) -> Self {
        let settings = &snapshot.resource.settings;
        let pods = snapshot.pods.iter().map(|(name, pod)| PodView {
            name: name.clone(),
            uid: pod.uid(),
            is_old: is_old(snapshot, live_config, pod),
            runs: is_running(pod),
            is_terminating: pod.metadata.deletion_timestamp.is_some(),
            health: snapshot.health(name),
            server: live_config.server(pod).cloned(),
        });
        Self {
            pods: pods.collect(),
            master: snapshot.master().map(str::to_owned),
            is_revision_known: !snapshot.revision.is_empty(),
            is_paused: settings.group.paused,
            is_switching: snapshot.is_switching,
            is_whole: snapshot.is_whole(),
            is_healthy: snapshot.is_healthy(),
            has_volume: settings.claim.is_some(),
            keeps_master_pod: settings.keeps_master_pod,
            handover,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::kubernetes::kinds::sample::sample;
    use plan::{Replace, Wait};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn the_pods_of_any_kind_are_rolled_out_once_a_master_is_published() {
        let mut snapshot = fixture::snapshot(&["redis-cart-0", "redis-cart-1", "redis-cart-2"]);
        snapshot.revision = "new".into();
        for pod in snapshot.pods.values_mut() {
            Arc::make_mut(pod).labels_mut().insert("controller-revision-hash".into(), "old".into());
        }
        let step = |snapshot: &Snapshot| {
            let view = RolloutView::new(snapshot, &LiveConfig::default(), HandoverRequest::default());
            plan(&view, Instant::now())
        };
        assert_eq!(step(&snapshot), Rollout::Wait(Wait::NoMaster));
        let status = json!({ "master": "redis-cart-0", "problems": [] });
        snapshot.resource = sample(|object| object["status"] = status).into();
        let replica = Rollout::Replace { pod: "redis-cart-1".into(), uid: None, why: Replace::NotRunning };
        assert_eq!(step(&snapshot), replica);
    }
}
