//! A RedisFailover of either version, with the defaults of spotahome/redis-operator, and what of its spec
//! cannot be done. Everything that is made of such a resource is made of this. Must not read a cluster or a
//! clock.

use super::BootstrapNode;
use super::{AlphaFailover, Engine, PodSettings, RedisFailover, RedisFailoverSpec, RedisFailoverStatus};
use crate::kubernetes::crd::parse;
use crate::kubernetes::objects::is_read_at_start;
use crate::kubernetes::quantity::{bytes, bytes_of_directive};
use crate::kubernetes::status::Problem;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// A RedisFailover.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Of the resource.
    pub metadata: ObjectMeta,
    /// How its objects name it as their owner. None: it was never stored.
    pub owner: Option<OwnerReference>,
    /// What it asks for, in the words of `databases.spotahome.com/v1`.
    pub spec: RedisFailoverSpec,
    /// What was last written.
    pub status: Option<RedisFailoverStatus>,
    /// The spec itself says when a server hangs.
    pub(super) says_when_it_hangs: bool,
    /// Of all that its Pods are made from. None: no other operator makes objects for this version.
    pub(super) pods_digest: Option<String>,
}

/// Which Pods of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Those of the StatefulSet.
    Redis,
    /// Those of the Deployment.
    Sentinel,
}

impl Failover {
    /// An object of `databases.spotahome.com/v1`.
    ///
    /// # Errors
    /// What does not fit, as one sentence.
    pub fn read(mut object: Value) -> Result<Self, String> {
        let spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(sign) = sign_of_another_operator(&spec) {
            return Err(format!(
                "{sign} is a field of alauda/redis-operator, whose resources have this group, version and \
                 kind, and another meaning: nothing of it is changed; let that operator look after it, or \
                 write it in the words of kubectl explain redisfailover.spec"
            ));
        }
        let says_when_it_hangs = spec.pointer("/failover/downAfterMilliseconds").is_some();
        let pods_digest = Some(super::adoption::digest(&spec));
        drop_nulls(&mut object);
        let read: RedisFailover = parse(object)?;
        let owner = read.controller_owner_ref(&());
        let RedisFailover { metadata, spec, status } = read;
        Ok(Self { metadata, owner: owner.map(blocking), spec, status, says_when_it_hangs, pods_digest })
    }

