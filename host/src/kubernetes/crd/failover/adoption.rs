//! Whether the objects of a RedisFailover are those of another operator, taken over. Must not read a cluster.

use super::Failover;
use crate::kubernetes::kinds::{ADOPTED_ANNOTATION, AdoptionSettings, AdoptionState, OBSERVING};
use serde_json::Value;
use sha2::{Digest, Sha256};

impl Failover {
    /// Another operator made its objects, and this one takes them over, or has.
    pub fn is_adopted(&self) -> bool {
        self.adoption().is_some_and(|adoption| adoption.state != AdoptionState::No)
    }

    /// Whether objects of another operator are taken over. None: no other operator makes objects for it.
    pub fn adoption(&self) -> Option<AdoptionSettings> {
        let digest = self.pods_digest.clone()?;
        let noted = self.metadata.annotations.iter().flatten().find(|(name, _)| *name == ADOPTED_ANNOTATION);
        let state = match noted.map(|(_, word)| word.as_str()) {
            None | Some("") => AdoptionState::No,
            Some(OBSERVING) => AdoptionState::Observing,
            Some(then) => {
                AdoptionState::Adopted { leaves_templates: then == digest && !self.spec.adoption.roll }
            }
        };
        let observe_s = self.spec.adoption.observe_seconds.unwrap_or(OBSERVE_S);
        Some(AdoptionSettings { state, digest, observe_s })
    }
}

/// The digest of all of a spec that its Pods are made from.
pub fn digest(spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Value::Object(fields) = &mut spec {
        fields.retain(|name, _| !OF_NO_POD.contains(&name.as_str()));
    }
    Sha256::digest(spec.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

const OF_NO_POD: &[&str] = &["adoption", "failover", "paused", "policy", "policyParameters", "switchover"];
const OBSERVE_S: u32 = 10;
