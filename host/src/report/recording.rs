//! `--record FILE`: decisions with their Observations, one JSON object per line, as input for `policy
//! decide`. Appends only; never reads, and never stops the operator.

use crate::contract::{Decision, Observation};
use crate::group::{Decided, Moment, Report};
use serde::Serialize;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file to which decisions are appended.
pub struct Recording {
    name: String,
    file: Box<dyn Write + Send + Sync>,
    start_unix_us: u64,
    /// The last write failed, and may have left an incomplete line.
    is_failing: bool,
}

/// The file cannot be opened for appending.
#[derive(Debug, thiserror::Error)]
#[error("recording {}: {source}", path.display())]
pub struct RecordingError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Takes the rights of other users to a file away that an earlier version created. A device or a pipe stays
/// as it is.
fn close_to_others(path: &Path, file: &File) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.is_file()
        && metadata.permissions().mode() & 0o077 != 0
        && let Err(error) = file.set_permissions(Permissions::from_mode(0o600))
    {
        tracing::warn!(file = %path.display(), %error, "file is open to other users");
    }
}

#[derive(Serialize)]
struct Line<'a> {
    unix_ms: u64,
    policy: &'a str,
    observation: &'a Observation,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl Recording {
    /// Opens or creates the file, for this user alone: an Observation has addresses, names and settings.
    /// `start` is the wall clock at the group's moment zero.
    ///
    /// # Errors
    /// [`RecordingError`], naming the file.
    pub fn open(path: &Path, start: SystemTime) -> Result<Self, RecordingError> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| RecordingError { path: path.into(), source })?;
        close_to_others(path, &file);
        Ok(Self::new(path.display().to_string(), Box::new(file), start))
    }

    fn new(name: String, file: Box<dyn Write + Send + Sync>, start: SystemTime) -> Self {
        let start_unix_us = start
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        Self { name, file, start_unix_us, is_failing: false }
    }

    /// Records a decision or a fault. Reports without an Observation are not recorded.
    pub fn report(&mut self, now: Moment, report: &Report) {
        let unix_ms = self.start_unix_us.saturating_add(now.0) / 1000;
        match report {
            Report::Decided(decided) => {
                let Decided { observation, decision, digest, picture: _, is_news: _ } = &**decided;
                self.append(&Line {
                    unix_ms,
                    policy: digest,
                    observation,
                    decision: Some(decision),
                    fault: None,
                });
            }
            Report::Fault { digest, title: _, fault, observation } => {
                self.append(&Line {
                    unix_ms,
                    policy: digest,
                    observation,
                    decision: None,
                    fault: Some(fault.to_string()),
                });
            }
            Report::Link { .. }
            | Report::Held
            | Report::Sent { .. }
            | Report::Withheld { .. }
            | Report::Finished { .. } => {}
        }
    }

    /// In one write, so that lines of two recordings in one file do not mix.
    fn append(&mut self, line: &Line<'_>) {
        let mut bytes = if self.is_failing { b"\n".to_vec() } else { Vec::new() };
        let written = serde_json::to_writer(&mut bytes, line).map_err(std::io::Error::from).and_then(|()| {
            bytes.push(b'\n');
            self.file.write_all(&bytes)
        });
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(file = self.name.as_str(), %error, "decision not recorded");
        }
        self.is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{DIGEST, decided, fault, lost};
    use super::*;
    use crate::contract::Verdict;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A disk of a given size, which keeps the bytes that fit.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let (kept, room) = &mut *self.0.lock().unwrap();
            if *room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let fitting = bytes.len().min(*room);
            kept.extend(&bytes[..fitting]);
            *room -= fitting;
            Ok(fitting)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn on(disk: &Disk) -> Recording {
        Recording::new(
            "test".into(),
            Box::new(disk.clone()),
            UNIX_EPOCH + Duration::from_millis(1_700_000_000_000),
        )
    }

    #[test]
    fn a_line_is_read_back_as_the_observation_and_the_decision() {
        let folder = tempfile();
        let path = folder.join("record.jsonl");
        let report = decided(Verdict::Wait, "master-suspect", "cart-0000", vec![]);
        for _ in 0..2 {
            // A second start appends.
            Recording::open(&path, UNIX_EPOCH + Duration::from_secs(1))
                .unwrap()
                .report(Moment(2_500_000), &report);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let Report::Decided(expected) = &report else { unreachable!() };
        let json: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(
            serde_json::from_value::<Observation>(json["observation"].clone()).unwrap(),
            *expected.observation
        );
        assert_eq!((&json["unix_ms"], &json["policy"]), (&3_500.into(), &DIGEST.into()));
        assert_eq!(serde_json::from_value::<Decision>(json["decision"].clone()).unwrap(), *expected.decision);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_recording_is_its_users_alone_a_former_one_too() {
        let path = tempfile().join("private.jsonl");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(Recording::open(&path, UNIX_EPOCH).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(Recording::open(&path, UNIX_EPOCH).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_fault_is_recorded_with_its_text_and_a_link_is_not() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), usize::MAX))));
        let mut recording = on(&disk);
        recording.report(Moment(0), &lost("cart-0000"));
        recording.report(Moment(0), &fault());
        let json: serde_json::Value = serde_json::from_slice(&disk.0.lock().unwrap().0).unwrap();
        assert_eq!((&json["fault"], json.get("decision")), (&"policy trapped: unreachable".into(), None));
    }

    #[test]
    fn a_full_disk_loses_lines_but_no_later_one() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 100))));
        let mut recording = on(&disk);
        recording.report(Moment(0), &fault());
        recording.report(Moment(0), &fault());
        assert!(recording.is_failing);
        disk.0.lock().unwrap().1 = usize::MAX;
        recording.report(Moment(0), &fault());
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let whole =
            text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
        assert_eq!((whole, text.lines().count(), recording.is_failing), (1, 2, false));
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error = Recording::open(Path::new("/proc/none/here"), UNIX_EPOCH).err().unwrap();
        assert!(error.to_string().starts_with("recording /proc/none/here: "), "{error}");
    }

    fn tempfile() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("redis-operator-recording-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
