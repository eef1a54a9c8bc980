//! An HTTP server for a few small pages: one request per connection, a deadline for all of it, a bounded
//! number of connections, in all and of one peer, TLS where it is asked for. Knows no page; no client can
//! delay a group.

use super::rate::PeerLimit;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// What a server serves.
pub(super) trait Pages: Send + Sync + 'static {
    /// Whether there is a page at that path.
    fn has(&self, path: &str) -> bool;

    /// The pages that exist, for the answer to any other path.
    fn directory(&self) -> &'static str;

    /// The answer to a GET of a page that exists.
    fn answer(&self, request: &Parts) -> impl Future<Output = Page> + Send;
}

/// An answer.
pub(super) type Page = Response<Full<Bytes>>;

/// A bound address, not served yet.
pub(super) struct Server<P> {
    socket: TcpListener,
    pages: P,
    tls: Option<TlsAcceptor>,
    pub(super) header_timeout: Duration,
}

/// Listening on the address is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process does already.
    #[error("another process already listens on {address}: choose another address")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system's error.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate for {address}: {why}")]
    Certificate {
        /// The address.
        address: SocketAddr,
        /// The error.
        why: String,
    },
}

impl<P: Pages> Server<P> {
    /// Binds the address. `tls`: None serves in the clear.
    ///
    /// # Errors
    /// [`ListenError`], naming the address.
    pub async fn bind(address: SocketAddr, pages: P, tls: Option<TlsAcceptor>) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Bind { address, source },
        })?;
        Ok(Self { socket, pages, tls, header_timeout: HEADER_TIMEOUT })
    }

    /// The bound address, with the port that the system chose if the requested port is 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let Self { socket, pages, tls, header_timeout } = self;
        let pages = Arc::new(pages);
        let mut peers = PeerLimit::new(CONNECTIONS_PER_SECOND, CONNECTIONS_AT_ONCE);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            match socket.accept().await {
                // Before a byte is read: a handshake and a page cost more than the connection.
                Ok((_, peer)) if !peers.admits(peer.ip(), Instant::now()) => {
                    tracing::debug!(%peer, "connection closed: too many of this peer");
                }
                Ok((stream, _)) => {
                    let (pages, tls) = (Arc::clone(&pages), tls.clone());
                    tokio::spawn(async move {
                        let served = connect(stream, pages, tls, header_timeout);
                        if tokio::time::timeout(CONNECTION_TIMEOUT, served).await.is_err() {
                            tracing::debug!("request timed out");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connect<P: Pages>(
    stream: TcpStream,
    pages: Arc<P>,
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
) {
    let Some(tls) = tls else { return serve(stream, pages, header_timeout).await };
    match tokio::time::timeout(header_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, pages, header_timeout).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// One request, after which the connection is closed.
async fn serve<P: Pages, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    pages: Arc<P>,
    header_timeout: Duration,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(page(&*pages, &request.into_parts().0).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "request failed");
    }
}

async fn page<P: Pages>(pages: &P, request: &Parts) -> Page {
    if !pages.has(request.uri.path()) {
        return response(
            StatusCode::NOT_FOUND,
            PLAIN,
            format!("this page does not exist; those that exist: {}\n", pages.directory()),
        );
    }
    if request.method != Method::GET {
        let refusal = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET is allowed\n".into());
        return with_header(refusal, "allow", "GET");
    }
    pages.answer(request).await
}

pub(super) fn response(status: StatusCode, content_type: &'static str, text: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The same answer with another header, whose name is in lower case.
pub(super) fn with_header(mut page: Page, name: &'static str, value: &'static str) -> Page {
    page.headers_mut().insert(name, HeaderValue::from_static(value));
    page
}

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
/// Far more than a scraper, two probes and a person need. Further connections wait in the system's queue.
pub(super) const CONNECTIONS_MAX: usize = 64;
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one peer. A handshake takes half a millisecond of the thread that speaks with the API server.
const CONNECTIONS_PER_SECOND: u32 = 100;
pub(super) const CONNECTIONS_AT_ONCE: u32 = 250;
/// Prometheus gives up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A scrape needs a few hundred; the token of a person with many groups, a few thousand.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// The process is out of file descriptors; some are closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
