//! The certificate that a face shows. The files are read again when they change, so a renewed certificate
//! needs no restart; what cannot be read changes nothing.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;

/// A certificate and its key, in files.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    newest: Mutex<(Stamps, TlsAcceptor)>,
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
        let newest = Mutex::new((stamps, acceptor(&chain, &key)?));
        Ok(Self { chain, key, newest })
    }

    /// For a connection that begins now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let now = stamps(&self.chain, &self.key);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.0 != now {
            match acceptor(&self.chain, &self.key) {
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

fn acceptor(chain: &PathBuf, key: &PathBuf) -> Result<TlsAcceptor, String> {
    let named = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| named(chain, &error))?;
    if certificates.is_empty() {
        return Err(named(chain, &"contains no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| named(chain, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
