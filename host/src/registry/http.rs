//! One request and its answer, bounded in time and size. Redirects are followed without the credentials of
//! where they began.

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a component file is not to be had. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The machine has no TLS.
    #[error("no TLS: {0}")]
    NoTls(#[source] rustls::Error),
    /// The address is none.
    #[error("{0} is no address; write https://HOST/PATH")]
    Address(String),
    /// Nobody answers, or nobody whom we trust.
    #[error("{address}: {why}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// The words of the way there.
        why: String,
    },
    /// It took too long.
    #[error("{address}: no answer within {} s", REQUEST_MAX.as_secs())]
    TimedOut {
        /// Who was asked.
        address: String,
    },
    /// More than a policy may have.
    #[error("{address}: more than {bytes_max} bytes")]
    TooLarge {
        /// Who was asked.
        address: String,
        /// The bound.
        bytes_max: usize,
    },
    /// It wants to know who we are, or does not let us.
    #[error(
        "{address}: {status}; log in with docker login, or set REDIS_OPERATOR_REGISTRY_USER and \
         REDIS_OPERATOR_REGISTRY_PASSWORD"
    )]
    Unauthorized {
        /// Who was asked.
        address: String,
        /// 401 or 403.
        status: StatusCode,
    },
    /// It is not there.
    #[error("{address}: not found; check the name and the tag")]
    NotFound {
        /// What was asked for.
        address: String,
    },
    /// Another answer than yes.
    #[error("{address}: {status} {text}")]
    Refused {
        /// Who was asked.
        address: String,
        /// The answer.
        status: StatusCode,
        /// The beginning of its words.
        text: String,
    },
    /// What came is not what was asked for.
    #[error("{what} has digest {found}, not {wanted}")]
    Digest {
        /// A manifest or a blob.
        what: &'static str,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// It is an artifact of another kind.
    #[error("the artifact is no component: {0}; push it with redis-operator policy push, or wkg oci push")]
    NoComponent(String),
    /// The file with the logins cannot be read.
    #[error("{}: {why}", path.display())]
    Logins {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// An answer, whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer as an error.
    pub fn refused(&self, address: &str) -> FetchError {
        let address = address.to_owned();
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                FetchError::Unauthorized { address, status: self.status }
            }
            StatusCode::NOT_FOUND => FetchError::NotFound { address },
            status => {
                let text = String::from_utf8_lossy(&self.body)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .chars()
                    .take(200)
                    .collect();
                FetchError::Refused { address, status, text }
            }
        }
    }

    /// A header, if it is there and text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request but for its address.
pub struct Ask<'a> {
    pub method: Method,
    pub headers: &'a [(HeaderName, String)],
    pub body: Bytes,
    pub bytes_max: usize,
}

/// The client. Trusts whom the system trusts (SSL_CERT_FILE, SSL_CERT_DIR).
pub struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    pub fn new() -> Result<Self, FetchError> {
        let mut roots = rustls::RootCertStore::empty();
        // A system without any can still be asked over plain HTTP; over TLS it trusts nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(FetchError::NoTls)?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Connections are not kept: a policy is fetched once.
        Ok(Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    /// Sends one request.
    pub async fn ask(&self, address: &str, ask: Ask<'_>) -> Result<Answer, FetchError> {
        let uri: Uri = address
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.host().is_some())
            .ok_or_else(|| FetchError::Address(address.into()))?;
        let mut request = Request::builder().method(ask.method).uri(uri);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(ask.body)).map_err(|_| FetchError::Address(address.into()))?;
        let unreachable = |error: &(dyn Error + 'static)| FetchError::Unreachable {
            address: address.into(),
            why: chain(error),
        };
        let answer = async {
            let (head, body) =
                self.0.request(request).await.map_err(|error| unreachable(&error))?.into_parts();
            let body =
                Limited::new(body, ask.bytes_max).collect().await.map_err(|error| match error
                    .downcast_ref::<LengthLimitError>()
                {
                    Some(_) => FetchError::TooLarge { address: address.into(), bytes_max: ask.bytes_max },
                    None => unreachable(error.as_ref()),
                })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
        };
        tokio::time::timeout(REQUEST_MAX, answer)
            .await
            .map_err(|_| FetchError::TimedOut { address: address.into() })?
    }

    /// Gets, wherever it is by now. Registries keep blobs in other places, which must not see who we are
    /// here.
    pub async fn get(
        &self,
        address: &str,
        headers: &[(HeaderName, String)],
        bytes_max: usize,
    ) -> Result<Answer, FetchError> {
        let (mut address, mut headers) = (address.to_owned(), headers.to_vec());
        for _ in 0..REDIRECTS_MAX {
            let answer = self
                .ask(&address, Ask { method: Method::GET, headers: &headers, body: Bytes::new(), bytes_max })
                .await?;
            let Some(location) = answer.header(LOCATION).filter(|_| answer.status.is_redirection()) else {
                return Ok(answer);
            };
            let next = absolute(&address, location);
            if origin(&next) != origin(&address) {
                headers.retain(|(name, _)| *name != AUTHORIZATION);
            }
            if address.starts_with("https://") && !next.starts_with("https://") {
                return Err(FetchError::Unreachable {
                    address,
                    why: format!("it redirects to {next}, without TLS"),
                });
            }
            address = next;
        }
        Err(FetchError::Unreachable { address, why: format!("more than {REDIRECTS_MAX} redirects") })
    }
}

/// Where a `Location` leads.
pub fn absolute(from: &str, location: &str) -> String {
    if location.contains("://") {
        location.into()
    } else {
        format!("{}/{}", origin(from), location.trim_start_matches('/'))
    }
}

/// Scheme, host and port.
fn origin(address: &str) -> &str {
    let host = address.find("://").map_or(0, |at| at + 3);
    address[host..].find(['/', '?']).map_or(address, |at| &address[..host + at])
}

/// An error with its causes, as one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.dedup();
    texts.join(": ")
}

/// A policy has at most 32 MB; a link that takes longer for that is none to fetch over.
const REQUEST_MAX: Duration = Duration::from_secs(120);
const REDIRECTS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_browsers_do() {
        assert_eq!(absolute("https://a:1/v2/x?y=1", "/v2/uploads/7?s=1"), "https://a:1/v2/uploads/7?s=1");
        assert_eq!(absolute("http://a/v2", "https://b/c"), "https://b/c");
        assert_eq!(
            (origin("https://a:1/v2"), origin("https://a:1?x"), origin("https://a")),
            ("https://a:1", "https://a:1", "https://a")
        );
    }
}
