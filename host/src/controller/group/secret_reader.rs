//! Reads the Secrets of a resource in a task beside the reconciler, which never waits for a call.

use super::Context;
use super::observe::Finding;
use super::secrets;
use crate::kubernetes::kinds::Resource;
use crate::report::{Task, supervise};
use futures_channel::mpsc::UnboundedSender;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Reads the Secrets beside the reconciler, and ends with it.
pub struct SecretReader {
    found: UnboundedSender<Finding>,
    reading: JoinSet<()>,
}

impl SecretReader {
    /// Reads nothing yet.
    pub fn new(found: UnboundedSender<Finding>) -> Self {
        Self { found, reading: JoinSet::new() }
    }

    /// Reads those that the resource names now; a reading that has not ended is given up.
    pub fn read(&mut self, context: &Context, resource: &Arc<Resource>) {
        let (client, resource, found) = (context.client.clone(), Arc::clone(resource), self.found.clone());
        let metrics = Arc::clone(&context.metrics);
        self.reading.abort_all();
        self.reading.spawn(async move {
            let read = || {
                secrets::read(&client, &resource, |read| {
                    drop(found.unbounded_send(Finding::Secrets(Box::new(read))))
                })
            };
            supervise(Task::Secrets, &resource.name(), &metrics, read).await;
        });
    }
}
