//! Scenario files, in the host's types. Their forms, and what may stand in them, are the model's affair.

pub use redis_model::scenario::ScenarioError;

use crate::contract::{Decision, Observation, same};
use redis_model::scenario as model;
use std::path::Path;

/// A situation, and the decision that the embedded policy takes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// A fact: the file's name without its ending.
    pub name: String,
    /// Which rule or which known bug it stands for.
    pub why: String,
    /// What was seen.
    pub observation: Observation,
    /// What follows. Other policies may differ.
    pub expected: model::Expected,
}

impl Scenario {
    /// Out of a file's name and text: the short form or the full one.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`], with the field and what may stand there.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        model::Scenario::parse(name, text).map(Self::from)
    }

    /// Where a decision is another than the file expects, texts for people left aside. None: it is the
    /// expected one.
    pub fn difference(&self, decision: &Decision) -> Option<String> {
        self.expected.difference(&same(decision))
    }
}

impl From<model::Scenario> for Scenario {
    fn from(scenario: model::Scenario) -> Self {
        let model::Scenario { name, why, observation, expected } = scenario;
        Self { name, why, observation: same(&observation), expected }
    }
}

/// The scenarios that this program carries: all of `tests/scenarios`, sorted by name.
///
/// # Errors
/// [`ScenarioError::Invalid`]; the tests would have found it.
pub fn embedded_scenarios() -> Result<Vec<Scenario>, ScenarioError> {
    EMBEDDED
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, text)| Scenario::parse(name, text))
        .collect()
}

/// As `build.rs` put them together: a line each of name, tab and JSON.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/scenarios.txt"));

/// The scenario in a file, or all `.json` files of a directory, sorted by name.
///
/// # Errors
/// See [`ScenarioError`]; one bad file spoils the set, because a silent gap would read as passed.
pub fn read_scenarios(path: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let scenarios = if path.is_file() { vec![model::read(path)?] } else { model::read_directory(path)? };
    Ok(scenarios.into_iter().map(Scenario::from).collect())
}
