//! The Pods' labels, which the Services select on: the newest snapshot's master has its role, and everybody
//! else the other one.

use super::super::Context;
use super::objects::in_short;
use super::snapshot::Snapshot;
use crate::kubernetes::objects::{MASTER, REPLICA, ROLE_LABEL};
use crate::kubernetes::status::Problem;
use crate::report::RoleMetrics;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

/// Of one group.
pub struct RoleLabels {
    told: Option<(u64, i64)>,
    refused: Option<Problem>,
    metrics: RoleMetrics,
}

impl RoleLabels {
    /// Nothing is told yet.
    pub fn new(context: &Context, snapshot: &Snapshot) -> Self {
        let metrics =
            RoleMetrics::new(snapshot.namespace(), snapshot.redis.name_any(), Arc::clone(&context.metrics));
        Self { told: None, refused: None, metrics }
    }

    /// The newest epoch that the labels were changed for, and how many microseconds that took.
    pub fn told(&self) -> Option<(u64, i64)> {
        self.told
    }

    /// Why they could not be written, where it is more than an API server that is away.
    pub fn refused(&self) -> Option<Problem> {
        self.refused.clone()
    }

    /// Makes them so.
    ///
    /// # Errors
    /// When one is not: one sentence.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> Result<(), String> {
        let labelled = label(context, snapshot).await;
        self.metrics.are_stale(labelled.is_err());
        self.refused = labelled
            .as_ref()
            .err()
            .filter(|error| matches!(error.why, kube::Error::Api(_)))
            .map(Unlabelled::as_trouble);
        if let (Ok(true), Some((record, told))) = (&labelled, &snapshot.record) {
            let epoch = record.published.epoch;
            let us = Timestamp::now().as_microsecond().saturating_sub(told.as_microsecond()).max(0);
            // The end of the change is told after this, and this with it.
            if self.told.is_none_or(|(known, _)| known != epoch) {
                self.told = Some((epoch, us));
                self.metrics.updated(us.unsigned_abs());
            }
        }
        labelled.map(drop).map_err(|error| error.as_trouble().message)
    }
}

/// One that is not as it should be.
struct Unlabelled {
    pod: String,
    why: kube::Error,
}

impl Unlabelled {
    fn as_trouble(&self) -> Problem {
        Problem {
            reason: "LabelsRefused",
            message: format!("label of {}: {}", self.pod, in_short(&self.why)),
        }
    }
}

/// Whether there was anything to do.
async fn label(context: &Context, snapshot: &Snapshot) -> Result<bool, Unlabelled> {
    let Some(master) = snapshot.master() else { return Ok(false) };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &snapshot.namespace());
    let wrong = snapshot.pods.iter().filter_map(|(name, pod)| {
        let role = if name == master { MASTER } else { REPLICA };
        (pod.labels().get(ROLE_LABEL).map(String::as_str) != Some(role)).then_some((name, role))
    });
    let patches = wrong.map(async |(name, role)| {
        let patch = json!({ "metadata": { "labels": { ROLE_LABEL: role } } });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            // It went away meanwhile.
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(false),
            Err(why) => Err(Unlabelled { pod: name.clone(), why }),
        }
    });
    let patched: Vec<bool> =
        futures_util::future::join_all(patches).await.into_iter().collect::<Result<_, _>>()?;
    Ok(patched.contains(&true))
}
