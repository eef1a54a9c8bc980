//! What the disk of a server has: snapshots, which say where in a history they were made, and append-only
//! files, which do not.

use super::data::Place;

/// Which files a server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Files {
    /// None.
    None,
    /// A snapshot now and then.
    Rdb,
    /// Every write, on the disk within a second.
    Aof,
}

/// What the disk of a server has.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Which files are written.
    pub files: Files,
    /// The last snapshot.
    pub(super) snapshot: Option<Snapshot>,
    /// The append-only file, as of the last write and as of the last second.
    pub(super) appended: Appended,
    pub(super) synced: Appended,
}

/// What an append-only file has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Appended {
    pub(super) place: Place,
    pub(super) keys: u64,
    /// Of the server's stream.
    pub(super) offset: u64,
}

/// A snapshot: its data and keys, and the place in a history that stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// None: its server had no backlog.
    pub(super) history: Option<History>,
    pub(super) place: Place,
    pub(super) keys: u64,
}

/// A place in a history.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) stream: usize,
    pub(super) replid: String,
    pub(super) offset: u64,
}
