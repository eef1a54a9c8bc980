//! Swaps a policy while the operator runs: watches one file, and puts what it becomes in front of the line
//! once it is loaded and proven. Whatever goes wrong, the old policy goes on answering.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Policy;
use super::chain::{PolicyChain, Quarantined};
use super::component::{COMPONENT_BYTES_MAX, Component, LoadError};
use super::engine::Sandbox;

/// Whether a loaded component may decide: conformance, handed in by whoever knows scenarios and the guard.
pub type Prove = dyn Fn(&Component) -> Result<(), String> + Send + Sync;

/// Watches one file for one line.
pub struct Watch {
    /// The component file. Links are followed, so that a mounted ConfigMap works, whose files change by a
    /// swapped link.
    pub path: PathBuf,
    /// Where it is compiled.
    pub sandbox: Arc<Sandbox>,
    /// Where it goes.
    pub line: Arc<PolicyChain>,
    /// What it must pass.
    pub prove: Arc<Prove>,
}

/// What became of a change of the file.
#[derive(Debug)]
pub enum Change {
    /// The file's policy is now in front.
    Live {
        /// Its name and version.
        title: String,
        /// Its digest.
        digest: String,
    },
    /// Nothing changed; the policy before it goes on.
    Refused(SwapError),
}

/// Why a policy file did not go live.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It is not there, or not readable.
    #[error("policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// It is no policy.
    #[error("policy {}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        #[source]
        source: LoadError,
    },
    /// It is one, and fails its checks.
    #[error("policy {}: it failed its checks: {why}", path.display())]
    Unproven {
        /// The file.
        path: PathBuf,
        /// The words of the checks.
        why: String,
    },
    /// It failed too often before.
    #[error(transparent)]
    Quarantined(#[from] Quarantined),
}

/// Reads and loads a policy file, without proving it.
///
/// # Errors
/// [`SwapError::Read`], [`SwapError::Load`].
pub fn load_file(sandbox: &Arc<Sandbox>, path: &Path) -> Result<Component, SwapError> {
    let bytes = read_file(path).map_err(|source| SwapError::Read { path: path.into(), source })?;
    Component::load(sandbox, &bytes).map_err(|source| SwapError::Load { path: path.into(), source })
}

/// At most one byte more than a policy may have: the path might name anything, however long or endless.
///
/// # Errors
/// The system's words; also for what is no regular file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Watch {
    /// Watches until dropped, and reports every change once. A file that is live already is no change.
    pub async fn run(self, report: impl Fn(Change)) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stamps = FileStamps::default();
        let this = Arc::new(self);
        loop {
            interval.tick().await;
            if !stamps.is_due_at(&this.path) {
                continue;
            }
            let task = Arc::clone(&this);
            match tokio::task::spawn_blocking(move || task.swap()).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(change))) => report(change),
                Ok(Err(error)) => report(Change::Refused(error)),
                // The checks panicked; whatever made them is not to be trusted.
                Err(error) => report(Change::Refused(SwapError::Unproven {
                    path: this.path.clone(),
                    why: error.to_string(),
                })),
            }
        }
    }

    fn swap(&self) -> Result<Option<Change>, SwapError> {
        let component = load_file(&self.sandbox, &self.path)?;
        if component.digest() == self.line.live().digest() {
            return Ok(None);
        }
        (self.prove)(&component).map_err(|why| SwapError::Unproven { path: self.path.clone(), why })?;
        let change = Change::Live { title: component.title().into(), digest: component.digest().into() };
        self.line.swap(Arc::new(component))?;
        Ok(Some(change))
    }
}

/// What of a file changes when it does. None of it is trusted beyond "look again".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length_bytes: u64,
    modified_ns: (i64, i64),
}

impl Stamp {
    /// None when the file is not there.
    fn of(path: &Path) -> Option<Stamp> {
        let it = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: it.dev(),
            inode: it.ino(),
            length_bytes: it.len(),
            modified_ns: (it.mtime(), it.mtime_nsec()),
        })
    }
}

/// A stamp is due when it has been seen twice in a row, so that a file in the middle of being written is left
/// alone, and was not dealt with before.
#[derive(Debug, Default)]
pub struct FileStamps {
    /// The outer level: nothing seen yet.
    seen: Option<Option<Stamp>>,
    done: Option<Option<Stamp>>,
}

impl FileStamps {
    /// Whether the file should be read now. Ask again and again.
    pub fn is_due_at(&mut self, path: &Path) -> bool {
        self.is_due(Stamp::of(path))
    }

    fn is_due(&mut self, now: Option<Stamp>) -> bool {
        let is_settled = self.seen.replace(now) == Some(now);
        is_settled && self.done.replace(now) != Some(now)
    }
}

/// A stat is about 1 µs; a person who swaps a policy waits for two of these.
const INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(length_bytes: u64) -> Option<Stamp> {
        Some(Stamp { device: 1, inode: 1, length_bytes, modified_ns: (0, 0) })
    }

    #[test]
    fn a_file_is_due_once_when_it_has_settled() {
        let mut stamps = FileStamps::default();
        let due: Vec<bool> = [stamp(1), stamp(1), stamp(1), stamp(2), stamp(3), stamp(3), stamp(3)]
            .into_iter()
            .map(|stamp| stamps.is_due(stamp))
            .collect();
        assert_eq!(due, [false, true, false, false, false, true, false]);
    }

    #[test]
    fn a_missing_file_is_due_once_and_again_when_it_is_back() {
        let mut stamps = FileStamps::default();
        let due: Vec<bool> = [stamp(1), stamp(1), None, None, None, stamp(1), stamp(1)]
            .into_iter()
            .map(|stamp| stamps.is_due(stamp))
            .collect();
        assert_eq!(due, [false, true, false, true, false, false, true]);
    }
}
