//! The Redis resource as a kind: one master and its replicas. Must not read a cluster or a clock.

mod settings;

use super::{Inputs, Known, Managed, ObservedPod, PolicyReference, References, Settings, TlsReference};
use crate::group::Member;
use crate::kubernetes::crd::{Binding, Redis, RedisStatus};
use crate::kubernetes::status::{self, failover};
use crate::kubernetes::{objects, pods};
use k8s_openapi::api::core::v1::SecretKeySelector;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::SystemTime;

impl Managed for Redis {
    fn settings(&self, now: Timestamp) -> Settings {
        settings::settings(self, now)
    }

    fn references(&self) -> References {
        let spec = &self.spec;
        let choice = spec.policy.clone().unwrap_or_default();
        let master =
            || format!("{}-master.{}.svc", objects::name(self), self.namespace().unwrap_or_default());
        References {
            password: spec.password.as_ref().map(|password| {
                let generated = || SecretKeySelector {
                    name: format!("{}-password", objects::name(self)),
                    key: "password".into(),
                    optional: None,
                };
                password.secret_key_ref.clone().unwrap_or_else(generated)
            }),
            generates_password: spec.password.as_ref().is_some_and(|password| password.generate),
            tls: spec.tls.as_ref().map(|tls| TlsReference {
                secret: tls.secret_name.clone(),
                server_name: tls.server_name.clone().unwrap_or_else(master),
            }),
            endpoint_password: spec
                .sentinel_endpoint
                .as_ref()
                .and_then(|endpoint| Some(endpoint.password.as_ref()?.secret_key_ref.clone())),
            policy: PolicyReference {
                name: choice.name,
                shadow: choice.shadow,
                parameters: spec.policy_parameters.clone(),
            },
        }
    }

    fn objects(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error> {
        objects::objects(self, inputs)
    }

    fn members(&self, pods: &[ObservedPod<'_>], now: Timestamp) -> Vec<Member> {
        let now = SystemTime::from(now);
        pods.iter()
            .filter_map(|ObservedPod { pod, revision, place }| pods::member(pod, revision, *place, now))
            .collect()
    }

    fn status(&self, known: &Known<'_>, now: Timestamp) -> Value {
        let before = known.before.and_then(|before| RedisStatus::deserialize(before).ok());
        json!(next_status(self, before.unwrap_or_default(), known, now))
    }
}

/// The status after `before`.
fn next_status(redis: &Redis, before: RedisStatus, known: &Known<'_>, now: Timestamp) -> RedisStatus {
    let before = RedisStatus {
        switchover_id: known.switchover_id.map(str::to_owned),
        switchover_refused: known.switchover_refused.map(str::to_owned),
        replication_user: known.replication_user.map(str::to_owned),
        binding: Some(Binding { name: objects::binding_name(redis) }),
        shadow: known.shadow.cloned(),
        ..before
    };
    let before = match known.record {
        Some((record, at)) => status::with_record(before, record, at),
        None => before,
    };
    let before = match known.decided {
        Some((decision, title, at)) => status::with_decision(before, redis, decision, title, at),
        None => before,
    };
    let before = match known.master_change {
        Some(master_change) => failover::with_master_change(before, master_change),
        None => before,
    };
    let before = match known.labelled {
        Some((epoch, us)) => failover::with_publish_time(before, epoch, us),
        None => before,
    };
    let of_pods = status::pod_problems(redis, known.pods.iter().copied());
    let state = status::State {
        redis,
        decision: known.decided.map(|(decision, ..)| decision),
        is_settled: known.is_settled,
        is_switching: known.is_switching,
        problems: known.problems.iter().cloned().chain(of_pods).collect(),
    };
    status::with_conditions(before, &state, now)
}

#[cfg(test)]
mod tests;
