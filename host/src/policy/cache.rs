//! Compiled foreign policies on disk, so that a machine compiles each of them once. An unusable cache costs
//! time, never correctness: in every doubtful case the policy is compiled again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bounds;

/// A directory of compiled components, each named by the digest of its source. Bounded in number and bytes;
/// only proven policies come in ([`super::Loaded::keep`]).
///
/// To run compiled code is to trust it, and this code was compiled in a worker process, which the component
/// may have subverted. So it is bytes to the operator, which hands it to worker processes of that policy and
/// runs nothing of it. The embedded policy is not kept here: its code is part of the
/// program.
///
/// The directory is closed to other users all the same, so that none of them chooses what a policy decides;
/// a torn or damaged file does not match its SHA-256; and a worker refuses code of another version.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// Why a directory cannot be the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be created or read.
    #[error("policy cache {}: {source}", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another user could write code into it.
    #[error(
        "policy cache {}: it must be a directory that belongs to this user, with mode 0700",
        dir.display()
    )]
    NotPrivate {
        /// The directory.
        dir: PathBuf,
    },
}

impl Cache {
    /// The cache in `dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`CacheError`] if it cannot be created, or other users may write to it.
    pub fn open(dir: PathBuf) -> Result<Cache, CacheError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(source) => return Err(CacheError::Unusable { dir, source }),
        }
        match is_private(&dir) {
            Ok(true) => Ok(Cache { dir }),
            Ok(false) => Err(CacheError::NotPrivate { dir }),
            Err(source) => Err(CacheError::Unusable { dir, source }),
        }
    }

    /// The code of a policy, for a worker process. It may be of another version of this program.
    pub(super) fn code(&self, digest: &str) -> Option<Vec<u8>> {
        self.read(&self.entry(digest))
    }

    /// Stores the code of a proven policy.
    pub(super) fn keep(&self, digest: &str, code: &[u8]) {
        let path = self.entry(digest);
        if self.read(&path).is_some_and(|known| known == code) {
            return;
        }
        if let Err(error) = self.write(&path, code) {
            tracing::warn!(path = %path.display(), %error, "compiled policy not cached");
        }
    }

    fn entry(&self, digest: &str) -> PathBuf {
        self.dir.join(digest)
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        if !is_private(&self.dir).unwrap_or(false) {
            return None;
        }
        let length = fs::metadata(path).ok()?.len();
        if length > (bounds::CODE_BYTES_MAX + SUM_BYTES) as u64 {
            return None;
        }
        let mut file = fs::read(path).ok()?;
        let code = (file.len() >= SUM_BYTES).then(|| file.split_off(SUM_BYTES))?;
        if file != Sha256::digest(&code).as_slice() {
            tracing::warn!(path = %path.display(), "cached policy damaged, compiled anew");
            return None;
        }
        Some(code)
    }

    /// Atomic for readers: writes a file of another name, then renames it. Removes the oldest entries beyond
    /// the limits first, so that they hold at any time.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let content = [Sha256::digest(code).as_slice(), code].concat();
        self.make_room(path, content.len() as u64)?;
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        fs::write(&partial, content)
            .and_then(|()| fs::rename(&partial, path))
            .inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// Removes the oldest entries until one of `bytes` more fits.
    fn make_room(&self, path: &Path, bytes: u64) -> io::Result<()> {
        if bytes > BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
        }
        let mut entries: Vec<_> = fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, entry.path(), metadata.len()))
            })
            .filter(|(_, other, _)| other != path)
            .collect();
        entries.sort();
        let mut total = bytes + entries.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        let mut count = entries.len() + 1;
        for (_, path, bytes) in entries {
            if total <= BYTES_MAX && count <= ENTRIES_MAX {
                break;
            }
            fs::remove_file(path)?;
            (total, count) = (total - bytes, count - 1);
        }
        Ok(())
    }
}

/// True for a directory (not a link to one) that belongs to this user and is closed to all others.
fn is_private(dir: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(dir)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    #[allow(unsafe_code, reason = "the standard library has no effective user id")]
    let user = unsafe { libc::geteuid() };
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

const SUM_BYTES: usize = 32;
/// A few policies in the versions of the last upgrades.
const ENTRIES_MAX: usize = 16;
/// Half of the volume that `deploy/operator/deployment.yaml` gives it. A policy in Rust takes 1 MiB, an
/// interpreter some dozens.
const BYTES_MAX: u64 = 64 << 20;
