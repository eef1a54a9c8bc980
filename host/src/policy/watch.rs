//! Swaps a policy while the operator runs: watches one file, and makes its policy the live one once it is
//! loaded and has passed its checks. On any error the former policy stays live. The file is watched on
//! meanwhile: a change of it ends the checks of the former content, so that a file put right waits for
//! nothing.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Policy;
use super::chain::{PolicyChain, Quarantined};
use super::component::{COMPONENT_BYTES_MAX, digest_of};
use super::engine::Sandbox;
use super::load_error::LoadError;
use super::loaded::{Loaded, load};
use super::worker::{Stop, StopOnDrop};

/// Whether a loaded policy may decide: the conformance checks, passed in by the caller because this room
/// knows neither scenarios nor the guard.
pub type Prove = dyn Fn(&dyn Policy) -> Result<(), String> + Send + Sync;

/// Watches one file for one chain.
pub struct Watch {
    /// The component file. Links are followed, because a mounted ConfigMap changes by swapping a link.
    pub path: PathBuf,
    /// The sandbox that compiles it.
    pub sandbox: Arc<Sandbox>,
    /// The chain that it becomes the live policy of.
    pub chain: Arc<PolicyChain>,
    /// The checks that it must pass.
    pub prove: Arc<Prove>,
}

/// The result of a change of the file.
#[derive(Debug)]
pub enum Change {
    /// The file's policy is live now.
    Live {
        /// Its name and version.
        title: String,
        /// Its digest.
        digest: String,
    },
    /// The file was refused; the former policy stays live.
    Refused(SwapError),
}

/// Why a policy file did not go live.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It does not exist, or cannot be read.
    #[error("policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It is no policy.
    #[error("policy {}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why the file is not one.
        #[source]
        source: LoadError,
    },
    /// It is a policy, but failed its checks.
    #[error("policy {}: it failed its checks: {why}", path.display())]
    Unproven {
        /// The file.
        path: PathBuf,
        /// The first check that failed.
        why: String,
    },
    /// It is in quarantine after earlier faults.
    #[error(transparent)]
    Quarantined(#[from] Quarantined),
}

/// Reads and loads a policy file, without checking its decisions.
///
/// # Errors
/// [`SwapError::Read`], [`SwapError::Load`].
pub fn load_file(sandbox: &Arc<Sandbox>, path: &Path) -> Result<Loaded, SwapError> {
    let bytes = read_file(path).map_err(|source| SwapError::Read { path: path.into(), source })?;
    load(sandbox, &bytes, &Stop::default()).map_err(|source| SwapError::Load { path: path.into(), source })
}

/// Reads a policy file; at most one byte more than a policy may have, since the path may name a file of any
/// length.
///
/// # Errors
/// The system's error; also if the path is not a regular file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Watch {
    /// Watches until dropped, and reports every change once. A file with the live policy is no change.
    pub async fn run(self, report: impl Fn(Change)) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stamps = FileStamps::default();
        let this = Arc::new(self);
        let mut trial = None;
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    if stamps.is_due_at(&this.path) {
                        // The former trial ends with its content.
                        trial = Some(Trial::start(&this));
                    }
                }
                proven = ended(&mut trial) => {
                    trial = None;
                    match proven.and_then(|policy| this.swap(policy)) {
                        Ok(None) => {}
                        Ok(Some(change)) => report(change),
                        Err(error) => report(Change::Refused(error)),
                    }
                }
            }
        }
    }

    /// Reads, loads and checks the file. None: it is the live policy.
    fn prove(&self, stop: &Stop) -> Result<Option<Loaded>, SwapError> {
        let bytes =
            read_file(&self.path).map_err(|source| SwapError::Read { path: self.path.clone(), source })?;
        if digest_of(&bytes) == self.chain.live().digest() {
            return Ok(None);
        }
        let policy = load(&self.sandbox, &bytes, stop)
            .map_err(|source| SwapError::Load { path: self.path.clone(), source })?;
        (self.prove)(&policy.on_trial(stop))
            .map_err(|why| SwapError::Unproven { path: self.path.clone(), why })?;
        policy.keep(&self.sandbox);
        Ok(Some(policy))
    }

    fn swap(&self, policy: Option<Loaded>) -> Result<Option<Change>, SwapError> {
        let Some(policy) = policy else { return Ok(None) };
        let change = Change::Live { title: policy.title().into(), digest: policy.digest().into() };
        self.chain.swap(Arc::new(policy))?;
        Ok(Some(change))
    }
}

type Proven = Result<Option<Loaded>, SwapError>;

/// The checks of one content of the file, on a thread of their own. Dropping it ends them.
struct Trial {
    task: tokio::task::JoinHandle<Proven>,
    path: PathBuf,
    _stop: StopOnDrop,
}

impl Trial {
    fn start(watch: &Arc<Watch>) -> Self {
        let stop = StopOnDrop::default();
        let (watch, token, path) = (Arc::clone(watch), stop.token(), watch.path.clone());
        Self { task: tokio::task::spawn_blocking(move || watch.prove(&token)), path, _stop: stop }
    }
}

/// The result of a trial; never, if there is none.
async fn ended(trial: &mut Option<Trial>) -> Proven {
    match trial {
        None => std::future::pending().await,
        // The checks panicked: the policy counts as failed.
        Some(Trial { task, path, _stop }) => task
            .await
            .unwrap_or_else(|error| Err(SwapError::Unproven { path: path.clone(), why: error.to_string() })),
    }
}

/// Metadata that changes with the file. A change only means: read the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length_bytes: u64,
    modified_ns: (i64, i64),
}

impl Stamp {
    /// None: the file does not exist.
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            length_bytes: metadata.len(),
            modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// The stamps of one file. The file is due when two stamps in a row are equal (so that a file is not read
/// while it is being written) and differ from the stamp of the last read.
#[derive(Debug, Default)]
pub struct FileStamps {
    /// The last stamp. Outer None: no stamp yet; inner None: the file did not exist.
    last: Option<Option<Stamp>>,
    /// The stamp of the last read.
    read: Option<Option<Stamp>>,
}

impl FileStamps {
    /// True if the file is to be read now. To be called at intervals.
    pub fn is_due_at(&mut self, path: &Path) -> bool {
        self.is_due(Stamp::of(path))
    }

    fn is_due(&mut self, now: Option<Stamp>) -> bool {
        let is_settled = self.last.replace(now) == Some(now);
        is_settled && self.read.replace(now) != Some(now)
    }
}

/// A stat takes about 1 µs; a swap takes two intervals, and a file put right is to decide within a second.
const INTERVAL: Duration = Duration::from_millis(100);

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
    fn a_missing_file_is_due_once_and_again_after_its_return() {
        let mut stamps = FileStamps::default();
        let due: Vec<bool> = [stamp(1), stamp(1), None, None, None, stamp(1), stamp(1)]
            .into_iter()
            .map(|stamp| stamps.is_due(stamp))
            .collect();
        assert_eq!(due, [false, true, false, true, false, false, true]);
    }
}
