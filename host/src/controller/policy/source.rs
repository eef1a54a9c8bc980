//! Fetches the component file of a policy from its source, as a stream: a new item after every change of a
//! ConfigMap or file; a download is retried until it succeeds. Must not load or prove the component.
//!
//! A FailoverPolicy is an object of a namespace's users, and the operator reads for them what they cannot: so
//! files come from one directory, downloads from hosts that may be asked, logins from the namespace's own
//! Secrets or for the operator's own registry, and every file is the one that the resource pins.

use super::Policies;
use super::slot::{DIGEST_MISMATCH, Refusal};
use crate::kubernetes::crd::{FailoverPolicySpec, OciSource};
use crate::kubernetes::policies::{docker_config, watch_config_map};
use crate::policy::{EMBEDDED, FileStamps, digest_of, read_file};
use crate::registry::{Logins, Reference, Remote};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where policies may come from.
pub struct Sources {
    /// Fetches downloads.
    pub remote: Remote,
    /// The only directory that files are read from.
    pub files: PathBuf,
}

/// The component file, or why it could not be fetched.
pub type Fetched = Result<Vec<u8>, Refusal>;

/// The source's file now and after each change. The stream never ends.
pub fn fetches(
    policies: &Arc<Policies>,
    namespace: &str,
    spec: &FailoverPolicySpec,
) -> BoxStream<'static, Fetched> {
    let source = spec.source.clone();
    let sha256 = spec.sha256.clone();
    if let Err(refusal) = check_pin(spec) {
        return stream::once(async { Err(refusal) }).chain(stream::pending()).boxed();
    }
    let fetched = if let Some(map) = source.config_map {
        let changes = watch_config_map(&policies.watches, namespace, map);
        changes.map(|bytes| bytes.map_err(|message| refusal("SourceMissing", message))).boxed()
    } else if let Some(file) = source.file {
        file_changes(policies.sources.files.clone(), file.path.into())
    } else if source.oci.is_some() || source.url.is_some() {
        downloads(policies, namespace, spec)
    } else {
        stream::once(async { Ok(EMBEDDED.to_vec()) }).boxed()
    };
    fetched
        .map(move |fetched| fetched.and_then(|bytes| pinned(sha256.as_deref(), bytes)))
        .chain(stream::pending())
        .boxed()
}

/// The schema demands it, but a resource may be older than its schema.
fn check_pin(spec: &FailoverPolicySpec) -> Result<(), Refusal> {
    let source = &spec.source;
    let is_pinned = source.embedded.is_some()
        || spec.sha256.is_some()
        || source.oci.as_ref().is_some_and(|oci| oci.image.contains("@sha256:"));
    let message =
        "the source is not pinned: add spec.sha256, the digest of the component file (sha256sum FILE)";
    if is_pinned { Ok(()) } else { Err(refusal("NotPinned", message.into())) }
}

fn downloads(
    policies: &Arc<Policies>,
    namespace: &str,
    spec: &FailoverPolicySpec,
) -> BoxStream<'static, Fetched> {
    struct State {
        policies: Arc<Policies>,
        namespace: String,
        spec: FailoverPolicySpec,
        /// None: the first attempt.
        wait: Option<Duration>,
    }
    let state = State {
        policies: Arc::clone(policies),
        namespace: namespace.to_owned(),
        spec: spec.clone(),
        wait: None,
    };
    let next = async |state: State| {
        if let Some(wait) = state.wait {
            tokio::time::sleep(wait).await;
        }
        let State { policies, namespace, spec, wait } = &state;
        // A download with another digest is retried as well: the tag may be moved back.
        let fetched =
            fetch(policies, namespace, spec).await.and_then(|bytes| pinned(spec.sha256.as_deref(), bytes));
        let next = wait.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
        let wait = Some(if fetched.is_ok() { Duration::MAX } else { next });
        Some((fetched, State { wait, ..state }))
    };
    stream::unfold(state, next).boxed()
}

async fn fetch(policies: &Policies, namespace: &str, spec: &FailoverPolicySpec) -> Fetched {
    let failed = |error: &dyn std::fmt::Display| refusal("FetchFailed", error.to_string());
    let remote = &policies.sources.remote;
    if let Some(OciSource { image, plain_http, pull_secret }) = &spec.source.oci {
        let image: Reference = image.parse().map_err(|error| failed(&error))?;
        let fetched = match pull_secret {
            None => remote.pull(&image, *plain_http).await,
            Some(secret) => {
                let config = docker_config(&policies.client, namespace, &secret.name)
                    .await
                    .map_err(|message| refusal("PullSecret", message))?;
                let login = Logins::in_config(&config, &image.registry)
                    .map_err(|why| refusal("PullSecret", format!("Secret {}: {why}", secret.name)))?;
                remote.pull_as(login, &image, *plain_http).await
            }
        };
        return fetched.map_err(|error| failed(&error));
    }
    let address = spec.source.url.as_ref().map(|url| url.address.clone()).unwrap_or_default();
    remote.download(&address).await.map_err(|error| failed(&error))
}

fn file_changes(dir: PathBuf, path: PathBuf) -> BoxStream<'static, Fetched> {
    // Nothing about any other file is told, not even whether it exists.
    if !is_named_in(&dir, &path) {
        return stream::once(async move { Err(elsewhere(&dir, &path)) }).boxed();
    }
    stream::unfold((dir, path, FileStamps::default()), async |(dir, path, mut stamps)| {
        while !stamps.is_due_at(&path) {
            tokio::time::sleep(FILE_INTERVAL).await;
        }
        let (in_dir, name) = (dir.clone(), path.clone());
        let read =
            tokio::task::spawn_blocking(move || is_in(&in_dir, &name)?.then(|| read_file(&name)).transpose());
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let fetched = match read {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(elsewhere(&dir, &path)),
            Err(error) => Err(refusal("SourceMissing", format!("{}: {error}", path.display()))),
        };
        Some((fetched, (dir, path, stamps)))
    })
    .boxed()
}

