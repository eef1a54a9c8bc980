//! The RedisFailover resource of spotahome/redis-operator as a kind, in both versions: one master, its
//! replicas, and Sentinels or endpoints that answer in their place. Must not read a cluster or a clock.

use super::recorded::{preference, recorded};
use super::{AdoptionState, Inputs, Known, Managed, ObservedPod, PolicyReference, References, Settings};
use crate::contract::{Group, SentinelSettings, Topology};
use crate::group::{Member, Picture};
use crate::kubernetes::crd::Condition;
use crate::kubernetes::crd::failover::{Failover, RedisFailoverStatus, Role};
use crate::kubernetes::objects::{FAILOVER, failover};
use crate::kubernetes::pods;
use crate::kubernetes::status::{self, About, condition};
use k8s_openapi::api::core::v1::{Pod, SecretKeySelector};
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
            adoption: self.adoption(),
            port: self.port(),
            marks_eviction: self.spec.redis.prevent_master_eviction,
            keeps_master_pod: self.spec.redis.disable_master_rollout,
            has_directives_file: false,
            directive_names: self.directives().into_keys().collect(),
            live_directives: failover::live_directives(self),
            replication_user: failover::replication_user(self),
            claim: failover::claim_settings(self),
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
            users: Vec::new(),
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

    fn sentinels(&self, pods: &[&Pod], now: Timestamp) -> Vec<Member> {
        let now = SystemTime::from(now);
        let sentinel = |pod: &&Pod| pods::sentinel(pod, failover::SENTINEL_PORT, now);
        pods.iter().filter_map(sentinel).collect()
    }

    fn group_beside(&self, sentinels: usize) -> Option<Group> {
        // In mode Served: left out, they would undo the next change of master.
        let are_left = self.watched().is_none() && sentinels > 0;
        are_left.then(|| group_of(self, Some(self.watched_by_leaving(sentinels))))
    }

    fn status(&self, known: &Known<'_>, now: Timestamp) -> Value {
        let before = known.before.and_then(|before| RedisFailoverStatus::deserialize(before).ok());
        json!(next_status(self, before.unwrap_or_default(), known, now))
    }
}

fn group(failover: &Failover) -> Group {
    group_of(failover, failover.watched())
}

