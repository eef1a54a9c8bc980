//! One FailoverPolicy: what its source has is proven and put in front, and what became of
//! it is told.

use super::slot::{PolicySlot, Refusal};
use super::source::{Fetched, fetches};
use super::{Policies, Policy};
use crate::kubernetes::crd::{
    ActivePolicy, FailoverPolicy, FailoverPolicySpec, FailoverPolicyStatus, PolicySource,
};
use crate::kubernetes::status::write::apply_status;
use crate::policy::digest_of;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

struct PolicyReconciler {
    policies: Arc<Policies>,
    slot: Arc<PolicySlot>,
    wanted: Receiver<Arc<FailoverPolicy>>,
    authority: Receiver<bool>,
    /// As last written, or as a predecessor left it.
    written: FailoverPolicyStatus,
}

/// Keeps one policy until nobody wants it any more.
pub async fn keep(
    policies: Arc<Policies>,
    slot: Arc<PolicySlot>,
    wanted: Receiver<Arc<FailoverPolicy>>,
    authority: Receiver<bool>,
) {
    let written = wanted.borrow().status.clone().unwrap_or_default();
    let known = written.active.clone();
    let mut reconciler = PolicyReconciler { policies, slot, wanted, authority, written };
    let mut from: Option<(PolicySource, Option<String>)> = None;
    let mut fetched: BoxStream<'static, Fetched> = stream::pending().boxed();
    loop {
        let policy = Arc::clone(&reconciler.wanted.borrow_and_update());
        let now = (policy.spec.source.clone(), policy.spec.sha256.clone());
        if from.as_ref() != Some(&now) {
            fetched = fetches(&reconciler.policies, &reconciler.slot.key.0, &policy.spec);
            from = Some(now);
        } else if reconciler.slot.live_config(&parameters(&policy.spec)) {
            reconciler.policies.changed();
        }
        reconciler.tell(&policy).await;
        tokio::select! {
            changed = reconciler.wanted.changed() => if changed.is_err() { return },
            changed = reconciler.authority.changed() => if changed.is_err() { return },
            Some(fetched) = fetched.next() => reconciler.take(fetched, &policy, known.as_ref()).await,
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
    }
}

impl PolicyReconciler {
    async fn take(&mut self, fetched: Fetched, policy: &FailoverPolicy, known: Option<&ActivePolicy>) {
        let verdict = match fetched {
            Ok(bytes) => {
                if !self.slot.fetched(&digest_of(&bytes)) {
                    return;
                }
                self.tell(policy).await;
                self.policies.prover.prove(bytes).await
            }
            Err(refusal) => Err(refusal),
        };
        let (namespace, name) = &self.slot.key;
        let verdict = verdict.and_then(|component| {
            let (title, digest) = (component.title().to_owned(), component.digest().to_owned());
            let quarantined = |error: crate::policy::Quarantined| Refusal {
                digest: Some(digest.clone()),
                reason: "Quarantined",
                message: error.to_string(),
            };
            let is_other =
                self.slot.activate(component, parameters(&policy.spec), known).map_err(quarantined)?;
            Ok((is_other, title, digest))
        });
        match verdict {
            Ok((true, policy, digest)) => tracing::info!(namespace, name, policy, digest, "policy live"),
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
                    "policy refused; the one before it goes on"
                );
            }
        }
        self.policies.changed();
    }

    /// Writes the status, if it is another one and we may. What cannot be written now is tried again.
    async fn tell(&mut self, policy: &FailoverPolicy) {
        let status = self.slot.status(&self.written.conditions, policy.metadata.generation);
        if !*self.authority.borrow_and_update() || status == self.written {
            return;
        }
        let (namespace, name) = &self.slot.key;
        let write = apply_status(&self.policies.client, policy, &status);
        match tokio::time::timeout(WRITE_MAX, write).await {
            Ok(Ok(Some(_))) => self.written = status,
            // It was deleted.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(namespace, name, %error, "status of the policy not written, will retry")
            }
            Err(_) => tracing::warn!(
                namespace,
                name,
                error = "the API server gave no answer",
                "status of the policy not written, will retry"
            ),
        }
    }
}

fn parameters(spec: &FailoverPolicySpec) -> Map<String, Value> {
    spec.parameters.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
}

/// For what changes by itself: counts, quarantine.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A policy goes live although nobody can be told.
const WRITE_MAX: Duration = Duration::from_secs(5);
