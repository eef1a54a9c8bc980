//! The certificate that a face shows. Files are read again when they change, so a renewed certificate needs
//! no restart; what cannot be read changes nothing.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;

/// A certificate and its key.
pub struct Certificate(Source);

enum Source {
    Files { chain: PathBuf, key: PathBuf, newest: Mutex<(Stamps, TlsAcceptor)> },
    Given(TlsAcceptor),
}

/// When the files were written.
type Stamps = [Option<SystemTime>; 2];

impl Certificate {
    /// Reads both files, in PEM.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn read(chain: PathBuf, key: PathBuf) -> Result<Self, String> {
        let stamps = stamps(&chain, &key);
        let newest = Mutex::new((stamps, of_files(&chain, &key)?));
        Ok(Self(Source::Files { chain, key, newest }))
    }

    /// Of both, in PEM.
    ///
    /// # Errors
    /// One sentence that names the part.
    pub fn of_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let part = |name: &str, error: &dyn std::fmt::Display| format!("{name}: {error}");
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| part("tls.crt", &error))?;
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| part("tls.key", &error))?;
        acceptor(certificates, private)
            .map(|acceptor| Self(Source::Given(acceptor)))
            .map_err(|error| part("tls.crt", &error))
    }

    /// For a connection that begins now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let (chain, key, newest) = match &self.0 {
            Source::Given(acceptor) => return acceptor.clone(),
            Source::Files { chain, key, newest } => (chain, key, newest),
        };
        let now = stamps(chain, key);
        let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.0 != now {
            match of_files(chain, key) {
                Ok(acceptor) => *newest = (now, acceptor),
                Err(error) => {
                    // Once for each change.
                    newest.0 = now;
                    tracing::warn!(%error, "certificate of the sentinel endpoint not renewed");
                }
            }
        }
        newest.1.clone()
    }
}

fn stamps(chain: &PathBuf, key: &PathBuf) -> Stamps {
    [chain, key].map(|path| path.metadata().and_then(|file| file.modified()).ok())
}

fn of_files(chain: &PathBuf, key: &PathBuf) -> Result<TlsAcceptor, String> {
    let named = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| named(chain, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    acceptor(certificates, private).map_err(|error| named(chain, &error))
}

fn acceptor(
    certificates: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, String> {
    if certificates.is_empty() {
        return Err("contains no certificate".into());
    }
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| error.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
