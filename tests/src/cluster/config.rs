//! ConfigMaps and Secrets as last seen, for the nodes' Pods. Watches; writes nothing.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How soon a watch that the API server ended is tried again: at once, as it were. kube's own waits grow to
/// 30 s, longer than the outages of tests last.
pub(super) struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// Keys and contents of a ConfigMap or Secret.
pub(super) type Entries = BTreeMap<String, Vec<u8>>;

/// All that there are in the cluster.
pub(super) struct Config {
    maps: Store<ConfigMap>,
    secrets: Store<Secret>,
    changes: watch::Receiver<u64>,
    _watching: JoinSet<()>,
}

impl Config {
    /// Starts watching.
    pub(super) fn watch(client: &Client) -> Self {
        let (changed, changes) = watch::channel(0);
        let mut watching = JoinSet::new();
        macro_rules! follow {
            ($kind:ty) => {{
                let (reader, writer) = store::<$kind>();
                let stream =
                    reflector(writer, watcher(Api::<$kind>::all(client.clone()), watcher::Config::default()))
                        .backoff(Steady);
                let changed = changed.clone();
                watching.spawn(async move {
                    let mut stream = std::pin::pin!(stream);
                    while stream.next().await.is_some() {
                        changed.send_modify(|count| *count += 1);
                    }
                });
                reader
            }};
        }
        Self { maps: follow!(ConfigMap), secrets: follow!(Secret), changes, _watching: watching }
    }

    /// Notifies of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// A ConfigMap's entries.
    pub(super) fn config_map(&self, namespace: &str, name: &str) -> Result<Entries> {
        let map = self
            .maps
            .get(&ObjectRef::new(name).within(namespace))
            .with_context(|| format!("configmap \"{name}\" not found"))?;
        let texts = map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
        Ok(texts.chain(binary).collect())
    }

    /// A Secret's entries.
    pub(super) fn secret(&self, namespace: &str, name: &str) -> Result<Entries> {
        let secret = self
            .secrets
            .get(&ObjectRef::new(name).within(namespace))
            .with_context(|| format!("secret \"{name}\" not found"))?;
        Ok(secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect())
    }
}

/// What is missing and optional is empty.
pub(super) fn or_empty(entries: Result<Entries>, is_optional: Option<bool>) -> Result<Entries> {
    entries.or_else(|missing| if is_optional == Some(true) { Ok(Entries::new()) } else { Err(missing) })
}
