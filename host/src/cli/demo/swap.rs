//! The policy file of the demo, changed while the operator runs: first truncated, then replaced by a valid
//! policy. Only writes the file.

use crate::policy::EMBEDDED;
use std::io;
use std::path::{Path, PathBuf};

/// The policy file.
pub struct PolicyFile(PathBuf);

impl PolicyFile {
    /// Creates it with the embedded policy.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let file = Self(dir.join("policy.wasm"));
        file.write(EMBEDDED)?;
        Ok(file)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Truncates it to half, as an interrupted copy does.
    pub fn write_broken(&self) -> io::Result<()> {
        self.write(&EMBEDDED[..EMBEDDED.len() / 2])
    }

    /// Replaces it by the embedded engine with a note in a custom section: a file with another digest, which
    /// is verified and compiled again.
    pub fn write_other(&self) -> io::Result<()> {
        self.write(&noted(EMBEDDED))
    }

    /// By rename, as a policy file should be replaced.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, bytes)?;
        std::fs::rename(&new, &self.0)
    }
}

/// A component may have custom sections anywhere: id 0, the length of the rest, the length of a name, the
/// name, the content. Both lengths fit into one byte of LEB128.
fn noted(component: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"note";
    const NOTE: &[u8] = b"swapped in by the demo";
    let lengths =
        [1 + NAME.len() + NOTE.len(), NAME.len()].map(|length| u8::try_from(length).unwrap_or(u8::MAX));
    [component, &[0, lengths[0], lengths[1]], NAME, NOTE].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Component, Policy, Sandbox};
    use std::sync::Arc;

    #[test]
    fn a_policy_with_a_note_has_another_digest_and_half_a_policy_is_none() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let [before, after] =
            [EMBEDDED.to_vec(), noted(EMBEDDED)].map(|bytes| Component::load(&sandbox, &bytes).unwrap());
        assert_eq!(before.title(), after.title());
        assert_ne!(before.digest(), after.digest());
        assert!(Component::load(&sandbox, &EMBEDDED[..EMBEDDED.len() / 2]).is_err());
    }
}
