//! What the pages of the documentation say of files: no link is dead, each alert has a page, and YAML fits
//! the definitions.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::book::{BOOK, anchors, fences, links, published, resolved};
use package::documents::{definitions, documents};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page of the repository, but those of tools that are fetched.
fn pages() -> Vec<(String, String)> {
    let (mut pages, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink()
                || ["target", "node_modules"].contains(&name.as_str())
                || name.starts_with('.')
            {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".md") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                pages.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    pages.sort();
    assert!(pages.iter().filter(|(name, _)| name.starts_with(BOOK)).count() > 40);
    pages
}

#[test]
fn no_link_is_dead() {
    let mut dead = Vec::new();
    for (name, page) in pages() {
        for (_, target) in links(&page).into_iter().filter(|(_, target)| !target.starts_with("https://")) {
            let path = resolved(&name, &target).filter(|path| root().join(path).exists());
            let anchor = target.split_once('#').map(|(_, anchor)| anchor);
            let is_alive = path.is_some_and(|path| match anchor {
                Some(anchor) => anchors(&read(&path)).iter().any(|known| known == anchor),
                None => true,
            });
            dead.extend((!is_alive).then(|| format!("{name}: {target}")));
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_summary_lists_each_page_once() {
    let summary = format!("{BOOK}SUMMARY.md");
    let listed: Vec<String> =
        links(&read(&summary)).iter().map(|(_, target)| resolved(&summary, target).unwrap()).collect();
    let pages: BTreeSet<String> = pages()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(BOOK) && *name != summary)
        .collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), pages);
    assert_eq!(listed.len(), pages.len(), "a page is listed twice");
}

#[test]
fn a_published_page_links_to_pages_of_the_book_and_to_the_repository() {
    const BASE: &str = "https://example.com/them/blob/v1";
    let mut count = 0;
    for (name, page) in pages().into_iter().filter(|(name, _)| name.starts_with(BOOK)) {
        for (_, target) in links(&published(&name, &page, BASE)) {
            count += usize::from(target.starts_with(BASE));
            let is_of_the_book = || resolved(&name, &target).is_some_and(|path| path.starts_with(BOOK));
            assert!(target.starts_with("https://") || is_of_the_book(), "{name}: {target}");
        }
    }
    assert!(count > 20, "{count} links to the repository");
}

#[test]
fn each_alert_has_a_page_and_each_page_an_alert() {
    let rules = documents(&read("deploy/monitoring/rules.yaml")).unwrap().remove(0);
    let folder = format!("{BOOK}runbooks");
    let mut alerts = BTreeSet::new();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let alert = rule["alert"].as_str().unwrap();
        let page = format!("{folder}/{alert}.md");
        let url = format!("https://example.com/redis-operator/blob/main/{page}");
        assert_eq!(rule["annotations"]["runbook_url"], url, "{alert}");
        assert!(read(&page).contains("\n## What to do\n"), "{page}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        let row = format!("| [{alert}]({alert}.md) | {severity} |");
        assert!(read(&format!("{folder}/README.md")).contains(&row), "{row}");
        alerts.insert(format!("{alert}.md"));
    }
    alerts.insert("README.md".into());
    let pages = std::fs::read_dir(root().join(folder)).unwrap();
    let pages: BTreeSet<String> =
        pages.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(pages, alerts);
}

#[test]
fn yaml_on_the_pages_fits_the_definitions() {
    let crds = documents(&read("deploy/crds.yaml")).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, page) in pages().into_iter().filter(|(name, _)| name.starts_with(BOOK)) {
        for fence in fences(&page).into_iter().filter(|fence| fence.language == "yaml") {
            let at = format!("{name}:{}", fence.line);
            let parsed = documents(&fence.content).unwrap_or_else(|error| panic!("{at}: {error}"));
            let words: Vec<&str> = fence.words.iter().map(String::as_str).collect();
            for document in parsed {
                let kind = match words[..] {
                    // Of tools that are not here.
                    ["unchecked"] => continue,
                    [] => document["kind"].as_str().unwrap_or_default(),
                    // A part of a resource of that kind.
                    [kind] => kind,
                    _ => panic!("{at}: {words:?}"),
                };
                let api = document["apiVersion"].as_str();
                let Some(schema) = schema(&crds, kind, api) else {
                    wrong.push(format!("{at}: no definition of {kind} in {api:?}"));
                    continue;
                };
                let is_whole = words.is_empty();
                check(&document, schema, "", is_whole, &mut |why| wrong.push(format!("{at}: {why}")));
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 5, "{count} resources");
}

fn schema<'a>(crds: &'a [Value], kind: &str, api: Option<&str>) -> Option<&'a Value> {
    definitions(crds).into_iter().find_map(|definition| {
        let version = &definition["spec"]["versions"][0];
        let of = format!("{}/{}", definition["spec"]["group"].as_str()?, version["name"].as_str()?);
        let is_it = definition["spec"]["names"]["kind"] == kind && api.is_none_or(|api| api == of);
        is_it.then(|| &version["schema"]["openAPIV3Schema"])
    })
}

