//! How an encrypted connection is made: whom we trust, who we are. Reads its files once; never dials.

use super::endpoint::Endpoint;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The TLS of a group's servers (`rediss`).
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Trusts the certificates of `ca` and nobody else. `client` is our own certificate chain and key, for servers with
    /// `tls-auth-clients yes`. The server's certificate must be made out to `server_name`, else to the host that is dialled.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn new(ca: &Path, client: Option<(&Path, &Path)>, server_name: Option<&str>) -> Result<Self, TlsError> {
        let own = client.map(|(chain, key)| {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Unreadable { path: key.into(), source })?;
            Ok((certificates(chain)?, private))
        });
        let connector = connector(certificates(ca)?, own.transpose()?).map_err(|(part, source)| {
            let path = client.filter(|_| part == Part::Own).map_or(ca, |(chain, _)| chain).into();
            TlsError::Unusable { path, source }
        })?;
        let server_name = server_name.map(|name| named(name).ok_or_else(|| TlsError::BadName(name.into()))).transpose()?;
        Ok(Self { connector, server_name })
    }

    /// The same from PEM text that is not in files: authorities, our own chain, our own key.
    ///
    /// # Errors
    /// One sentence that names the part, as a Secret of Kubernetes does, and what is wrong with it.
    pub fn from_pem(ca: &[u8], chain: &[u8], key: &[u8], server_name: &str) -> Result<Self, String> {
        let certificates = |what: &str, pem: &[u8]| {
            let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| format!("{what}: {error}"))?;
            if found.is_empty() { Err(format!("{what} contains no certificate")) } else { Ok(found) }
        };
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key: {error}"))?;
        let connector = connector(certificates("ca.crt", ca)?, Some((certificates("tls.crt", chain)?, private)));
        let connector = connector.map_err(|(part, error)| format!("{}: {error}", if part == Part::Own { "tls.crt" } else { "ca.crt" }))?;
        let server_name = named(server_name).ok_or_else(|| format!("{server_name:?} is no name that a certificate can have"))?;
        Ok(Self { connector, server_name: Some(server_name) })
    }

    /// What a handshake needs. None when the host is no name that a certificate could have.
    pub(super) fn for_endpoint(&self, endpoint: &Endpoint) -> Option<(&TlsConnector, ServerName<'static>)> {
        self.server_name.clone().or_else(|| named(&endpoint.host)).map(|name| (&self.connector, name))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Why there is no TLS to be had from these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Missing, or not PEM.
    #[error("{}: not readable as PEM: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: rustls::pki_types::pem::Error,
    },
    /// PEM without a certificate in it.
    #[error("{}: contains no certificate", .0.display())]
    Empty(PathBuf),
    /// A certificate or key that does not serve.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The override is no host name and no address.
    #[error("{0:?} is no name that a certificate can have")]
    BadName(String),
}

/// What of it does not serve.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Authorities,
    Own,
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn connector(authorities: Vec<CertificateDer<'static>>, own: Option<Own>) -> Result<TlsConnector, (Part, rustls::Error)> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|error| (Part::Authorities, error))?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| (Part::Authorities, error))?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| (Part::Own, error))?,
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Unreadable { path: path.into(), source })?;
    if found.is_empty() { Err(TlsError::Empty(path.into())) } else { Ok(found) }
}

fn named(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}
