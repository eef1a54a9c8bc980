//! Recorded incidents in the JSON of contract 0.1, read as 0.2. Only what 0.2 asks for and 0.1 did not say is
//! filled in; what both say is compared.

use super::Expected;
use super::answer::{Answer, first_difference};
use failover_core::contract::Observation;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// What a file of 0.1 says of the decision.
#[derive(Clone, Debug)]
pub struct OldAnswer {
    pub(super) answer: Answer,
    /// The group was paused. 0.1 had a reason for that; 0.2 decides as ever, with an empty plan.
    is_paused: bool,
}

impl OldAnswer {
    pub(super) fn differs(&self, given: &Answer) -> Option<String> {
        if self.is_paused {
            return (!given.plan.is_empty()).then(|| "it acts on a paused group".into());
        }
        // Progress and the answer to a request are new, and so is a loss that is not known.
        let bare = |answer: &Answer| {
            let mut json = answer.json();
            let is_new = |field: &str, value: &Value| NEW.contains(&field) || value == "unknown";
            json.as_object_mut()
                .into_iter()
                .for_each(|json| json.retain(|field, value| !is_new(field, value)));
            json
        };
        first_difference(&bare(&self.answer), &bare(given))
    }
}

/// 0.2 has shards.
pub(super) fn is_old(observation: &Value) -> bool {
    observation.get("shards").is_none()
}

/// Observation and decision of 0.1, as 0.2 has them.
pub(super) fn upgrade(
    mut observation: Value,
    mut decision: Value,
) -> Result<(Observation, Expected), String> {
    let is_paused = decision["reason"] == "paused";
    let no_master_age_us = if decision["master"].is_null() { 1_000_000 } else { 0 };
    let (published, last_failover) =
        (take(&mut observation, "published"), take(&mut observation, "last_failover"));
    observation["shards"] = json!([{ "index": 0, "published": published, "lineage": [], "position": null,
        "last_failover": last_failover, "no_master_age_us": no_master_age_us }]);
    observation["refused"] = json!([]);
    fill(&mut observation);
    if observation["switchover"].is_object() {
        observation["switchover"]["shard"] = json!(0);
    }
    observation["instances"].as_array_mut().into_iter().flatten().for_each(|one| one["shard"] = json!(0));
    let (master, goal) = (take(&mut decision, "master"), take(&mut decision, "master_goal"));
    // None was both "it replaces no master" and "not known".
    let loss = match take(&mut decision, "known_loss_bytes") {
        Value::Null => Value::Null,
        bytes => json!({ "bytes": bytes }),
    };
    decision["shards"] = json!([{ "index": 0, "master": master, "master_goal": goal, "loss": loss }]);
    (decision["progress"], decision["request"]) = (json!("Changing"), Value::Null);
    fill(&mut decision);
    decision["members"].as_array_mut().into_iter().flatten().for_each(|one| one["assigned"] = Value::Null);
    let observation =
        Observation::deserialize(observation).map_err(|error| format!("observation: {error}"))?;
    let decision = failover_core::contract::Decision::deserialize(decision)
        .map_err(|error| format!("decision: {error}"))?;
    Ok((observation, Expected::Old(Box::new(OldAnswer { answer: Answer::of(&decision), is_paused }))))
}

/// Fields that 0.2 has and 0.1 had not, wherever their records stand.
fn fill(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(fill),
        Value::Object(fields) => {
            let absent = |fields: &Map<String, Value>, of: &str, field: &str| {
                fields.contains_key(of) && !fields.contains_key(field)
            };
            if absent(fields, "evidence", "how") && fields.contains_key("expect") {
                fields.insert("how".into(), json!("ReplicaofNoOne"));
                fields.insert("completes".into(), json!([]));
            }
            for (of, field) in
                [("run_id", "node"), ("hang_limit_ms", "sentinel"), ("hang_limit_ms", "cluster")]
            {
                if absent(fields, of, field) {
                    fields.insert(field.into(), Value::Null);
                }
            }
            fields.values_mut().for_each(fill);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn take(value: &mut Value, field: &str) -> Value {
    value.as_object_mut().and_then(|fields| fields.remove(field)).unwrap_or_default()
}

const NEW: &[&str] = &["progress", "request"];
