//! Names of artifacts: `registry/repository:tag`, `registry/repository@sha256:…`, or both.

use std::fmt;
use std::str::FromStr;

/// The name of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and port of the registry.
    pub registry: String,
    /// Path in the registry.
    pub repository: String,
    /// A name that may move. A reference has a tag, a digest, or both.
    pub tag: Option<String>,
    /// Digest of the manifest: `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

/// Why a text is not the name of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no artifact: {why}: write REGISTRY/REPOSITORY:TAG, as in \
     registry.example.com/policies/mine:1.2.0"
)]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// What to request: the digest if there is one, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let (registry, rest) = text.split_once('/').ok_or("it has no registry")?;
        // As in docker: a first part without a dot or a port may be a repository of a default registry.
        let is_host = registry == "localhost" || registry.contains(['.', ':']);
        if !is_host
            || !registry.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.:[]".contains(letter))
        {
            return Err("its first part is no registry");
        }
        let (rest, digest) = rest.split_once('@').map_or((rest, None), |(rest, digest)| (rest, Some(digest)));
        let (repository, tag) =
            rest.split_once(':').map_or((rest, None), |(repository, tag)| (repository, Some(tag)));
        let is_part = |part: &str| {
            let edge = |letter: Option<char>| {
                letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            };
            let inner = |letter: char| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-".contains(letter)
            };
            edge(part.chars().next()) && edge(part.chars().last()) && part.chars().all(inner)
        };
        if repository.len() > 255 || !repository.split('/').all(is_part) {
            return Err("its repository is not lower-case letters, digits, and . _ - between them");
        }
        if let Some(tag) = tag {
            let is_tag = tag.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
                && !tag.starts_with(['.', '-']);
            if tag.is_empty() || tag.len() > 128 || !is_tag {
                return Err("its tag is not letters, digits, . _ and -");
            }
        }
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").ok_or("its digest is no sha256:")?;
            if hex.len() != 64
                || !hex.chars().all(|letter| letter.is_ascii_digit() || ('a'..='f').contains(&letter))
            {
                return Err("its digest is not 64 lower-case hexadecimal digits");
            }
        }
        if tag.is_none() && digest.is_none() {
            return Err("it has neither tag nor digest");
        }
        let own = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            registry: registry.into(),
            repository: repository.into(),
            tag: own(tag),
            digest: own(digest),
        })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::read(text).map_err(|why| ReferenceError { text: text.into(), why })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_in_its_parts_and_written_as_it_was() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, registry, repository, version) in [
            ("ghcr.io/shop/policies/mine:1.2.0", "ghcr.io", "shop/policies/mine", "1.2.0"),
            ("localhost:5000/mine:v1_x", "localhost:5000", "mine", "v1_x"),
            (&format!("ghcr.io/mine@{digest}"), "ghcr.io", "mine", digest.as_str()),
            (&format!("ghcr.io/mine:1@{digest}"), "ghcr.io", "mine", digest.as_str()),
            ("[::1]:5000/mine:1", "[::1]:5000", "mine", "1"),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(
                (read.registry.as_str(), read.repository.as_str(), read.version()),
                (registry, repository, version)
            );
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn an_invalid_reference_is_refused_with_its_reason() {
        for (text, why) in [
            ("mine", "no registry"),
            ("shop/mine:1", "first part is no registry"),
            ("ghcr.io/Mine:1", "lower-case"),
            ("ghcr.io/mine", "neither tag nor digest"),
            ("ghcr.io/mine:", "tag is not"),
            ("ghcr.io/../mine:1", "repository is not"),
            ("ghcr.io/mine@sha256:12", "64 lower-case"),
            ("ghcr.io/mine@md5:12", "no sha256"),
            ("evil.com?x=/mine:1", "no registry"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("REGISTRY/REPOSITORY:TAG"), "{error}");
        }
    }
}
