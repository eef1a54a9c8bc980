//! The conformance kit on real components: the embedded policy passes, the old algorithm fails where it is
//! known to be wrong, a hostile one fails at once; and the engine decides the same natively and as a
//! component.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use redis_operator::conformance::{
    Dice, Report, Scenario, Trial, check, embedded_scenarios, prove, random_observation, read_scenarios,
};
use redis_operator::contract::Observation;
use redis_operator::policy::{Component, Policy, Sandbox, embedded};
use std::path::Path;
use std::sync::Arc;
use tests::policies::{CLASSIC, hostile};

fn sandbox() -> Arc<Sandbox> {
    Arc::new(Sandbox::new(None).unwrap())
}

fn tried(policy: &Component, random: u32, strict: bool) -> Report {
    check(policy, &Trial { scenarios: &embedded_scenarios().unwrap(), random, seed: 1, strict }, |_| {})
}

#[test]
fn the_embedded_scenarios_are_those_of_the_folder() {
    let files = read_scenarios(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))).unwrap();
    let texts = |scenarios: Vec<Scenario>| {
        scenarios.into_iter().map(|scenario| format!("{scenario:?}")).collect::<Vec<_>>()
    };
    assert!(files.len() >= 60);
    assert_eq!(texts(embedded_scenarios().unwrap()), texts(files));
}

#[test]
fn the_embedded_policy_decides_every_scenario_as_written_and_keeps_every_invariant() {
    let report = tried(&embedded(&sandbox()).unwrap(), 1000, true);
    assert!(report.is_passed(), "{report}");
    assert!(report.is_complete && report.random == 1000);
}

#[test]
fn the_engine_answers_the_same_natively_and_as_a_component() {
    let component = embedded(&sandbox()).unwrap();
    let mut observations: Vec<(String, Observation)> = embedded_scenarios()
        .unwrap()
        .into_iter()
        .map(|scenario| (scenario.name, scenario.observation))
        .collect();
    observations
        .extend((0..500).map(|seed| (format!("seed {seed}"), random_observation(&mut Dice::new(seed)))));
    for (name, observation) in observations {
        let native = serde_json::from_value(serde_json::to_value(&observation).unwrap()).unwrap();
        let native = serde_json::to_value(failover_core::decide(&native)).unwrap();
        assert_eq!(serde_json::to_value(component.decide(&observation).unwrap()).unwrap(), native, "{name}");
    }
}

#[test]
fn the_classic_policy_breaks_the_rules_that_it_is_known_to_break() {
    let classic = Component::load(&sandbox(), CLASSIC).unwrap();
    let report = tried(&classic, 1000, false);
    let broken: Vec<&str> =
        report.rows.iter().filter(|row| row.is_required && row.failed > 0).map(|row| row.claim).collect();
    let known: Vec<&str> = CLASSIC_BREAKS.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(broken, known, "{report}");
    assert!(prove(&classic).is_err());
}

/// Rule by rule, in the order of the report, and what in the algorithm breaks it.
const CLASSIC_BREAKS: &[(&str, &str)] = &[
    (
        "expectation",
        "whoever does not say that it is a master counts as a replica, one of unreadable role too",
    ),
    ("freshness", "the last good reply counts for as long as nothing newer came, whatever failed since"),
    (
        "star",
        "with replicas of priority 0 only, the first is called master as it is, and the others follow a \
         replica",
    ),
    ("evidence", "a master out of sight is taken for dead, without proof"),
    ("final-offsets", "offsets are compared while the replicas may still be receiving"),
    (
        "reachable-master",
        "a master that answers and has no replica attached is passed over for one of its replicas",
    ),
    ("fit", "loading, syncing and unannounced replicas are in the line of succession"),
    ("lineage", "the history of the lost master is not asked for, an empty or foreign one will do"),
    ("most-advanced", "priority goes before data, so what only the others hold is lost"),
    ("restart", "a copy that restarted from its files takes over before those that may have more are back"),
    ("quorum", "how many members answer is not asked"),
    ("in-doubt", "what was sent and never answered is forgotten"),
    ("no-destructive-follow", "who is in no row of the master is made to follow it, whatever it holds"),
    ("amnesia", "a master that came back empty is still the master, and empties its replicas"),
    ("two-masters", "of two masters the first by name stays"),
    (
        "named-master",
        "a master is one that has a replica, whether it answers now, came back empty, or is the wrong one",
    ),
    ("healthy", "masters beside the first are not looked at, if its rows name them"),
    ("reported-loss", "what a master lost in a restart, or another program's promotion cost, is not asked"),
];

#[test]
fn the_embedded_policy_is_proven_and_a_hostile_one_is_not() {
    assert_eq!(prove(&embedded(&sandbox()).unwrap()), Ok(()));
    for (behaviour, why) in [
        ("spins", "answers, at "),
        ("hogs", "answers, at "),
        ("traps", "answers, at "),
        ("recurses", "answers, at "),
        ("answers-too-much", "answers, at "),
        ("answers-no-text", "answers, at "),
        ("forgets-a-member", "order-free, at "),
        ("acts-without-plan", "plan-matches-verdict, at "),
        ("names-a-stranger", "known-ids, at "),
        ("always-healthy", "named-master, at "),
        ("waits-for-ever", "takes-over, at "),
        ("nobody-eligible", "takes-over, at "),
        ("rewrites-the-record", "takes-over, at "),
        // Otherwise well-behaved, and it lists the members as they come.
        ("", "order-free, at "),
    ] {
        let error = prove(&Component::load(&sandbox(), &hostile(behaviour)).unwrap()).unwrap_err();
        assert!(error.starts_with(why) && !error.contains('\n'), "{behaviour}: {error}");
    }
}

#[test]
fn a_policy_without_answers_is_given_up_and_not_passed() {
    let report = tried(&Component::load(&sandbox(), &hostile("traps")).unwrap(), 1000, false);
    assert!(!report.is_complete && !report.is_passed() && report.scenarios < 60);
}
