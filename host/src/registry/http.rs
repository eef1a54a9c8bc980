//! One request and its response, bounded in time and size. Redirects to another host are followed without the
//! credentials.

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

/// Why a component file cannot be fetched. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// TLS cannot be set up on this machine.
    #[error("no TLS: {0}")]
    NoTls(#[source] rustls::Error),
    /// The address is not valid.
    #[error("{0} is not a valid address: write https://HOST/PATH")]
    Address(String),
    /// No server answers, or its certificate is not trusted.
    #[error("{address}: {why}")]
    Unreachable {
        /// The address.
        address: String,
        /// The error.
        why: String,
    },
    /// No complete response in time.
    #[error("{address}: no answer within {} s", REQUEST_MAX.as_secs())]
    TimedOut {
        /// The address.
        address: String,
    },
    /// The file exceeds the size limit of a policy.
    #[error("{address}: more than {bytes_max} bytes")]
    TooLarge {
        /// The address.
        address: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The login is missing or not sufficient.
    #[error(
        "{address}: {status}: log in with docker login, or set REDIS_OPERATOR_REGISTRY_USER and \
         REDIS_OPERATOR_REGISTRY_PASSWORD"
    )]
    Unauthorized {
        /// The address.
        address: String,
        /// 401 or 403.
        status: StatusCode,
    },
    /// The file does not exist.
    #[error("{address}: not found: check the name and the tag")]
    NotFound {
        /// The address.
        address: String,
    },
    /// Another status than success.
    #[error("{address}: {status} {text}")]
    Refused {
        /// The address.
        address: String,
        /// The status.
        status: StatusCode,
        /// The beginning of the response.
        text: String,
    },
    /// The content has another digest than the one requested.
    #[error("{what} has digest {found}, expected {expected}")]
    Digest {
        /// A manifest or a blob.
        what: &'static str,
        /// The requested digest.
        expected: String,
        /// The digest of the content.
        found: String,
    },
    /// The artifact is of another kind.
    #[error("the artifact is no component: {0}: push it with redis-operator policy push, or wkg oci push")]
    NoComponent(String),
    /// The docker configuration cannot be read.
    #[error("{}: {why}", path.display())]
    Logins {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A complete response.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The response as an error.
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

    /// A header, if it exists and is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request without its address.
pub struct Ask<'a> {
    pub method: Method,
    pub headers: &'a [(HeaderName, String)],
    pub body: Bytes,
    pub bytes_max: usize,
}

/// The HTTP client. It trusts the system's certificate authorities (SSL_CERT_FILE, SSL_CERT_DIR).
pub struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    pub fn new() -> Result<Self, FetchError> {
        let mut roots = rustls::RootCertStore::empty();
        // Without any, plain HTTP still works; over TLS no server is trusted.
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

    /// Sends a GET and follows redirects. Registries redirect to blobs on other hosts, which must not receive
    /// the credentials.
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

/// The absolute address of a `Location`.
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

/// A policy has at most 32 MB, which a usable link transfers in this time.
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
