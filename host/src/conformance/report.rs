//! What a check found: a row for each claim, the first counterexample of each, for people and for machines.

use crate::contract::{Decision, Observation};
use crate::guard::Rule;
use serde::Serialize;
use std::fmt;

/// The outcome of one check of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name and version of the policy.
    pub policy: String,
    /// Of its component file.
    pub digest: String,
    /// How many scenarios were tried.
    pub scenarios: usize,
    /// How many seeded observations were tried.
    pub random: u32,
    /// Of the seeded observations.
    pub seed: u64,
    /// Whether all were tried, or the policy was given up before.
    pub is_complete: bool,
    /// One for each claim, in a fixed order.
    pub rows: Vec<Row>,
}

/// One claim and how often it held.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Kebab-case: a rule of the guard, or one of this check's own.
    pub claim: &'static str,
    /// The claim as a sentence.
    pub why: &'static str,
    /// Whether a failure fails the policy, or only informs.
    pub is_required: bool,
    /// Observations for which it held.
    pub passed: u64,
    /// Observations for which it did not.
    pub failed: u64,
    /// The first of them.
    pub first: Option<Failure>,
}

/// A counterexample.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The scenario's name, or the number of the seeded observation.
    pub at: String,
    /// What was wrong.
    pub text: String,
    /// Ready to be given to `policy decide`.
    pub observation: Observation,
    /// The answer, if there was one.
    pub decision: Option<Decision>,
}

impl Report {
    /// Whether every required claim held for every observation.
    pub fn is_passed(&self) -> bool {
        self.is_complete && self.rows.iter().all(|row| !row.is_required || row.failed == 0)
    }

    /// The first required claim that failed, with its counterexample.
    pub fn first_failure(&self) -> Option<(&'static str, &Failure)> {
        self.rows.iter().filter(|row| row.is_required).find_map(|row| Some((row.claim, row.first.as_ref()?)))
    }

    /// How often the policy gave no answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.rows.iter().filter(|row| row.claim == ANSWERS).map(|row| row.failed).sum()
    }

    pub(super) fn new(policy: String, digest: String, seed: u64, strict: bool) -> Self {
        let own = [
            (ANSWERS, "It answers every observation, without a trap and within its limits.", true),
            ("deterministic", "It answers the same observation twice with the same decision.", true),
            ("order-free", "Its decision does not depend on the order of the instances.", true),
            ("as-expected", "It decides the scenarios as the embedded policy does.", strict),
        ];
        let guard = Rule::ALL.into_iter().map(|rule| (rule.name(), rule.why(), true));
        let last = (
            TAKES_OVER,
            "It acts where a master has been lost for ten minutes and a member with all data answers.",
            true,
        );
        let row =
            |(claim, why, is_required)| Row { claim, why, is_required, passed: 0, failed: 0, first: None };
        Self {
            policy,
            digest,
            scenarios: 0,
            random: 0,
            seed,
            is_complete: false,
            rows: own.into_iter().chain(guard).chain([last]).map(row).collect(),
        }
    }

    /// Counts one observation for one claim.
    pub(super) fn count(
        &mut self,
        claim: &str,
        at: &str,
        observation: &Observation,
        decision: Option<&Decision>,
        wrong: Option<String>,
    ) {
        let Some(row) = self.rows.iter_mut().find(|row| row.claim == claim) else { return };
        let Some(text) = wrong else {
            row.passed += 1;
            return;
        };
        row.failed += 1;
        row.first.get_or_insert_with(|| Failure {
            at: at.to_owned(),
            text,
            observation: observation.clone(),
            decision: decision.cloned(),
        });
    }
}

/// Claims that the kit itself looks at.
pub(super) const ANSWERS: &str = "answers";
pub(super) const TAKES_OVER: &str = "takes-over";

/// A table, then the first counterexample of each claim that failed, without its observation.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "policy {}, {} scenarios, {} seeded observations (seed {})",
            self.policy, self.scenarios, self.random, self.seed
        )?;
        writeln!(f, "{:<24}{:>9}{:>9}  claim", "check", "passed", "failed")?;
        for Row { claim, why, is_required, passed, failed, first: _ } in &self.rows {
            let note = if *is_required { "" } else { " (for information)" };
            writeln!(f, "{claim:<24}{passed:>9}{failed:>9}  {why}{note}")?;
        }
        for Row { claim, first, .. } in &self.rows {
            let Some(Failure { at, text, observation: _, decision: _ }) = first else { continue };
            write!(f, "\n{claim}, first at {at}: {text}")?;
        }
        if !self.is_complete {
            write!(f, "\ngiven up after {} observations without an answer", self.unanswered())?;
        }
        let failed = self.rows.iter().filter(|row| row.is_required && row.failed > 0).count();
        match failed {
            0 => write!(f, "\npassed"),
            failed => write!(
                f,
                "\nfailed: {failed} of {} checks",
                self.rows.iter().filter(|row| row.is_required).count()
            ),
        }
    }
}
