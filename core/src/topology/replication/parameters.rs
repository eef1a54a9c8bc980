//! What a user may set: `observation.parameters`. Name, type, default, bound and sentence of each parameter
//! stand once, in the table below, from which come the struct, the JSON Schema and the reading.

use crate::json::{self, Json};

macro_rules! parameters {
    ($($name:ident: $type:ty = $default:expr, $bound:expr, $sentence:literal;)*) => {
        /// The parameters of the default policy.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Parameters {
            $(#[doc = $sentence] pub $name: $type,)*
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Parameters {
            fn set(&mut self, name: &str, value: Json) -> Result<(), String> {
                $(if name == stringify!($name) {
                    const BOUND: Bound = $bound;
                    self.$name = Setting::read(value, BOUND).ok_or_else(|| BOUND.expected(name))?;
                    return Ok(());
                })*
                Err(format!("{name} is no parameter; the parameters are {}", listed(NAMES)))
            }

            /// A row of the schema for each.
            fn properties() -> Vec<String> {
                let defaults = Self::default();
                vec![$(format!(
                    "\"{}\": {{{}, \"default\": {}, \"description\": \"{}\"}}",
                    stringify!($name), $bound.schema(), defaults.$name.json(), $sentence,
                )),*]
            }
        }
    };
}

parameters! {
    order: Order = Order::DataFirst, Bound::OneOf(ORDERS),
        "data-first: the most advanced replica takes over, and hands over to a better \
         priority. priority-first: priority, then offset.";
    discard: Vec<String> = Vec::new(), Bound::Ids,
        "replication ids, run ids or names of members whose own data may be thrown away, although \
         nothing proves that it is a copy or a surplus; never of the master on record";
    bootstrap_wait_s: u64 = 10, Bound::Whole { min: 0, max: u64::MAX },
        "seconds, of the youngest member's uptime, that a group without a record waits for its \
         desired members";
    restart_wait_s: u64 = 60, Bound::Whole { min: 0, max: u64::MAX },
        "seconds, of the oldest member's uptime, that members which restarted from their files \
         wait for members that may have newer data";
    lag_max_bytes: u64 = 10 << 20, Bound::Whole { min: 0, max: u64::MAX },
        "a replica further behind than this is not in sync";
    pause_max_ms: u32 = 1000, Bound::Whole { min: 1, max: 3_000 },
        "bound of a handover's write pause";
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
        match json::parse(text).map_err(|error| format!("expected a JSON object: {error}"))? {
            Json::Object(rows) => {
                for (name, value) in rows {
                    parameters.set(&name, value)?;
                }
                Ok(parameters)
            }
            Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Other => {
                Err("expected a JSON object".into())
            }
        }
    }

    /// Their JSON Schema.
    pub fn schema() -> String {
        format!(
            "{{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"type\": \"object\",\n  \
             \"additionalProperties\": false,\n  \"properties\": {{\n    {}\n  }}\n}}",
            Self::properties().join(",\n    ")
        )
    }
}

/// What decides the succession first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The most advanced replica takes over; a better priority gets the role from it by handover.
    DataFirst,
    /// Sentinel's order: priority, then offset.
    PriorityFirst,
}

const ORDERS: &[(&str, Order)] =
    &[("data-first", Order::DataFirst), ("priority-first", Order::PriorityFirst)];

/// What a value may be.
#[derive(Clone, Copy)]
enum Bound {
    OneOf(&'static [(&'static str, Order)]),
    Ids,
    Whole { min: u64, max: u64 },
}

impl Bound {
    fn expected(self, name: &str) -> String {
        match self {
            Self::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("{name} is {}", words.join(" or "))
            }
            Self::Ids => format!("{name} is a list of ids"),
            Self::Whole { min: 0, max: u64::MAX } => format!("{name} is a whole number, not negative"),
            Self::Whole { min, max } => format!("{name} is a whole number from {min} to {max}"),
        }
    }

    fn schema(self) -> String {
        match self {
            Self::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("\"enum\": [{}]", words.join(", "))
            }
            Self::Ids => "\"type\": \"array\", \"items\": {\"type\": \"string\"}".into(),
            Self::Whole { min, max: u64::MAX } => format!("\"type\": \"integer\", \"minimum\": {min}"),
            Self::Whole { min, max } => {
                format!("\"type\": \"integer\", \"minimum\": {min}, \"maximum\": {max}")
            }
        }
    }
}

/// A type that a parameter may have.
trait Setting: Sized {
    /// None: the value is not within the bound, or of another kind.
    fn read(value: Json, bound: Bound) -> Option<Self>;

    /// As JSON text.
    fn json(&self) -> String;
}

impl Setting for u64 {
    fn read(value: Json, bound: Bound) -> Option<Self> {
        match (value, bound) {
            (Json::Number(number), Bound::Whole { min, max }) => {
                Some(number).filter(|number| (min..=max).contains(number))
            }
            (Json::Number(_), Bound::OneOf(_) | Bound::Ids)
            | (Json::Text(_) | Json::List(_) | Json::Object(_) | Json::Other, _) => None,
        }
    }