fn group_of(failover: &Failover, sentinel: Option<SentinelSettings>) -> Group {
    let settings = &failover.spec.failover;
    let (prefer, self_fence_lag_s) = preference(settings);
    Group {
        namespace: failover.namespace().to_owned(),
        name: failover.name().to_owned(),
        // In mode Served no Sentinel process takes part, so the group is one of replication.
        topology: if sentinel.is_some() { Topology::Sentinel } else { Topology::Replication },
        members_desired: u16::try_from(failover.replicas(Role::Redis)).unwrap_or(u16::MAX),
        members_min: settings.min_size,
        prefer,
        paused: failover.is_paused(),
        hang_limit_ms: failover.hang_limit_ms(),
        self_fence_lag_s,
        sentinel,
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
        sentinels: FAILOVER.sentinels_name(failover.name()),
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
    let (is_adopted, adopted) = adoption_state(failover, known);
    let mut all = vec![condition(before, "Adopted", is_adopted, adopted, generation, now)];
    let other = known.problems.iter().find(|problem| OTHERS.contains(&problem.reason));
    if failover.is_adopted() || other.is_some() {
        let why = match other {
            Some(problem) => (problem.reason.to_owned(), problem.message.clone()),
            None => ("NoneSeen".into(), "no other operator was seen before the objects were adopted".into()),
        };
        all.push(condition(before, "OtherOperator", other.is_some(), why, generation, now));
    }
    let sentinels = sentinel_conditions(failover, known).into_iter();
    all.extend(sentinels.map(|(type_, holds, why)| condition(before, type_, holds, why, generation, now)));
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

/// Whether all objects are this operator's, and why.
fn adoption_state(failover: &Failover, known: &Known<'_>) -> (bool, (String, String)) {
    let is_told = |reason: &str| reason == NOT_ADOPTED || OTHERS.contains(&reason);
    if let Some(problem) = known.problems.iter().find(|problem| is_told(problem.reason)) {
        return (false, (problem.reason.to_owned(), problem.message.clone()));
    }
    let observe_s = failover.adoption().map_or(0, |adoption| adoption.observe_s);
    match failover.adoption().map_or(AdoptionState::No, |adoption| adoption.state) {
        AdoptionState::No => {
            (true, ("Own".into(), "no object of this resource is known to be of another operator".into()))
        }
        AdoptionState::Observing => {
            let decision = known.decided.map(|(decision, ..)| decision);
            let now = decision.map_or_else(
                || "nothing, since nothing was observed yet".to_owned(),
                |decision| format!("{}: {}", decision.reason, decision.explanation),
            );
            let name = failover.name();
            let text = format!(
                "observed for {observe_s} s, and nothing is changed meanwhile; then the objects of the other \
                 operator are adopted: no Pod is replaced, ConfigMaps rfr-{name}, rfr-s-{name}, \
                 rfr-readiness-{name} and rfs-{name} are written, and the operator acts with mode {:?}; what \
                 it decides now: {now}",
                failover.mode()
            );
            (false, ("Observing".into(), text))
        }
        AdoptionState::Adopted { leaves_templates } => {
            let pods = if leaves_templates {
                "Pods are as it made them until a part of spec changes that they are made from, or \
                 spec.adoption.roll is true"
            } else {
                "Pods are replaced one at a time"
            };
            let text = format!(
                "the objects that another operator made are this one's; {pods}; to go back, set spec.paused, wait for \
                 condition Paused, and start the other operator"
            );
            (true, ("InPlace".into(), text))
        }
    }
}

/// What is known of the Sentinels, or of the endpoints in their place: a condition, whether it holds, and
/// why.
fn sentinel_conditions(
    failover: &Failover,
    known: &Known<'_>,
) -> Vec<(&'static str, bool, (String, String))> {
    let desired = failover.replicas(Role::Sentinel);
    let (has_all, ready) = match known.sentinels {
        Some(ready) => (ready >= desired, ready.to_string()),
        None => (false, "unknown".into()),
    };
    let (name, master) = (failover.name(), failover.master_name());
    let mode = format!("{:?}", failover.mode());
    let Some(watched) = failover.watched() else {
        let text = format!(
            "{ready} of {desired} endpoints ready at rfs-{name}:26379 as {master}; mode Served: they are this \
             operator's program, so image, command, configCopy, startupConfigMap and probes of \
             spec.sentinel do not apply, and of its customConfig only down-after-milliseconds",
        );
        return vec![("SentinelsReady", has_all, (mode, text))];
    };
    let ready = format!("{ready} of {desired} Sentinels ready at rfs-{name}:26379 as {master}");
    let (agree, why) = agreement(known.picture, usize::from(watched.sentinels_desired));
    vec![("SentinelsReady", has_all, (mode, ready)), ("SentinelsAgree", agree, why)]
}

/// Whether as many Sentinels as there should be, and no others, name the master that the operator sees.
fn agreement(picture: Option<&Picture>, desired: usize) -> (bool, (String, String)) {
    let Some(picture) = picture else {
        return (false, ("Unknown".into(), "no Sentinel has been observed".into()));
    };
    let Some(master) = &picture.master else {
        return (false, ("NoMaster".into(), "no instance is master".into()));
    };
    let name_it = picture.sentinels.values().filter(|named| named.as_ref() == Some(master)).count();
    let others = picture.sentinels.iter().filter(|(_, named)| named.as_ref() != Some(master));
    let others = others.map(|(id, named)| match named {
        Some(named) => format!("; {id} takes {named} for the master"),
        None => format!("; {id} watches no instance of this group"),
    });
    let others: String = others.collect();
    let silent = desired.saturating_sub(picture.sentinels.len());
    let silent = if silent > 0 { format!("; {silent} did not answer") } else { String::new() };
    let agree = name_it == desired && name_it == picture.sentinels.len();
    let reason = if agree { "AllNameTheMaster" } else { "NotAllNameTheMaster" };
    (
        agree,
        (
            reason.into(),
            format!("{name_it} of {desired} Sentinels take {master} for the master{others}{silent}"),
        ),
    )
}

/// The key of the user's Secret.
const PASSWORD_KEY: &str = "password";
/// The reasons of the problems that another operator made an object, and may still look after it.
const NOT_ADOPTED: &str = "NotAdopted";
const OTHERS: &[&str] = &["OtherOperator", "OtherOperatorUnknown"];

#[cfg(test)]
mod tests;
