//! The state file: the record that Kubernetes would store. Written beside the plan on its own thread, because
//! a disk may be slow; and by rename, so that after a crash the old or the new content is whole. Must not
//! delay the loop.

use super::Publish;
use crate::contract::{Evidence, Generation, Position, Published};
use crate::group::{Changed, Moment, Record};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// A state file, or none. Dropping it waits until the newest record is written.
#[derive(Debug)]
pub struct StateFile(Option<Writer>);

#[derive(Debug)]
struct Writer {
    /// None only during the drop.
    newest: Option<Sender<Stored>>,
    thread: Option<JoinHandle<()>>,
}

/// The content of the file. Unix milliseconds, because no other clock survives a restart; they are only used
/// to compute ages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    published: Published,
    published_unix_ms: u64,
    /// Newest first, with ages as of `published_unix_ms`.
    #[serde(default)]
    lineage: Vec<Generation>,
    #[serde(default)]
    position: Option<Position>,
    last_failover: Option<StoredChange>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredChange {
    unix_ms: u64,
    source: Option<String>,
    target: String,
    meant_for: String,
    evidence: Evidence,
}

/// The state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read or written.
    #[error("state file {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Its content is not a state file.
    #[error("state file {}: {source}; move it away to start without a record", path.display())]
    Form {
        /// The path.
        path: PathBuf,
        /// The error and its position.
        source: serde_json::Error,
    },
}

impl StateFile {
    /// Opens the file, and reads the record of an earlier operator.
    ///
    /// # Errors
    /// [`StateFileError`]. A file that does not exist is no error, but its folder must be writable.
    pub fn open(path: Option<PathBuf>) -> Result<(Self, Option<Record>), StateFileError> {
        let Some(path) = path else { return Ok((Self(None), None)) };
        let record = match std::fs::read(&path) {
            Ok(bytes) => Some(restore(
                serde_json::from_slice(&bytes)
                    .map_err(|source| StateFileError::Form { path: path.clone(), source })?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::write(beside(&path), [])
                    .and_then(|()| std::fs::remove_file(beside(&path)))
                    .map_err(|source| StateFileError::Io { path: path.clone(), source })?;
                None
            }
            Err(source) => return Err(StateFileError::Io { path, source }),
        };
        let (newest, records) = channel();
        let thread = std::thread::Builder::new().name("state".into()).spawn({
            let path = path.clone();
            move || write_all(&path, &records)
        });
        let thread = thread.map_err(|source| StateFileError::Io { path, source })?;
        Ok((Self(Some(Writer { newest: Some(newest), thread: Some(thread) })), record))
    }
}

impl Publish for StateFile {
    fn publish(&mut self, now: Moment, record: Record) {
        let Some(newest) = self.0.as_ref().and_then(|writer| writer.newest.as_ref()) else { return };
        let Record { shard: _, published, lineage, position, last_failover } = record;
        let now_unix_ms = unix_ms();
        let last_failover =
            last_failover.map(|Changed { at, age_us, source, target, meant_for, evidence }| StoredChange {
                unix_ms: now_unix_ms.saturating_sub(age_us.saturating_add(at.age_us(now)) / 1000),
                source,
                target,
                meant_for,
                evidence,
            });
        let stored = Stored { published, published_unix_ms: now_unix_ms, lineage, position, last_failover };
        drop(newest.send(stored));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.newest = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Writes each record; of several that wait, only the newest.
fn write_all(path: &Path, records: &Receiver<Stored>) {
    while let Ok(record) = records.recv() {
        let record = records.try_iter().last().unwrap_or(record);
        let written = serde_json::to_vec_pretty(&record).map_err(std::io::Error::from).and_then(|json| {
            // A rename within one file system is atomic. Not synced: a crash of the machine also ends its
            // Redis servers.
            std::fs::write(beside(path), json)?;
            std::fs::rename(beside(path), path)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "state file not written until the next record");
        }
    }
}

fn restore(stored: Stored) -> Record {
    let Stored { published, published_unix_ms, lineage, position, last_failover } = stored;
    let age_us = |then_ms: u64| unix_ms().saturating_sub(then_ms).saturating_mul(1000);
    let since_us = age_us(published_unix_ms);
    let published = Published { age_us: since_us, ..published };
    let older = |generation: Generation| Generation {
        age_us: generation.age_us.saturating_add(since_us),
        ..generation
    };
    let lineage = lineage.into_iter().map(older).collect();
    let position =
        position.map(|position| Position { age_us: position.age_us.saturating_add(since_us), ..position });
    let last_failover = last_failover.map(|StoredChange { unix_ms, source, target, meant_for, evidence }| {
        Changed { at: Moment::default(), age_us: age_us(unix_ms), source, target, meant_for, evidence }
    });
    Record { shard: 0, published, lineage, position, last_failover }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
