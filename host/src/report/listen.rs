//! Metrics and health over HTTP: `GET /metrics`, `/healthz`, `/readyz`, and one group at
//! `/groups/NAMESPACE/NAME`. All but the last are answered from memory. No client can delay the loop.

use super::{GroupInspector, Health, Metrics};
use crate::group::Moment;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A bound address, not served yet.
pub struct Listen {
    socket: TcpListener,
    pages: Pages,
    header_timeout: Duration,
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
}

struct Pages {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    inspector: Arc<GroupInspector>,
    /// Moment zero.
    start: Instant,
}

impl Listen {
    /// Binds the address. `start` is moment zero of `health`.
    ///
    /// # Errors
    /// [`ListenError`], naming the address.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        start: Instant,
    ) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Bind { address, source },
        })?;
        Ok(Self {
            socket,
            pages: Pages { metrics, health, inspector: Arc::default(), start },
            header_timeout: HEADER_TIMEOUT,
        })
    }

    /// Serves these groups, too.
    #[must_use]
    pub fn with_groups(self, inspector: Arc<GroupInspector>) -> Self {
        Self { pages: Pages { inspector, ..self.pages }, ..self }
    }

    /// The bound address, with the port that the system chose if the requested port is 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let (pages, header_timeout) = (Arc::new(self.pages), self.header_timeout);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let pages = Arc::clone(&pages);
                    tokio::spawn(async move {
                        serve(stream, pages, header_timeout).await;
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

/// One request per connection, with a deadline for all of it, after which the connection is closed.
async fn serve(stream: TcpStream, pages: Arc<Pages>, header_timeout: Duration) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "request failed"),
        Err(_) => tracing::debug!("request timed out"),
    }
}

impl Pages {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let group = path.strip_prefix(GROUPS);
        if group.is_none() && !["/metrics", "/healthz", "/readyz"].contains(&path) {
            return response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "not found; see /metrics, /healthz, /readyz, /groups/NAMESPACE/NAME\n".into(),
            );
        }
        if method != Method::GET {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET is allowed\n".into());
            refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
            return refusal;
        }
        match (group, path) {
            (Some(group), _) => self.group(group).await,
            (None, "/metrics") => response(StatusCode::OK, OPEN_METRICS, self.metrics.text()),
            (None, "/healthz") => verdict(self.health.alive(self.now())),
            (None, _) => verdict(self.health.ready(self.now())),
        }
    }

    async fn group(&self, group: &str) -> Response<Full<Bytes>> {
        let shown = match group.split_once('/') {
            Some((namespace, name)) => self.inspector.json(namespace, name, self.now()).await,
            None => None,
        };
        match shown {
            Some(json) => response(StatusCode::OK, JSON, json),
            None => response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "this operator runs no such group, or it has no decision yet\n".into(),
            ),
        }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

