//! A second kind, for tests alone: servers without password, certificate, volume and Services. The planners
//! of the controllers are tested with it, so that the compiler shows that they know no kind.

use super::{Inputs, Kind, Known, Managed, ObservedPod, Recorded, References, Resource, Settings};
use crate::contract::{Group, Preference, Published, Topology};
use crate::group::{Member, Record};
use crate::kubernetes::objects::{GROUP_LABEL, PORT, REDIS, name_for};
use crate::kubernetes::pods;
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

pub static SAMPLE: Kind = Kind::of::<Sample>("Sample");

/// A Sample called `cart` with three servers. `change` edits its manifest.
pub fn sample(change: impl FnOnce(&mut Value)) -> Resource {
    let mut object = json!({
        "apiVersion": "test.amaiz.com/v1", "kind": "Sample",
        "metadata": { "name": "cart", "namespace": "shop", "uid": "u" },
        "spec": { "servers": 3 }
    });
    change(&mut object);
    SAMPLE.read(serde_json::from_value(object).unwrap(), Timestamp::UNIX_EPOCH).unwrap()
}

#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[kube(group = "test.amaiz.com", version = "v1", kind = "Sample", namespaced, status = "SampleStatus")]
pub struct SampleSpec {
    servers: i32,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct SampleStatus {
    master: Option<String>,
    problems: Vec<String>,
    /// Of the record in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

impl Managed for Sample {
    fn settings(&self, _: Timestamp) -> Settings {
        let group = Group {
            namespace: self.namespace().unwrap(),
            name: self.name_any(),
            topology: Topology::Replication,
            members_desired: u16::try_from(self.spec.servers).unwrap(),
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms: 1500,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        };
        let master = self.status.as_ref().and_then(|status| status.master.clone());
        let status = self.status.as_ref().map(|status| json!(status));
        Settings {
            group,
            replicas: self.spec.servers,
            family: &REDIS,
            port: PORT as u16,
            marks_eviction: false,
            keeps_master_pod: false,
            has_directives_file: true,
            directive_names: BTreeSet::new(),
            live_directives: BTreeMap::new(),
            replication_user: None,
            claim: None,
            switchover: None,
            master_service: None,
            endpoint: None,
            adoption: None,
            recorded: Recorded { status, master, records: self.records(), ..Recorded::default() },
        }
    }

    fn references(&self) -> References {
        References::default()
    }

    fn objects(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error> {
        let metadata =
            json!({ "name": name_for(&self.name_any()), "labels": { GROUP_LABEL: self.name_any() } });
        let spec = json!({ "replicas": inputs.replicas });
        Ok(vec![
            json!({ "kind": "ConfigMap", "metadata": metadata }),
            json!({ "kind": "StatefulSet", "metadata": metadata, "spec": spec }),
        ])
    }

    fn members(&self, pods: &[ObservedPod<'_>], now: Timestamp) -> Vec<Member> {
        let now = SystemTime::from(now);
        pods.iter().filter_map(|observed| pods::member(observed, PORT as u16, now)).collect()
    }

    fn status(&self, known: &Known<'_>, _: Timestamp) -> Value {
        json!(SampleStatus {
            master: known.record.map(|(record, _)| record.published.master.clone()),
            problems: known.problems.iter().map(|problem| problem.reason.to_owned()).collect(),
            epoch: None,
        })
    }
}

impl Sample {
    fn records(&self) -> Vec<Record> {
        let record = |status: &SampleStatus| {
            let published = Published {
                master: status.master.clone()?,
                run_id: "r".into(),
                replid: "i".into(),
                offset: 7,
                epoch: status.epoch?,
                age_us: 0,
                node: None,
            };
            Some(Record { shard: 0, published, lineage: Vec::new(), position: None, last_failover: None })
        };
        self.status.as_ref().and_then(record).into_iter().collect()
    }
}
