//! Reads an Observation from a file: as `observe` prints it, as a log or recording has it, or from a
//! scenario. Strict: an unknown field is an error, because a typing error would otherwise lead to another
//! decision.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Exit;
use crate::conformance::Scenario;
use crate::contract::Observation;

/// Reads `path`, or standard input if `path` is None or `-`. The JSON is an Observation, or an object that
/// has one as `observation` (JSON or text), itself or among its `fields`.
///
/// # Errors
/// [`Exit::Input`], naming the file and the place in it.
pub fn read_observation(path: Option<&Path>) -> Result<Observation, Exit> {
    let path = path.filter(|path| *path != Path::new("-"));
    let name = path.map_or_else(|| "standard input".into(), |path| path.display().to_string());
    let bad = |why: String| Exit::Input(format!("{name}: {why}"));
    let text = read(path).map_err(|error| bad(error.to_string()))?;
    parse(&text).map_err(bad)
}

fn read(path: Option<&Path>) -> std::io::Result<String> {
    let mut text = String::new();
    let source: Box<dyn Read> = match path {
        Some(path) => Box::new(std::fs::File::open(path)?),
        None => Box::new(std::io::stdin().lock()),
    };
    source.take(OBSERVATION_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Result<Observation, String> {
    if text.trim().is_empty() {
        return Err(format!("it is empty: {WAY_OUT}"));
    }
    let no_json = |error: serde_json::Error| format!("it is not one JSON value: {error}: {WAY_OUT}");
    let whole: Value = serde_json::from_str(text).map_err(no_json)?;
    if whole.get("base").is_some() {
        let scenario = Scenario::parse("it", text).map_err(|error| error.to_string())?;
        return Ok(scenario.observation);
    }
    let no_observation = |error: serde_json::Error| format!("it is not an observation: {error}; {WAY_OUT}");
    let inner = [&whole, &whole["fields"]].into_iter().find_map(|object| object.get("observation"));
    // Parsed from the text where possible, since only then the error names a line.
    let (observation, given) = match inner {
        Some(Value::String(text)) => (
            serde_json::from_str::<Observation>(text).map_err(no_observation)?,
            serde_json::from_str(text).map_err(no_json)?,
        ),
        Some(inner) if whole.get("observation").is_some() => {
            (serde_json::from_str::<Recorded>(text).map_err(no_observation)?.observation, inner.clone())
        }
        Some(inner) => (Observation::deserialize(inner).map_err(no_observation)?, inner.clone()),
        None => (serde_json::from_str(text).map_err(no_observation)?, whole),
    };
    let parsed = serde_json::to_value(&observation).map_err(no_observation)?;
    match unknown_field(&given, &parsed) {
        Some(path) => Err(format!("unknown field {}: {WAY_OUT}", path.trim_start_matches('.'))),
        None => Ok(observation),
    }
}

#[derive(Deserialize)]
struct Recorded {
    observation: Observation,
}

/// The path of the first field in `given` that parsing ignored.
fn unknown_field(given: &Value, parsed: &Value) -> Option<String> {
    match (given, parsed) {
        (Value::Object(given), Value::Object(parsed)) => {
            given.iter().find_map(|(name, value)| match parsed.get(name) {
                Some(known) => unknown_field(value, known).map(|rest| format!(".{name}{rest}")),
                None => Some(format!(".{name}")),
            })
        }
        (Value::Array(given), Value::Array(parsed)) => {
            given.iter().zip(parsed).enumerate().find_map(|(index, (given, known))| {
                Some(format!("[{index}]{}", unknown_field(given, known)?))
            })
        }
        _ => None,
    }
}

const WAY_OUT: &str = "`redis-operator observe` prints observations";
/// A thousand times the size of an ordinary group's.
const OBSERVATION_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::healthy_group;

    #[test]
    fn an_observation_is_found_in_every_form_of_record() {
        let observation = healthy_group(3);
        let json = serde_json::to_value(&observation).unwrap();
        for whole in [
            json.clone(),
            serde_json::json!({ "observation": json, "expect": {} }),
            serde_json::json!({ "observation": json.to_string() }),
            serde_json::json!({ "level": "INFO", "fields": { "observation": json.to_string() } }),
        ] {
            assert_eq!(parse(&whole.to_string()), Ok(observation.clone()));
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let mut json = serde_json::to_value(healthy_group(3)).unwrap();
        json["instances"][1]["replies"][2]["newest"]["age_ms"] = 1.into();
        let error = parse(&json.to_string()).unwrap_err();
        assert!(error.starts_with("unknown field instances[1].replies[2].newest.age_ms:"), "{error}");
    }

    #[test]
    fn invalid_empty_and_foreign_json_is_refused() {
        for (text, why) in [
            ("", "it is empty"),
            ("{", "it is not one JSON value: EOF"),
            ("{}\n{}", "it is not one JSON value: trailing characters"),
            ("{}", "it is not an observation: missing field `group`"),
            ("[1]", "it is not an observation: invalid type"),
            (r#"{"observation": 7}"#, "it is not an observation: invalid type"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
    }
}