/// By its name alone.
fn is_named_in(dir: &Path, path: &Path) -> bool {
    path.starts_with(dir) && !path.components().any(|part| part == Component::ParentDir)
}

/// Once its links are followed. A mounted ConfigMap has links within its directory.
fn is_in(dir: &Path, path: &Path) -> io::Result<bool> {
    Ok(path.canonicalize()?.starts_with(dir.canonicalize()?))
}

fn elsewhere(dir: &Path, path: &Path) -> Refusal {
    let message = format!(
        "{} is not in {}, the only directory that policies are read from: mount it there, or start the \
         operator with another --policy-files",
        path.display(),
        dir.display()
    );
    refusal("SourceForbidden", message)
}

fn pinned(wanted: Option<&str>, bytes: Vec<u8>) -> Fetched {
    let digest = digest_of(&bytes);
    match wanted {
        Some(wanted) if wanted != digest => {
            let message = format!(
                "the file's sha256 is {digest}, but spec.sha256 is {wanted}: set spec.sha256, or restore the \
                 file"
            );
            Err(Refusal { digest: Some(digest), reason: DIGEST_MISMATCH, message })
        }
        Some(_) | None => Ok(bytes),
    }
}

fn refusal(reason: &'static str, message: String) -> Refusal {
    Refusal { digest: None, reason, message }
}

/// A stat takes about 1 µs. A file is read once two stats in a row are equal, and one put right is to decide
/// within a second.
const FILE_INTERVAL: Duration = Duration::from_millis(100);
/// The delay after a failed download, doubled each time up to [`RETRY_LAST`].
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_digest_is_refused_with_both_digests() {
        let digest = digest_of(b"policy");
        assert_eq!(pinned(Some(&digest), b"policy".to_vec()), Ok(b"policy".to_vec()));
        assert_eq!(pinned(None, b"policy".to_vec()), Ok(b"policy".to_vec()));
        let refusal = pinned(Some(&digest), b"other".to_vec()).unwrap_err();
        assert_eq!((refusal.reason, refusal.digest), ("DigestMismatch", Some(digest_of(b"other"))));
        assert!(refusal.message.contains(&digest));
    }

    #[tokio::test]
    async fn a_file_is_fetched_once_it_exists_and_is_missing_after_its_deletion() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.wasm");
        let mut fetches = file_changes(dir.path().into(), path.clone());
        assert_eq!(fetches.next().await.unwrap().unwrap_err().reason, "SourceMissing");
        std::fs::write(&path, "policy").unwrap();
        assert_eq!(fetches.next().await.unwrap(), Ok(b"policy".to_vec()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fetches.next().await.unwrap().unwrap_err().reason, "SourceMissing");
    }

    #[tokio::test]
    async fn of_a_file_in_another_directory_nothing_is_told() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = other.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let link = dir.path().join("link.wasm");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let inside = dir.path().join("data.wasm");
        std::fs::write(dir.path().join("data"), "policy").unwrap();
        std::os::unix::fs::symlink(dir.path().join("data"), &inside).unwrap();
        let fetched = async |path: PathBuf| file_changes(dir.path().into(), path).next().await.unwrap();
        assert_eq!(fetched(inside).await, Ok(b"policy".to_vec()), "a link within the directory");
        let name = other.path().file_name().unwrap();
        let around = dir.path().join("..").join(name).join("secret");
        for path in [secret, "/nowhere/at/all".into(), "/etc/passwd".into(), around, link] {
            let refusal = fetched(path.clone()).await.unwrap_err();
            let (why, shown) = (&refusal.message, path.display().to_string());
            assert_eq!((refusal.reason, refusal.digest.as_ref()), ("SourceForbidden", None), "{shown}");
            assert!(why.contains(&shown) && why.contains("--policy-files"), "{why}");
        }
    }

    #[test]
    fn every_source_is_pinned() {
        let spec = |source: serde_json::Value, sha256: Option<&str>| -> FailoverPolicySpec {
            serde_json::from_value(serde_json::json!({ "source": source, "sha256": sha256 })).unwrap()
        };
        let digest = digest_of(b"policy");
        let image = format!("ghcr.io/mine@sha256:{digest}");
        for (source, is_pinned) in [
            (serde_json::json!({ "embedded": {} }), true),
            (serde_json::json!({ "oci": { "image": image } }), true),
            (serde_json::json!({ "oci": { "image": "ghcr.io/mine:1" } }), false),
            (serde_json::json!({ "url": { "address": "https://example.com/a" } }), false),
            (serde_json::json!({ "file": { "path": "/policies/a" } }), false),
            (serde_json::json!({ "configMap": { "name": "a", "key": "b" } }), false),
        ] {
            let refused = check_pin(&spec(source.clone(), None)).err();
            assert_eq!(refused.as_ref().map(|refusal| refusal.reason), (!is_pinned).then_some("NotPinned"));
            assert!(refused.is_none_or(|refusal| refusal.message.contains("sha256sum FILE")));
            assert_eq!(check_pin(&spec(source, Some(&digest))), Ok(()));
        }
    }
}
