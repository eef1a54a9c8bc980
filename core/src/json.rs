//! JSON text to values, as far as parameters need it. serde_json reads the text; its own `Value` would bring
//! numbers with a point, their formatting and a tree map, which are a third of the component.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// A whole number that is not negative, exactly.
    Number(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// In the order of the text.
    Object(Vec<(String, Json)>),
    /// What no parameter can be: null, true, false, any other number.
    Other,
}

/// Parses the whole text.
///
/// # Errors
/// What was expected, and at which line and column.
pub fn parse(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Accepts every value, so that serde needs no error for one of another kind.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = rows.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = rows.next_key::<Json>()? {
            if let Json::Text(name) = name {
                object.push((name, rows.next_value()?));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        let value = parse(r#" {"a": [1, "x\n\u00e9", true, -1, 1.5], "b": null, "c": {}} "#);
        let (number, text) = (Json::Number(1), Json::Text("x\né".into()));
        let list = Json::List(vec![number, text, Json::Other, Json::Other, Json::Other]);
        let rows = [("a", list), ("b", Json::Other), ("c", Json::Object(vec![]))];
        assert_eq!(value, Ok(Json::Object(rows.map(|(name, value)| (name.to_owned(), value)).into())));
    }

    #[test]
    fn numbers_are_exact() {
        // 2^53 + 1: the first that a float does not have.
        assert_eq!(parse("9007199254740993"), Ok(Json::Number((1 << 53) + 1)));
        assert_eq!(parse("18446744073709551615"), Ok(Json::Number(u64::MAX)));
        assert_eq!(parse("18446744073709551616"), Ok(Json::Other));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, place) in [
            ("{", "line 1 column 1"),
            ("[1,]", "line 1 column 4"),
            ("\"a", "line 1 column 2"),
            ("1 1", "line 1 column 3"),
            (r#""\ud800""#, "line 1 column"),
            (&"[".repeat(200), "recursion limit"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(place), "{text}: {error}");
        }
    }
}