fn verdict(verdict: Result<(), String>) -> Response<Full<Bytes>> {
    match verdict {
        Ok(()) => response(StatusCode::OK, PLAIN, "ok\n".into()),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
    }
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const GROUPS: &str = "/groups/";
const PLAIN: &str = "text/plain; charset=utf-8";
/// Far more than a scraper, two probes and a person need. Further connections wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Prometheus gives up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The minimum of hyper; a scrape needs a few hundred.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// The process is out of file descriptors; some are closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::super::script::{decided, lost, show};
    use super::*;
    use crate::contract::Verdict;
    use crate::group::Report;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A served address, and its health.
    async fn served(health: Health) -> (SocketAddr, Arc<Health>) {
        served_with(health, HEADER_TIMEOUT).await
    }

    async fn served_with(health: Health, header_timeout: Duration) -> (SocketAddr, Arc<Health>) {
        let health = Arc::new(health);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listen =
            Listen::bind(any, Arc::new(Metrics::new("1.2.3")), Arc::clone(&health), Instant::now())
                .await
                .unwrap();
        listen.header_timeout = header_timeout;
        let address = listen.address().unwrap();
        tokio::spawn(listen.run());
        (address, health)
    }

    /// The status and the whole response, over a socket.
    async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (text[9..12].parse().unwrap(), text)
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text() {
        let (address, _) = served(Health::new(1_000_000)).await;
        let (status, text) = ask(address, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(
            text.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\n\r\n# HELP redis_operator_build ") && text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn health_and_readiness_are_statuses_with_one_line() {
        let (address, health) = served(Health::new(600_000_000)).await;
        let cart = health.group("cart".into(), Moment(0));
        assert_eq!(ask(address, "GET", "/healthz").await.0, 200);
        let (status, text) = ask(address, "GET", "/readyz").await;
        assert_eq!((status, text.lines().last()), (503, Some("no decision has been made yet for cart")));
        cart.report(Moment(1), &decided(Verdict::Healthy, "healthy", "cart-0000", vec![]));
        assert_eq!(ask(address, "GET", "/readyz?verbose").await.0, 200);
        cart.report(Moment(2), &Report::Held);
        assert_eq!(ask(address, "GET", "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn a_loop_that_does_not_run_is_not_healthy() {
        let (address, health) = served(Health::new(0)).await;
        let cart = health.group("cart".into(), Moment(0));
        cart.report(Moment(0), &lost("cart-0000"));
        assert_eq!(ask(address, "GET", "/healthz").await.0, 503);
    }

    #[tokio::test]
    async fn other_paths_are_404_and_other_methods_405() {
        let (address, _) = served(Health::new(1_000_000)).await;
        for (method, path, expected) in [
            ("GET", "/", 404),
            ("GET", "/metrics/", 404),
            ("POST", "/debug", 404),
            ("POST", "/metrics", 405),
            ("HEAD", "/healthz", 405),
            ("DELETE", "/readyz", 405),
        ] {
            assert_eq!(ask(address, method, path).await.0, expected, "{method} {path}");
        }
        assert!(ask(address, "PUT", "/metrics").await.1.contains("\r\nallow: GET\r\n"));
    }

    #[tokio::test]
    async fn a_group_is_served_and_an_unknown_one_is_404() {
        let (inspector, any) = (Arc::new(GroupInspector::default()), SocketAddr::from(([127, 0, 0, 1], 0)));
        let (metrics, health) = (Arc::new(Metrics::new("1.2.3")), Arc::new(Health::new(1_000_000)));
        let listen = Listen::bind(any, metrics, health, Instant::now())
            .await
            .unwrap()
            .with_groups(Arc::clone(&inspector));
        let address = listen.address().unwrap();
        tokio::spawn(listen.run());
        let view = inspector.open("shop", "cart");
        assert_eq!(ask(address, "GET", "/groups/shop/cart").await.0, 404);
        show(&view, 0, "healthy");
        let (status, text) = ask(address, "GET", "/groups/shop/cart").await;
        assert_eq!(status, 200);
        assert!(text.contains("application/json") && text.contains(r#""reason":"healthy""#), "{text}");
        assert_eq!(ask(address, "GET", "/groups/shop/other").await.0, 404);
        assert_eq!(ask(address, "POST", "/groups/shop/cart").await.0, 405);
    }

    #[tokio::test]
    async fn bytes_that_are_not_http_are_refused_and_the_next_request_is_served() {
        let (address, _) = served(Health::new(1_000_000)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"\x16\x03\x01 not http\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        assert_eq!(ask(address, "GET", "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn silent_clients_are_disconnected() {
        let (address, _) = served_with(Health::new(1_000_000), Duration::from_millis(20)).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(ask(address, "GET", "/metrics").await.0, 200);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let (address, health) = served(Health::new(1_000_000)).await;
        let error = Listen::bind(address, Arc::new(Metrics::new("1.2.3")), health, Instant::now())
            .await
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            format!("another process already listens on {address}: choose another address")
        );
    }
}
