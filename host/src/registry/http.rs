//! One request and its response, bounded in time and size, to a server that may be asked. Redirects to
//! another host are followed without the credentials. Nothing that a server wrote becomes part of an error,
//! but for the names of hosts: errors are shown to people who may not read what the operator can reach.

use super::reach::{CheckedResolver, Reach};
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
    /// The host or the address may not be asked.
    #[error("{address}: {why}")]
    Forbidden {
        /// The address.
        address: String,
        /// Why, and the way out.
        why: String,
    },
    /// The login is missing or not sufficient.
    #[error(
        "{address}: {status}: log in with docker login, set REDIS_OPERATOR_REGISTRY, \
         REDIS_OPERATOR_REGISTRY_USER and REDIS_OPERATOR_REGISTRY_PASSWORD, or name a pullSecret"
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
    #[error("{address}: {status}")]
    Refused {
        /// The address.
        address: String,
        /// The status.
        status: StatusCode,
    },
    /// A login would have to be sent in the clear.
    #[error(
        "{registry} demands a login, and no login is sent without TLS: serve the registry over TLS, or let \
         it be read without a login"
    )]
    NotEncrypted {
        /// The registry.
        registry: String,
    },
    /// The registry's tokens come from another host, which would get the login.
    #[error(
        "{registry} sends its login to {realm}: if that is right, add {registry}={realm} to \
         REDIS_OPERATOR_TOKEN_HOSTS"
    )]
    OtherRealm {
        /// The registry.
        registry: String,
        /// Host and port that would get the login.
        realm: String,
    },
    /// A login from the environment without its registry.
    #[error(
        "REDIS_OPERATOR_REGISTRY_USER is set without REDIS_OPERATOR_REGISTRY: set it to the host of the \
         registry that the login is for"
    )]
    LoginWithoutHost,
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
            status => FetchError::Refused { address, status },
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
pub struct Http {
    client: Client<HttpsConnector<HttpConnector<CheckedResolver>>, Full<Bytes>>,
    reach: Reach,
}

impl Http {
    pub fn new(reach: Reach) -> Result<Self, FetchError> {
        let mut roots = rustls::RootCertStore::empty();
        // Without any, plain HTTP still works; over TLS no server is trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(FetchError::NoTls)?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let mut http = HttpConnector::new_with_resolver(CheckedResolver(reach.clone()));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // Connections are not kept: a policy is fetched once.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, reach })
    }

    /// Sends one request.
    pub async fn ask(&self, address: &str, ask: Ask<'_>) -> Result<Answer, FetchError> {
        self.ask_as(address, address, ask).await
    }

    /// The same; errors call the address by another name.
    async fn ask_as(&self, to: &str, address: &str, ask: Ask<'_>) -> Result<Answer, FetchError> {
        let uri: Uri = to
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.host().is_some())
            .ok_or_else(|| FetchError::Address(address.into()))?;
        // The connector resolves names, and not what is an address already.
        let (host, port) = (uri.host().unwrap_or_default(), port(&uri));
        self.reach.check(host, port).map_err(|why| FetchError::Forbidden { address: address.into(), why })?;
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
                self.client.request(request).await.map_err(|error| unreachable(&error))?.into_parts();
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
        let (mut to, mut headers) = (address.to_owned(), headers.to_vec());
        // Of the address of a redirect only the host is shown.
        let mut shown = address.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let ask = Ask { method: Method::GET, headers: &headers, body: Bytes::new(), bytes_max };
            let answer = self.ask_as(&to, &shown, ask).await?;
            let Some(location) = answer.header(LOCATION).filter(|_| answer.status.is_redirection()) else {
                return Ok(answer);
            };
            let next = absolute(&to, location);
            if origin(&next) != origin(&to) {
                headers.retain(|(name, _)| *name != AUTHORIZATION);
            }
            let host = authority(&next);
            if to.starts_with("https://") && !next.starts_with("https://") {
                let why = format!("it redirects to {host}, without TLS");
                return Err(FetchError::Unreachable { address: shown, why });
            }
            (to, shown) = (next, format!("{address}, redirected to {host}"));
        }
        let why = format!("more than {REDIRECTS_MAX} redirects");
        Err(FetchError::Unreachable { address: address.to_owned(), why })
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

/// Host and port of an address, in lower case, for comparison and for people.
pub fn authority(address: &str) -> String {
    let uri = address.parse::<Uri>().ok();
    let named = uri.as_ref().and_then(|uri| Some((uri.host()?, port(uri))));
    named.map_or_else(|| "no host".into(), |(host, port)| format!("{}:{port}", host.to_ascii_lowercase()))
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// Scheme, host and port.
pub fn origin(address: &str) -> &str {
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
