//! The Pods' role labels, which the Services select on: the published master has the role of the master,
//! every other Pod that of a replica. [`plan`] decides, [`apply`] writes.

use super::super::Context;
use super::snapshot::Snapshot;
use crate::kubernetes::error::message;
use crate::kubernetes::kinds::Settings;
use crate::kubernetes::objects::Family;
use crate::kubernetes::status::Problem;
use crate::report::RoleMetrics;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

/// The labels of one group.
pub struct RoleLabels {
    written: Written,
    metrics: RoleMetrics,
}

/// What came of writing labels, as far as the status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The newest epoch that labels were changed for, and how many microseconds that took.
    pub epoch: Option<(u64, i64)>,
    /// Why the API server refuses a label. None: it refuses none, or it is away.
    pub refused: Option<Problem>,
}

impl RoleLabels {
    /// Nothing is written yet.
    pub fn new(context: &Context, snapshot: &Snapshot) -> Self {
        let metrics =
            RoleMetrics::new(snapshot.namespace(), snapshot.resource.name(), Arc::clone(&context.metrics));
        Self { written: Written::default(), metrics }
    }

    /// What the status shows of the labels.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Writes the labels that are not as they should be.
    ///
    /// # Errors
    /// The first label that was not written, in one sentence.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> Result<(), String> {
        let words = Words::of(&snapshot.resource.settings);
        let roles = snapshot
            .pods
            .iter()
            // Its name means another process, which the record speaks of.
            .filter(|(name, _)| !snapshot.former.keeps_name(name))
            .map(|(name, pod)| (name.as_str(), Marks::of(pod, words.family)));
        let applied = apply(context, snapshot, words, &plan(snapshot.master(), words, roles)).await;
        self.metrics.are_stale(applied.is_err());
        let published = snapshot.record.as_ref().map(|(record, at)| (record.published.epoch, *at));
        let (written, is_published) = after(&self.written, &applied, published, Timestamp::now());
        if let (Some((_, us)), true) = (written.epoch, is_published) {
            self.metrics.updated(us.unsigned_abs());
        }
        self.written = written;
        applied.map(drop).map_err(|error| error.problem().message)
    }
}

/// A label that was not written.
struct Unlabelled {
    pod: String,
    why: kube::Error,
}

impl Unlabelled {
    fn problem(&self) -> Problem {
        Problem { reason: "LabelsRefused", message: format!("label of {}: {}", self.pod, message(&self.why)) }
    }
}

/// How roles are written.
#[derive(Clone, Copy, Debug)]
struct Words {
    family: &'static Family,
    /// An annotation keeps the cluster autoscaler from evicting the master.
    marks_eviction: bool,
}

impl Words {
    fn of(settings: &Settings) -> Self {
        Self { family: settings.family, marks_eviction: settings.marks_eviction }
    }

    /// What a Pod of that role has.
    fn marks(self, is_master: bool) -> Marks<'static> {
        let role = if is_master { self.family.master } else { self.family.replica };
        let may_evict = if is_master { "false" } else { "true" };
        Marks { role: Some(role), may_evict: self.marks_eviction.then_some(may_evict) }
    }
}

/// The label and the annotation of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks<'a> {
    role: Option<&'a str>,
    may_evict: Option<&'a str>,
}

impl<'a> Marks<'a> {
    fn of(pod: &'a Pod, family: &Family) -> Self {
        Self {
            role: pod.labels().get(family.role_label).map(String::as_str),
            may_evict: pod.annotations().get(EVICTION_ANNOTATION).map(String::as_str),
        }
    }
}

/// The Pods to write to, and what: each whose marks are others. Without a published master all stay, since a
/// wrong guess would lead clients to a replica.
fn plan<'a>(
    master: Option<&str>,
    words: Words,
    pods: impl Iterator<Item = (&'a str, Marks<'a>)>,
) -> Vec<(String, Marks<'static>)> {
    let Some(master) = master else { return Vec::new() };
    let is_so = |marks: &Marks<'_>, wanted: &Marks<'_>| {
        marks.role == wanted.role && (wanted.may_evict.is_none() || marks.may_evict == wanted.may_evict)
    };
    pods.map(|(pod, marks)| (pod, marks, words.marks(pod == master)))
        .filter(|(_, marks, wanted)| !is_so(marks, wanted))
        .map(|(pod, _, wanted)| (pod.to_owned(), wanted))
        .collect()
}

/// Writes them all at once. Returns whether any was written: a Pod may be gone by now.
async fn apply(
    context: &Context,
    snapshot: &Snapshot,
    words: Words,
    roles: &[(String, Marks<'static>)],
) -> Result<bool, Unlabelled> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &snapshot.namespace());
    let patches = roles.iter().map(async |(pod, marks)| {
        // Of this Pod, and of no other that has its name by now.
        let uid = snapshot.pods.get(pod).and_then(|pod| pod.uid());
        let labels = json!({ words.family.role_label: marks.role });
        let mut patch = json!({ "metadata": { "uid": uid, "labels": labels } });
        if let Some(may_evict) = marks.may_evict {
            patch["metadata"]["annotations"] = json!({ EVICTION_ANNOTATION: may_evict });
        }
        match api.patch(pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(false),
            Err(why) => Err(Unlabelled { pod: pod.clone(), why }),
        }
    });
    let written: Vec<bool> =
        futures_util::future::join_all(patches).await.into_iter().collect::<Result<_, _>>()?;
    Ok(written.contains(&true))
}

