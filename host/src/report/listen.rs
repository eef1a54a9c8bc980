//! Metrics and health over HTTP: `GET /metrics`, `/healthz`, `/readyz`, answered from memory to any client.
//! They name groups and count events; what a group's servers answered is on pages of its own
//! (`group_pages.rs`).

use super::http::{ListenError, PLAIN, Page, Pages, Server, response};
use super::{Health, Metrics};
use crate::group::Moment;
use hyper::StatusCode;
use hyper::http::request::Parts;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A bound address, not served yet.
pub struct Listen(Server<HealthPages>);

struct HealthPages {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
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
        Server::bind(address, HealthPages { metrics, health, start }, None).await.map(Self)
    }

    /// The bound address, with the port that the system chose if the requested port is 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.address()
    }

    /// Serves until dropped.
    pub async fn run(self) {
        self.0.run().await;
    }
}

impl Pages for HealthPages {
    fn has(&self, path: &str) -> bool {
        ["/metrics", "/healthz", "/readyz"].contains(&path)
    }

    fn directory(&self) -> &'static str {
        "/metrics, /healthz, /readyz"
    }

    async fn answer(&self, request: &Parts) -> Page {
        let now = Moment(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
        match request.uri.path() {
            "/metrics" => response(StatusCode::OK, OPEN_METRICS, self.metrics.text()),
            "/healthz" => verdict(self.health.alive(now)),
            _ => verdict(self.health.ready(now)),
        }
    }
}

fn verdict(verdict: Result<(), String>) -> Page {
    match verdict {
        Ok(()) => response(StatusCode::OK, PLAIN, "ok\n".into()),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::super::http::{CONNECTIONS_AT_ONCE, CONNECTIONS_MAX, HEADER_TIMEOUT};
    use super::super::script::{decided, lost};
    use super::*;
    use crate::contract::Verdict;
    use crate::group::Report;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

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
        listen.0.header_timeout = header_timeout;
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
            ("GET", "/groups/shop/cart", 404),
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
    async fn a_peer_that_floods_is_closed_and_another_is_served() {
        let (address, _) = served(Health::new(1_000_000)).await;
        let from = async |local: [u8; 4]| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((local, 0))).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await);
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer).await);
            answer.starts_with(b"HTTP/1.1 200 ")
        };
        let mut served = 0;
        for _ in 0..100 * CONNECTIONS_AT_ONCE {
            if !from([127, 0, 0, 2]).await {
                break;
            }
            served += 1;
        }
        assert!((CONNECTIONS_AT_ONCE..100 * CONNECTIONS_AT_ONCE).contains(&served), "{served}");
        assert!(from([127, 0, 0, 3]).await);
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