    /// An object of `spotahome.com/v1alpha1`.
    ///
    /// # Errors
    /// What does not fit, as one sentence.
    pub fn read_alpha(mut object: Value) -> Result<Self, String> {
        drop_nulls(&mut object);
        let read: AlphaFailover = parse(object)?;
        let owner = read.controller_owner_ref(&());
        let AlphaFailover { metadata, spec, status } = read;
        let owner = owner.map(blocking);
        let (spec, says_when_it_hangs, pods_digest) = (spec.into(), false, None);
        Ok(Self { metadata, owner, spec, status, says_when_it_hangs, pods_digest })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// What the Pods of a role have.
    pub fn pods(&self, role: Role) -> &PodSettings {
        match role {
            Role::Redis => &self.spec.redis.pods,
            Role::Sentinel => &self.spec.sentinel.pods,
        }
    }

    /// How many Pods of a role.
    pub fn replicas(&self, role: Role) -> i32 {
        self.pods(role).replicas.filter(|replicas| *replicas > 0).unwrap_or(REPLICAS)
    }

    /// The port of every instance.
    pub fn port(&self) -> u16 {
        self.spec
            .redis
            .port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .unwrap_or(PORT)
    }

    /// Whose programs the images have.
    pub fn engine(&self) -> Engine {
        self.spec.engine.unwrap_or_default()
    }

    /// The image of the instances.
    pub fn image(&self) -> &str {
        let default = match self.engine() {
            Engine::Redis => "redis:6.2.6-alpine",
            Engine::Valkey => "valkey/valkey:7.2.11-alpine",
        };
        self.spec.redis.pods.image.as_deref().filter(|image| !image.is_empty()).unwrap_or(default)
    }

    /// The first number of the image's tag. None: it does not begin with one.
    pub fn version(&self) -> Option<u32> {
        let last = self.image().rsplit('/').next().unwrap_or_default();
        let tag = last.split('@').next().unwrap_or_default().split_once(':')?.1;
        tag.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    }

    /// The Redis outside that all follow.
    pub fn bootstrap_node(&self) -> Option<&BootstrapNode> {
        self.spec.bootstrap_node.as_ref().filter(|node| !node.host.is_empty())
    }

    /// Neither decisions nor rollouts are carried out.
    pub fn is_paused(&self) -> bool {
        let annotations = self.metadata.annotations.iter().flatten();
        let is_skipped = |name: &str, value: &str| SKIP_ANNOTATIONS.contains(&name) && value == "true";
        self.spec.paused
            || self.bootstrap_node().is_some()
            || annotations.into_iter().any(|(name, value)| is_skipped(name, value))
    }

    /// The labels of the resource that its objects get.
    pub fn copied_labels(&self) -> BTreeMap<String, String> {
        let patterns: Vec<Regex> =
            self.spec.label_whitelist.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect();
        let is_copied = |name: &str| {
            self.spec.label_whitelist.is_empty() || patterns.iter().any(|pattern| pattern.is_match(name))
        };
        let labels = self.metadata.labels.iter().flatten();
        labels
            .filter(|(name, _)| is_copied(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The lines of `redis.customConfig` that running instances get, by name: of several for one name the
    /// last. Left out is what [`Self::problems`] explains.
    pub fn directives(&self) -> BTreeMap<String, String> {
        let mut all = lines(&self.spec.redis.pods.custom_config);
        all.retain(|name, _| !is_read_at_start(name) && !RESERVED.contains(&name.as_str()));
        if self.memory_problem().is_some() {
            all.remove("maxmemory");
        }
        all
    }

    /// Whether the data is to be in an append-only file.
    pub fn has_aof(&self) -> bool {
        self.directives().get("appendonly").is_some_and(|value| value == "yes")
    }

    /// The renames that are carried out.
    pub fn renames(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.spec.redis.custom_command_renames.iter();
        let all = all.map(|rename| (rename.from.as_str(), rename.to.as_str()));
        all.filter(|(from, _)| !from.is_empty() && !is_needed(from))
    }

    /// What of the spec cannot be done, and stops nothing else.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |reason, message| Problem { reason, message };
        let mut all = self.sentinel_problems();
        for name in lines(&self.spec.redis.pods.custom_config).keys() {
            if is_read_at_start(name) {
                all.push(problem(
                    "DirectiveRefused",
                    format!(
                        "spec.redis.customConfig sets {name} on running servers, and Redis reads it at its \
                         start only: add it to spec.redis.command, as --{name}"
                    ),
                ));
            } else if RESERVED.contains(&name.as_str()) {
                let message =
                    format!("the operator sets {name} itself: take it out of spec.redis.customConfig");
                all.push(problem("DirectiveRefused", message));
            }
        }
        all.extend(self.memory_problem());
        for rename in self.spec.redis.custom_command_renames.iter().filter(|rename| is_needed(&rename.from)) {
            all.push(problem(
                "RenameRefused",
                format!(
                    "{} keeps its name, since the operator needs it: take it out of \
                     spec.redis.customCommandRenames",
                    rename.from
                ),
            ));
        }
        for pattern in &self.spec.label_whitelist {
            if let Err(error) = Regex::new(pattern) {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim().to_owned();
                let message = format!("spec.labelWhitelist: {pattern} is no regular expression: {why}");
                all.push(problem("PatternRefused", message));
            }
        }
        let command = &self.spec.redis.pods.command;
        if !command.is_empty() && !command.iter().any(|word| word.contains("/redis/redis.conf")) {
            all.push(problem(
                "CommandOfItsOwn",
                "spec.redis.command does not read /redis/redis.conf: an instance that restarts is not kept from \
                 starting as an empty master; name that file in it"
                    .into(),
            ));
        }
        if self.version().is_some_and(|version| version < VERSION_MIN) {
            all.push(problem(
                "ImageTooOld",
                format!("image {} is older than Redis {VERSION_MIN}, which the operator needs", self.image()),
            ));
        }
        all
    }

    /// `maxmemory` leaves less of the container's memory than it should.
    fn memory_problem(&self) -> Option<Problem> {
        let lines = lines(&self.spec.redis.pods.custom_config);
        let wanted = bytes_of_directive(lines.get("maxmemory")?)?;
        let limit = self.spec.redis.pods.resources.as_ref()?.pointer("/limits/memory")?.as_str()?;
        let percent = self.spec.redis.reserved_pod_memory_percent.unwrap_or(RESERVED_PERCENT).clamp(0, 100);
        let most = bytes(limit)? / 100 * u64::try_from(100 - percent).unwrap_or_default();
        (wanted > most).then(|| Problem {
            reason: "DirectiveRefused",
            message: format!(
                "maxmemory {wanted} leaves less than {percent} percent of the memory limit {limit} free: at most \
                 {most} bytes, or another spec.redis.reservedPodMemoryPercent"
            ),
        })
    }
}

/// What stands in the way of its deletion waits for its objects, as for those of other kinds.
fn blocking(owner: OwnerReference) -> OwnerReference {
    OwnerReference { block_owner_deletion: Some(true), ..owner }
}

/// Lines `NAME VALUE`, by name in lower case: of several for one name the last, but for the limits of the
/// classes of clients, which add up. The quotes around a value go: CONFIG SET takes one argument.
pub(super) fn lines(lines: &[String]) -> BTreeMap<String, String> {
    let split = |line: &String| {
        let line = line.trim();
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let value = inner.filter(|inner| !inner.contains(['"', '\\'])).unwrap_or(value);
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.iter().map(split).filter(|(name, _)| !name.is_empty()) {
        match all.get_mut(&name) {
            Some(before) if name == "client-output-buffer-limit" => *before = format!("{before} {value}"),
            Some(before) => *before = value,
            None => drop(all.insert(name, value)),
        }
    }
    all
}

/// A field that only resources of alauda/redis-operator have. Their definition has the same group, version
/// and kind.
fn sign_of_another_operator(spec: &Value) -> Option<&'static str> {
    let is_map = |pointer: &str| spec.pointer(pointer).is_some_and(Value::is_object);
    let maps = [
        ("/redis/customConfig", "spec.redis.customConfig as a map"),
        ("/sentinel/customConfig", "spec.sentinel.customConfig as a map"),
        ("/sentinel/monitorConfig", "spec.sentinel.monitorConfig"),
        ("/sentinel/sentinelReference", "spec.sentinel.sentinelReference"),
        ("/redis/expose", "spec.redis.expose"),
        ("/sentinel/expose", "spec.sentinel.expose"),
    ];
    let scalars = [
        ("/sentinel/quorum", "spec.sentinel.quorum"),
        ("/redis/enableTLS", "spec.redis.enableTLS"),
        ("/sentinel/enableTLS", "spec.sentinel.enableTLS"),
        ("/enableTLS", "spec.enableTLS"),
    ];
    let map = maps.into_iter().find(|(pointer, _)| is_map(pointer));
    map.or_else(|| scalars.into_iter().find(|(pointer, _)| spec.pointer(pointer).is_some()))
        .map(|(_, sign)| sign)
}

/// A field that is null is a field that is not there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_needed(command: &str) -> bool {
    NEEDED.contains(&command.to_ascii_lowercase().as_str())
}

/// As spotahome/redis-operator has it.
const REPLICAS: i32 = 3;
const PORT: u16 = 6379;
const RESERVED_PERCENT: i32 = 10;
/// The operator reads replies that older ones do not give.
const VERSION_MIN: u32 = 5;
/// Directives that would undo what the operator sets.
const RESERVED: &[&str] =
    &["replicaof", "slaveof", "masterauth", "requirepass", "port", "bind", "dir", "rename-command"];
/// Commands of the operator, of its probes, and of replication.
const NEEDED: &[&str] = &[
    "acl",
    "auth",
    "client",
    "config",
    "exec",
    "info",
    "multi",
    "ping",
    "psync",
    "replconf",
    "replicaof",
    "role",
    "slaveof",
    "sync",
    "wait",
];
/// Of spotahome's operator and of freshworks'.
const SKIP_ANNOTATIONS: &[&str] = &["skip-reconcile", "redis-failover.freshworks.com/skip-reconcile"];

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
