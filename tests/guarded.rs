//! The guard and the engine share no line, and must agree on every scenario: a plan of ours that the guard
//! rejects would leave a group without help.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use redis_model::Dice;
use redis_model::faults::{broken, watched};
use redis_operator::conformance::read_scenarios;
use redis_operator::contract::{Decision, Observation};
use redis_operator::guard;
use std::path::Path;

/// By the decisions that the engine takes now, as `scenarios` compares them with the files.
#[test]
fn no_plan_of_ours_breaches_the_guard() {
    let mut breaches = Vec::new();
    for scenario in read_scenarios(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))).unwrap() {
        if let Err(found) = guard::judge(&scenario.observation, &decided(&scenario.observation)) {
            let name = scenario.name;
            println!("{name}: {}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            breaches.push(name);
        }
    }
    assert!(breaches.is_empty(), "{breaches:?}");
}

/// What the engine decides, in the host's types.
fn decided(observation: &Observation) -> Decision {
    let observation = serde_json::from_value(serde_json::to_value(observation).unwrap()).unwrap();
    serde_json::from_value(serde_json::to_value(failover_core::decide(&observation)).unwrap()).unwrap()
}

/// The same on seeded worlds, breach by rule.
#[test]
fn no_plan_for_a_broken_group_breaches_the_guard() {
    check_seeded(10_000, &|dice| broken(dice).observe());
}

/// And with Sentinels beside it, to which anything may have happened, too.
#[test]
fn no_plan_for_a_broken_group_with_sentinels_breaches_the_guard() {
    check_seeded(10_000, &|dice| {
        let mut world = broken(dice).seen_world();
        watched(&mut world, dice);
        world.observe()
    });
}

fn check_seeded(seeds: u64, observed: &dyn Fn(&mut Dice) -> failover_core::contract::Observation) {
    let mut breaches = std::collections::BTreeMap::<&str, (u64, u64, String)>::new();
    for seed in 0..seeds {
        let observation = observed(&mut Dice::new(seed));
        let decision = failover_core::decide(&observation);
        let observation: Observation =
            serde_json::from_value(serde_json::to_value(&observation).unwrap()).unwrap();
        let decision: Decision = serde_json::from_value(serde_json::to_value(&decision).unwrap()).unwrap();
        for breach in guard::judge(&observation, &decision).err().into_iter().flatten() {
            let row = breaches
                .entry(breach.rule.name())
                .or_insert_with(|| (0, seed, format!("{}: {}", decision.explanation, breach.text)));
            row.0 += 1;
        }
    }
    assert!(breaches.is_empty(), "rule, breaches, first seed, its text: {breaches:#?}");
}
