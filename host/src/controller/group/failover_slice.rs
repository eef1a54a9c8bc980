//! Leads clients of the master Service to a new master at once: Kubernetes' own controller takes a second
//! where two of its Pods have changed within milliseconds, as they do when a master dies. Stands for as long
//! as that takes, and never longer than ten seconds while the API server answers.

use super::super::Context;
use super::snapshot::Snapshot;
use crate::kubernetes::error::message;
use crate::kubernetes::objects::{
    MASTER, ROLE_LABEL, SERVICE_LABEL, failover_slice, failover_slice_name, lead_to,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of one group.
pub struct FailoverSlice {
    /// The change of master that was bridged, or that needed no slice.
    epoch: Option<u64>,
    /// None: there is none.
    stands_until: Option<Instant>,
}

impl FailoverSlice {
    /// Whoever was here before may have left one.
    pub fn new() -> Self {
        Self { epoch: None, stands_until: Some(Instant::now()) }
    }

    /// Whether it has to be looked at again.
    pub fn stands(&self) -> bool {
        self.stands_until.is_some()
    }

    /// Builds it where a master is news, and takes it down when it is not needed any more.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) {
        let api: Api<EndpointSlice> = Api::namespaced(context.client.clone(), &snapshot.namespace());
        let done = match snapshot
            .record
            .as_ref()
            .map(|(record, _)| record.published.epoch)
            .filter(|epoch| self.epoch != Some(*epoch))
        {
            Some(epoch) => {
                self.epoch = Some(epoch);
                self.build(&api, snapshot).await
            }
            None => self.take_down(&api, snapshot).await,
        };
        if let Err(error) = done {
            // Kubernetes leads them there as well, and later.
            tracing::warn!(
                namespace = snapshot.namespace(),
                name = snapshot.redis.name_any(),
                error = message(&error),
                "clients not led at once"
            );
        }
    }

    async fn build(&mut self, api: &Api<EndpointSlice>, snapshot: &Snapshot) -> Result<(), kube::Error> {
        let is_news = |pod: &&Arc<Pod>| pod.labels().get(ROLE_LABEL).is_none_or(|role| role != MASTER);
        let master = snapshot.master().and_then(|master| snapshot.pods.get(master));
        let Some(slice) = master.filter(is_news).and_then(|pod| failover_slice(&snapshot.redis, pod)) else {
            return Ok(());
        };
        // Whatever the answer: it may have been lost on its way back.
        self.stands_until = Some(Instant::now() + STANDS_AT_MOST);
        // By far the fastest of all writes; one that still stands leads to the master before.
        match api.create(&PostParams::default(), &slice).await {
            Err(kube::Error::Api(error)) if error.code == 409 => {
                api.delete(&slice.name_any(), &DeleteParams::default()).await?;
                api.create(&PostParams::default(), &slice).await.map(drop)
            }
            created => created.map(drop),
        }
    }

    async fn take_down(&mut self, api: &Api<EndpointSlice>, snapshot: &Snapshot) -> Result<(), kube::Error> {
        let Some(until) = self.stands_until else { return Ok(()) };
        let name = failover_slice_name(&snapshot.redis);
        if Instant::now() < until {
            let slices = api.list(&ListParams::default().labels(&format!("{SERVICE_LABEL}={name}"))).await?;
            let address = snapshot.master().and_then(|master| snapshot.address(master));
            if !address.is_some_and(|address| lead_to(&slices.items, &name, &address)) {
                return Ok(());
            }
        }
        let deleted = api.delete(&name, &DeleteParams::default()).await.map(drop);
        let code = if let Err(kube::Error::Api(error)) = &deleted { error.code } else { 0 };
        // What is not allowed will not be later; anything else that fails is tried again.
        if deleted.is_ok() || [403, 404].contains(&code) {
            self.stands_until = None;
        }
        if code == 404 { Ok(()) } else { deleted }
    }
}

const STANDS_AT_MOST: Duration = Duration::from_secs(10);
