//! What is known of a loaded policy: its file and its description.

use super::form::{DescriptionError, check_description};
use crate::contract::{Description, Topology, Want};

/// A policy's file and description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Name and version: `default 0.1.0`.
    pub title: String,
    /// SHA-256 of the component file, lower-case hex.
    pub digest: String,
    /// The size of its file.
    pub size_bytes: usize,
    /// The names of its exports, with versions. It has no imports.
    pub exports: Vec<String>,
    /// The answer of its `describe`.
    pub description: Description,
}

impl About {
    /// # Errors
    /// [`DescriptionError`]: the description is invalid.
    pub(super) fn new(
        digest: String,
        size_bytes: usize,
        exports: Vec<String>,
        description: Description,
    ) -> Result<Self, DescriptionError> {
        check_description(&description)?;
        let title = format!("{} {}", description.name, description.version);
        Ok(Self { title, digest, size_bytes, exports, description })
    }

    pub(super) fn serves(&self, topology: Topology) -> bool {
        self.description.topologies.contains(&topology)
    }

    /// See [`super::Policy::wants`].
    pub(super) fn wants(&self, topology: Topology) -> Vec<Want> {
        self.description.wants.iter().filter(|want| want.topology == topology).cloned().collect()
    }
}
