//! The RedisFailover resource of spotahome/redis-operator as a kind, in both versions: one master, its
//! replicas, and endpoints for clients of Redis Sentinel. Must not read a cluster or a clock.

use super::recorded::{preference, recorded};
use super::{Inputs, Known, Managed, ObservedPod, PolicyReference, References, Settings};
use crate::contract::{Group, Topology};
use crate::group::Member;
use crate::kubernetes::crd::Condition;
use crate::kubernetes::crd::failover::{Failover, RedisFailoverStatus, Role};
use crate::kubernetes::objects::{FAILOVER, failover};
use crate::kubernetes::pods;
use crate::kubernetes::status::{self, About, condition};
use k8s_openapi::api::core::v1::SecretKeySelector;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::SystemTime;

/// An object of `databases.spotahome.com/v1`.
pub fn read(object: Value) -> Result<Box<dyn Managed>, String> {
    Ok(Box::new(Failover::read(object)?))
}

/// An object of `spotahome.com/v1alpha1`.
pub fn read_alpha(object: Value) -> Result<Box<dyn Managed>, String> {
    Ok(Box::new(Failover::read_alpha(object)?))
}

impl Managed for Failover {
    fn settings(&self, now: Timestamp) -> Settings {
        let status = self.status.as_ref();
        Settings {
            group: group(self),
            replicas: self.replicas(Role::Redis),
            family: &FAILOVER,
            endpoint: None,
            port: self.port(),
            marks_eviction: self.spec.redis.prevent_master_eviction,
            keeps_master_pod: self.spec.redis.disable_master_rollout,
            has_directives_file: false,
            directive_names: self.directives().into_keys().collect(),
            live_directives: failover::live_directives(self),
            replication_user: failover::replication_user(self),
            has_volume: self.spec.redis.storage.persistent_volume_claim.is_some(),
            switchover: self.spec.switchover.clone(),
            master_service: failover::master_service(self),
            recorded: status.map(|status| recorded(&status.group, json!(status), now)).unwrap_or_default(),
        }
    }

    fn references(&self) -> References {
        let choice = self.spec.policy.clone().unwrap_or_default();
        let secret = self.spec.auth.secret_path.clone();
        References {
            password: secret.map(|name| SecretKeySelector {
                name,
                key: PASSWORD_KEY.into(),
                ..SecretKeySelector::default()
            }),
            tls: None,
            endpoint_password: None,
            generates_password: false,
            policy: PolicyReference {
                name: choice.name,
                shadow: choice.shadow,
                parameters: self.spec.policy_parameters.clone(),
            },
        }
    }

    fn objects(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error> {
        failover::objects(self, inputs)
    }

    fn members(&self, pods: &[ObservedPod<'_>], now: Timestamp) -> Vec<Member> {
        let now = SystemTime::from(now);
        pods.iter().filter_map(|observed| pods::member(observed, self.port(), now)).collect()
    }

    fn status(&self, known: &Known<'_>, now: Timestamp) -> Value {
        let before = known.before.and_then(|before| RedisFailoverStatus::deserialize(before).ok());
        json!(next_status(self, before.unwrap_or_default(), known, now))
    }
}

fn group(failover: &Failover) -> Group {
    let settings = &failover.spec.failover;
    let (prefer, self_fence_lag_s) = preference(settings);
    Group {
        namespace: failover.namespace().to_owned(),
        name: failover.name().to_owned(),
        // In mode Served no Sentinel process takes part, so the group is one of replication.
        topology: Topology::Replication,
        members_desired: u16::try_from(failover.replicas(Role::Redis)).unwrap_or(u16::MAX),
        members_min: settings.min_size,
        prefer,
        paused: failover.is_paused(),
        hang_limit_ms: failover.hang_limit_ms(),
        self_fence_lag_s,
        sentinel: None,
        cluster: None,
    }
}

/// The status after `before`.
fn next_status(
    failover: &Failover,
    before: RedisFailoverStatus,
    known: &Known<'_>,
    now: Timestamp,
) -> RedisFailoverStatus {
    let set = FAILOVER.set_name(failover.name());
    let about = About {
        selector: format!(
            "app.kubernetes.io/component=redis,app.kubernetes.io/name={},app.kubernetes.io/part-of=redis-failover",
            failover.name()
        ),
        set,
        binding: None,
        desired: failover.replicas(Role::Redis),
        generation: failover.metadata.generation,
        is_paused: failover.is_paused(),
    };
    let mut known = known.clone();
    known.problems.extend(failover.problems());
    let conditions = before.group.conditions.clone();
    let mut group = status::next(&about, before.group, &known, now);
    group.conditions.extend(further_conditions(failover, &known, &conditions, now));
    let is_ready =
        group.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let phase = match (about.is_paused, is_ready, &group.published) {
        (true, ..) => "Paused",
        (false, true, _) => "Running",
        (false, false, None) => "Creating",
        (false, false, Some(_)) => "Failed",
    };
    RedisFailoverStatus { phase: phase.into(), sentinels: known.sentinels, group }
}

/// Those that a Redis has not.
fn further_conditions(
    failover: &Failover,
    known: &Known<'_>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let generation = failover.metadata.generation;
    let foreign = known.problems.iter().find(|problem| problem.reason == NOT_ADOPTED);
    let adopted = match foreign {
        Some(problem) => (problem.reason.to_owned(), problem.message.clone()),
        None => ("Own".into(), "no object of this resource is known to be of another operator".into()),
    };
    let desired = failover.replicas(Role::Sentinel);
    let (has_all, ready) = match known.sentinels {
        Some(ready) => (ready >= desired, ready.to_string()),
        None => (false, "unknown".into()),
    };
    let served = format!(
        "{ready} of {desired} endpoints ready at rfs-{}:26379 as {}; mode Served: they are this operator's program, \
         so image, command, configCopy, startupConfigMap and probes of spec.sentinel do not apply, and of \
         its customConfig only down-after-milliseconds",
        failover.name(),
        failover.master_name()
    );
    let mut all = vec![
        condition(before, "Adopted", foreign.is_none(), adopted, generation, now),
        condition(before, "SentinelsReady", has_all, ("Served".into(), served), generation, now),
    ];
    if let Some(node) = failover.bootstrap_node() {
        let message = format!(
            "instances that start follow {}:{} outside of the group, and the operator does not act; to end that, take \
             spec.bootstrapNode out and send REPLICAOF NO ONE to the instance that is to be master",
            node.host,
            node.port.as_deref().unwrap_or("6379")
        );
        all.push(condition(
            before,
            "Bootstrapping",
            true,
            ("BootstrapNode".into(), message),
            generation,
            now,
        ));
    }
    all
}

/// The key of the user's Secret.
const PASSWORD_KEY: &str = "password";
/// The reason of the problem that another operator made an object.
const NOT_ADOPTED: &str = "NotAdopted";

#[cfg(test)]
mod tests;
