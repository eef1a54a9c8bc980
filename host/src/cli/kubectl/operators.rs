//! The operators' Pods and what they logged, through the API server. Must not print.

use super::cluster::{Cluster, refused, sentence};
use super::log_line::Line;
use crate::cli::Exit;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use std::time::Duration;

/// An operator's Pod.
pub struct Operator {
    /// Name of the Pod.
    pub name: String,
    /// The Pod.
    pub pod: Pod,
    container: String,
    restarts: i32,
}

/// A line of an operator's log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The operator's Pod.
    pub operator: String,
    /// What it logged.
    pub line: Line,
}

/// All operators of the cluster's operator namespace, by name.
///
/// # Errors
/// [`Exit`] if there is none, or listing Pods there is not permitted.
pub async fn operators(cluster: &Cluster) -> Result<Vec<Operator>, Exit> {
    let theirs = &cluster.operator_namespace;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), theirs);
    let all = pods
        .list(&ListParams::default())
        .await
        .map_err(|error| refused(&format!("list pods in namespace {theirs}"), &error))?;
    // An operator of another name is known by the Lease that it holds.
    let leader = cluster.leader().await.ok();
    let found: Vec<Operator> =
        all.items.into_iter().filter_map(|pod| operator(pod, leader.as_deref())).collect();
    if found.is_empty() {
        return Err(Exit::Failed(format!(
            "no Pod of namespace {theirs} has a container {CONTAINER}: see --operator-namespace"
        )));
    }
    Ok(found)
}

impl Operator {
    /// What it logged about a group in that time, and about its authority; that of its container before the
    /// last restart, too.
    ///
    /// # Errors
    /// Why its log cannot be read: one sentence.
    pub async fn log(
        &self,
        cluster: &Cluster,
        (namespace, name): (&str, &str),
        since: Duration,
    ) -> Result<Vec<Entry>, String> {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
        let params = |previous| LogParams {
            container: Some(self.container.clone()),
            since_seconds: i64::try_from(since.as_secs()).ok(),
            tail_lines: Some(LINES_MAX),
            previous,
            ..LogParams::default()
        };
        let mut text = String::new();
        if self.restarts > 0 {
            // It is gone once the container has restarted again, or the kubelet has cleaned up.
            text = pods.logs(&self.name, &params(true)).await.unwrap_or_default();
            text.push('\n');
        }
        text += &pods.logs(&self.name, &params(false)).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "the right to get pods/log in namespace {} is missing: {}",
                cluster.operator_namespace, status.message
            ),
            _ => sentence(&error),
        })?;
        Ok(entries(&self.name, &text, (namespace, name)))
    }
}

/// The lines about a group, and about the operator's authority.
pub fn entries(operator: &str, log: &str, (namespace, name): (&str, &str)) -> Vec<Entry> {
    let is_meant = |line: &Line| match (line.field("namespace"), line.field("name")) {
        (Some(in_), Some(of)) => (in_, of) == (namespace, name),
        (None, Some(_)) => false,
        (_, None) => AUTHORITY.iter().any(|word| line.message.starts_with(word)),
    };
    let lines = log.lines().filter_map(Line::parse).filter(is_meant);
    lines.map(|line| Entry { operator: operator.to_owned(), line }).collect()
}

/// All of them as one timeline.
pub fn merged(logs: impl IntoIterator<Item = Vec<Entry>>) -> Vec<Entry> {
    let mut all: Vec<Entry> = logs.into_iter().flatten().collect();
    // Stable: what one operator logged within a microsecond stays in its order.
    all.sort_by(|one, other| (one.line.at, &one.operator).cmp(&(other.line.at, &other.operator)));
    all
}

fn operator(pod: Pod, leader: Option<&str>) -> Option<Operator> {
    let name = pod.name_any();
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let named = containers.iter().find(|container| container.name == CONTAINER);
    let container = named.or_else(|| containers.first().filter(|_| leader == Some(&name)))?.name.clone();
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts =
        statuses.filter(|status| status.name == container).map(|status| status.restart_count).sum();
    Some(Operator { name, container, restarts, pod })
}

/// The moment of an entry, as it is printed.
pub fn moment(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The operator's container, as the manifests and charts name it.
const CONTAINER: &str = "redis-operator";
/// The beginnings of the messages about the Lease, which name no group.
const AUTHORITY: &[&str] = &["authority ", "lease "];
/// Of one container: with an Observation in some, tens of megabytes at most.
const LINES_MAX: i64 = 20_000;
