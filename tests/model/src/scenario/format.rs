//! How a short file is written: its fields in one order, a line each where they fit into 110 columns.

use super::short::FIELDS;
use serde_json::{Map, Value};

/// The text of a file of these fields.
pub fn format(file: &Map<String, Value>) -> String {
    let known = FIELDS.iter().filter_map(|field| Some((*field, file.get(*field)?)));
    let others = file.iter().filter(|(field, _)| !FIELDS.contains(&field.as_str()));
    let rows = known.chain(others.map(|(field, value)| (field.as_str(), value)));
    let rows: Vec<String> = rows.map(|(field, value)| line(field, value, 2)).collect();
    format!("{{\n{}\n}}\n", rows.join(",\n"))
}

/// A field on one line, or one level deeper.
fn line(field: &str, value: &Value, indent: usize) -> String {
    let blank = " ".repeat(indent);
    let short = format!("{blank}{}: {}", Value::from(field), flat(value));
    if short.chars().count() < COLUMNS {
        return short;
    }
    let open = format!("{blank}{}: ", Value::from(field));
    match value {
        Value::Object(fields) => {
            let rows: Vec<_> = ordered(fields).map(|(field, value)| line(field, value, indent + 2)).collect();
            format!("{open}{{\n{}\n{blank}}}", rows.join(",\n"))
        }
        Value::Array(items) => {
            let rows: Vec<_> = items.iter().map(|item| format!("{blank}  {}", flat(item))).collect();
            format!("{open}[\n{}\n{blank}]", rows.join(",\n"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => short,
    }
}

/// A value on one line.
fn flat(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".into(),
        Value::Object(fields) => {
            let rows: Vec<_> = ordered(fields)
                .map(|(field, value)| format!("{}: {}", Value::from(field), flat(value)))
                .collect();
            format!("{{ {} }}", rows.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Fields in the order in which a reader wants them; others by name.
fn ordered(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let place = |field: &str| FIRST.iter().position(|first| *first == field).unwrap_or(FIRST.len());
    let mut fields: Vec<_> = fields.iter().map(|(field, value)| (field.as_str(), value)).collect();
    fields.sort_by_key(|(field, _)| (place(field), *field));
    fields.into_iter()
}

const FIRST: &[&str] = &[
    "is", "for_us", "follows", "link", "history", "former", "offset", "keys", "verdict", "reason",
    "progress", "master", "goal", "loss", "request", "plan",
];
const COLUMNS: usize = 110;
