//! Everything of a resource that clients do not wait for: its objects, the directives and passwords of
//! running servers, and Pods that have to be replaced. One step after the other, again and again until all is
//! as it should be.

use super::super::Context;
use super::Found;
use super::live_config::LiveConfig;
use super::objects::{Objects, in_short};
use super::rollout::roll;
use super::snapshot::Snapshot;
use crate::kubernetes::status::Problem;
use futures_channel::mpsc::UnboundedSender;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;

/// For ever. Troubles are told when they change.
pub async fn keep(context: Arc<Context>, mut snapshots: Receiver<Snapshot>, found: UnboundedSender<Found>) {
    let (mut objects, mut live_config, mut switchover) =
        (Objects::default(), LiveConfig::default(), SwitchoverRequest::default());
    let mut told = Vec::new();
    let mut wait = AGAIN_AFTER;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let (mut problems, mut is_done) = (Vec::new(), true);
        if snapshot.may_act {
            let steps = [
                objects.settle(&context, &snapshot, &mut switchover).await,
                live_config.settle(&context, &snapshot).await,
                roll(&context, &snapshot, &live_config, &mut switchover).await,
            ];
            for step in steps {
                is_done &= step.is_done;
                problems.extend(step.problems);
            }
            let user = live_config
                .replication_user(&snapshot)
                .filter(|user| snapshot.replication_user.as_ref() != Some(user));
            user.into_iter().for_each(|user| drop(found.unbounded_send(Found::ReplicationUser(user))));
            if problems != told {
                for Problem { reason, message } in &problems {
                    tracing::warn!(
                        namespace = snapshot.namespace(),
                        name = snapshot.redis.name_any(),
                        reason,
                        message,
                        "not as it should be"
                    );
                }
                told.clone_from(&problems);
                drop(found.unbounded_send(Found::Troubles("maintain", problems)));
            }
        }
        wait = if is_done { AGAIN_AFTER } else { (wait * 2).min(AGAIN_AT_LAST) };
        let again =
            async { if is_done { std::future::pending().await } else { tokio::time::sleep(wait).await } };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// What came of one step.
#[derive(Debug, Default)]
pub struct StepResult {
    /// Nothing is left to be tried again.
    pub is_done: bool,
    /// What stands in the way.
    pub problems: Vec<Problem>,
}

impl StepResult {
    /// Nothing is left to do.
    pub fn done() -> Self {
        Self { is_done: true, problems: Vec::new() }
    }

    /// The API server refused, or was not reached; the latter is nothing that could be put right in the
    /// resource.
    pub fn failed(reason: &'static str, what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(_) => Self::blocked(reason, format!("{what}: {}", in_short(error))),
            other => {
                tracing::warn!(what, error = %other, "not done; it is tried again");
                Self::default()
            }
        }
    }

    /// It is tried again, and people should know why.
    pub fn blocked(reason: &'static str, message: String) -> Self {
        Self { is_done: false, problems: vec![Problem { reason, message }] }
    }
}

/// Asks for the master to move out of the way, and not at every turn: it may be refused, for good reasons
/// that pass.
#[derive(Default)]
pub struct SwitchoverRequest(Option<Instant>);

impl SwitchoverRequest {
    /// Asks the group, if it is time. What came of it is seen in the next snapshot.
    pub fn move_master(&mut self, snapshot: &Snapshot, to: Option<String>) -> StepResult {
        let is_time = self.0.is_none_or(|at| at.elapsed() >= MOVE_AGAIN_AFTER);
        if let Some(handle) = snapshot
            .handle
            .as_ref()
            .filter(|_| is_time && !snapshot.is_switching && !snapshot.redis.spec.paused)
        {
            handle.switch_over(to);
            self.0 = Some(Instant::now());
        }
        StepResult { is_done: false, problems: Vec::new() }
    }
}

const MOVE_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// After what failed, doubled up to the last.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AT_LAST: Duration = Duration::from_secs(8);
