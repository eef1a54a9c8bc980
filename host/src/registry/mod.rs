//! Component files over HTTP: artifacts of OCI registries, and files of web servers. Moves bytes and checks
//! their digests; knows nothing of policies or Kubernetes, and chooses nothing.
//!
//! The registry protocol is the OCI distribution specification's: manifest and blob, get and put, in one
//! piece each. A crate for it (oci-client) would bring a second HTTP client, 38 crates, and no bound on what
//! a registry may send; the client that Kubernetes needs anyway does.
//!
//! | file | owns |
//! |--|--|
//! | `reference` | `registry/repository:tag@sha256:…` |
//! | `login` | names and passwords, from docker's configuration or the environment |
//! | `http` | one request and its answer, bounded in time and size |
//! | `session` | one repository: who we are there |
//! | `artifact` | the layout of a component as an artifact |

mod artifact;
mod http;
mod login;
mod reference;
mod session;

pub use http::FetchError;
pub use login::{Login, Logins};
pub use reference::{Reference, ReferenceError};

use artifact::{Artifact, Manifest};
use http::Http;
use session::Session;

/// The ways to component files elsewhere.
pub struct Remote {
    http: Http,
    logins: Logins,
    bytes_max: usize,
}

/// What a component is called in its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// `registry/repository@sha256:…`: the manifest's digest, which no tag can move.
    pub pinned: String,
}

impl Remote {
    /// Nothing larger than `bytes_max` is ever taken in.
    ///
    /// # Errors
    /// [`FetchError::NoTls`].
    pub fn new(logins: Logins, bytes_max: usize) -> Result<Self, FetchError> {
        Ok(Self { http: Http::new()?, logins, bytes_max })
    }

    /// The file behind an address.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn download(&self, address: &str) -> Result<Vec<u8>, FetchError> {
        let answer = self.http.get(address, &[], self.bytes_max).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(answer.refused(address)) }
    }

    /// The component of an artifact; every digest on the way to it was checked.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn pull(&self, image: &Reference, plain_http: bool) -> Result<Vec<u8>, FetchError> {
        let login = self.logins.of(&image.registry)?;
        let mut session = Session::new(&self.http, image, login, plain_http);
        let manifest = Manifest::read(&session.manifest().await?)?;
        let layer = manifest.component(self.bytes_max)?;
        session.blob(&layer.digest, layer.size).await
    }

    /// Puts a component into a registry, under its tag. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`FetchError`]; what was sent before stays there without a name.
    pub async fn push(
        &self,
        component: &[u8],
        exports: &[String],
        image: &Reference,
        plain_http: bool,
    ) -> Result<Pushed, FetchError> {
        let login = self.logins.of(&image.registry)?;
        let mut session = Session::new(&self.http, image, login, plain_http);
        let artifact = Artifact::of(component, exports);
        session.put_blob(artifact.config.clone()).await?;
        session.put_blob(artifact.component.clone()).await?;
        let digest = session.put_manifest(artifact.manifest).await?;
        Ok(Pushed { pinned: format!("{}/{}@{digest}", image.registry, image.repository) })
    }
}

/// `sha256:` and the digest of some bytes.
fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
