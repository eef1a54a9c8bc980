//! Publishes the master: Pod role labels, an EndpointSlice until Kubernetes follows them, and the status that
//! the next leader starts from. Waits for nothing else, and retries until all three match.

use super::super::Context;
use super::failover_slice::FailoverSlice;
use super::record::RecordStore;
use super::role_labels::{RoleLabels, Written};
use super::snapshot::Snapshot;
use crate::kubernetes::apply::version;
use crate::kubernetes::kinds::{Known, Resource};
use crate::kubernetes::status::write::{apply_status, is_same_but_position};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// The publications of one group.
pub struct Publisher {
    /// The status as last written, and the version that came of it. None: not yet.
    written: Option<(Value, u64)>,
    failover_slice: FailoverSlice,
    role_labels: RoleLabels,
    record: RecordStore,
}

impl Publisher {
    /// Nothing is published yet.
    pub fn new(context: &Context, snapshot: &Snapshot) -> Self {
        let role_labels = RoleLabels::new(context, snapshot);
        let record = RecordStore::default();
        Self { written: None, failover_slice: FailoverSlice::new(), role_labels, record }
    }

    /// Another operator writes status and record from now on: what was written here counts no more.
    pub fn forget(&mut self) {
        self.written = None;
        self.record.forget();
    }

    /// Publishes a snapshot, all four at once. Returns whether they match it.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> bool {
        let labels = self.role_labels.written().clone();
        let written = self.written.as_ref().map(|(status, _)| status);
        let problem = self.record.problem().cloned();
        let mut known = known(written, snapshot, &labels);
        known.problems.extend(problem.clone());
        let status = snapshot.resource.managed.status(&known, Timestamp::now());
        if !snapshot.may_change() {
            return match store(context, snapshot, &mut self.written, status).await {
                Ok(()) => true,
                Err(error) => {
                    let (namespace, name) = (snapshot.namespace(), snapshot.resource.name());
                    tracing::warn!(namespace, name, error, "status not written, will retry");
                    false
                }
            };
        }
        let ((), labelled, stored, recorded) = tokio::join!(
            self.failover_slice.settle(context, snapshot),
            self.role_labels.settle(context, snapshot),
            store(context, snapshot, &mut self.written, status),
            self.record.settle(&context.client, context.term(), snapshot)
        );
        let errors = [labelled.as_ref().err(), stored.as_ref().err(), recorded.as_ref().err()];
        for error in errors.into_iter().flatten() {
            tracing::warn!(
                namespace = snapshot.namespace(),
                name = snapshot.resource.name(),
                error,
                "master not published, will retry"
            );
        }
        // What came of labels and record just now is in the next status.
        let is_shown = *self.role_labels.written() == labels && self.record.problem() == problem.as_ref();
        let is_done = labelled.is_ok() && stored.is_ok() && recorded == Ok(true);
        is_done && is_shown && !self.failover_slice.stands()
    }
}

/// Whether the resource has that status, as far as is known: by the last write, or by an observation that is
/// newer, so that an edit of another client is made right. A newer position of the same master is in the
/// record, every few seconds; the status gets it with its next write.
fn has_status(written: Option<&(Value, u64)>, resource: &Resource, status: &Value) -> bool {
    match written {
        Some((written, at)) if version(&resource.object).is_none_or(|seen| seen <= *at) => {
            is_same_but_position(written, status)
        }
        Some(_) | None => {
            let there = resource.settings.recorded.status.as_ref();
            there.is_some_and(|there| is_same_but_position(there, status))
        }
    }
}

