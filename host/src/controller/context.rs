//! What the controllers of all resources share.

use super::endpoints::Endpoints;
use super::policy::{Policies, Shadows};
use crate::authority::Authority;
use crate::driver::ThreadLoad;
use crate::fleet::Census;
use crate::kubernetes::events::EventWriter;
use crate::kubernetes::others::Others;
use crate::kubernetes::record::Term;
use crate::report::{GroupInspector, Health, Metrics};
use kube::Client;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// What all groups of one cluster share.
pub struct Context {
    /// The cluster, for calls that are answered soon or not at all.
    pub client: Client,
    /// The cluster, for watches.
    pub watches: Client,
    /// Who decides.
    pub policies: Arc<Policies>,
    /// Who is asked beside.
    pub shadows: Shadows,
    /// Where groups run: apart from what speaks with the API server.
    pub groups: Handle,
    /// Until when their actions may be in progress.
    pub authority: Authority,
    /// How many they are.
    pub thread_load: ThreadLoad,
    /// Counts them by state.
    pub census: Arc<Census>,
    /// Whoever applies an object takes its turn: a thousand resources at once must not keep the API server
    /// from what is urgent.
    pub turns: Semaphore,
    /// For all groups.
    pub metrics: Arc<Metrics>,
    /// For all groups.
    pub health: Arc<Health>,
    /// For all groups.
    pub inspector: Arc<GroupInspector>,
    /// For all groups.
    pub events: EventWriter,
    /// The term of the Lease, as it was last held.
    pub held: Arc<Mutex<Option<Term>>>,
    /// Where this operator serves Sentinel endpoints. None: it does not know its own address.
    pub endpoints: Option<Arc<Endpoints>>,
    /// Whether other operators of the same resources live.
    pub others: Others,
    /// The image that this program is in.
    pub image: String,
    /// The namespace that it runs in.
    pub namespace: String,
    /// The zero of all moments.
    pub start: Instant,
}

impl Context {
    /// The term under which this operator holds the Lease, or held it last. None: it never did.
    pub fn term(&self) -> Option<Term> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
