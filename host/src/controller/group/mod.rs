//! Reconciles one resource: what is observed updates a snapshot, and the newest snapshot is made true
//! in five steps.
//!
//! | step | does | calls |
//! |--|--|--|
//! | 1 observe | watch events, Secrets and the group's reports into the snapshot | nothing |
//! | 2 drive | members, settings, logins and policies to the group, which fails over by itself | nothing |
//! | 3 publish | role labels, failover slice, status; slices of the Sentinel endpoint | the API server |
//! | 4 apply | objects, claims; directives, users, logins, certificates of running instances | both |
//! | 5 roll | the next outdated Pod | the API server |
//!
//! Each step decides in pure functions (`plan…`) and applies in functions that decide nothing. Steps 1 and 2
//! are one loop that never waits for a call, so a slow API server delays no failover; steps 3, and 4 with 5,
//! are tasks beside it, since clients wait for 3 and for nothing after it.

mod adoption;
mod count;
mod drive;
mod endpoint;
mod endpoint_slice;
mod failover_slice;
#[cfg(test)]
mod fixture;
mod former;
mod handover;
mod live_config;
mod objects;
mod observe;
mod publish;
mod record;
mod restart;
mod role_labels;
mod rollout;
mod running;
mod secret_reader;
mod secrets;
mod settling;
mod snapshot;
mod step;
mod users;
mod volumes;

pub use former::FormerPods;
pub use observe::Observed;

use super::Context;
use crate::fleet::CensusEntry;
use crate::kubernetes::kinds::Resource;
use crate::kubernetes::status::Problem;
use crate::report::{Backoff, PublishedView, Task, supervise};
use adoption::Adoption;
use endpoint::Endpoint;
use endpoint_slice::EndpointPublisher;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use handover::HandoverRequest;
use live_config::LiveConfig;
use objects::Objects;
use observe::{Finding, Inputs, News};
use publish::Publisher;
use rollout::roll;
use running::RunningGroup;
use secret_reader::SecretReader;
use settling::Settling;
use snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};
use step::StepResult;
use tokio::sync::watch;
use tokio::task::JoinSet;
use volumes::Volumes;

/// The reconciler of one resource.
struct Reconciler {
    context: Arc<Context>,
    snapshot: Snapshot,
    /// None: the Secrets were not read yet, so no instance could be logged in to.
    running: Option<RunningGroup>,
    endpoint: Endpoint,
    /// Whether this operator may act now.
    authority: watch::Receiver<bool>,
    /// Where `kubectl redis` sees the newest decision.
    view: PublishedView,
    /// Where its state is counted among those of all groups.
    census: CensusEntry,
    secrets: SecretReader,
    /// When a group whose loop ended by a fault is started again. None: it is not due to be.
    starts_at: Option<Instant>,
    backoff: Backoff,
}

/// Reconciles one resource until nothing more can be observed.
pub async fn reconcile(
    context: Arc<Context>,
    resource: Arc<Resource>,
    observed: UnboundedReceiver<Observed>,
    authority: watch::Receiver<bool>,
) {
    let (findings, found) = unbounded();
    let mut inputs = Inputs::new(observed, found, authority.clone(), &context);
    let mut reconciler = Reconciler::new(Arc::clone(&context), resource, authority, findings.clone());
    let (to_publish, newest) = watch::channel(reconciler.snapshot.clone());
    let (to_maintain, newest_to_maintain) = watch::channel(reconciler.snapshot.clone());
    let mut tasks = JoinSet::new();
    let of = format!("{}/{}", reconciler.snapshot.namespace(), reconciler.snapshot.resource.name());
    tasks.spawn({
        let (context, of) = (Arc::clone(&context), of.clone());
        async move {
            let publish = || publish_newest(Arc::clone(&context), again(&newest));
            supervise(Task::Publish, &of, &context.metrics, publish).await;
        }
    });
    tasks.spawn(async move {
        let maintain = || maintain_newest(Arc::clone(&context), again(&newest_to_maintain), findings.clone());
        supervise(Task::Maintain, &of, &context.metrics, maintain).await;
    });
    while let Some(input) = inputs.next(&mut reconciler.running, reconciler.starts_at).await {
        // 1. Observe. Calls nothing.
        let mut news = reconciler.observe(input);
        if news == News::Nothing {
            continue;
        }
        inputs.ready().for_each(|observed| news = news.max(reconciler.observe_change(observed)));
        news = news.max(reconciler.observe_authority(inputs.may_act()));
        test_fault(Task::Reconciler, &reconciler.snapshot.resource);
        // 2. Drive. Calls nothing: the group has a task and connections of its own.
        reconciler.drive();
        to_publish.send_replace(reconciler.snapshot.clone());
        if news == News::Everything {
            to_maintain.send_replace(reconciler.snapshot.clone());
        }
    }
}

async fn publish_newest(context: Arc<Context>, mut snapshots: watch::Receiver<Snapshot>) {
    let mut publisher = Publisher::new(&context, &snapshots.borrow());
    let mut endpoint = EndpointPublisher::default();
    let mut is_done = true;
    while next(&mut snapshots, (!is_done).then_some(PUBLISH_RETRY_AFTER)).await {
        let snapshot = snapshots.borrow_and_update().clone();
        test_fault(Task::Publish, &snapshot.resource);
        // 3. Publish. Calls the API server.
        if !snapshot.may_act {
            publisher.forget();
            is_done = endpoint.settle(&context, &snapshot).await;
            continue;
        }
        let (is_published, is_led_here) =
            tokio::join!(publisher.settle(&context, &snapshot), endpoint.settle(&context, &snapshot));
        is_done = is_published && is_led_here;
    }
}