/// What the status of a snapshot rests on. `written`: as written last. None: not yet.
fn known<'a>(written: Option<&'a Value>, snapshot: &'a Snapshot, labels: &'a Written) -> Known<'a> {
    let found = snapshot.problems.values().flatten();
    Known {
        before: written.or(snapshot.resource.settings.recorded.status.as_ref()),
        decided: snapshot
            .decided
            .as_ref()
            .map(|(decided, title, at)| (&*decided.decision, title.as_str(), *at)),
        record: snapshot.record.as_ref().map(|(record, at)| (record, *at)),
        master_change: snapshot.master_change.as_deref(),
        labelled: labels.epoch,
        is_settled: snapshot.is_settled(),
        awaits: snapshot.settled.and_then(|settled| settled.awaits),
        switchover_id: snapshot.switchover_id.as_deref(),
        switchover_refused: snapshot.switchover_refused.as_deref(),
        is_switching: snapshot.is_switching,
        replication_user: snapshot.replication_user(),
        shadow: snapshot.shadow.as_ref(),
        pods: snapshot.pods.values().map(AsRef::as_ref).collect(),
        sentinels: snapshot.sentinels,
        picture: snapshot.decided.as_ref().map(|_| &*snapshot.picture),
        problems: found.chain(&labels.refused).cloned().collect(),
    }
}

/// Writes the status, if the resource has another one.
async fn store(
    context: &Context,
    snapshot: &Snapshot,
    written: &mut Option<(Value, u64)>,
    status: Value,
) -> Result<(), String> {
    let resource = &snapshot.resource;
    if has_status(written.as_ref(), resource, &status) {
        return Ok(());
    }
    let applied = apply_status(&context.client, &resource.object, &resource.api, &status).await;
    if let Some(version) = applied.map_err(|error| format!("status: {error}"))? {
        *written = Some((status, version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::kubernetes::kinds::sample::sample;
    use crate::kubernetes::status::Problem;
    use serde_json::json;

    #[test]
    fn a_status_is_made_by_its_kind_from_the_snapshot_and_the_labels() {
        let mut snapshot = fixture::snapshot(&["redis-cart-0"]);
        snapshot.record = Some((fixture::record("redis-cart-0", 1), Timestamp::UNIX_EPOCH));
        let problem = |reason| Problem { reason, message: String::new() };
        snapshot.problems.insert("secrets", vec![problem("SecretMissing")]);
        let labels = Written { epoch: None, refused: Some(problem("LabelsRefused")) };
        let known = known(None, &snapshot, &labels);
        assert_eq!(
            snapshot.resource.managed.status(&known, Timestamp::UNIX_EPOCH),
            json!({ "master": "redis-cart-0", "problems": ["SecretMissing", "LabelsRefused"] })
        );
    }

    #[test]
    fn the_status_before_is_the_one_written_last_or_else_what_the_resource_has() {
        let (read, written) = (json!({ "master": "a", "problems": [] }), json!({ "master": "b" }));
        let labels = Written::default();
        let mut snapshot = fixture::snapshot(&[]);
        assert_eq!(known(None, &snapshot, &labels).before, None);
        snapshot.resource = sample(|object| object["status"] = read.clone()).into();
        assert_eq!(known(None, &snapshot, &labels).before, Some(&read));
        assert_eq!(known(Some(&written), &snapshot, &labels).before, Some(&written));
    }

    #[test]
    fn a_status_is_written_when_it_differs_from_what_the_resource_has() {
        let status = |master: &str| json!({ "master": master, "problems": [] });
        let resource = |version: &str, master: &str| {
            sample(|object| {
                object["metadata"]["resourceVersion"] = version.into();
                object["status"] = status(master);
            })
        };
        let written = Some((status("written"), 7));
        let rows = [
            (
                "nothing was written, and a predecessor left it so",
                None,
                resource("7", "wanted"),
                "wanted",
                true,
            ),
            ("nothing was written, and it differs", None, resource("7", "other"), "wanted", false),
            ("it was written", written.clone(), resource("7", "written"), "written", true),
            ("the watch is behind", written.clone(), resource("6", "older"), "written", true),
            ("another was written", written.clone(), resource("7", "written"), "wanted", false),
            ("another client edited it", written.clone(), resource("8", "edited"), "written", false),
            ("another client edited the spec", written, resource("8", "written"), "written", true),
        ];
        for (fact, written, resource, wanted, expected) in rows {
            assert_eq!(has_status(written.as_ref(), &resource, &status(wanted)), expected, "{fact}");
        }
    }
}
