//! Compiled policies on disk, so that a machine compiles each policy once. The only file that runs bytes as
//! native code, and the only `unsafe` of this room: [`Cache`] argues why that is sound. An unusable cache
//! costs time, never correctness: in every doubtful case the policy is compiled again.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// A directory of compiled components, each named by the digests of its source and of the engine that
/// compiled it.
///
/// Deserialising a file runs its content, so only bytes that this program wrote may be read. That holds
/// because:
///
/// 1. The directory is a real one, belongs to this user and is closed to all others; checked at every use. So
///    only this user and root can write there, and both could replace the program itself.
/// 2. A torn or damaged file does not match its SHA-256.
/// 3. Another version, configuration or processor gives another file name, and wasmtime refuses such a file
///    too.
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
    /// Another user could write native code into it.
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

    /// The compiled form of `bytes` (SHA-256: `digest`): from disk, or compiled and then stored.
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

    /// Atomic for readers: writes a file of another name, then renames it. Removes the oldest entries beyond
    /// the limit.
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

/// True for a directory (not a link to one) that belongs to this user and is closed to all others.
fn is_private(dir: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(dir)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    #[allow(unsafe_code, reason = "the standard library has no effective user id")]
    let user = unsafe { libc::geteuid() };
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

/// A hash of the engine's version, configuration and target. Wasmtime checks them again itself.
fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

const SUM_BYTES: usize = 32;
/// A few policies in the versions of the last upgrades.
const ENTRIES_MAX: usize = 16;
