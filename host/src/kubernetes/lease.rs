//! Leader election between operators with a Lease. Must not act on a group.
//!
//! # Flow
//!
//! 1. Every operator requests the Lease every `RENEW_EVERY` (2 s), each request with a timeout of the same
//!    length.
//! 2. If the Lease is free or its own, it writes itself as holder. The resource version in the request makes
//!    the write conditional: of two writers one gets a conflict.
//! 3. If another operator holds it, it notes by its own clock how long the same resource version has been
//!    seen, and writes itself as holder after `TAKEOVER_AFTER`.
//! 4. After a successful write it has authority until `AUTHORITY_FOR_US` after the moment before the request.
//!    Every action is compared with that moment at its sending (`authority.rs`).
//! 5. A clean shutdown ends the authority, waits for the actions in progress, ends all groups, then clears
//!    the holder ([`release`]), so the next operator need not wait.
//!
//! # Guarantees
//!
//! No action of a former holder is in progress when another operator gains authority:
//!
//! > `A · r < T`, with 10 s < 15 s
//!
//! - `A` = `AUTHORITY_FOR_US`, by the holder's clock, counted from before the request. The API server stored
//!   the renewal later than that, and the other operator first saw it later still. An action begins only if
//!   its longest time (1 s; a handover twice its `pause_max_ms`, so 6 s at most; a restart 5 s) ends within
//!   `A`.
//! - `T` = `TAKEOVER_AFTER`, by the other operator's clock, counted from when it first saw the renewal.
//! - `r`: rate of the other operator's clock, relative to the holder's. The inequality holds up to `r` = 1.5.
//!   The holder's clock goes on while its machine is suspended; the other's need not, which only delays it.
//!
//! Authority lasts through failed renewals: four in a row may time out.
//!
//! # Assumptions
//!
//! - Clock *rates* differ by less than 50 %. The time of day is never compared: `renewTime` is only for
//!   `kubectl`.
//! - The API server orders writes to one object (etcd).
//!
//! # Caveats
//!
//! - A holder that the kernel stops (SIGSTOP, a paused VM) between the comparison and the write to the socket
//!   can act later. An action is still bound to the connection that reported its precondition, which bounds
//!   the damage.
//! - Without an API server there is no authority, so no failover. Groups outside Kubernetes use no Lease.

use super::record::Term;
use crate::authority::Authority;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use std::time::{Duration, Instant};
use tokio::sync::watch::Sender;

/// The Lease, and the operator that requests it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// Name of this operator; unique per process.
    pub identity: String,
}

/// Requests the Lease and renews it until dropped. Grants `authority`, sends to `holder` whether there is
/// any, and calls `answered` after each answer of the API server, with the term if this operator is the
/// holder.
pub async fn campaign(
    client: Client,
    candidate: Candidate,
    authority: Authority,
    holder: Sender<bool>,
    answered: impl Fn(Option<Term>),
) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let mut seen: Option<(Option<String>, Instant)> = None;
    loop {
        let (requested, requested_us) = (Instant::now(), authority.now_us());
        match tokio::time::timeout(RENEW_EVERY, request(&api, &candidate, &mut seen)).await {
            Ok(Ok(term)) => {
                let is_holder = term.is_some();
                authority.grant(if is_holder { requested_us + AUTHORITY_FOR_US } else { requested_us });
                answered(term);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = candidate.lease, "lease not renewed, will retry")
            }
            Err(_) => {
                tracing::warn!(
                    lease = candidate.lease,
                    "lease not renewed, will retry: no answer of the API server within 2 s"
                )
            }
        }
        let next = (requested + RENEW_EVERY).max(Instant::now());
        loop {
            let (now, left) = (Instant::now(), authority.left());
            let may_act = !left.is_zero();
            let is_changed = holder.send_if_modified(|before| std::mem::replace(before, may_act) != may_act);
            match (is_changed, may_act) {
                (true, true) => {
                    tracing::info!(lease = candidate.lease, identity = candidate.identity, "authority gained")
                }
                (true, false) => {
                    tracing::warn!(
                        lease = candidate.lease,
                        identity = candidate.identity,
                        "authority lost: no action until it is regained"
                    )
                }
                (false, _) => {}
            }
            if now >= next {
                break;
            }
            let wake = if may_act { next.min(now + left) } else { next };
            tokio::time::sleep_until(wake.into()).await;
        }
    }
}

/// Clears the holder of the Lease, so that the next operator need not wait. Call it only when all groups have
/// ended.
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

/// Reads the Lease and writes this operator as its holder if it may be. Returns its term if it is the holder
/// now. The resource version in the request makes the write fail if another operator wrote in between.
async fn request(
    api: &Api<Lease>,
    candidate: &Candidate,
    seen: &mut Option<(Option<String>, Instant)>,
) -> Result<Option<Term>, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let held = |before: &LeaseSpec| LeaseSpec {
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
        let lease = Lease { metadata, spec: Some(held(&LeaseSpec::default())) };
        return is_written(api.create(&PostParams::default(), &lease).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    // By this operator's clock: since when this version has been seen.
    let version = lease.metadata.resource_version.clone();
    let since = match seen {
        Some((known, since)) if *known == version => *since,
        _ => seen.insert((version, Instant::now())).1,
    };
    let is_free = spec.holder_identity.as_deref().is_none_or(str::is_empty);
    let is_holder = spec.holder_identity.as_deref() == Some(&candidate.identity);
    if !is_free && !is_holder && since.elapsed() < TAKEOVER_AFTER {
        return Ok(None);
    }
    is_written(
        api.replace(&candidate.lease, &PostParams::default(), &Lease { spec: Some(held(&spec)), ..lease })
            .await,
    )
}

/// A conflict is an answer, not an error: another operator wrote first.
fn is_written(written: Result<Lease, kube::Error>) -> Result<Option<Term>, kube::Error> {
    match written {
        Ok(lease) => Ok(Some(Term::of(&lease))),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Authority lasts this long, counted from the moment before the request: `A` above.
const AUTHORITY_FOR_US: u64 = 10_000_000;
/// An operator takes over a Lease that it has seen unchanged for this long: `T` above.
const TAKEOVER_AFTER: Duration = Duration::from_secs(15);
