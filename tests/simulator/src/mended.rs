//! Schedules that once broke an invariant, as files in `mended/`: they stay what they were, whatever becomes
//! of the generator.

use crate::Schedule;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A schedule that broke something before that was mended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mended {
    /// What went wrong.
    pub broke: String,
    /// The schedule.
    pub schedule: Schedule,
}

impl Mended {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such schedule.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// The files, in the order of their names.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn files() -> Result<Vec<PathBuf>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mended");
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        Ok(files)
    }
}
