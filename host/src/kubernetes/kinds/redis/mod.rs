//! The Redis resource as a kind: one master and its replicas. Must not read a cluster or a clock.

mod settings;

use super::{
    Inputs, Known, Managed, ObservedPod, PolicyReference, References, Settings, TlsReference, UserReference,
};
use crate::group::Member;
use crate::kubernetes::crd::{Password, Redis, RedisStatus};
use crate::kubernetes::objects::{GROUP_LABEL, PORT};
use crate::kubernetes::status::{self, About};
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
            password: spec.password.as_ref().map(|of| key_of(self, of, "-password", "password")),
            generates_password: spec.password.as_ref().is_some_and(|password| password.generate),
            users: spec
                .users
                .iter()
                .map(|user| UserReference {
                    name: user.name.clone(),
                    rights: user.rules.clone(),
                    password: key_of(self, &user.password, "-users", &user.name),
                    generates: user.password.generate,
                })
                .collect(),
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
        pods.iter().filter_map(|observed| pods::member(observed, PORT as u16, now)).collect()
    }

    fn status(&self, known: &Known<'_>, now: Timestamp) -> Value {
        let before = known.before.and_then(|before| RedisStatus::deserialize(before).ok());
        let about = About {
            selector: format!("{GROUP_LABEL}={}", self.name_any()),
            set: objects::name(self),
            sentinels: None,
            binding: Some(objects::binding_name(self)),
            desired: if self.spec.hibernates() { 0 } else { self.spec.replicas },
            generation: self.metadata.generation,
            is_paused: self.spec.paused,
        };
        json!(status::next(&about, before.unwrap_or_default(), known, now))
    }
}

/// The key with a password: the user's, or that of the Secret with this suffix, which the operator makes.
fn key_of(redis: &Redis, password: &Password, suffix: &str, key: &str) -> SecretKeySelector {
    let generated =
        || SecretKeySelector { name: objects::name(redis) + suffix, key: key.to_owned(), optional: None };
    password.secret_key_ref.clone().unwrap_or_else(generated)
}

#[cfg(test)]
mod tests;
