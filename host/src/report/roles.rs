//! How well clients are told who is master: the Services of Kubernetes rest on labels of Pods.

use super::metrics::{Labels, Metrics, seconds};
use std::sync::Arc;

/// Tells of the labels of one group.
pub struct RoleMetrics {
    labels: Labels,
    all: Arc<Metrics>,
}

impl RoleMetrics {
    /// Of one group.
    pub fn new(namespace: String, name: String, all: Arc<Metrics>) -> Self {
        Self { labels: Labels::of(namespace, name), all }
    }

    /// Whether the labels say something else than what is known.
    pub fn are_stale(&self, are_stale: bool) {
        self.all.stale_roles.get_or_create(&self.labels).set(i64::from(are_stale));
    }

    /// A change was told so many microseconds after it was made.
    pub fn told(&self, after_us: u64) {
        self.all.role_staleness.get_or_create(&self.labels).observe(seconds(after_us));
    }
}

impl Drop for RoleMetrics {
    fn drop(&mut self) {
        self.all.stale_roles.remove(&self.labels);
    }
}
