//! One line of an operator's log, in either of its formats, as parts. Knows nothing of what they mean.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was logged, by the clock of the operator's node.
    #[serde(rename = "timestamp")]
    pub at: Timestamp,
    /// ERROR, WARN, INFO, DEBUG, TRACE.
    pub level: String,
    /// The constant message.
    pub message: String,
    /// The fields by name; strings without quotes.
    pub fields: Vec<(String, String)>,
}

impl Line {
    /// Of `--log-format json`, or of `--log-format text`. None: not a line of the log, as the output of a
    /// crash is not.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with('{') { json(text) } else { plain(text) }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

fn json(text: &str) -> Option<Line> {
    let Value::Object(mut all) = serde_json::from_str(text).ok()? else { return None };
    let mut take = |name: &str| Some(all.remove(name)?.as_str()?.to_owned());
    let (at, level, message) =
        (take("timestamp")?.parse().ok()?, take("level")?, take("message").unwrap_or_default());
    let word = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut fields: Vec<_> = all.into_iter().map(|(name, value)| (name, word(value))).collect();
    fields.sort();
    Some(Line { at, level, message, fields })
}

/// `2026-01-01T00:00:00.000001Z  INFO decided namespace="shop" epoch=7 error=no such host`: a value ends at
/// its quote, or where the next name begins.
fn plain(text: &str) -> Option<Line> {
    let (at, rest) = text.split_once(' ')?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    LEVELS.iter().find(|of| **of == level)?;
    let begins = next_name(rest).unwrap_or(rest.len());
    let message = rest[..begins].trim().to_owned();
    let mut fields = Vec::new();
    let mut rest = rest[begins..].trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let ends = next_name(after).unwrap_or(after.len());
                (after[..ends].trim_end().to_owned(), &after[ends..])
            }
        };
        fields.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    fields.sort();
    Some(Line { at: at.parse().ok()?, level: level.to_owned(), message, fields })
}

/// Where a field's name begins: after a space, a word and a `=`.
fn next_name(text: &str) -> Option<usize> {
    let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    text.match_indices('=').find_map(|(at, _)| {
        let begins = text[..at].rfind(|letter| !is_word(letter)).map(|before| before + 1)?;
        (begins < at && text[..begins].ends_with(' ')).then_some(begins)
    })
}

/// A string as Rust's `Debug` writes it, without its first quote; and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => match letters.next().map(|(_, letter)| letter) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some('0') => value.push('\0'),
                Some('u') => {
                    let digits: String =
                        letters.by_ref().map(|(_, of)| of).skip(1).take_while(|of| *of != '}').collect();
                    value.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                Some(other) => value.push(other),
                None => {}
            },
            other => value.push(other),
        }
    }
    (value, "")
}

const LEVELS: &[&str] = &["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_give_the_same_line() {
        let json = r#"{"timestamp":"2026-01-01T00:00:00.000001Z","level":"WARN","message":"action finished","namespace":"shop","name":"cart","epoch":7,"error":"no \"such\" host=x\n"}"#;
        let text = r#"2026-01-01T00:00:00.000001Z  WARN action finished epoch=7 error="no \"such\" host=x\n" name="cart" namespace="shop""#;
        let (one, other) = (Line::parse(json).unwrap(), Line::parse(text).unwrap());
        assert_eq!(one, other);
        assert_eq!(
            (one.message.as_str(), one.field("error"), one.field("epoch"), one.field("none")),
            ("action finished", Some("no \"such\" host=x\n"), Some("7"), None)
        );
    }

    #[test]
    fn a_value_without_quotes_ends_where_the_next_name_begins() {
        let line = Line::parse(
            "2026-01-01T00:00:00Z ERROR lease not renewed error=a = b, no host lease=\"redis-operator\"",
        )
        .unwrap();
        assert_eq!(line.message, "lease not renewed");
        let fields = [("error", "a = b, no host"), ("lease", "redis-operator")];
        assert_eq!(line.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let bare = Line::parse("2026-01-01T00:00:00Z  INFO authority gained").unwrap();
        assert_eq!((bare.message.as_str(), bare.fields.len()), ("authority gained", 0));
    }

    #[test]
    fn what_is_no_line_of_the_log_is_none() {
        for text in ["", "thread 'main' panicked at x", "{}", "{\"level\":\"INFO\"}", "[1]", "2026 INFO x"] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
        // Cut off in the midst of it.
        assert_eq!(Line::parse("2026-01-01T00:00:00Z INFO x a=\"b\\").unwrap().field("a"), Some("b"));
        assert_eq!(Line::parse("2026-01-01T00:00:00Z INFO x a=\"\\u{e4}\\u{").unwrap().field("a"), Some("ä"));
    }
}
