//! Makes known who is master: the Pods' labels, which the Services select on, a bridge until they do, and the status, which is also
//! what a successor starts from. Waits for nothing else, and repeats it until it holds.

use super::super::Common;
use super::bridge::Bridge;
use super::objects::in_short;
use super::picture::Picture;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::objects::{MASTER, REPLICA, ROLE_LABEL};
use crate::kubernetes::told::Trouble;
use crate::kubernetes::{takeover, told};
use crate::report::RoleMetrics;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// For ever.
pub async fn keep(common: Arc<Common>, mut pictures: Receiver<Picture>) {
    // As last written.
    let mut written: Option<RedisStatus> = None;
    // How long it took until the labels told of an epoch, in microseconds.
    let mut measured: Option<(u64, i64)> = None;
    // Why the labels could not be written, where it is more than an API server that is away.
    let mut refused: Option<Trouble> = None;
    let mut bridge = Bridge::new();
    let roles = {
        let picture = pictures.borrow();
        RoleMetrics::new(picture.namespace(), picture.redis.name_any(), Arc::clone(&common.metrics))
    };
    loop {
        let picture = pictures.borrow_and_update().clone();
        let is_done = !picture.may_act || {
            let status = status(written.as_ref(), &picture, measured, refused.clone());
            let ((), labelled, stored) =
                tokio::join!(bridge.settle(&common, &picture), label(&common, &picture), store(&common, &picture, &mut written, status));
            let labelled = labelled.map_err(|Unlabelled { why, is_refusal }| {
                refused = is_refusal.then(|| Trouble { reason: "LabelsRefused", message: why.clone() });
                why
            });
            if labelled.is_ok() {
                refused = None;
            }
            for error in [labelled.as_ref().err(), stored.as_ref().err()].into_iter().flatten() {
                tracing::warn!(namespace = picture.namespace(), name = picture.redis.name_any(), error, "not made known; it is tried again");
            }
            if let (Ok(true), Some((record, told))) = (&labelled, &picture.record) {
                let epoch = record.published.epoch;
                let us = Timestamp::now().as_microsecond().saturating_sub(told.as_microsecond()).max(0);
                // The end of the change is told after this, and this with it.
                if measured.is_none_or(|(known, _)| known != epoch) {
                    measured = Some((epoch, us));
                    roles.told(us.unsigned_abs());
                }
            }
            roles.are_stale(labelled.is_err());
            labelled.is_ok() && stored.is_ok() && !bridge.stands()
        };
        let again = async { if is_done { std::future::pending().await } else { tokio::time::sleep(AGAIN_AFTER).await } };
        tokio::select! {
            changed = pictures.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// Why the labels are not as they should be.
struct Unlabelled {
    why: String,
    /// By the API server: it will not pass by itself.
    is_refusal: bool,
}

/// Whether there was anything to do.
async fn label(common: &Common, picture: &Picture) -> Result<bool, Unlabelled> {
    let Some(master) = picture.master() else { return Ok(false) };
    let api: Api<Pod> = Api::namespaced(common.client.clone(), &picture.namespace());
    let wrong = picture.pods.iter().filter_map(|(name, pod)| {
        let role = if name == master { MASTER } else { REPLICA };
        (pod.labels().get(ROLE_LABEL).map(String::as_str) != Some(role)).then_some((name, role))
    });
    let patches = wrong.map(async |(name, role)| {
        let patch = json!({ "metadata": { "labels": { ROLE_LABEL: role } } });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            // It went away meanwhile.
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(false),
            Err(error) => {
                let is_refusal = matches!(error, kube::Error::Api(_));
                Err(Unlabelled { why: format!("label of {name}: {}", in_short(&error)), is_refusal })
            }
        }
    });
    let patched: Vec<bool> = futures_util::future::join_all(patches).await.into_iter().collect::<Result<_, _>>()?;
    Ok(patched.contains(&true))
}

fn status(written: Option<&RedisStatus>, picture: &Picture, measured: Option<(u64, i64)>, refused: Option<Trouble>) -> RedisStatus {
    let before = written.cloned().or_else(|| picture.redis.status.clone()).unwrap_or_default();
    let (switchover_id, switchover_refused) = (picture.switchover_id.clone(), picture.switchover_refused.clone());
    let before = RedisStatus { switchover_id, switchover_refused, shadow: picture.shadow.clone(), ..before };
    let before = match &picture.record {
        Some((record, at)) => told::published(before, record, *at),
        None => before,
    };
    let before = match &picture.decided {
        Some((decided, title, at)) => told::decided(before, &picture.redis, &decided.decision, title, *at),
        None => before,
    };
    let before = match &picture.takeover {
        Some(takeover) => takeover::taken_over(before, takeover),
        None => before,
    };
    let before = match measured {
        Some((epoch, us)) => takeover::labelled(before, epoch, us),
        None => before,
    };
    let of_pods = told::pods_in_trouble(&picture.redis, picture.pods.values().map(AsRef::as_ref));
    let troubles = picture.troubles.values().flatten().cloned().chain(refused).chain(of_pods).collect();
    let state = told::State {
        redis: &picture.redis,
        decision: picture.decided.as_ref().map(|(decided, ..)| &*decided.decision),
        is_switching: picture.is_switching,
        troubles,
    };
    told::standing(before, &state, Timestamp::now())
}

async fn store(common: &Common, picture: &Picture, written: &mut Option<RedisStatus>, status: RedisStatus) -> Result<(), String> {
    if written.as_ref() == Some(&status) || (written.is_none() && picture.redis.status.as_ref() == Some(&status)) {
        return Ok(());
    }
    let api: Api<Redis> = Api::namespaced(common.client.clone(), &picture.namespace());
    let patch = json!({ "status": told::as_patch(&status) });
    match api.patch_status(&picture.redis.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => *written = Some(status),
        // It was deleted meanwhile: there is nobody to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(error) => return Err(format!("status: {error}")),
    }
    Ok(())
}

const AGAIN_AFTER: Duration = Duration::from_secs(1);
