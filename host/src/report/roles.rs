//! Metrics of the role labels of Pods, by which the Services of Kubernetes lead clients to the master.

use super::metrics::{Labels, Metrics, seconds};
use std::sync::Arc;

/// The metrics of one group's role labels.
pub struct RoleMetrics {
    labels: Labels,
    all: Arc<Metrics>,
}

impl RoleMetrics {
    /// For one group.
    pub fn new(namespace: String, name: String, all: Arc<Metrics>) -> Self {
        Self { labels: Labels::of(namespace, name), all }
    }

    /// Whether the labels differ from the known roles.
    pub fn are_stale(&self, are_stale: bool) {
        self.all.stale_roles.get_or_create(&self.labels).set(i64::from(are_stale));
    }

    /// The labels showed a change this many microseconds after it was made.
    pub fn updated(&self, after_us: u64) {
        self.all.role_staleness.get_or_create(&self.labels).observe(seconds(after_us));
    }
}

impl Drop for RoleMetrics {
    fn drop(&mut self) {
        self.all.stale_roles.remove(&self.labels);
    }
}
