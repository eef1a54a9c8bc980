//! The conformance kit: what `policy check` runs, and the proof before a policy goes live.
//!
//! A policy passes when it answers everything, the same twice, whatever the order of the instances, never in
//! breach of the guard, and when it takes over where a master has been lost for long. What it decides within
//! these bounds is its own affair. Must not know how a policy is run.

mod drills;
mod proof;
mod report;
mod scenarios;

pub use proof::prove;
pub use report::{Failure, Report, Row};
pub use scenarios::{Scenario, ScenarioError, embedded_scenarios, read_scenarios};

pub use redis_model::Dice;
pub use redis_model::random::mutated;

use crate::contract::{Decision, Observation, same};
use crate::guard::{Rule, judge};
use crate::policy::Policy;
use std::ops::ControlFlow;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Every one of them.
    pub scenarios: &'a [Scenario],
    /// How many seeded observations.
    pub random: u32,
    /// Of the seeded observations: equal seeds give equal observations.
    pub seed: u64,
    /// A scenario decided otherwise than expected is a failure: for the embedded policy, not for others.
    pub strict: bool,
}

/// Tries a policy on groups of the topologies that it decides for, and tells `watch` after every observation
/// what was found so far. Takes about four answers
/// for each. A policy that gives none is given up: each takes all its fuel, half a second.
pub fn check(policy: &dyn Policy, trial: &Trial<'_>, mut watch: impl FnMut(&Report)) -> Report {
    check_while(policy, trial, &mut |report| {
        watch(report);
        if report.unanswered() < UNANSWERED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

/// Tries a policy until `watch` has seen enough.
fn check_while(
    policy: &dyn Policy,
    trial: &Trial<'_>,
    watch: &mut dyn FnMut(&Report) -> ControlFlow<()>,
) -> Report {
    let mut report =
        Report::new(policy.title().to_owned(), policy.digest().to_owned(), trial.seed, trial.strict);
    report.is_complete = check_all(policy, trial, &mut report, watch).is_continue();
    report
}

/// A seeded observation, as [`check`] tries policies on.
pub fn random_observation(dice: &mut Dice) -> Observation {
    same(&redis_model::random::observation(dice))
}

fn check_all(
    policy: &dyn Policy,
    trial: &Trial<'_>,
    report: &mut Report,
    watch: &mut dyn FnMut(&Report) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut dice = Dice::new(trial.seed);
    let is_its = |observation: &Observation| policy.serves(observation.group.topology);
    for drill in drills::drills().into_iter().filter(|drill| is_its(&drill.observation)) {
        if let Some(decision) = check_one(policy, &mut dice, report, &drill.name, &drill.observation) {
            let wrong = drill.difference(&decision);
            report.count(report::TAKES_OVER, &drill.name, &drill.observation, Some(&decision), wrong);
        }
        watch(report)?;
    }
    for scenario in trial.scenarios.iter().filter(|scenario| is_its(&scenario.observation)) {
        report.scenarios += 1;
        let decision = check_one(policy, &mut dice, report, &scenario.name, &scenario.observation);
        if let Some(decision) = decision {
            let wrong = scenario.difference(&decision);
            report.count("as-expected", &scenario.name, &scenario.observation, Some(&decision), wrong);
        }
        watch(report)?;
    }
    for number in 0..trial.random {
        // Each has a seed of its own, so that one can be made again without those before it.
        let observation = random_observation(&mut Dice::new(
            trial.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ));
        if !is_its(&observation) {
            continue;
        }
        report.random += 1;
        check_one(policy, &mut dice, report, &format!("random {number}"), &observation);
        watch(report)?;
    }
    ControlFlow::Continue(())
}

fn check_one(
    policy: &dyn Policy,
    dice: &mut Dice,
    report: &mut Report,
    at: &str,
    observation: &Observation,
) -> Option<Decision> {
    let first = policy.decide(observation);
    report.count(report::ANSWERS, at, observation, None, first.as_ref().err().map(ToString::to_string));
    let decision = first.ok()?;
    let mut count =
        |claim: &str, wrong: Option<String>| report.count(claim, at, observation, Some(&decision), wrong);
    let differs = |observation: &Observation| match policy.decide(observation) {
        Ok(again) => (again != decision).then(|| difference(&decision, &again)),
        Err(fault) => Some(fault.to_string()),
    };
    count("deterministic", differs(observation));
    let mut shuffled = observation.clone();
    shuffled.instances.reverse();
    let mut wrong = differs(&shuffled);
    dice.shuffle(&mut shuffled.instances);
    wrong = wrong.or_else(|| differs(&shuffled));
    count("order-free", wrong);
    let mut breaches = judge(observation, &decision).err().unwrap_or_default();
    for rule in Rule::ALL {
        let position = breaches.iter().position(|breach| breach.rule == rule);
        count(rule.name(), position.map(|index| breaches.swap_remove(index).text));
    }
    Some(decision)
}

/// The first field in which two decisions differ, for people.
fn difference(expected: &Decision, given: &Decision) -> String {
    let (Ok(serde_json::Value::Object(expected)), Ok(serde_json::Value::Object(given))) =
        (serde_json::to_value(expected), serde_json::to_value(given))
    else {
        return "the decisions differ".into();
    };
    match expected.iter().find(|(name, value)| given.get(*name) != Some(value)) {
        Some((name, value)) => {
            format!("{name} is {}, expected {value}", given.get(name).unwrap_or(&serde_json::Value::Null))
        }
        None => "the decisions differ".into(),
    }
}

/// Enough to see that it is no accident.
const UNANSWERED_MAX: u64 = 20;

#[cfg(test)]
mod tests;
