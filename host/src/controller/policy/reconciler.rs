//! Reconciles one FailoverPolicy: fetches its component, has it proven, makes it live, and writes the
//! resource's status. Goes on while a component is being proven: a newer one ends that proof. Must not change
//! a chain for a component that was not proven.

use super::slot::{PolicySlot, Refusal};
use super::source::{Fetched, fetches};
use super::{Policies, Policy};
use crate::kubernetes::crd::{
    ActivePolicy, FailoverPolicy, FailoverPolicySpec, FailoverPolicyStatus, PolicySource,
};
use crate::kubernetes::status::write::apply_status;
use crate::policy::{Loaded, digest_of};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// A proven component, or why there is none.
type Verdict = Result<Arc<Loaded>, Refusal>;

/// A proof in progress. Dropping it ends it.
struct Proof {
    digest: String,
    verdict: BoxFuture<'static, Verdict>,
}

struct PolicyReconciler {
    policies: Arc<Policies>,
    slot: Arc<PolicySlot>,
    wanted: Receiver<Arc<FailoverPolicy>>,
    authority: Receiver<bool>,
    /// The status as last written, by this operator or an earlier one.
    written: FailoverPolicyStatus,
}

/// Reconciles one policy until the sender of `wanted` is dropped.
pub async fn reconcile(
    policies: Arc<Policies>,
    slot: Arc<PolicySlot>,
    wanted: Receiver<Arc<FailoverPolicy>>,
    authority: Receiver<bool>,
) {
    let written = wanted.borrow().status.clone().unwrap_or_default();
    let published = written.active.clone();
    let mut reconciler = PolicyReconciler { policies, slot, wanted, authority, written };
    let mut from: Option<(PolicySource, Option<String>)> = None;
    let mut fetched: BoxStream<'static, Fetched> = stream::pending().boxed();
    let mut proof: Option<Proof> = None;
    loop {
        let policy = Arc::clone(&reconciler.wanted.borrow_and_update());
        let now = (policy.spec.source.clone(), policy.spec.sha256.clone());
        if from.as_ref() != Some(&now) {
            fetched = fetches(&reconciler.policies, &reconciler.slot.key.0, &policy.spec);
            (from, proof) = (Some(now), None);
        } else if reconciler.slot.set_parameters(&parameters(&policy.spec)) {
            reconciler.policies.changed();
        }
        reconciler.write_status(&policy).await;
        tokio::select! {
            changed = reconciler.wanted.changed() => if changed.is_err() { return },
            changed = reconciler.authority.changed() => if changed.is_err() { return },
            Some(fetched) = fetched.next() => match fetched {
                Ok(bytes) => reconciler.prove(bytes, &mut proof),
                Err(refusal) => {
                    proof = None;
                    reconciler.settle(Err(refusal), &policy, published.as_ref());
                }
            },
            verdict = ended(&mut proof) => {
                proof = None;
                reconciler.settle(verdict, &policy, published.as_ref());
            }
            () = tokio::time::sleep(STATUS_INTERVAL) => {}
        }
    }
}

/// The verdict of a proof; never, if there is none.
async fn ended(proof: &mut Option<Proof>) -> Verdict {
    match proof {
        Some(proof) => (&mut proof.verdict).await,
        None => std::future::pending().await,
    }
}

impl PolicyReconciler {
    /// Starts the proof of a fetched component in place of the one in progress, unless that is of the same
    /// component.
    fn prove(&self, bytes: Vec<u8>, proof: &mut Option<Proof>) {
        let digest = digest_of(&bytes);
        if proof.as_ref().is_some_and(|proof| proof.digest == digest) {
            return;
        }
        *proof = self.slot.propose(&digest).then(|| {
            let (policies, slot) = (Arc::clone(&self.policies), Arc::clone(&self.slot));
            Proof { digest, verdict: async move { policies.prover.prove(&slot.key.0, bytes).await }.boxed() }
        });
    }

    /// Makes a proven component the live policy, or records why it is refused.
    fn settle(&self, verdict: Verdict, policy: &FailoverPolicy, published: Option<&ActivePolicy>) {
        let (namespace, name) = &self.slot.key;
        let verdict = verdict.and_then(|component| {
            let (title, digest) = (component.title().to_owned(), component.digest().to_owned());
            let quarantined = |error: crate::policy::Quarantined| Refusal {
                digest: Some(digest.clone()),
                reason: "Quarantined",
                message: error.to_string(),
            };
            let has_changed =
                self.slot.activate(component, parameters(&policy.spec), published).map_err(quarantined)?;
            Ok((has_changed, title, digest))
        });
        match verdict {
            Ok((true, policy, digest)) => tracing::info!(namespace, name, policy, digest, "activated policy"),
            Ok((false, ..)) => return,
            Err(refusal) => {
                let Refusal { digest, reason, message } = refusal.clone();
                if !self.slot.refuse(refusal) {
                    return;
                }
                tracing::warn!(
                    namespace,
                    name,
                    digest,
                    reason,
                    error = message,
                    "refused policy, kept the former one"
                );
            }
        }
        self.policies.changed();
    }

    /// Writes the status if it changed and this operator has authority. A failed write is retried after
    /// [`STATUS_INTERVAL`] at the latest.
    async fn write_status(&mut self, policy: &FailoverPolicy) {
        let status = self.slot.status(&self.written.conditions, policy.metadata.generation);
        if !*self.authority.borrow_and_update() || status == self.written {
            return;
        }
        let (namespace, name) = &self.slot.key;
        let write = apply_status(&self.policies.client, policy, &(), &status);
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(Some(_))) => self.written = status,
            // The resource was deleted.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(namespace, name, %error, "could not write the policy status, will retry")
            }
            Err(_) => tracing::warn!(
                namespace,
                name,
                error = "the API server did not answer in time",
                "could not write the policy status, will retry"
            ),
        }
    }
}

fn parameters(spec: &FailoverPolicySpec) -> Map<String, Value> {
    spec.parameters.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Shadow counts and quarantine change without an event.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// A policy is activated even if its status cannot be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
