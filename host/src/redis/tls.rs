//! TLS configurations: trusted authorities and the operator's own certificate; the newest first, then earlier
//! ones, for servers that have not loaded the new certificates yet. Reads its files once; must not dial.

use super::endpoint::Endpoint;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The TLS of a group's servers (`rediss`).
#[derive(Clone)]
pub struct Tls {
    /// The newest first.
    ways: Vec<Way>,
    server_name: Option<ServerName<'static>>,
}

/// Trusted authorities, and the operator's own certificate.
#[derive(Clone)]
struct Way {
    connector: TlsConnector,
    own: Option<CertificateDer<'static>>,
}

impl Tls {
    /// Trusts only the certificates of `ca`. `client` is the operator's certificate chain and key, for
    /// servers with `tls-auth-clients yes`. The server's certificate must be issued for `server_name`, or
    /// without it for the dialled host.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn new(
        ca: &Path,
        client: Option<(&Path, &Path)>,
        server_name: Option<&str>,
    ) -> Result<Self, TlsError> {
        let own = client.map(|(chain, key)| {
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| TlsError::Unreadable { path: key.into(), source })?;
            Ok((certificates(chain)?, private))
        });
        let way = way(certificates(ca)?, own.transpose()?).map_err(|(part, source)| {
            let path = client.filter(|_| part == Part::Own).map_or(ca, |(chain, _)| chain).into();
            TlsError::Unusable { path, source }
        })?;
        let server_name =
            server_name.map(|name| named(name).ok_or_else(|| TlsError::BadName(name.into()))).transpose()?;
        Ok(Self { ways: vec![way], server_name })
    }

    /// The same from PEM text: authorities, the operator's chain, its key.
    ///
    /// # Errors
    /// One sentence with the key of the Secret (`ca.crt`, `tls.crt`, `tls.key`) and the cause.
    pub fn from_pem(ca: &[u8], chain: &[u8], key: &[u8], server_name: &str) -> Result<Self, String> {
        let certificates = |what: &str, pem: &[u8]| {
            let found = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| format!("{what}: {error}"))?;
            if found.is_empty() { Err(format!("{what} contains no certificate")) } else { Ok(found) }
        };
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key: {error}"))?;
        let way = way(certificates("ca.crt", ca)?, Some((certificates("tls.crt", chain)?, private)));
        let way = way.map_err(|(part, error)| {
            format!("{}: {error}", if part == Part::Own { "tls.crt" } else { "ca.crt" })
        })?;
        let server_name = named(server_name)
            .ok_or_else(|| format!("{server_name:?} is not a name that a certificate can have"))?;
        Ok(Self { ways: vec![way], server_name: Some(server_name) })
    }

    /// This configuration, then those of `earlier`.
    #[must_use]
    pub fn or(mut self, earlier: &Self) -> Self {
        self.ways.extend(earlier.ways.iter().cloned());
        self.ways.truncate(WAYS_MAX);
        self
    }

    /// Number of configurations to try.
    pub(super) fn ways(&self) -> usize {
        self.ways.len()
    }

    /// Connector and server name of configuration number `turn`. None: the host is not a name that a
    /// certificate can have.
    pub(super) fn for_endpoint(
        &self,
        endpoint: &Endpoint,
        turn: usize,
    ) -> Option<(&TlsConnector, ServerName<'static>)> {
        let way = self.ways.get(turn % self.ways.len())?;
        self.server_name.clone().or_else(|| named(&endpoint.host)).map(|name| (&way.connector, name))
    }

    /// True if a server with this certificate has the operator's newest one, which the servers of a group
    /// share.
    pub(super) fn is_ours(&self, shown: Option<&CertificateDer<'_>>) -> bool {
        shown.is_some() && self.ways.first().and_then(|way| way.own.as_ref()) == shown
    }
}

/// A server that has missed this number of changes will not load an earlier one either.
const WAYS_MAX: usize = 3;

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Why these files give no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Missing, or not PEM.
    #[error("{}: not readable as PEM: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        source: rustls::pki_types::pem::Error,
    },
    /// PEM without a certificate in it.
    #[error("{}: contains no certificate", .0.display())]
    Empty(PathBuf),
    /// A certificate or key that rustls refuses.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The override is no host name and no address.
    #[error("{0:?} is not a name that a certificate can have")]
    BadName(String),
}

/// The part that rustls refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Authorities,
    Own,
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn way(authorities: Vec<CertificateDer<'static>>, own: Option<Own>) -> Result<Way, (Part, rustls::Error)> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|error| (Part::Authorities, error))?;
    }
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| (Part::Authorities, error))?
            .with_root_certificates(roots);
    let leaf = own.as_ref().and_then(|(chain, _)| chain.first().cloned());
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| (Part::Own, error))?
        }
    };
    Ok(Way { connector: TlsConnector::from(Arc::new(config)), own: leaf })
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
