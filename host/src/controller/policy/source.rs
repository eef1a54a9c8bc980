//! Fetches the component file of a policy from its source, as a stream: a new item after every change of a
//! ConfigMap or file; a download is retried until it succeeds. Must not load or prove the component.

use super::Policies;
use super::slot::{DIGEST_MISMATCH, Refusal};
use crate::kubernetes::crd::{FailoverPolicySpec, OciSource};
use crate::kubernetes::policies::watch_config_map;
use crate::policy::{EMBEDDED, FileStamps, digest_of, read_file};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    let fetched = if let Some(map) = source.config_map {
        let changes = watch_config_map(&policies.watches, namespace, map);
        changes.map(|bytes| bytes.map_err(|message| refusal("SourceMissing", message))).boxed()
    } else if let Some(file) = source.file {
        file_changes(file.path.into())
    } else if source.oci.is_some() || source.url.is_some() {
        let policies = Arc::clone(policies);
        // A download with another digest is retried as well: the tag may be moved back.
        let wanted = sha256.clone();
        let ask =
            async move |(policies, spec, wait): (Arc<Policies>, FailoverPolicySpec, Option<Duration>)| {
                if let Some(wait) = wait {
                    tokio::time::sleep(wait).await;
                }
                let fetched =
                    fetch(&policies, &spec).await.and_then(|bytes| pinned(wanted.as_deref(), bytes));
                let next = wait.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
                let wait = if fetched.is_ok() { Duration::MAX } else { next };
                Some((fetched, (policies, spec, Some(wait))))
            };
        let ask = Arc::new(ask);
        stream::unfold((policies, spec.clone(), None), move |state| {
            let ask = Arc::clone(&ask);
            async move { ask(state).await }
        })
        .boxed()
    } else {
        stream::once(async { Ok(EMBEDDED.to_vec()) }).boxed()
    };
    fetched
        .map(move |fetched| fetched.and_then(|bytes| pinned(sha256.as_deref(), bytes)))
        .chain(stream::pending())
        .boxed()
}

async fn fetch(policies: &Policies, spec: &FailoverPolicySpec) -> Fetched {
    let failed = |error: &dyn std::fmt::Display| refusal("FetchFailed", error.to_string());
    if let Some(OciSource { image, plain_http }) = &spec.source.oci {
        let image = image.parse().map_err(|error| failed(&error))?;
        return policies.remote.pull(&image, *plain_http).await.map_err(|error| failed(&error));
    }
    let address = spec.source.url.as_ref().map(|url| url.address.clone()).unwrap_or_default();
    policies.remote.download(&address).await.map_err(|error| failed(&error))
}

fn file_changes(path: PathBuf) -> BoxStream<'static, Fetched> {
    stream::unfold((path, FileStamps::default()), async |(path, mut stamps)| {
        while !stamps.is_due_at(&path) {
            tokio::time::sleep(FILE_INTERVAL).await;
        }
        let name = path.clone();
        let read = tokio::task::spawn_blocking(move || read_file(&name))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let fetched = read.map_err(|error| refusal("SourceMissing", format!("{}: {error}", path.display())));
        Some((fetched, (path, stamps)))
    })
    .boxed()
}

fn pinned(wanted: Option<&str>, bytes: Vec<u8>) -> Fetched {
    let digest = digest_of(&bytes);
    match wanted {
        Some(wanted) if wanted != digest => {
            let message = format!("the file's sha256 is {digest}, but spec.sha256 is {wanted}");
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
        let mut fetches = file_changes(path.clone());
        assert_eq!(fetches.next().await.unwrap().unwrap_err().reason, "SourceMissing");
        std::fs::write(&path, "policy").unwrap();
        assert_eq!(fetches.next().await.unwrap(), Ok(b"policy".to_vec()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fetches.next().await.unwrap().unwrap_err().reason, "SourceMissing");
    }
}
