//! Everything of a resource that clients do not wait for: its objects, the directives and passwords of
//! running servers, and Pods that have to be replaced. One step after the other, again and again until all is
//! as it should be.

use super::super::Context;
use super::Found;
use super::handover::HandoverRequest;
use super::live_config::LiveConfig;
use super::objects::Objects;
use super::rollout::roll;
use super::snapshot::Snapshot;
use super::step::StepResult;
use crate::kubernetes::status::Problem;
use futures_channel::mpsc::UnboundedSender;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// For ever. Troubles are told when they change.
pub async fn keep(context: Arc<Context>, mut snapshots: Receiver<Snapshot>, found: UnboundedSender<Found>) {
    let (mut objects, mut live_config, mut handover) =
        (Objects::default(), LiveConfig::default(), HandoverRequest::default());
    let mut told = Vec::new();
    let mut wait = AGAIN_AFTER;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let mut result = StepResult::done();
        if snapshot.may_act {
            result.add(objects.settle(&context, &snapshot, &mut handover).await);
            result.add(live_config.settle(&context, &snapshot).await);
            result.add(roll(&context, &snapshot, &live_config, &mut handover).await);
            let user = live_config
                .replication_user(&snapshot)
                .filter(|user| snapshot.replication_user.as_ref() != Some(user));
            user.into_iter().for_each(|user| drop(found.unbounded_send(Found::ReplicationUser(user))));
            if result.problems != told {
                for Problem { reason, message } in &result.problems {
                    tracing::warn!(
                        namespace = snapshot.namespace(),
                        name = snapshot.redis.name_any(),
                        reason,
                        message,
                        "not as it should be"
                    );
                }
                told.clone_from(&result.problems);
                drop(found.unbounded_send(Found::Troubles("maintain", result.problems)));
            }
        }
        wait = if result.is_done { AGAIN_AFTER } else { (wait * 2).min(AGAIN_AT_LAST) };
        let again = async {
            if result.is_done { std::future::pending().await } else { tokio::time::sleep(wait).await }
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// After what failed, doubled up to the last.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AT_LAST: Duration = Duration::from_secs(8);
