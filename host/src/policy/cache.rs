//! Compiled code on disk, so that a policy is compiled once in a machine's life. The only place that runs
//! bytes as native code, and the only `unsafe` of this room: see [`Cache`] for why that is sound. A cache
//! that cannot be used costs time, never correctness: every doubt ends in compiling anew.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// A directory of compiled components, each named by the digest of its source and the engine that compiled
/// it.
///
/// Deserialising runs what it reads, so the bytes must be what this program wrote. They are: the directory is
/// a real one, belongs to this user and is closed to all others (checked at every use), so that only this
/// user and root, who could as well replace the program itself, have written there; a torn or rotten file
/// fails its SHA-256; and another version, another configuration or another processor has another name, and
/// is refused by wasmtime on its own account.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// Why a directory is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("policy cache {}: {source}", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Somebody else could write native code into it.
    #[error("policy cache {}: it must be a directory that belongs to this user, with mode 0700", dir.display())]
    NotPrivate {
        /// The directory.
        dir: PathBuf,
    },
}

impl Cache {
    /// The cache in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`CacheError`] when it cannot be made, or others may write to it.
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

    /// The compiled form of `bytes`, whose SHA-256 is `digest`: from disk, or compiled and left there.
    pub(super) fn component(&self, engine: &Engine, digest: &str, bytes: &[u8]) -> Result<Component> {
        let path = self.dir.join(format!("{digest}-{:016x}", compatibility(engine)));
        if let Some(component) = self.read(engine, &path) {
            return Ok(component);
        }
        let code = engine.precompile_component(bytes)?;
        if let Err(error) = self.write(&path, &code) {
            tracing::warn!(path = %path.display(), %error, "compiled policy not cached");
        }
        // SAFETY: `precompile_component` of this very engine has just returned these bytes.
        #[allow(unsafe_code, reason = "compiled by this engine a moment ago")]
        unsafe {
            Component::deserialize(engine, &code)
        }
    }

    fn read(&self, engine: &Engine, path: &Path) -> Option<Component> {
        if !is_private(&self.dir).unwrap_or(false) {
            return None;
        }
        let file = fs::read(path).ok()?;
        let (sum, code) = file.split_at_checked(SUM_BYTES)?;
        if sum != Sha256::digest(code).as_slice() {
            tracing::warn!(path = %path.display(), "cached policy damaged, compiled anew");
            return None;
        }
        // SAFETY: this program wrote these bytes; the type's documentation says why.
        #[allow(unsafe_code, reason = "the directory is private and the content matches its sum")]
        unsafe {
            Component::deserialize(engine, code).ok()
        }
    }

    /// In one step for whoever reads: a file of another name, then a rename. Removes the oldest entries
    /// beyond the limit.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let content = [Sha256::digest(code).as_slice(), code].concat();
        fs::write(&partial, content)
            .and_then(|()| fs::rename(&partial, path))
            .inspect_err(|_| drop(fs::remove_file(&partial)))?;
        let mut entries: Vec<_> = fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        entries.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// A directory, no link to one, that belongs to this user and that nobody else may enter.
fn is_private(dir: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(dir)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    #[allow(unsafe_code, reason = "the standard library has no effective user id")]
    let user = unsafe { libc::geteuid() };
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

/// Names the engine's version, configuration and target. Wasmtime checks them again by itself.
fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

const SUM_BYTES: usize = 32;
/// A few policies, in the versions of the last upgrades.
const ENTRIES_MAX: usize = 16;
