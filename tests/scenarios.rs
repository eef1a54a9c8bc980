//! Every file of `scenarios/` is one situation and what the default policy must decide in it. How to write
//! one is in `scenarios/README.md`.
//!
//! - `UPDATE_SCENARIOS=1` rewrites what the files expect from what the engine says now, and lays the files
//!   out. Commit only the differences that you understand, in a commit of their own that says what changed
//!   for the users: a scenario that is updated without thought is a check that cannot fail.
//! - `UPDATE_TEXTS=1` rewrites `scenarios/TEXTS.md`: the sentences for people, and what the files leave out.
//! - `SCENARIOS=DIR` tries the files of another directory, recorded incidents for example.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use failover_core::contract::{Action, Decision, Health, Member, Observation, Verdict};
use failover_core::facts::{INFO_REPLICATION, INFO_SERVER, ReplicationFacts, ServerFacts};
use failover_core::{decide, reasons};
use redis_model::scenario::{Answer, Expected, Scenario, format, read_directory};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

fn directory() -> PathBuf {
    std::env::var("SCENARIOS").unwrap_or_else(|_| DIR.into()).into()
}

/// Those of this repository, whatever is tried beside them.
fn scenarios() -> Vec<Scenario> {
    read_directory(Path::new(DIR)).unwrap()
}

#[test]
fn every_scenario_is_decided_as_written() {
    let mut wrong = Vec::new();
    let all = read_directory(&directory()).unwrap();
    for scenario in &all {
        let decision = decide(&scenario.observation);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            update(scenario, &decision);
        } else if let Some(difference) = scenario.expected.difference(&decision) {
            wrong.push(format!("{}: {difference}\n  {}", scenario.name, decision.explanation));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} scenarios are decided otherwise:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}

/// Writes what is decided now as what is expected. A recorded incident of contract 0.1 is left as it is.
fn update(scenario: &Scenario, decision: &Decision) {
    let path = directory().join(&scenario.name).with_extension("json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let text = match &scenario.expected {
        Expected::Answer(_) => {
            file["expect"] = Answer::of(decision).json();
            format(file.as_object().unwrap())
        }
        Expected::Decision(_) if scenario.expected.difference(decision).is_some() => {
            file["decision"] = serde_json::to_value(decision).unwrap();
            format!("{file:#}\n")
        }
        Expected::Decision(_) | Expected::Old(_) => return,
    };
    std::fs::write(path, text).unwrap();
}

#[test]
fn short_files_are_laid_out_in_one_way() {
    for scenario in scenarios() {
        let text =
            std::fs::read_to_string(Path::new(DIR).join(&scenario.name).with_extension("json")).unwrap();
        if matches!(scenario.expected, Expected::Answer(_)) {
            let file: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                format(file.as_object().unwrap()),
                text,
                "UPDATE_SCENARIOS=1 lays {} out",
                scenario.name
            );
        }
    }
}

#[test]
fn scenarios_are_named_as_facts_and_say_why() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 60, "{}", scenarios.len());
    for Scenario { name, why, .. } in scenarios {
        assert!(
            name.contains('-') && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
            "{name}"
        );
        assert!(why.len() > 20, "{name} does not say why it matters");
    }
}

