//! The guard and the engine share no line, and must agree on every scenario: a plan of ours that the guard rejects would leave
//! a group without help.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use redis_operator::guard;
use redis_operator::policy::contract::{Decision, Observation};

#[test]
fn no_scenario_breaches_the_guard() {
    let mut breaches = Vec::new();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    for path in files.map(|file| file.unwrap().path()) {
        let scenario: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let observation: Observation = serde_json::from_value(scenario["observation"].clone()).unwrap();
        let decision: Decision = serde_json::from_value(scenario["decision"].clone()).unwrap();
        if let Err(found) = guard::judge(&observation, &decision) {
            let rules: Vec<_> = found.iter().map(ToString::to_string).collect();
            breaches.push(format!("{}: {}", path.file_stem().unwrap().display(), rules.join("; ")));
        }
    }
    breaches.sort();
    assert!(breaches.is_empty(), "{} scenarios breach the guard:\n{}", breaches.len(), breaches.join("\n"));
}
