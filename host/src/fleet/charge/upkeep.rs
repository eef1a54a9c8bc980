//! Everything of a resource that clients do not wait for: its objects, the directives and passwords of running servers, and Pods
//! that have to be replaced. One step after the other, again and again until all is as it should be.

use super::super::Common;
use super::Found;
use super::objects::{Objects, in_short};
use super::picture::Picture;
use super::rollout::roll;
use super::tune::Tuned;
use crate::kubernetes::told::Trouble;
use futures_channel::mpsc::UnboundedSender;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;

/// For ever. Troubles are told when they change.
pub async fn keep(common: Arc<Common>, mut pictures: Receiver<Picture>, found: UnboundedSender<Found>) {
    let (mut objects, mut tuned, mut mover) = (Objects::default(), Tuned::default(), Mover::default());
    let mut told = Vec::new();
    let mut wait = AGAIN_AFTER;
    loop {
        let picture = pictures.borrow_and_update().clone();
        let (mut troubles, mut is_done) = (Vec::new(), true);
        if picture.may_act {
            let steps = [
                objects.settle(&common, &picture, &mut mover).await,
                tuned.settle(&common, &picture).await,
                roll(&common, &picture, &tuned, &mut mover).await,
            ];
            for step in steps {
                is_done &= step.is_done;
                troubles.extend(step.troubles);
            }
            let user = tuned.replication_user(&picture).filter(|user| picture.replication_user.as_ref() != Some(user));
            user.into_iter().for_each(|user| drop(found.unbounded_send(Found::ReplicationUser(user))));
            if troubles != told {
                for Trouble { reason, message } in &troubles {
                    tracing::warn!(namespace = picture.namespace(), name = picture.redis.name_any(), reason, message, "not as it should be");
                }
                told.clone_from(&troubles);
                drop(found.unbounded_send(Found::Troubles("upkeep", troubles)));
            }
        }
        wait = if is_done { AGAIN_AFTER } else { (wait * 2).min(AGAIN_AT_LAST) };
        let again = async { if is_done { std::future::pending().await } else { tokio::time::sleep(wait).await } };
        tokio::select! {
            changed = pictures.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// What came of one step.
#[derive(Debug, Default)]
pub struct Step {
    /// Nothing is left to be tried again.
    pub is_done: bool,
    /// What stands in the way.
    pub troubles: Vec<Trouble>,
}

impl Step {
    /// Nothing is left to do.
    pub fn done() -> Self {
        Self { is_done: true, troubles: Vec::new() }
    }

    /// The API server refused, or was not reached; the latter is nothing that could be put right in the resource.
    pub fn failed(reason: &'static str, what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(_) => Self::hindered(reason, format!("{what}: {}", in_short(error))),
            other => {
                tracing::warn!(what, error = %other, "not done; it is tried again");
                Self::default()
            }
        }
    }

    /// It is tried again, and people should know why.
    pub fn hindered(reason: &'static str, message: String) -> Self {
        Self { is_done: false, troubles: vec![Trouble { reason, message }] }
    }
}

/// Asks for the master to move out of the way, and not at every turn: it may be refused, for good reasons that pass.
#[derive(Default)]
pub struct Mover(Option<Instant>);

impl Mover {
    /// Asks the group, if it is time. What came of it is seen in the next picture.
    pub fn move_master(&mut self, picture: &Picture, to: Option<String>) -> Step {
        let is_time = self.0.is_none_or(|at| at.elapsed() >= MOVE_AGAIN_AFTER);
        if let Some(door) = picture.door.as_ref().filter(|_| is_time && !picture.is_switching && !picture.redis.spec.paused) {
            door.switch_over(to);
            self.0 = Some(Instant::now());
        }
        Step { is_done: false, troubles: Vec::new() }
    }
}

const MOVE_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// After what failed, doubled up to the last.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AT_LAST: Duration = Duration::from_secs(8);
