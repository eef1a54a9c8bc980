//! The state file: the record that Kubernetes would store. Written beside the plan on its own thread, because
//! a disk may be slow; to another file that is synced and renamed, so that after a crash of the machine, too,
//! the old or the new content is whole. What cannot be read is set aside, and the record is unknown. Must not
//! delay the loop.

use super::Publish;
use crate::contract::SentinelSettings;
use crate::group::{Moment, Record, StoredRecord};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// A state file, or none. Dropping it waits until the newest record is written.
#[derive(Debug)]
pub struct StateFile {
    writer: Option<Writer>,
    sentinel: Option<SentinelSettings>,
}

#[derive(Debug)]
struct Writer {
    /// None only during the drop.
    newest: Option<Sender<StoredRecord>>,
    thread: Option<JoinHandle<()>>,
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
}

impl StateFile {
    /// Opens the file, and reads the record of an earlier operator. A file with another content (empty, cut
    /// off, of a newer version) is renamed, and there is no record.
    ///
    /// # Errors
    /// [`StateFileError`]. A file that does not exist is no error, but its folder must be writable.
    pub fn open(path: Option<PathBuf>) -> Result<(Self, Option<Record>), StateFileError> {
        let Some(path) = path else { return Ok((Self { writer: None, sentinel: None }, None)) };
        let io = |source| StateFileError::Io { path: path.clone(), source };
        let stored: Option<StoredRecord> = match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(stored) => Some(stored),
                Err(error) => {
                    let aside = set_aside(&path).map_err(io)?;
                    tracing::warn!(
                        path = %path.display(),
                        aside = %aside.display(),
                        %error,
                        "state file not read and set aside: the record is unknown"
                    );
                    None
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(io(source)),
        };
        // What cannot be written in the end is said at the beginning.
        create(&beside(&path)).and_then(|_| std::fs::remove_file(beside(&path))).map_err(io)?;
        let (newest, records) = channel();
        let thread = std::thread::Builder::new().name("state".into()).spawn({
            let path = path.clone();
            move || write_all(&path, &records)
        });
        let thread = thread.map_err(io)?;
        let writer = Some(Writer { newest: Some(newest), thread: Some(thread) });
        let sentinel = stored.as_ref().and_then(|stored| stored.sentinel.clone());
        Ok((Self { writer, sentinel }, stored.map(|stored| stored.record(unix_ms()))))
    }

    /// How the Sentinels watched the group, as an earlier operator knew it.
    pub fn sentinel(&self) -> Option<&SentinelSettings> {
        self.sentinel.as_ref()
    }

    /// Keeps with each record how the Sentinels watch the group.
    pub fn keep_sentinel(&mut self, settings: Option<SentinelSettings>) {
        self.sentinel = settings;
    }
}

impl Publish for StateFile {
    fn publish(&mut self, now: Moment, record: Record) {
        let Some(newest) = self.writer.as_ref().and_then(|writer| writer.newest.as_ref()) else { return };
        let stored = StoredRecord::new(record, now, unix_ms());
        drop(newest.send(StoredRecord { sentinel: self.sentinel.clone(), ..stored }));
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
fn write_all(path: &Path, records: &Receiver<StoredRecord>) {
    while let Ok(record) = records.recv() {
        let record = records.try_iter().last().unwrap_or(record);
        let json = serde_json::to_vec_pretty(&record).map_err(std::io::Error::from);
        if let Err(error) = json.and_then(|json| write(path, &json)) {
            tracing::warn!(path = %path.display(), %error, "state file not written until the next record");
        }
    }
}

/// Replaces the file. In this order: the new content is on the disk before it has the name, and the name is
/// on the disk when this returns. A rename within one file system is atomic.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = create(&beside(path))?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(beside(path), path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A new file for this user alone. One of that name, or a link, is replaced and not written to.
fn create(path: &Path) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Renames the file, and returns its new path. One that was set aside before stays, whatever its name.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = |number: u32| named(path, &format!(".unread-{number}"));
    let free = (1..=ASIDE_MAX).map(aside).find(|aside| !aside.exists()).unwrap_or_else(|| aside(ASIDE_MAX));
    std::fs::rename(path, &free)?;
    Ok(free)
}

fn beside(path: &Path) -> PathBuf {
    named(path, ".new")
}

/// The path with something at the end of its name.
fn named(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}

/// The last one is replaced: an operator that is started again and again fills no disk.
const ASIDE_MAX: u32 = 9;

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Published;
    use std::os::unix::fs::PermissionsExt;

    fn record(epoch: u64) -> Record {
        let (master, run_id, replid) = ("a".into(), "r".into(), "i".into());
        let published = Published { master, run_id, replid, offset: 7, epoch, age_us: 0, node: None };
        Record { shard: 0, published, lineage: Vec::new(), position: None, last_failover: None }
    }

    /// Publishes a record and waits until it is written.
    fn publish(path: &Path, epoch: u64) {
        let (mut file, _) = StateFile::open(Some(path.to_owned())).unwrap();
        file.publish(Moment(0), record(epoch));
    }

    fn read(path: &Path) -> Option<u64> {
        let (_, record) = StateFile::open(Some(path.to_owned())).unwrap();
        record.map(|record| record.published.epoch)
    }

    #[test]
    fn a_record_is_read_back_and_its_file_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cart.json");
        assert_eq!(read(&path), None);
        publish(&path, 3);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        publish(&path, 4);
        assert_eq!(
            (read(&path), std::fs::metadata(&path).unwrap().permissions().mode() & 0o777),
            (Some(4), 0o600)
        );
        let names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["cart.json"], "nothing is left beside it");
    }

    #[test]
    fn a_file_that_is_not_understood_is_set_aside_and_the_next_record_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cart.json");
        publish(&path, 3);
        let whole = std::fs::read(&path).unwrap();
        let newer =
            String::from_utf8(whole.clone()).unwrap().replacen('{', r#"{"of_a_later_version": 1,"#, 1);
        for (number, content) in
            [&b""[..], &whole[..whole.len() / 2], newer.as_bytes(), b"\xff"].iter().enumerate()
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path), None);
            let aside = dir.path().join(format!("cart.json.unread-{}", number + 1));
            assert_eq!(std::fs::read(aside).unwrap(), *content, "what was there is kept");
            assert!(!path.exists());
        }
        for _ in 0..2 * ASIDE_MAX {
            std::fs::write(&path, "broken").unwrap();
            assert_eq!(read(&path), None);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), ASIDE_MAX as usize);
        publish(&path, 5);
        assert_eq!(read(&path), Some(5));
    }

    #[test]
    fn a_link_in_the_place_of_the_new_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, theirs) = (dir.path().join("cart.json"), dir.path().join("theirs"));
        std::fs::write(&theirs, "kept").unwrap();
        std::os::unix::fs::symlink(&theirs, beside(&path)).unwrap();
        publish(&path, 3);
        assert_eq!((read(&path), std::fs::read_to_string(&theirs).unwrap().as_str()), (Some(3), "kept"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_at_the_start() {
        let error = StateFile::open(Some("/proc/none/cart.json".into())).unwrap_err();
        assert!(error.to_string().starts_with("state file /proc/none/cart.json: "), "{error}");
    }
}
