//! Scenario files: one situation each, and what is expected of it.

use crate::contract::{Decision, Observation};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A situation, and the decision that the embedded policy takes.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// A fact: the file's name without its ending.
    pub name: String,
    /// Which rule or which known bug it stands for.
    pub why: String,
    /// What was seen.
    pub observation: Observation,
    /// What follows. Other policies may differ.
    pub decision: Decision,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    why: String,
    observation: Observation,
    decision: Decision,
}

/// Why scenarios could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The directory, or a file in it.
    #[error("scenarios {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No scenario: bad JSON, or not the fields `why`, `observation` and `decision`.
    #[error("{name} is no scenario: {source}")]
    Parse {
        /// The file's name.
        name: String,
        /// Where, and what.
        #[source]
        source: serde_json::Error,
    },
    /// A check without scenarios would prove nothing.
    #[error("scenarios {}: it holds no .json file", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

impl Scenario {
    /// Out of a file's name and text.
    ///
    /// # Errors
    /// [`ScenarioError::Parse`], with the line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let name = name.strip_suffix(".json").unwrap_or(name).to_owned();
        match serde_json::from_str(text) {
            Ok(File { why, observation, decision }) => Ok(Self { name, why, observation, decision }),
            Err(source) => Err(ScenarioError::Parse { name, source }),
        }
    }
}

/// The scenarios that this program carries: all of `tests/scenarios`, sorted by name.
///
/// # Errors
/// [`ScenarioError::Parse`]; the tests would have found it.
pub fn embedded_scenarios() -> Result<Vec<Scenario>, ScenarioError> {
    EMBEDDED
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, text)| Scenario::parse(name, text))
        .collect()
}

/// As `build.rs` put them together: a line each of name, tab and JSON.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/scenarios.txt"));

/// All `.json` files of a directory, sorted by name.
///
/// # Errors
/// See [`ScenarioError`]; one bad file spoils the set, because a silent gap would read as passed.
pub fn read_directory(directory: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| ScenarioError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(read(directory))? {
        let path = entry.map_err(read(directory))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(ScenarioError::Empty { path: directory.to_owned() });
    }
    let parse = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(read(path))?;
        Scenario::parse(&path.file_name().unwrap_or_default().to_string_lossy(), &text)
    };
    paths.iter().map(parse).collect()
}
