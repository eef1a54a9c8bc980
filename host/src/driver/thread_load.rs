//! Counts the groups that share a thread. Must not decide what follows from it: `group/pace.rs` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The groups of one thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadLoad(Arc<AtomicU64>);

/// Counts one group of the thread, until dropped.
pub(super) struct OnThread(ThreadLoad);

impl OnThread {
    pub(super) fn new(thread_load: &ThreadLoad) -> Self {
        thread_load.0.fetch_add(1, Ordering::Relaxed);
        Self(thread_load.clone())
    }

    /// Number of groups, this one included.
    pub(super) fn groups(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
