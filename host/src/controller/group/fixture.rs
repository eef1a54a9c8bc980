//! Snapshots for the tests of the planners.

use super::snapshot::Snapshot;
use crate::contract::Published;
use crate::group::Record;
use crate::kubernetes::kinds::sample::sample;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::sync::Arc;

/// Of a Sample called `cart` with three servers, and Pods that have just been made.
pub fn snapshot(pods: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new(Arc::new(sample(|_| ())));
    snapshot.pods = pods.iter().map(|name| ((*name).to_owned(), Arc::new(pod(name)))).collect();
    snapshot
}

pub fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "shop" } })).unwrap()
}

pub fn record(master: &str, epoch: u64) -> Record {
    let (run_id, replid) = ("r".into(), "i".into());
    let published =
        Published { master: master.into(), run_id, replid, offset: 7, epoch, age_us: 0, node: None };
    Record { shard: 0, published, lineage: Vec::new(), position: None, last_failover: None }
}
