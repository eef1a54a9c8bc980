//! Component files over HTTP: artifacts of OCI registries, and files of web servers. Transfers bytes and
//! checks their digests; knows nothing of policies or Kubernetes, and chooses nothing.
//!
//! The protocol is that of the OCI distribution specification: manifests and blobs, GET and PUT, each in one
//! piece. The crate oci-client would bring a second HTTP client, 38 crates, and no bound on a registry's
//! responses; the client that Kubernetes needs anyway has one.
//!
//! | file | owns |
//! |--|--|
//! | `reference` | `registry/repository:tag@sha256:…` |
//! | `login` | names and passwords, from docker's configuration or the environment |
//! | `reach` | which hosts and addresses may be asked |
//! | `http` | one request and its response, bounded in time and size |
//! | `session` | one repository, and the login to it |
//! | `artifact` | the layout of a component as an artifact |

mod artifact;
mod http;
mod login;
mod reach;
mod reference;
mod session;

pub use http::FetchError;
pub use login::{GivenLogin, Login, Logins};
pub use reach::{HostRule, Reach};
pub use reference::{Reference, ReferenceError};

use artifact::{Artifact, Manifest};
use http::Http;
use session::Session;

/// Fetches and pushes component files.
pub struct Remote {
    http: Http,
    logins: Logins,
    bytes_max: usize,
}

/// The name of a pushed component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// `registry/repository@sha256:…`, with the digest of the manifest, which no tag can move.
    pub pinned: String,
}

impl Remote {
    /// `bytes_max` bounds every file.
    ///
    /// # Errors
    /// [`FetchError::NoTls`].
    pub fn new(logins: Logins, reach: Reach, bytes_max: usize) -> Result<Self, FetchError> {
        Ok(Self { http: Http::new(reach)?, logins, bytes_max })
    }

    /// Downloads a file.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn download(&self, address: &str) -> Result<Vec<u8>, FetchError> {
        let answer = self.http.get(address, &[], self.bytes_max).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(answer.refused(address)) }
    }

    /// Pulls the component of an artifact, with the operator's own login to its registry, and checks every
    /// digest on the way.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn pull(&self, image: &Reference, plain_http: bool) -> Result<Vec<u8>, FetchError> {
        self.pull_as(self.logins.of(&image.registry)?, image, plain_http).await
    }

    /// The same with this login, or none.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn pull_as(
        &self,
        login: Option<Login>,
        image: &Reference,
        plain_http: bool,
    ) -> Result<Vec<u8>, FetchError> {
        let mut session = Session::new((&self.http, &self.logins), image, login, plain_http);
        let manifest = Manifest::read(&session.manifest().await?)?;
        let layer = manifest.component(self.bytes_max)?;
        session.blob(&layer.digest, layer.size).await
    }

    /// Pushes a component under its tag. Pushing it again changes nothing.
    ///
    /// # Errors
    /// [`FetchError`]; blobs that were sent before remain in the registry without a name.
    pub async fn push(
        &self,
        component: &[u8],
        exports: &[String],
        image: &Reference,
        plain_http: bool,
    ) -> Result<Pushed, FetchError> {
        let login = self.logins.of(&image.registry)?;
        let mut session = Session::new((&self.http, &self.logins), image, login, plain_http);
        let artifact = Artifact::of(component, exports);
        session.put_blob(artifact.config.clone()).await?;
        session.put_blob(artifact.component.clone()).await?;
        let digest = session.put_manifest(artifact.manifest).await?;
        Ok(Pushed { pinned: format!("{}/{}@{digest}", image.registry, image.repository) })
    }
}

/// `sha256:` and the digest of the bytes.
fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
