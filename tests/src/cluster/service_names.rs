//! The names of Services, in place of DNS and of the way from a Service's address to a Pod: each name is the
//! address of one ready Pod.

use super::agent::Shared;
use super::config::Steady;
use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A line of a hosts file for each slice that has a ready address, by namespace and name of the slice.
#[derive(Default)]
pub(super) struct ServiceNames(BTreeMap<(String, String), String>);

impl ServiceNames {
    /// Those of all slices.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }

    /// True: a name changed.
    fn see(&mut self, slice: &EndpointSlice) -> bool {
        let key = key(slice);
        let line = line(slice);
        if self.0.get(&key) == line.as_ref() {
            return false;
        }
        match line {
            Some(line) => self.0.insert(key, line),
            None => self.0.remove(&key),
        };
        true
    }
}

/// Keeps the hosts files of all Pods as the slices are.
pub(super) async fn follow_services(shared: Arc<Shared>) {
    let slices = watcher(Api::<EndpointSlice>::all(shared.client.clone()), watcher::Config::default());
    let slices = slices.backoff(Steady).ready_chunks(100);
    let mut slices = std::pin::pin!(slices);
    while let Some(events) = slices.next().await {
        let is_news = {
            let mut names = shared.services.lock().expect("no holder panics");
            let mut see = |event| match event {
                Ok(Event::Apply(slice) | Event::InitApply(slice)) => names.see(&slice),
                Ok(Event::Delete(slice)) => names.0.remove(&key(&slice)).is_some(),
                Ok(Event::Init | Event::InitDone) | Err(_) => false,
            };
            // All of them, whatever the first one says.
            events.into_iter().filter_map(|event| see(event).then_some(())).count() > 0
        };
        if is_news {
            shared.write_names();
            // One change of many Services is one more of each file.
            tokio::time::sleep(PACE).await;
        }
    }
}

fn key(slice: &EndpointSlice) -> (String, String) {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

fn line(slice: &EndpointSlice) -> Option<String> {
    let service = slice.labels().get("kubernetes.io/service-name")?;
    let is_ready = |ready: &Option<bool>| ready.unwrap_or(true);
    let mut ready = slice
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.conditions.as_ref().is_none_or(|conditions| is_ready(&conditions.ready)));
    let address = ready.next()?.addresses.first()?;
    let namespace = slice.namespace()?;
    Some(format!("{address} {service}.{namespace}.svc {service}.{namespace}\n"))
}

const PACE: Duration = Duration::from_millis(200);
