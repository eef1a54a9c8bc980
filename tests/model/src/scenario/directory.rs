//! Scenarios out of files and directories. The only place of this crate that reads files.

use super::Scenario;
use std::path::{Path, PathBuf};

/// Why scenarios could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The directory, or a file in it.
    #[error("scenarios {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No scenario: bad JSON, or a field that is missing, unknown or of another kind.
    #[error("{name} is no scenario: {text}")]
    Invalid {
        /// The file's name without its ending.
        name: String,
        /// The field, and what may stand there.
        text: String,
    },
    /// A check without scenarios would prove nothing.
    #[error("scenarios {}: it holds no .json file", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

/// One file.
///
/// # Errors
/// See [`ScenarioError`].
pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
    let text = std::fs::read_to_string(path).map_err(failed(path))?;
    Scenario::parse(&path.file_name().unwrap_or_default().to_string_lossy(), &text)
}

/// All `.json` files of a directory, sorted by name.
///
/// # Errors
/// See [`ScenarioError`]; one bad file spoils the set, because a silent gap would read as passed.
pub fn read_directory(directory: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(ScenarioError::Empty { path: directory.to_owned() });
    }
    paths.iter().map(|path| read(path)).collect()
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ScenarioError {
    let path = path.to_owned();
    move |source| ScenarioError::Read { path, source }
}
