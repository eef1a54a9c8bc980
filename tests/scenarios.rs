//! Every file of `scenarios/` is one situation: an Observation, and the Decision that the default policy must
//! give.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p tests --test scenarios` rewrites the `decision` parts from what the
//! engine says now. Commit only the differences that you understand, in a commit of their own that says what
//! changed for the users: a scenario that is updated without thought is a check that cannot fail.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use failover_core::contract::{Decision, Observation, Verdict};
use failover_core::{decide, reasons};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    why: String,
    observation: Observation,
    decision: Decision,
}

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

fn scenarios() -> BTreeMap<String, Scenario> {
    let dir = std::env::var("SCENARIOS").unwrap_or_else(|_| DIR.into());
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}

#[test]
fn every_scenario_is_decided_as_written() {
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios() {
        let decision = decide(&scenario.observation);
        if decision == scenario.decision {
            continue;
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            let text = serde_json::to_string_pretty(&Scenario { decision, ..scenario }).unwrap();
            std::fs::write(format!("{DIR}/{name}.json"), text + "\n").unwrap();
            continue;
        }
        let short = |decision: &Decision| {
            format!("{:?} {}: {}", decision.verdict, decision.reason, decision.explanation)
        };
        let (expected, got) =
            (serde_json::to_string(&scenario.decision).unwrap(), serde_json::to_string(&decision).unwrap());
        wrong.push(format!(
            "{name}\n  {}\n  {}\n  expected {expected}\n  got      {got}",
            short(&scenario.decision),
            short(&decision)
        ));
    }
    assert!(wrong.is_empty(), "{} scenarios are decided otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn scenarios_are_named_as_facts_and_say_why() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 60, "{}", scenarios.len());
    for (name, scenario) in scenarios {
        assert!(
            name.contains('-') && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
            "{name}"
        );
        assert!(scenario.why.len() > 20, "{name} does not say why it matters");
    }
}

#[test]
fn every_reason_has_a_scenario_with_a_verdict_of_its_row() {
    let scenarios = scenarios();
    for reason in reasons() {
        let mut verdicts: Vec<&str> = scenarios
            .values()
            .filter(|scenario| scenario.decision.reason == reason.name)
            .map(|scenario| match scenario.decision.verdict {
                Verdict::Healthy => "healthy",
                Verdict::Act => "act",
                Verdict::Wait => "wait",
                Verdict::Refuse => "refuse",
            })
            .collect();
        verdicts.sort_unstable();
        verdicts.dedup();
        assert_eq!(verdicts.join(", "), reason.verdicts, "{}", reason.name);
    }
}

/// `wit/REASONS.md` is made from the code: `UPDATE_REASONS=1` writes it anew.
#[test]
fn the_documented_list_of_reasons_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/REASONS.md");
    let mut text = String::from(
        "# The reasons of the default policy\n\nOne reason a decision, in the order in which the rules are \
         asked: the first that applies decides. They are metric labels,\ncondition reasons and log fields. \
         Generated from `core/src/**/reasons.rs`; `UPDATE_REASONS=1 cargo test -p tests --test \
         scenarios`\nwrites this page anew.\n\n| reason | verdicts | what holds, and the way out \
         |\n|--|--|--|\n",
    );
    for reason in reasons() {
        text += &format!("| `{}` | {} | {} |\n", reason.name, reason.verdicts, reason.why);
    }
    if std::env::var_os("UPDATE_REASONS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        text,
        "set UPDATE_REASONS=1 to write it anew"
    );
}
