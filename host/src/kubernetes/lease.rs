//! Leader election by a Lease: one of several operators may act. Its authority ends well before another
//! operator can acquire the Lease.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use std::time::{Duration, Instant};
use tokio::sync::watch::Sender;

/// An operator that competes for a Lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// The holder identity, different for each process.
    pub identity: String,
}

/// Acquires the Lease and renews it, for ever. `authority` is true while this operator surely holds it;
/// `answered` is called whenever the API server has answered.
pub async fn campaign(client: Client, candidate: Candidate, authority: Sender<bool>, answered: impl Fn()) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let mut seen: Option<(Option<String>, Instant)> = None;
    let mut authority_until = Instant::now();
    loop {
        let requested = Instant::now();
        match tokio::time::timeout(RENEW_EVERY, request(&api, &candidate, &mut seen)).await {
            Ok(Ok(is_holder)) => {
                authority_until = if is_holder { requested + AUTHORITY_FOR } else { requested };
                answered();
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = candidate.lease, "lease not renewed, will retry")
            }
            Err(_) => {
                tracing::warn!(lease = candidate.lease, "lease not renewed: no answer from the API server")
            }
        }
        let next = (requested + RENEW_EVERY).max(Instant::now());
        loop {
            let now = Instant::now();
            let is_changed = authority.send_if_modified(|may_act| {
                std::mem::replace(may_act, now < authority_until) != (now < authority_until)
            });
            match (is_changed, now < authority_until) {
                (true, true) => {
                    tracing::info!(lease = candidate.lease, identity = candidate.identity, "authority gained")
                }
                (true, false) => {
                    tracing::warn!(
                        lease = candidate.lease,
                        identity = candidate.identity,
                        "authority lost, acting on no group until it is back"
                    )
                }
                (false, _) => {}
            }
            if now >= next {
                break;
            }
            let wake = if now < authority_until { next.min(authority_until) } else { next };
            tokio::time::sleep_until(wake.into()).await;
        }
    }
}

/// Releases the Lease, so that the next operator need not wait for its expiry.
pub async fn release(client: Client, candidate: &Candidate) -> Result<(), kube::Error> {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let Some(mut lease) = api.get_opt(&candidate.lease).await? else { return Ok(()) };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() == Some(&candidate.identity) {
        spec.holder_identity = None;
        api.replace(&candidate.lease, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

/// True: this operator holds the Lease from now on. The resource version in the request makes the API server
/// refuse it if the Lease has changed in between.
async fn ask(
    api: &Api<Lease>,
    candidate: &Candidate,
    seen: &mut Option<(Option<String>, Instant)>,
) -> Result<bool, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let acquired = |before: &LeaseSpec| LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(TAKEOVER_AFTER.as_secs()).unwrap_or(i32::MAX)),
        renew_time: Some(now.clone()),
        acquire_time: before
            .acquire_time
            .clone()
            .filter(|_| before.holder_identity.as_deref() == Some(&candidate.identity))
            .or(Some(now.clone())),
        lease_transitions: Some(
            before.lease_transitions.unwrap_or(0)
                + i32::from(before.holder_identity.as_deref() != Some(&candidate.identity)),
        ),
        ..before.clone()
    };
    let Some(lease) = api.get_opt(&candidate.lease).await? else {
        let metadata = ObjectMeta { name: Some(candidate.lease.clone()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(acquired(&LeaseSpec::default())) };
        return won(api.create(&PostParams::default(), &lease).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    // Measured by this process's clock: for how long the Lease has had this resource version.
    let version = lease.metadata.resource_version.clone();
    let since = match seen {
        Some((known, since)) if *known == version => *since,
        _ => seen.insert((version, Instant::now())).1,
    };
    let is_free = spec.holder_identity.as_deref().is_none_or(str::is_empty);
    let is_holder = spec.holder_identity.as_deref() == Some(&candidate.identity);
    if !is_free && !is_holder && since.elapsed() < TAKEOVER_AFTER {
        return Ok(false);
    }
    won(api
        .replace(&candidate.lease, &PostParams::default(), &Lease { spec: Some(acquired(&spec)), ..lease })
        .await)
}

/// A conflict means that another operator was faster: that is an answer, not an error.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Authority lasts this long from the moment before a renewal was sent.
const OURS_FOR: Duration = Duration::from_secs(10);
/// An operator acquires another's Lease once it has been unchanged for this long. The 5 s beyond [`OURS_FOR`]
/// are more than an action takes.
const THEIRS_AFTER: Duration = Duration::from_secs(15);
