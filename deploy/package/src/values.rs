//! The table of a chart's README, made from its `values.yaml`: the sentence after `# --`, and the default.

use anyhow::{Context, Result};
use serde_json::Value;

/// A documented value.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Names with dots between, as `--set` takes them.
    pub path: String,
    /// As JSON.
    pub default: String,
    /// One paragraph.
    pub meaning: String,
}

/// The documented values, in the order of the file.
///
/// # Errors
/// If the text is no YAML, or a sentence precedes nothing.
pub fn rows(text: &str) -> Result<Vec<Row>> {
    let values: Value = serde_saphyr::from_str(text)?;
    let mut rows = Vec::new();
    // The keys that the present line lies below, with their indents.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut meaning: Option<String> = None;
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(sentence) = line.strip_prefix("# -- ") {
            meaning = Some(sentence.to_owned());
        } else if let Some(more) = line.strip_prefix("# ") {
            if let Some(sentence) = &mut meaning {
                *sentence += " ";
                *sentence += more;
            }
        } else if let Some((key, _)) = line.split_once(':').filter(|_| !line.starts_with('-')) {
            above.retain(|(theirs, _)| *theirs < indent);
            above.push((indent, key));
            if let Some(meaning) = meaning.take() {
                let keys: Vec<&str> = above.iter().map(|(_, key)| *key).collect();
                let default = values.pointer(&format!("/{}", keys.join("/")));
                let default = default.with_context(|| format!("no value at {}", keys.join(".")))?.to_string();
                rows.push(Row { path: keys.join("."), default, meaning });
            }
        }
    }
    anyhow::ensure!(meaning.is_none(), "a sentence at the end precedes no value: {meaning:?}");
    Ok(rows)
}

/// The README with the table between its two markers.
///
/// # Errors
/// If a marker is missing.
pub fn with_table(readme: &str, rows: &[Row]) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the README has no place for values")?;
    let (line, rest) = rest.split_once('\n').context("the marker ends a line")?;
    let (_, after) = rest.split_once(END).context("the place for values has no end")?;
    let mut table = String::from("\n| value | default | meaning |\n|--|--|--|\n");
    for Row { path, default, meaning } in rows {
        let escaped = |text: &str| text.replace('|', "\\|");
        table += &format!("| `{path}` | `{}` | {} |\n", escaped(default), escaped(meaning));
    }
    Ok(format!("{before}{BEGIN}{line}\n{table}\n{END}{after}"))
}

/// Where the values and the properties of the schema differ: paths that only one of them has.
pub fn differences(values: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(values, schema, "", &mut found);
    found
}

fn compare(values: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let unknown = values.keys().filter(|key| !properties.contains_key(*key));
    found.extend(unknown.map(|key| format!("{prefix}{key}: not in the schema")));
    for (key, property) in properties {
        let path = format!("{prefix}{key}");
        match values.get(key) {
            Some(value) => compare(value, property, &path, found),
            // An empty object is one of Kubernetes', with fields that have no default.
            None if OPTIONAL.contains(&path.as_str()) || values.is_empty() => {}
            None => found.push(format!("{path}: not among the values")),
        }
    }
}

/// Helm's own, and fields of Kubernetes' that have no default.
const OPTIONAL: &[&str] = &["global", "resources.claims"];
const BEGIN: &str = "<!-- values:";
const END: &str = "<!-- /values -->";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALUES: &str = "# Head.\n\n# -- How many.\ncount: 2\nimage:\n  # -- Its name,\n  # in full.\n  name: a|b\n  # Not told.\n  \
                          tag: \"\"\n# -- Some.\nannotations:\n  a.b/c: \"1\"\nlist:\n  - item: 1\n";

    #[test]
    fn a_row_is_a_path_a_default_and_a_sentence() {
        let row = |path: &str, default: &str, meaning: &str| Row {
            path: path.into(),
            default: default.into(),
            meaning: meaning.into(),
        };
        let expected = [
            row("count", "2", "How many."),
            row("image.name", "\"a|b\"", "Its name, in full."),
            row("annotations", "{\"a.b/c\":\"1\"}", "Some."),
        ];
        assert_eq!(rows(VALUES).expect("they are values"), expected);
        assert!(rows("a: 1\n# -- Of nothing.\n").is_err());
    }

    #[test]
    fn a_table_replaces_the_former_one() {
        let readme = "# Chart\n<!-- values: made -->\nold\n<!-- /values -->\nend\n";
        let rows = rows(VALUES).expect("they are values");
        let once = with_table(readme, &rows).expect("it has a place");
        assert!(once.contains("| `image.name` | `\"a\\|b\"` | Its name, in full. |\n"), "{once}");
        assert!(
            once.starts_with("# Chart\n<!-- values: made -->\n") && once.ends_with("<!-- /values -->\nend\n")
        );
        assert!(!once.contains("old"));
        assert_eq!(with_table(&once, &rows).expect("it has a place"), once);
        assert!(with_table("# Chart\n", &rows).is_err());
    }

    #[test]
    fn what_only_the_values_or_only_the_schema_has_is_found() {
        let schema = json!({"properties": {"a": {"properties": {"b": {}}}, "c": {}, "global": {}}});
        assert_eq!(differences(&json!({"a": {"b": 1}, "c": 2}), &schema), [""; 0]);
        assert_eq!(differences(&json!({"a": {}, "c": 2}), &schema), [""; 0]);
        assert_eq!(differences(&json!({"a": {"b": 1}}), &schema), ["c: not among the values"]);
        assert_eq!(differences(&json!({"a": {"b": 1}, "c": 2, "d": 3}), &schema), ["d: not in the schema"]);
    }
}
