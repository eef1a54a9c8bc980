//! From RESP replies to values of the contract. Cuts and classifies; must not interpret.

use crate::contract::{FailureKind, Integer, Nested, Nil, Text, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The host's limit for one reply: longer ones are cut and marked. INFO replication with 500 replicas has 45
/// KB.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A command without a good reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CommandFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The error reply.
    pub text: String,
}

/// A reply as a value of the contract, or an error reply with its kind.
pub(super) fn reply(value: redis::Value) -> Result<Value, CommandFailure> {
    if let Some(text) = error_text(&value) {
        return Err(CommandFailure { kind: error_kind(&text), text });
    }
    Ok(match value {
        redis::Value::Nil => Value::Nil(Nil { of: "bulk".into() }),
        redis::Value::Int(number) => Value::Integer(Integer { number }),
        redis::Value::Boolean(flag) => Value::Integer(Integer { number: i64::from(flag) }),
        nested if is_nested(&nested) => {
            let mut resp = String::new();
            write_resp(&nested, &mut resp);
            let truncated = cut(&mut resp);
            Value::Nested(Nested { resp, truncated })
        }
        scalar => {
            let mut text = match scalar {
                // INFO, without a copy.
                redis::Value::BulkString(bytes) => String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into()),
                other => words(&other),
            };
            let truncated = cut(&mut text);
            Value::Text(Text { text, truncated })
        }
    })
}

/// The text of an error reply. None: not an error.
pub(super) fn error_text(value: &redis::Value) -> Option<String> {
    let redis::Value::ServerError(error) = value else { return None };
    let mut text = format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned();
    cut(&mut text);
    Some(text)
}

/// An array of names and values in turn, as rows of Sentinel are. None: it is none.
pub(super) fn fields(value: &redis::Value) -> Option<BTreeMap<String, String>> {
    let redis::Value::Array(items) = value else { return None };
    Some(items.chunks_exact(2).map(|pair| (words(&pair[0]), words(&pair[1]))).collect())
}

/// The kind of an error reply, by its first word.
pub(super) fn error_kind(text: &str) -> FailureKind {
    match text.split(' ').next() {
        // It lives, and serves the clients that it has.
        _ if text.contains("max number of clients reached") => FailureKind::Busy,
        Some("LOADING") => FailureKind::Loading,
        Some("BUSY") => FailureKind::Busy,
        // DENIED is protected mode, which a password switches off.
        Some("NOAUTH" | "WRONGPASS" | "DENIED") => FailureKind::Unauthorized,
        _ => FailureKind::ErrorReply,
    }
}

fn is_nested(value: &redis::Value) -> bool {
    use redis::Value::{Array, Attribute, Map, Push, Set};
    matches!(value, Array(_) | Map(_) | Set(_) | Push { .. } | Attribute { .. })
}

/// The text of a value that is neither nested nor a number.
fn words(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) | redis::Value::BigNumber(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        redis::Value::SimpleString(text) | redis::Value::VerbatimString { text, .. } => text.clone(),
        redis::Value::Okay => "OK".into(),
        redis::Value::Double(number) => number.to_string(),
        // The crate's enum may grow; the name of the variant is readable.
        other => format!("{other:?}"),
    }
}

