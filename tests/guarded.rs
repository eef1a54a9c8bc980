//! The guard and the engine share no line, and must agree on every scenario: a plan of ours that the guard rejects would leave
//! a group without help.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use redis_operator::guard;
use redis_operator::policy::contract::{Decision, Observation};

/// Where the two do not agree yet, so nothing is done and an alarm is raised. Each row is to go.
const OPEN: [&str; 5] = [
    "a-master-restored-from-an-older-snapshot-is-amnesic",
    "a-replica-of-itself-unseats-no-master",
    "a-replica-that-restarts-with-aof-rejoins",
    "a-restarted-pod-with-more-data-than-the-master-is-kept",
    "pods-that-restarted-with-aof-follow-the-recorded-master",
];

#[test]
fn no_plan_of_ours_breaches_the_guard() {
    let mut breaches = Vec::new();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    for path in files.map(|file| file.unwrap().path()) {
        let scenario: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let observation: Observation = serde_json::from_value(scenario["observation"].clone()).unwrap();
        let decision: Decision = serde_json::from_value(scenario["decision"].clone()).unwrap();
        if let Err(found) = guard::judge(&observation, &decision) {
            let name = path.file_stem().unwrap().display().to_string();
            println!("{name}: {}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            breaches.push(name);
        }
    }
    breaches.sort();
    assert_eq!(breaches, OPEN);
}

/// Copies that restarted with AOF have a history of their own, and the guard lets none of them follow; nor does it let a lineage
/// take over beside one of them with more keys, or while somebody hangs on a server outside of the group.
const OPEN_RULES: [&str; 3] = ["final-offsets", "lineage", "no-destructive-follow"];

/// The same on seeded worlds, breach by rule.
#[test]
fn no_plan_for_a_broken_group_breaches_the_guard() {
    let mut breaches = std::collections::BTreeMap::<&str, (u64, u64, String)>::new();
    for seed in 0..3_000 {
        let observation = tests::faults::broken(&mut tests::seeds::Seed(seed)).observe();
        let decision = failover_core::decide(&observation);
        let observation: Observation = serde_json::from_value(serde_json::to_value(&observation).unwrap()).unwrap();
        let decision: Decision = serde_json::from_value(serde_json::to_value(&decision).unwrap()).unwrap();
        for breach in guard::judge(&observation, &decision).err().into_iter().flatten() {
            let row = breaches.entry(breach.rule.name()).or_insert_with(|| (0, seed, format!("{}: {}", decision.reason, breach.text)));
            row.0 += 1;
        }
    }
    breaches.retain(|rule, _| !OPEN_RULES.contains(rule));
    assert!(breaches.is_empty(), "rule, breaches, first seed, its text: {breaches:#?}");
}
