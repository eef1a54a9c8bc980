//! Publishes the master: Pod role labels, an EndpointSlice until Kubernetes follows them, and the status that
//! the next leader starts from. Waits for nothing else, and retries until all three match.

use super::super::Context;
use super::failover_slice::FailoverSlice;
use super::role_labels::{RoleLabels, Written};
use super::snapshot::Snapshot;
use crate::kubernetes::apply::version;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::status::write::apply_status;
use crate::kubernetes::status::{self, failover};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// The publications of one group.
pub struct Publisher {
    /// The status as last written, and the version that came of it. None: not yet.
    written: Option<(RedisStatus, u64)>,
    failover_slice: FailoverSlice,
    role_labels: RoleLabels,
}

impl Publisher {
    /// Nothing is published yet.
    pub fn new(context: &Context, snapshot: &Snapshot) -> Self {
        let role_labels = RoleLabels::new(context, snapshot);
        Self { written: None, failover_slice: FailoverSlice::new(), role_labels }
    }

    /// Another operator writes the status from now on: what was written here counts no more.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Publishes a snapshot, all three at once. Returns whether they match it.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> bool {
        let labels = self.role_labels.written().clone();
        let known = self.written.as_ref().map(|(status, _)| status.clone());
        let status =
            plan_status(known.or_else(|| snapshot.redis.status.clone()), snapshot, &labels, Timestamp::now());
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

/// Whether the resource has that status, as far as is known: by the last write, or by an observation that is
/// newer, so that an edit of another client is made right.
fn has_status(written: Option<&(RedisStatus, u64)>, redis: &Redis, status: &RedisStatus) -> bool {
    match written {
        Some((written, at)) if version(redis).is_none_or(|seen| seen <= *at) => written == status,
        Some(_) | None => redis.status.as_ref() == Some(status),
    }
}

/// The status that a snapshot should have. `before` is the one before it, which keeps the moments of its
/// changes: as written last, or without one as a predecessor left it.
fn plan_status(
    before: Option<RedisStatus>,
    snapshot: &Snapshot,
    labels: &Written,
    now: Timestamp,
) -> RedisStatus {
    let before = before.unwrap_or_default();
    let before = RedisStatus {
        switchover_id: snapshot.switchover_id.clone(),
        switchover_refused: snapshot.switchover_refused.clone(),
        replication_user: snapshot.replication_user().map(str::to_owned),
        shadow: snapshot.shadow.clone(),
        ..before
    };
    let before = match &snapshot.record {
        Some((record, at)) => status::with_record(before, record, *at),
        None => before,
    };
    let before = match &snapshot.decided {
        Some((decided, title, at)) => {
            status::with_decision(before, &snapshot.redis, &decided.decision, title, *at)
        }
        None => before,
    };
    let before = match &snapshot.master_change {
        Some(master_change) => failover::with_master_change(before, master_change),
        None => before,
    };
    let before = match labels.epoch {
        Some((epoch, us)) => failover::with_publish_time(before, epoch, us),
        None => before,
    };
    let of_pods = status::pod_problems(&snapshot.redis, snapshot.pods.values().map(AsRef::as_ref));
    let found = snapshot.problems.values().flatten().cloned();
    let state = status::State {
        redis: &snapshot.redis,
        decision: snapshot.decided.as_ref().map(|(decided, ..)| &*decided.decision),
        is_switching: snapshot.is_switching,
        problems: found.chain(labels.refused.clone()).chain(of_pods).collect(),
    };
    status::with_conditions(before, &state, now)
}

/// Writes the status, if the resource has another one.
async fn store(
    context: &Context,
    snapshot: &Snapshot,
    written: &mut Option<(RedisStatus, u64)>,
    status: RedisStatus,
) -> Result<(), String> {
    if has_status(written.as_ref(), &snapshot.redis, &status) {
        return Ok(());
    }
    let applied = apply_status(&context.client, &*snapshot.redis, &status).await;
    if let Some(version) = applied.map_err(|error| format!("status: {error}"))? {
        *written = Some((status, version));
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
        plan_status(written.cloned(), snapshot, &Written::default(), at(second))
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

    #[test]
    fn a_status_is_written_when_it_differs_from_what_the_resource_has() {
        let status = |message: &str| RedisStatus { message: message.into(), ..RedisStatus::default() };
        let redis = |version: &str, message: &str| {
            let mut redis = fixture::redis(&serde_json::json!({}));
            redis.metadata.resource_version = Some(version.into());
            redis.status = Some(status(message));
            redis
        };
        let written = Some((status("written"), 7));
        let rows = [
            ("nothing was written, and a predecessor left it so", None, redis("7", "wanted"), "wanted", true),
            ("nothing was written, and it differs", None, redis("7", "other"), "wanted", false),
            ("it was written", written.clone(), redis("7", "written"), "written", true),
            ("the watch is behind", written.clone(), redis("6", "older"), "written", true),
            ("another was written", written.clone(), redis("7", "written"), "wanted", false),
            ("another client edited it", written.clone(), redis("8", "edited"), "written", false),
            ("another client edited the spec", written, redis("8", "written"), "written", true),
        ];
        for (fact, written, redis, wanted, expected) in rows {
            assert_eq!(has_status(written.as_ref(), &redis, &status(wanted)), expected, "{fact}");
        }
    }
}
