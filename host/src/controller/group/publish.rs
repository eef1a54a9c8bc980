//! Makes known who is master: the Pods' labels, which the Services select on, a failover_slice until they do,
//! and the status, which is also what a successor starts from. Waits for nothing else, and repeats it until
//! it holds.

use super::super::Context;
use super::failover_slice::FailoverSlice;
use super::role_labels::RoleLabels;
use super::snapshot::Snapshot;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::status::{self, failover};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// For ever.
pub async fn keep(context: Arc<Context>, mut snapshots: Receiver<Snapshot>) {
    // As last written.
    let mut written: Option<RedisStatus> = None;
    let mut failover_slice = FailoverSlice::new();
    let mut role_labels = RoleLabels::new(&context, &snapshots.borrow());
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let is_done = !snapshot.may_act || {
            let status = status(written.as_ref(), &snapshot, &role_labels);
            let ((), labelled, stored) = tokio::join!(
                failover_slice.settle(&context, &snapshot),
                role_labels.settle(&context, &snapshot),
                store(&context, &snapshot, &mut written, status)
            );
            for error in [labelled.as_ref().err(), stored.as_ref().err()].into_iter().flatten() {
                tracing::warn!(
                    namespace = snapshot.namespace(),
                    name = snapshot.redis.name_any(),
                    error,
                    "not made known; it is tried again"
                );
            }
            labelled.is_ok() && stored.is_ok() && !failover_slice.stands()
        };
        let again = async {
            if is_done { std::future::pending().await } else { tokio::time::sleep(AGAIN_AFTER).await }
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

fn status(written: Option<&RedisStatus>, snapshot: &Snapshot, role_labels: &RoleLabels) -> RedisStatus {
    let before = written.cloned().or_else(|| snapshot.redis.status.clone()).unwrap_or_default();
    let (switchover_id, switchover_refused) =
        (snapshot.switchover_id.clone(), snapshot.switchover_refused.clone());
    let replication_user = snapshot.replication_user().map(str::to_owned);
    let before = RedisStatus {
        switchover_id,
        switchover_refused,
        replication_user,
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
    let before = match &snapshot.takeover {
        Some(takeover) => failover::with_master_change(before, takeover),
        None => before,
    };
    let before = match role_labels.told() {
        Some((epoch, us)) => failover::with_publish_time(before, epoch, us),
        None => before,
    };
    let of_pods = status::pod_problems(&snapshot.redis, snapshot.pods.values().map(AsRef::as_ref));
    let problems =
        snapshot.problems.values().flatten().cloned().chain(role_labels.refused()).chain(of_pods).collect();
    let state = status::State {
        redis: &snapshot.redis,
        decision: snapshot.decided.as_ref().map(|(decided, ..)| &*decided.decision),
        is_switching: snapshot.is_switching,
        problems,
    };
    status::with_conditions(before, &state, Timestamp::now())
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

const AGAIN_AFTER: Duration = Duration::from_secs(1);
