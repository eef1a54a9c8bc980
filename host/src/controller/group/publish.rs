//! Publishes the master: Pod role labels, an EndpointSlice until Kubernetes follows them, and the status that
//! the next leader starts from. Waits for nothing else, and retries until all three match.

use super::super::Context;
use super::failover_slice::FailoverSlice;
use super::role_labels::{RoleLabels, Written};
use super::snapshot::Snapshot;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::status::{self, failover};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

/// The publications of one group.
pub struct Publisher {
    /// The status as last written. None: not yet.
    written: Option<RedisStatus>,
    failover_slice: FailoverSlice,
    role_labels: RoleLabels,
}

impl Publisher {
    /// Nothing is published yet.
    pub fn new(context: &Context, snapshot: &Snapshot) -> Self {
        let role_labels = RoleLabels::new(context, snapshot);
        Self { written: None, failover_slice: FailoverSlice::new(), role_labels }
    }

    /// Publishes a snapshot, all three at once. Returns whether they match it.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> bool {
        let labels = self.role_labels.written().clone();
        let status = plan_status(self.written.as_ref(), snapshot, &labels, Timestamp::now());
        let ((), labelled, stored) = tokio::join!(
            self.failover_slice.settle(context, snapshot),
            self.role_labels.settle(context, snapshot),
            store(context, snapshot, &mut self.written, status)
        );
        for error in [labelled.as_ref().err(), stored.as_ref().err()].into_iter().flatten() {
            tracing::warn!(
                namespace = snapshot.namespace(),
                name = snapshot.redis.name_any(),
                error,
                "master not published, will retry"
            );
        }
        // Labels that were written just now are in the next status.
        let is_shown = *self.role_labels.written() == labels;
        labelled.is_ok() && stored.is_ok() && is_shown && !self.failover_slice.stands()
    }
}

/// The status that a snapshot should have. `written` is the status as last written, which keeps the moments of
/// its changes; without one the resource's own does.
fn plan_status(
    written: Option<&RedisStatus>,
    snapshot: &Snapshot,
    labels: &Written,
    now: Timestamp,
) -> RedisStatus {
    let before = written.cloned().or_else(|| snapshot.redis.status.clone()).unwrap_or_default();
    let before = RedisStatus {
        switchover_id: snapshot.switchover_id.clone(),
        switchover_refused: snapshot.switchover_refused.clone(),
        replication_user: snapshot.replication_user().map(str::to_owned),
        shadow: snapshot.shadow.clone(),
        ..before
    };
    let before = match &snapshot.record {
        Some((record, at)) => status::published(before, record, *at),
        None => before,
    };
    let before = match &snapshot.decided {
        Some((decided, title, at)) => status::decided(before, &snapshot.redis, &decided.decision, title, *at),
        None => before,
    };
    let before = match &snapshot.takeover {
        Some(takeover) => failover::taken_over(before, takeover),
        None => before,
    };
    let before = match labels.epoch {
        Some((epoch, us)) => failover::labelled(before, epoch, us),
        None => before,
    };
    let of_pods = status::pods_in_trouble(&snapshot.redis, snapshot.pods.values().map(AsRef::as_ref));
    let found = snapshot.problems.values().flatten().cloned();
    let state = status::State {
        redis: &snapshot.redis,
        decision: snapshot.decided.as_ref().map(|(decided, ..)| &*decided.decision),
        is_switching: snapshot.is_switching,
        problems: found.chain(labels.refused.clone()).chain(of_pods).collect(),
    };
    status::standing(before, &state, now)
}

async fn store(
    context: &Context,
    snapshot: &Snapshot,
    written: &mut Option<RedisStatus>,
    status: RedisStatus,
) -> Result<(), String> {
    if written.as_ref() == Some(&status)
        || (written.is_none() && snapshot.redis.status.as_ref() == Some(&status))
    {
        return Ok(());
    }
    let api: Api<Redis> = Api::namespaced(context.client.clone(), &snapshot.namespace());
    let patch = json!({ "status": status::as_patch(&status) });
    match api.patch_status(&snapshot.redis.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => *written = Some(status),
        // It was deleted meanwhile: there is nobody to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(error) => return Err(format!("status: {error}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::fixture;
    use super::*;
    use crate::kubernetes::status::Problem;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn planned(written: Option<&RedisStatus>, snapshot: &Snapshot, second: i64) -> RedisStatus {
        plan_status(written, snapshot, &Written::default(), at(second))
    }

    fn condition(status: &RedisStatus, type_: &str) -> (String, String, String) {
        let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (found.status.clone(), found.reason.clone(), found.last_transition_time.clone())
    }

    #[test]
    fn before_the_first_decision_the_status_says_so_and_problems_come_first() {
        let mut snapshot = fixture::snapshot(&["redis-cart-0", "redis-cart-1", "redis-cart-2"]);
        let status = planned(None, &snapshot, 10);
        let since = at(10).to_string();
        assert_eq!(condition(&status, "Ready"), ("False".into(), "Starting".into(), since.clone()));
        let problem = Problem { reason: "SecretMissing", message: "create it".into() };
        snapshot.problems.insert("secrets", vec![problem]);
        let status = planned(Some(&status), &snapshot, 20);
        assert_eq!(condition(&status, "Ready"), ("False".into(), "SecretMissing".into(), since));
        assert_eq!(
            condition(&status, "Degraded"),
            ("True".into(), "SecretMissing".into(), at(20).to_string())
        );
    }

    #[test]
    fn the_same_snapshot_gives_the_same_status_at_any_later_time() {
        let mut snapshot = fixture::snapshot(&["redis-cart-0", "redis-cart-1", "redis-cart-2"]);
        snapshot.record = Some((fixture::record("redis-cart-0", 1), at(5)));
        let first = planned(None, &snapshot, 10);
        assert_eq!(first.published.as_ref().unwrap().name, "redis-cart-0");
        assert_eq!(planned(Some(&first), &snapshot, 99), first);
    }

    #[test]
    fn what_the_snapshot_does_not_hold_any_more_leaves_the_status() {
        let mut snapshot = fixture::snapshot(&[]);
        (snapshot.switchover_id, snapshot.switchover_refused) = (Some("one".into()), Some("no".into()));
        let refused = planned(None, &snapshot, 10);
        assert_eq!(refused.switchover_refused.as_deref(), Some("no"));
        (snapshot.switchover_id, snapshot.switchover_refused) = (Some("two".into()), None);
        let asked = planned(Some(&refused), &snapshot, 20);
        assert_eq!((asked.switchover_id.as_deref(), asked.switchover_refused), (Some("two"), None));
    }

    #[test]
    fn labels_that_are_refused_are_a_problem_and_labels_of_the_epoch_say_how_long_they_took() {
        let mut snapshot = fixture::snapshot(&[]);
        snapshot.record = Some((fixture::changed("redis-cart-0", "redis-cart-1", 2), at(5)));
        let refusal = Problem { reason: "LabelsRefused", message: "pods is forbidden".into() };
        let labels = Written { epoch: Some((2, 1500)), refused: Some(refusal) };
        let status = plan_status(None, &snapshot, &labels, at(10));
        assert_eq!(status.last_failover.as_ref().unwrap().publish_microseconds, Some(1500));
        assert_eq!(condition(&status, "Degraded").1, "LabelsRefused");
        let other = Written { epoch: Some((1, 1500)), refused: None };
        let status = plan_status(None, &snapshot, &other, at(10));
        assert_eq!(status.last_failover.unwrap().publish_microseconds, None);
    }
}