/// The sentences of every decision, and whatever of it the scenario files do not say.
#[test]
fn the_texts_for_people_are_those_of_the_golden_file() {
    let path = Path::new(DIR).join("TEXTS.md");
    let mut text = String::from(
        "# What the default policy says in each scenario\n\nThe sentences for people, and what the files \
         leave out: when to look again, each member's health, place in the succession and\nbytes behind. A \
         usual proof is left out, and so are conditions of actions that are what their target reports.\n\
         `UPDATE_TEXTS=1 cargo test -p tests --test scenarios` writes this page anew.\n",
    );
    for Scenario { name, observation, .. } in scenarios() {
        _ = write!(text, "\n## {name}\n{}", texts(&observation, &decide(&observation)));
    }
    if std::env::var_os("UPDATE_TEXTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).find(|(golden, now)| golden != now);
    assert!(golden == text, "UPDATE_TEXTS=1 writes it anew; first difference: {differs:#?}");
}

fn texts(observation: &Observation, decision: &Decision) -> String {
    let mut text = format!("{}\n", decision.explanation);
    if let Some(request) = &decision.request {
        _ = writeln!(text, "request: {}", request.text);
    }
    for member in &decision.members {
        let Member { id, role, assigned, health, proof, rank, ineligible, lag_bytes } = member;
        let proof = if USUAL.contains(&(*health, proof)) { String::new() } else { format!(" ({proof})") };
        let place = match (rank, ineligible) {
            (Some(rank), _) => format!(", {rank} in line"),
            (None, Some(why)) => format!(", {why}"),
            (None, None) => String::new(),
        };
        let lag = lag_bytes.map(|bytes| format!(", {bytes} behind")).unwrap_or_default();
        let assigned = assigned.as_ref().map_or("no role".into(), |assigned| match &assigned.master {
            Some(master) => format!("{} of {master}", word(&assigned.role)),
            None => word(&assigned.role),
        });
        let (role, health) = (word(role), word(health));
        _ = writeln!(text, "- {id}: {role}, to be {assigned}, {health}{proof}{place}{lag}");
    }
    for (number, stage) in decision.stages.iter().enumerate() {
        _ = writeln!(text, "{}. {}{}", number + 1, stage.summary, conditions(observation, &stage.actions));
    }
    text + &format!("\nlooks again after {} µs\n", decision.next_look_us)
}

/// The name of a case, as JSON has it.
fn word(case: &impl serde::Serialize) -> String {
    serde_json::to_value(case).unwrap().as_str().unwrap().to_owned()
}

/// Conditions that are not what the target reports.
fn conditions(observation: &Observation, actions: &[Action]) -> String {
    let mut other = String::new();
    for (id, expect) in actions.iter().flat_map(expectations) {
        let instance = observation.instances.iter().find(|instance| instance.id == id).unwrap();
        let shown = |command: &str| {
            let reply = instance.replies.iter().find(|reply| reply.command == command)?;
            match &reply.newest.as_ref()?.value {
                failover_core::contract::Value::Text(text) => Some(text.text.as_str()),
                _ => None,
            }
        };
        let run_id = shown(INFO_SERVER).and_then(|text| ServerFacts::parse(text).run_id);
        let replid = shown(INFO_REPLICATION)
            .and_then(|text| ReplicationFacts::parse(text).history)
            .map(|history| history.replid);
        let role = if shown(INFO_REPLICATION).is_some_and(|text| text.contains("role:master")) {
            failover_core::contract::Role::Master
        } else {
            failover_core::contract::Role::Replica
        };
        let is_shown = run_id == Some(expect.run_id.as_str())
            && expect.role == role
            && expect.replid.as_deref() == replid
            && expect.node.is_none();
        if !is_shown {
            _ = write!(other, "\n   {id} with {:?}, {:?}, {:?}", expect.run_id, expect.role, expect.replid);
        }
    }
    other
}

fn expectations(action: &Action) -> Vec<(&str, &failover_core::contract::Expectation)> {
    match action {
        Action::Promote(action) => vec![(&action.id, &action.expect)],
        Action::Follow(action) => vec![(&action.id, &action.expect)],
        Action::Demote(action) => vec![(&action.id, &action.expect)],
        Action::Handover(action) => {
            vec![(&action.source, &action.expect_source), (&action.target, &action.expect_target)]
        }
        Action::Fence(action) => vec![(&action.id, &action.expect)],
        Action::Unfence(action) => vec![(&action.id, &action.expect)],
        Action::KickClients(action) => vec![(&action.id, &action.expect)],
        Action::Configure(action) => vec![(&action.id, &action.expect)],
        Action::Restart(_) => vec![],
        Action::Sentinel(action) => vec![(&action.id, &action.expect)],
        Action::Cluster(action) => vec![(&action.id, &action.expect)],
    }
}

/// Proofs that say no more than the health that they stand for.
const USUAL: &[(Health, &str)] = &[
    (Health::InSync, "it is the master"),
    (Health::InSync, "its master's row says online, and its lag is bounded"),
    (Health::Alive, "it answers"),
    (Health::Dead, "its connection ended 2.0 ms ago and a fresh one was refused"),
];

#[test]
fn every_reason_has_a_scenario_with_a_verdict_of_its_row() {
    let answers: Vec<Answer> = scenarios().iter().map(|scenario| scenario.expected.answer()).collect();
    for reason in reasons() {
        let mut verdicts: Vec<&str> = answers
            .iter()
            .filter(|answer| answer.reason == reason.name)
            .map(|answer| match answer.verdict {
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
