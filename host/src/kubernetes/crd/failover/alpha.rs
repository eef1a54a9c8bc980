//! The RedisFailover of spotahome/redis-operator 0.1, `spotahome.com/v1alpha1`. Its manifests work unchanged:
//! they mean a resource of `databases.spotahome.com/v1`, whose objects they get. Nothing of what that
//! operator made is adopted: its definition was of an API that Kubernetes ended with 1.22.

use super::{ExporterSettings, PodSettings, RedisFailoverSpec, RedisFailoverStatus, RedisSettings};
use super::{SentinelSettings, any_object};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One master, its replicas, and an endpoint for clients of Redis Sentinel.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "spotahome.com",
    version = "v1alpha1",
    kind = "RedisFailover",
    root = "AlphaFailover",
    plural = "redisfailovers",
    singular = "redisfailover",
    namespaced,
    status = "RedisFailoverStatus",
    derive = "PartialEq",
    doc = "One Redis master, its replicas, and an endpoint for clients of Redis Sentinel. New resources \
           should be of databases.spotahome.com/v1",
    printcolumn(
        name = "Master",
        type_ = "string",
        json_path = ".status.master",
        description = "Pod that is master"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Creating, Running, Failed, Paused"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 48 && !self.metadata.name.contains('.')").message(
        "the name must have 48 characters at most and no dots: names of Pods and Services are made from it"
    )
)]
#[serde(default)]
pub struct AlphaFailoverSpec {
    /// The Redis instances.
    pub redis: AlphaRedis,
    /// The Sentinel endpoints.
    pub sentinel: AlphaSentinel,
}

/// The Redis instances.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct AlphaRedis {
    /// How many. Unset: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 500))]
    pub replicas: Option<i32>,
    /// Resource requests and limits of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
    /// A sidecar that exports metrics.
    pub exporter: bool,
    /// Tag of the image `redis`, 5 or later. Unset: the one that `databases.spotahome.com/v1` has by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The Sentinel endpoints.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct AlphaSentinel {
    /// How many. Unset: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 500))]
    pub replicas: Option<i32>,
    /// Resource requests and limits of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
}

impl From<AlphaFailoverSpec> for RedisFailoverSpec {
    fn from(AlphaFailoverSpec { redis, sentinel }: AlphaFailoverSpec) -> Self {
        let pods = PodSettings {
            image: redis.version.map(|version| format!("redis:{version}")),
            replicas: redis.replicas,
            resources: redis.resources,
            exporter: ExporterSettings { enabled: redis.exporter, ..ExporterSettings::default() },
            ..PodSettings::default()
        };
        let endpoints = PodSettings {
            replicas: sentinel.replicas,
            resources: sentinel.resources,
            ..PodSettings::default()
        };
        Self {
            redis: RedisSettings { pods, ..RedisSettings::default() },
            sentinel: SentinelSettings { pods: endpoints, ..SentinelSettings::default() },
            ..Self::default()
        }
    }
}
