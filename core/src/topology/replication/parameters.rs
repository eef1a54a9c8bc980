//! What a user may set: `observation.parameters`, its JSON Schema and its defaults.

use crate::json::{self, Json};

/// The parameters of the default policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// What decides the succession first.
    pub order: Order,
    /// Ids of members whose own data may be thrown away although nothing proves that it is a copy or a
    /// surplus.
    pub discard: Vec<String>,
    /// LossKind long a group without a record waits for its desired members, in seconds of its youngest member's
    /// uptime.
    pub bootstrap_wait_s: u64,
    /// A replica further behind than this is not in sync.
    pub lag_max_bytes: u64,
    /// Bound of a handover's write pause.
    pub pause_max_ms: u32,
}

/// What decides the succession first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The most advanced replica takes over; a better priority gets the role from it by handover.
    #[default]
    DataFirst,
    /// The seed's order: priority, then offset.
    PriorityFirst,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            order: Order::DataFirst,
            discard: Vec::new(),
            bootstrap_wait_s: 10,
            lag_max_bytes: 10 << 20,
            pause_max_ms: 1000,
        }
    }
}

impl Parameters {
    /// Reads the JSON text; blank text means the defaults.
    ///
    /// # Errors
    /// The sentence that a person needs: what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        if text.trim().is_empty() {
            return Ok(parameters);
        }
        let Json::Object(rows) = json::parse(text)? else { return Err("expected an object".into()) };
        for (name, value) in rows {
            match (name.as_str(), value) {
                ("order", Json::Text(order)) if order == "data-first" => parameters.order = Order::DataFirst,
                ("order", Json::Text(order)) if order == "priority-first" => {
                    parameters.order = Order::PriorityFirst
                }
                ("order", _) => return Err("order is \"data-first\" or \"priority-first\"".into()),
                ("discard", Json::List(ids)) => {
                    let ids = ids.into_iter().map(|id| if let Json::Text(id) = id { Some(id) } else { None });
                    parameters.discard = ids.collect::<Option<_>>().ok_or("discard is a list of ids")?;
                }
                ("discard", _) => return Err("discard is a list of ids".into()),
                ("bootstrap_wait_s", Json::Number(seconds)) => parameters.bootstrap_wait_s = seconds,
                ("lag_max_bytes", Json::Number(bytes)) => parameters.lag_max_bytes = bytes,
                ("pause_max_ms", Json::Number(ms @ 1..=60_000)) => parameters.pause_max_ms = ms as u32,
                ("pause_max_ms", _) => return Err("pause_max_ms is a whole number from 1 to 60000".into()),
                ("bootstrap_wait_s" | "lag_max_bytes", _) => {
                    return Err(format!("{name} is a whole number, not negative"));
                }
                _ => {
                    return Err(format!(
                        "there is no {name}; there are order, discard, bootstrap_wait_s, lag_max_bytes and \
                         pause_max_ms"
                    ));
                }
            }
        }
        Ok(parameters)
    }
}

/// JSON Schema of [`Parameters`].
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "order": {"enum": ["data-first", "priority-first"], "default": "data-first", "description": "data-first: the most advanced replica takes over, and hands over to a better priority. priority-first: priority, then offset."},
    "discard": {"type": "array", "items": {"type": "string"}, "default": [], "description": "ids of members whose own data may be thrown away"},
    "bootstrap_wait_s": {"type": "integer", "minimum": 0, "default": 10, "description": "seconds that a group without a record waits for its desired members"},
    "lag_max_bytes": {"type": "integer", "minimum": 0, "default": 10485760, "description": "a replica further behind than this is not in sync"},
    "pause_max_ms": {"type": "integer", "minimum": 1, "maximum": 60000, "default": 1000, "description": "bound of a handover's write pause"}
  }
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_empty_objects_are_the_defaults() {
        assert_eq!(Parameters::parse(" "), Ok(Parameters::default()));
        assert_eq!(Parameters::parse("{}"), Ok(Parameters::default()));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Parameters::parse(r#"{"ordr": "data-first"}"#).expect_err("a typing error");
        assert!(error.contains("ordr") && error.contains("order"), "{error}");
    }

    #[test]
    fn the_schema_names_every_parameter_and_its_default() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        let defaults: serde_json::Map<_, _> = schema["properties"]
            .as_object()
            .expect("properties")
            .iter()
            .map(|(name, property)| (name.clone(), property["default"].clone()))
            .collect();
        assert_eq!(
            Parameters::parse(&serde_json::Value::Object(defaults).to_string()),
            Ok(Parameters::default())
        );
    }
}