/// Writes RESP2 text. Lengths count the written text, after the replacement of invalid UTF-8, so that it
/// parses. Stops soon after the limit, since the rest would be cut. The parser bounds the depth.
fn write_resp(value: &redis::Value, out: &mut String) {
    if out.len() > TEXT_BYTES_MAX {
        return;
    }
    let mut list = |length: usize, items: &mut dyn Iterator<Item = &redis::Value>| {
        put(out, format_args!("*{length}\r\n"));
        items.for_each(|item| write_resp(item, out));
    };
    match value {
        redis::Value::Array(items) | redis::Value::Set(items) | redis::Value::Push { data: items, .. } => {
            list(items.len(), &mut items.iter())
        }
        redis::Value::Map(pairs) => {
            list(pairs.len() * 2, &mut pairs.iter().flat_map(|(key, value)| [key, value]))
        }
        redis::Value::Attribute { data, .. } => write_resp(data, out),
        redis::Value::Nil => out.push_str("$-1\r\n"),
        redis::Value::Int(number) => put(out, format_args!(":{number}\r\n")),
        redis::Value::Boolean(flag) => put(out, format_args!(":{}\r\n", u8::from(*flag))),
        redis::Value::SimpleString(text) => put(out, format_args!("+{text}\r\n")),
        redis::Value::Okay => out.push_str("+OK\r\n"),
        scalar => match error_text(scalar) {
            Some(text) => put(out, format_args!("-{text}\r\n")),
            None => {
                let text = words(scalar);
                put(out, format_args!("${}\r\n{text}\r\n", text.len()));
            }
        },
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Cuts at the limit, between characters. True: it was too long.
fn cut(text: &mut String) -> bool {
    let is_too_long = text.len() > TEXT_BYTES_MAX;
    if is_too_long {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
    is_too_long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(resp: &[u8]) -> Result<Value, CommandFailure> {
        reply(redis::parse_redis_value(resp).unwrap())
    }

    #[test]
    fn each_kind_of_reply_has_its_value() {
        let text = |text: &str| Ok(Value::Text(Text { text: text.into(), truncated: false }));
        assert_eq!(parsed(b"$2\r\nhi\r\n"), text("hi"));
        assert_eq!(parsed(b"+PONG\r\n"), text("PONG"));
        assert_eq!(parsed(b"+OK\r\n"), text("OK"));
        assert_eq!(parsed(b"$2\r\n\xff\xff\r\n"), text("\u{fffd}\u{fffd}"));
        assert_eq!(parsed(b":-7\r\n"), Ok(Value::Integer(Integer { number: -7 })));
        assert_eq!(parsed(b"$-1\r\n"), Ok(Value::Nil(Nil { of: "bulk".into() })));
    }

    #[test]
    fn arrays_are_returned_as_the_resp_that_was_received() {
        let resp = "*3\r\n$5\r\nslave\r\n*2\r\n:1\r\n$-1\r\n-ERR no\r\n";
        assert_eq!(
            parsed(resp.as_bytes()),
            Ok(Value::Nested(Nested { resp: resp.into(), truncated: false }))
        );
        assert_eq!(
            parsed(b"*1\r\n$1\r\n\xff\r\n"),
            Ok(Value::Nested(Nested { resp: "*1\r\n$3\r\n\u{fffd}\r\n".into(), truncated: false }))
        );
    }

    #[test]
    fn long_replies_are_cut_between_characters_and_marked() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        let Ok(Value::Text(text)) = reply(redis::Value::BulkString(format!("a{long}").into_bytes())) else {
            panic!("no text")
        };
        assert!(text.truncated && text.text.len() == TEXT_BYTES_MAX - 1);
        let Ok(Value::Nested(nested)) =
            reply(redis::Value::Array(vec![redis::Value::Int(1); TEXT_BYTES_MAX]))
        else {
            panic!("not nested")
        };
        assert!(nested.truncated && nested.resp.len() == TEXT_BYTES_MAX);
    }

    #[test]
    fn errors_are_classified_by_their_first_word() {
        for (resp, kind) in [
            ("-LOADING Redis is loading the dataset in memory\r\n", FailureKind::Loading),
            ("-BUSY Redis is busy running a script.\r\n", FailureKind::Busy),
            ("-NOAUTH Authentication required.\r\n", FailureKind::Unauthorized),
            ("-WRONGPASS invalid username-password pair\r\n", FailureKind::Unauthorized),
            ("-NOPERM this user has no permissions\r\n", FailureKind::ErrorReply),
            ("-ERR unknown command\r\n", FailureKind::ErrorReply),
            ("-ERR\r\n", FailureKind::ErrorReply),
        ] {
            assert_eq!(
                parsed(resp.as_bytes()),
                Err(CommandFailure { kind, text: resp[1..].trim_end().into() }),
                "{resp}"
            );
        }
    }
}
