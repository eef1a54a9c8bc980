//! The pages of the resources' reference, made from their definitions: each field that has a sentence, with
//! its type, its default and what is refused. Fields of Kubernetes' own types are named, and not listed.

use crate::documents::{definitions, documents};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

/// The pages: name of the file, and content.
///
/// # Errors
/// If a definition lacks something, which is named.
pub fn pages(crds: &str) -> Result<Vec<(String, String)>> {
    let all = documents(crds)?;
    let mut pages: Vec<(String, String)> = Vec::new();
    for definition in definitions(&all) {
        let kind = text(definition, "/spec/names/kind")?.to_lowercase();
        let version = text(definition, "/spec/versions/0/name")?;
        // A second definition of a kind is of an older group.
        let is_second = pages.iter().any(|(name, _)| *name == format!("{kind}.md"));
        let name = if is_second { format!("{kind}-{version}.md") } else { format!("{kind}.md") };
        pages.push((name, page(definition)?));
    }
    Ok(pages)
}

fn page(definition: &Value) -> Result<String> {
    let kind = text(definition, "/spec/names/kind")?;
    let group = text(definition, "/spec/group")?;
    let version = definition.pointer("/spec/versions/0").context("the definition has a version")?;
    let schema = version.pointer("/schema/openAPIV3Schema").context("the version has a schema")?;
    let api = format!("{group}/{}", text(version, "/name")?);
    let mut page = format!(
        "<!-- Generated from deploy/crds.yaml by `cargo run -p package -- generate`: do not edit. -->\n# {kind}, {api}\n\n{}.\n\n\
         What is within fields of Kubernetes' own types, as `affinity`, is not listed: `kubectl explain` shows it.\n",
        text(schema, "/description")?
    );
    for part in ["spec", "status"] {
        let Some(schema) = schema.pointer(&format!("/properties/{part}")) else { continue };
        write!(page, "\n## {part}\n\n| field | type | default | meaning |\n|--|--|--|--|\n")?;
        let mut rows = Vec::new();
        collect(schema, "", &mut rows);
        for row in rows {
            writeln!(page, "{row}")?;
        }
        let rules = rules(schema, "");
        if !rules.is_empty() {
            writeln!(page, "\nRefused with these words:\n")?;
            for (path, message) in rules {
                let of = if path.is_empty() { part.to_owned() } else { path };
                writeln!(page, "- `{of}`: {}", one_line(&message))?;
            }
        }
    }
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let columns: Vec<&str> = columns.filter_map(|column| column["name"].as_str()).collect();
    let plural = text(definition, "/spec/names/plural")?;
    write!(page, "\nColumns of `kubectl get {plural}.{group} -o wide`: {}.\n", columns.join(", "))?;
    Ok(page)
}

/// The rows of the fields of an object, each before those in it.
fn collect(schema: &Value, prefix: &str, rows: &mut Vec<String>) {
    for (name, field) in fields(schema) {
        let path = format!("{prefix}{name}");
        let is_required =
            schema["required"].as_array().is_some_and(|all| all.contains(&name.as_str().into()));
        let default = match &field["default"] {
            // An object's default repeats those of its fields.
            Value::Null | Value::Object(_) if is_required => "**required**".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::String(text) if text.is_empty() => "empty".into(),
            value => format!("`{}`", value.to_string().trim_matches('"')),
        };
        let meaning = one_line(field["description"].as_str().unwrap_or_default());
        rows.push(format!("| `{path}` | {} | {default} | {meaning} |", type_of(field)));
        let is_list = field["type"] == "array";
        let inner = if is_list { &field["items"] } else { field };
        if is_ours(inner) {
            collect(inner, &format!("{path}{}.", if is_list { "[]" } else { "" }), rows);
        }
    }
}

/// The API server's own words for what breaks a rule, with the field that has it.
fn rules(schema: &Value, path: &str) -> Vec<(String, String)> {
    let of = |rule: &Value| Some((path.to_owned(), rule["message"].as_str()?.to_owned()));
    let mut all: Vec<(String, String)> =
        schema["x-kubernetes-validations"].as_array().into_iter().flatten().filter_map(of).collect();
    for (name, field) in fields(schema) {
        let dot = if path.is_empty() { "" } else { "." };
        all.extend(rules(field, &format!("{path}{dot}{name}")));
    }
    all
}

/// The fields of an object, by name: the order within a JSON object is not the same in every build.
fn fields(schema: &Value) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| *name);
    fields
}

/// Whether a type is the operator's own: Kubernetes' fields have no sentence here.
fn is_ours(schema: &Value) -> bool {
    fields(schema).iter().any(|(_, field)| field["description"].is_string())
}

fn type_of(field: &Value) -> String {
    let words = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "number or text".into();
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&field["additionalProperties"]))
        }
        Some("integer") => format!("integer{}", between(field, "minimum", "maximum", "")),
        Some("string") => format!("string{}", between(field, "minLength", "maxLength", " characters")),
        Some(name) => name.into(),
        None => "any".into(),
    }
}

fn between(field: &Value, least: &str, most: &str, unit: &str) -> String {
    // A definition has some bounds as 100.0.
    let bound = |name: &str| field[name].as_f64().map(|bound| format!("{bound}"));
    match (bound(least), bound(most)) {
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
        (Some(least), None) => format!(", {least} or more{unit}"),
        (None, Some(most)) => format!(", {most} or less{unit}"),
        (None, None) => String::new(),
    }
}

/// As a cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRD: &str = r#"
kind: CustomResourceDefinition
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  versions:
  - name: v1
    additionalPrinterColumns: [{name: Age}]
    schema:
      openAPIV3Schema:
        description: A thing
        properties:
          spec:
            type: object
            required: [size]
            x-kubernetes-validations: [{message: too big, rule: "true"}]
            properties:
              size: {type: integer, minimum: 1.0, maximum: 9.0, description: "How\nbig: a|b."}
              colour: {enum: [Red, Blue], type: string, default: Red, description: Its colour.}
              parts:
                type: array
                description: Its parts.
                items:
                  type: object
                  properties: {name: {type: string, minLength: 1, description: Its name.}}
              pod: {type: object, description: Kubernetes' own., properties: {hidden: {type: string}}}
"#;

    #[test]
    fn a_page_lists_what_has_a_sentence_and_what_is_refused() {
        let pages = pages(CRD).expect("it is a definition");
        let (name, page) = pages.first().expect("there is one");
        assert_eq!(name, "thing.md");
        for row in [
            "# Thing, example.com/v1\n",
            "| `size` | integer, 1 to 9 | **required** | How big: a\\|b. |\n",
            "| `colour` | `Red`, `Blue` | `Red` | Its colour. |\n",
            "| `parts` | list of object |  | Its parts. |\n| `parts[].name` | string, 1 or more characters |  | Its name. |\n",
            "| `pod` | object |  | Kubernetes' own. |\n",
            "- `spec`: too big\n",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        assert!(!page.contains("hidden"), "{page}");
    }

    #[test]
    fn a_second_definition_of_a_kind_has_a_page_of_its_own() {
        let older = CRD.replace("name: v1", "name: v1alpha1");
        let pages = pages(&format!("{CRD}---\n{older}")).expect("they are definitions");
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["thing.md", "thing-v1alpha1.md"]);
    }
}