/// What the API server's strict validation would refuse: unknown fields, other types, missing fields, values
/// out of their bounds. Its rules in CEL are not looked at here; `tests/cluster/deployed.rs` asks the server.
fn check(value: &Value, schema: &Value, path: &str, is_whole: bool, wrong: &mut impl FnMut(String)) {
    let type_ = match value {
        Value::Null => return,
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if schema["x-kubernetes-int-or-string"] == true {
        return;
    }
    if schema["type"]
        .as_str()
        .is_some_and(|wanted| wanted != type_ && !(wanted == "number" && type_ == "integer"))
    {
        wrong(format!("{path} is {type_}, not {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        wrong(format!("{path}: {value} is none of {}", schema["enum"]));
    }
    let is_out = value.as_f64().is_some_and(|number| {
        schema["minimum"].as_f64().is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most)
    });
    if is_out {
        wrong(format!("{path}: {value} is out of bounds"));
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{path}[{place}]"), is_whole, wrong);
    }
    let Some(fields) = value.as_object() else { return };
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        let is_of_all = path == ".apiVersion" || path == ".kind" || path == ".metadata";
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null)
                if schema["x-kubernetes-preserve-unknown-fields"] != true && !is_of_all =>
            {
                wrong(format!("{path} is unknown"));
            }
            (Value::Null, Value::Null) => {}
            (Value::Null, of) => check(field, of, &path, is_whole, wrong),
            (known, _) => check(field, known, &path, is_whole, wrong),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| is_whole && !fields.contains_key(*name)) {
        wrong(format!("{path}.{name} is missing"));
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let crds = documents(&read("deploy/crds.yaml")).unwrap();
    let redis = schema(&crds, "Redis", None).unwrap();
    for (text, is_whole, why) in [
        ("spec: {replicas: three, redis: {image: a}}", true, ".spec.replicas is string"),
        ("spec: {replicas: 0, redis: {image: a}}", true, ".spec.replicas: 0 is out of bounds"),
        ("spec: {replicas: 3}", true, ".spec.redis is missing"),
        ("spec: {pausd: true}", false, ".spec.pausd is unknown"),
        ("spec: {failover: {prefer: Speed}}", false, "is none of"),
        ("spec: {initContainers: [{nam: a}]}", false, ".spec.initContainers[0].nam is unknown"),
        ("spec: {config: {save: 1}}", false, ".spec.config.save is integer"),
    ] {
        let mut found = Vec::new();
        check(&documents(text).unwrap()[0], redis, "", is_whole, &mut |complaint| found.push(complaint));
        assert!(found.iter().any(|complaint| complaint.contains(why)), "{text}: {found:?}");
    }
    assert!(schema(&crds, "RedisFailover", Some("spotahome.com/v1alpha1")).is_some());
    assert!(schema(&crds, "Redis", Some("databases.spotahome.com/v1")).is_none());
}