async fn maintain_newest(
    context: Arc<Context>,
    mut snapshots: watch::Receiver<Snapshot>,
    findings: UnboundedSender<Finding>,
) {
    let (mut objects, mut live_config, mut handover) =
        (Objects::default(), LiveConfig::default(), HandoverRequest::default());
    let (mut adoption, mut volumes) = (Adoption::default(), Volumes::default());
    let (mut problems, mut retry_after, mut failed_after) = (Vec::new(), None, None);
    let mut settling = Settling::new(&snapshots.borrow());
    let mut settled = None;
    while next(&mut snapshots, retry_after).await {
        let snapshot = snapshots.borrow_and_update().clone();
        test_fault(Task::Maintain, &snapshot.resource);
        if !snapshot.may_act {
            retry_after = None;
            continue;
        }
        let of = &snapshot;
        let stopped = bounded("adoption", of, adoption.settle(&context, of)).await;
        let may_go_on = stopped.is_none() && snapshot.may_change();
        let mut result = stopped.unwrap_or_else(StepResult::done);
        if may_go_on {
            // 4. Apply. Calls the API server for objects and claims, then Redis for the configuration of
            // running instances.
            result.add(bounded("objects", of, objects.settle(&context, of, &mut handover)).await);
            result.add(bounded("volumes", of, volumes.settle(&context, of)).await);
            result.add(bounded("live configuration", of, live_config.settle(&context, of)).await);
            // 5. Roll. Calls the API server.
            result.add(bounded("rollout", of, roll(&context, of, &live_config, &mut handover)).await);
        }
        failed_after = (may_go_on && !result.is_done).then(|| step::retry_after(failed_after));
        retry_after = match may_go_on {
            true => failed_after.or_else(|| adoption::looks_again(&snapshot)),
            // A person or another operator is waited for.
            false => (!result.is_done).then_some(ADOPT_AGAIN_AFTER),
        };
        let now_settled = settling.observe(&snapshot, &objects, &live_config, result.is_done);
        tracing::debug!(
            namespace = of.namespace(),
            name = of.resource.name(),
            is_done = result.is_done,
            awaits = now_settled.awaits,
            "objects and instances maintained"
        );
        if settled.replace(now_settled) != Some(now_settled) {
            drop(findings.unbounded_send(Finding::Settled(now_settled)));
        }
        let user = live_config.replication_user(&snapshot);
        let user = user.filter(|user| snapshot.replication_user.as_ref() != Some(user));
        user.into_iter().for_each(|user| drop(findings.unbounded_send(Finding::ReplicationUser(user))));
        if let Some(taken) = live_config.users(&snapshot).filter(|taken| *taken != snapshot.taken_users) {
            drop(findings.unbounded_send(Finding::UsersTaken(taken)));
        }
        if result.problems != problems {
            problems = result.problems;
            log(&snapshot, &problems);
            drop(findings.unbounded_send(Finding::Problems(observe::MAINTAIN, problems.clone())));
        }
    }
}

/// The snapshots for a task that starts, now or again: the newest one is news to it.
fn again(snapshots: &watch::Receiver<Snapshot>) -> watch::Receiver<Snapshot> {
    let mut snapshots = snapshots.clone();
    snapshots.mark_changed();
    snapshots
}

/// Panics in the task that the annotation of a resource names, for tests. The release program has no such
/// thing.
#[cfg(debug_assertions)]
fn test_fault(task: Task, resource: &Resource) {
    let named = resource.object.metadata.annotations.as_ref().and_then(|all| all.get(FAULT_ANNOTATION));
    assert!(named.is_none_or(|named| named != task.label()), "requested by a test");
}

/// The same for the loop of the group, which knows no resource.
#[cfg(debug_assertions)]
fn fault_of_group(resource: &Resource, handle: &crate::driver::GroupHandle) {
    let named = resource.object.metadata.annotations.as_ref().and_then(|all| all.get(FAULT_ANNOTATION));
    if named.is_some_and(|named| named == Task::Group.label()) {
        handle.panic();
    }
}

#[cfg(not(debug_assertions))]
fn test_fault(_: Task, _: &Resource) {}

/// A step, which is given up when it takes too long: each of its calls has a limit, and every step may begin
/// anew, so that none holds up the others for good.
async fn bounded<T: From<StepResult>>(step: &str, of: &Snapshot, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP_LIMIT, work).await.unwrap_or_else(|_| {
        let (namespace, name, limit_s) = (of.namespace(), of.resource.name(), STEP_LIMIT.as_secs());
        tracing::warn!(namespace, name, step, limit_s, "step of the reconciler did not end, will retry");
        T::from(StepResult::again())
    })
}

/// Waits for another snapshot, or until it is time to retry with the same. False: the reconciler has ended.
async fn next(snapshots: &mut watch::Receiver<Snapshot>, retry_after: Option<Duration>) -> bool {
    let retry = async {
        match retry_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        changed = snapshots.changed() => changed.is_ok(),
        () = retry => true,
    }
}

fn log(snapshot: &Snapshot, problems: &[Problem]) {
    for Problem { reason, message } in problems {
        tracing::warn!(
            namespace = snapshot.namespace(),
            name = snapshot.resource.name(),
            reason,
            explanation = message,
            "resource not as specified"
        );
    }
}

#[cfg(debug_assertions)]
const FAULT_ANNOTATION: &str = "redis-operator.test/panic";
/// The next look at what stands in the way of an adoption, or at whether it was observed for long enough.
const ADOPT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A dozen calls that each take as long as the API server may for one.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// A failed write of what clients wait for is repeated so soon.
const PUBLISH_RETRY_AFTER: Duration = Duration::from_secs(1);