    fn json(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn read(value: Json, bound: Bound) -> Option<Self> {
        u64::read(value, bound).and_then(|number| number.try_into().ok())
    }

    fn json(&self) -> String {
        self.to_string()
    }
}

impl Setting for Vec<String> {
    fn read(value: Json, _: Bound) -> Option<Self> {
        let Json::List(ids) = value else { return None };
        let text = |id| if let Json::Text(id) = id { Some(id) } else { None };
        ids.into_iter().map(text).collect()
    }

    fn json(&self) -> String {
        let ids: Vec<String> = self.iter().map(|id| format!("\"{id}\"")).collect();
        format!("[{}]", ids.join(", "))
    }
}

impl Setting for Order {
    fn read(value: Json, _: Bound) -> Option<Self> {
        let Json::Text(word) = value else { return None };
        ORDERS.iter().find(|(known, _)| *known == word).map(|(_, order)| *order)
    }

    fn json(&self) -> String {
        ORDERS
            .iter()
            .find(|(_, order)| order == self)
            .map_or_else(String::new, |(word, _)| format!("\"{word}\""))
    }
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    #[test]
    fn blank_and_empty_objects_are_the_defaults() {
        assert_eq!(Parameters::parse(" "), Ok(Parameters::default()));
        assert_eq!(Parameters::parse("{}"), Ok(Parameters::default()));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Parameters::parse(r#"{"ordr": "data-first"}"#).expect_err("a typing error");
        assert_eq!(
            error,
            "ordr is no parameter; the parameters are order, discard, bootstrap_wait_s, restart_wait_s, \
             lag_max_bytes and pause_max_ms"
        );
    }

    #[test]
    fn every_value_is_read_and_numbers_are_exact() {
        let text = r#" {"order": "priority-first", "discard": ["redis-\u00e9\n"], "bootstrap_wait_s": 0,
            "restart_wait_s": 5, "lag_max_bytes": 18446744073709551615, "pause_max_ms": 3000} "#;
        assert_eq!(
            Parameters::parse(text),
            Ok(Parameters {
                order: Order::PriorityFirst,
                discard: vec!["redis-é\n".into()],
                bootstrap_wait_s: 0,
                restart_wait_s: 5,
                lag_max_bytes: u64::MAX,
                pause_max_ms: 3_000,
            })
        );
        // 2^53 + 1: the first that a float does not have.
        let exact = Parameters::parse(r#"{"lag_max_bytes": 9007199254740993}"#);
        assert_eq!(exact.map(|parameters| parameters.lag_max_bytes), Ok((1 << 53) + 1));
    }

    #[test]
    fn a_wrong_value_names_its_parameter_and_what_was_expected() {
        for (text, error) in [
            (r#"{"order": "data"}"#, r#"order is "data-first" or "priority-first""#),
            (r#"{"order": 1}"#, r#"order is "data-first" or "priority-first""#),
            (r#"{"discard": "redis-1"}"#, "discard is a list of ids"),
            (r#"{"discard": [1]}"#, "discard is a list of ids"),
            (r#"{"bootstrap_wait_s": -1}"#, "bootstrap_wait_s is a whole number, not negative"),
            (r#"{"bootstrap_wait_s": 1.5}"#, "bootstrap_wait_s is a whole number, not negative"),
            (r#"{"lag_max_bytes": 18446744073709551616}"#, "lag_max_bytes is a whole number, not negative"),
            (r#"{"lag_max_bytes": null}"#, "lag_max_bytes is a whole number, not negative"),
            (r#"{"pause_max_ms": 0}"#, "pause_max_ms is a whole number from 1 to 3000"),
            (r#"{"pause_max_ms": 3001}"#, "pause_max_ms is a whole number from 1 to 3000"),
            (r#"{"pause_max_ms": {}}"#, "pause_max_ms is a whole number from 1 to 3000"),
        ] {
            assert_eq!(Parameters::parse(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_named_with_its_place() {
        let nested = format!("{{\"discard\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        for (text, place) in [
            ("{", "column 1"),
            ("[1,]", "column"),
            ("1", "object"),
            (r#"{"order": "data-first"} 1"#, "column 25"),
            (r#"{"discard": ["\ud800"]}"#, "column"),
            (r#"{"discard": ["a"#, "column 15"),
            (&nested, "recursion limit"),
        ] {
            let error = Parameters::parse(text).expect_err(text);
            assert!(error.starts_with("expected a JSON object") && error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn the_schema_names_every_parameter_and_its_default() {
        let schema: Value = serde_json::from_str(&Parameters::schema()).expect("the schema is JSON");
        let defaults: Map<String, Value> = schema["properties"]
            .as_object()
            .expect("properties")
            .iter()
            .map(|(name, property)| (name.clone(), property["default"].clone()))
            .collect();
        assert_eq!(defaults.len(), NAMES.len());
        assert_eq!(Parameters::parse(&Value::Object(defaults).to_string()), Ok(Parameters::default()));
        assert_eq!(schema["properties"]["pause_max_ms"]["maximum"], 3_000);
    }
}