/// What is written after an attempt, and whether labels followed a published epoch for the first time: labels
/// that are mended later are no part of the change. `published` is the newest epoch and when it was
/// published.
fn after(
    before: &Written,
    applied: &Result<bool, Unlabelled>,
    published: Option<(u64, Timestamp)>,
    now: Timestamp,
) -> (Written, bool) {
    match applied {
        Err(error) => {
            let refused = matches!(error.why, kube::Error::Api(_)).then(|| error.problem());
            (Written { refused, ..before.clone() }, false)
        }
        Ok(any) => {
            let known = before.epoch.map(|(epoch, _)| epoch);
            let new = published.filter(|(epoch, _)| *any && known != Some(*epoch));
            let new = new
                .map(|(epoch, at)| (epoch, now.as_microsecond().saturating_sub(at.as_microsecond()).max(0)));
            (Written { epoch: new.or(before.epoch), refused: None }, new.is_some())
        }
    }
}

/// Read by the cluster autoscaler.
const EVICTION_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::objects::{FAILOVER, REDIS};
    use kube::core::Status;

    #[test]
    fn the_words_are_the_family_s_and_an_annotation_keeps_the_autoscaler_off_the_master() {
        let words = Words { family: &FAILOVER, marks_eviction: true };
        let marks = |role, may_evict| Marks { role, may_evict };
        let pods = [
            ("a", marks(Some("master"), None)),
            ("b", marks(Some(FAILOVER.replica), Some("true"))),
            ("c", marks(Some(FAILOVER.replica), Some("false"))),
        ];
        let expected = [
            ("a".to_owned(), marks(Some("master"), Some("false"))),
            ("c".to_owned(), marks(Some(FAILOVER.replica), Some("true"))),
        ];
        assert_eq!(plan(Some("a"), words, pods.into_iter()), expected);
        let words = Words { marks_eviction: false, ..words };
        assert_eq!(plan(Some("a"), words, pods.into_iter()), []);
    }

    #[test]
    fn a_label_is_written_where_it_differs_and_none_without_a_master() {
        let pods = [("a", Some("replica")), ("b", Some("master")), ("c", None), ("d", Some("replica"))];
        let words = Words { family: &REDIS, marks_eviction: false };
        let marks = |role| Marks { role, may_evict: None };
        let of = |master| plan(master, words, pods.into_iter().map(|(pod, role)| (pod, marks(role))));
        let write = |roles: &[(&str, &'static str)]| {
            roles.iter().map(|(pod, role)| ((*pod).to_owned(), marks(Some(*role)))).collect::<Vec<_>>()
        };
        let rows = [
            ("no master is published", None, write(&[])),
            (
                "the master changed: both change, and a new Pod gets its first",
                Some("a"),
                write(&[("a", "master"), ("b", "replica"), ("c", "replica")]),
            ),
            ("the master has its label already", Some("b"), write(&[("c", "replica")])),
            ("the master is no Pod any more", Some("z"), write(&[("b", "replica"), ("c", "replica")])),
        ];
        for (fact, master, expected) in rows {
            assert_eq!(of(master), expected, "{fact}");
        }
    }

    #[test]
    fn the_first_labels_of_an_epoch_say_how_long_they_took_and_a_refusal_is_a_problem() {
        let at = |us| Timestamp::from_microsecond(us).unwrap();
        let settled = Written { epoch: Some((1, 7)), refused: None };
        let after = |applied, published| after(&settled, &applied, published, at(5_000));
        assert_eq!(
            after(Ok(true), Some((2, at(2_000)))),
            (Written { epoch: Some((2, 3_000)), refused: None }, true)
        );
        // A label that was mended, one that needed nothing, and one before anything was published.
        for (any, published) in [(true, Some((1, at(0)))), (false, Some((2, at(0)))), (true, None)] {
            assert_eq!(after(Ok(any), published), (settled.clone(), false));
        }
        let refusal = |why| Err(Unlabelled { pod: "a".into(), why });
        let forbidden = kube::Error::Api(Box::new(Status::failure("pods is forbidden", "Forbidden")));
        let (refused, _) = after(refusal(forbidden), Some((2, at(0))));
        assert_eq!(refused.refused.unwrap().message, "label of a: pods is forbidden");
        let (away, _) = after(refusal(kube::Error::LinesCodecMaxLineLengthExceeded), None);
        assert_eq!((away.refused, away.epoch), (None, Some((1, 7))));
    }
}
