//! Makes known who is master: the Pods' labels, which the Services select on, a bridge until they do, and the status, which is also
//! what a successor starts from. Waits for nothing else, and repeats it until it holds.

use super::super::Common;
use super::bridge::Bridge;
use super::picture::Picture;
use super::roles::Roles;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::{takeover, told};
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
    let mut bridge = Bridge::new();
    let mut roles = Roles::new(&common, &pictures.borrow());
    loop {
        let picture = pictures.borrow_and_update().clone();
        let is_done = !picture.may_act || {
            let status = status(written.as_ref(), &picture, &roles);
            let ((), labelled, stored) =
                tokio::join!(bridge.settle(&common, &picture), roles.settle(&common, &picture), store(&common, &picture, &mut written, status));
            for error in [labelled.as_ref().err(), stored.as_ref().err()].into_iter().flatten() {
                tracing::warn!(namespace = picture.namespace(), name = picture.redis.name_any(), error, "not made known; it is tried again");
            }
            labelled.is_ok() && stored.is_ok() && !bridge.stands()
        };
        let again = async { if is_done { std::future::pending().await } else { tokio::time::sleep(AGAIN_AFTER).await } };
        tokio::select! {
            changed = pictures.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

fn status(written: Option<&RedisStatus>, picture: &Picture, roles: &Roles) -> RedisStatus {
    let before = written.cloned().or_else(|| picture.redis.status.clone()).unwrap_or_default();
    let (switchover_id, switchover_refused) = (picture.switchover_id.clone(), picture.switchover_refused.clone());
    let replication_user = picture.replication_user().map(str::to_owned);
    let before = RedisStatus { switchover_id, switchover_refused, replication_user, shadow: picture.shadow.clone(), ..before };
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
    let before = match roles.told() {
        Some((epoch, us)) => takeover::labelled(before, epoch, us),
        None => before,
    };
    let of_pods = told::pods_in_trouble(&picture.redis, picture.pods.values().map(AsRef::as_ref));
    let troubles = picture.troubles.values().flatten().cloned().chain(roles.refused()).chain(of_pods).collect();
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
