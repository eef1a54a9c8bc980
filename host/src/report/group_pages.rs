//! One group over HTTPS, `GET /groups/NAMESPACE/NAME`: its present Observation and its last decision, for
//! those alone who may see them. Who may is the cluster's to say ([`Admit`]). The group's thread makes no
//! Observation for anybody else, and for these at a bounded rate.

use super::GroupInspector;
use super::certificate::acceptor;
use super::http::{ListenError, PLAIN, Page, Pages, Server, response, with_header};
use super::rate::RateLimit;
use crate::group::Moment;
use futures_util::future::BoxFuture;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Says who may see a group.
pub trait Admit: Send + Sync {
    /// Whether the owner of a token may see a group.
    fn admit<'a>(&'a self, token: &'a str, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Admission>;
}

/// Whether the owner of a token may see a group. Each text is one sentence, with the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Granted,
    /// The token is nobody's.
    Unauthenticated(String),
    /// Its owner is known, and has no right to see this group.
    Forbidden(String),
    /// It is not known: the API server gives no answer.
    Unavailable(String),
    /// It is not known: too many tokens were new within a second.
    Busy,
}

/// A bound address, not served yet.
pub struct GroupListen(Server<GroupPages>);

struct GroupPages {
    inspector: Arc<GroupInspector>,
    admit: Arc<dyn Admit>,
    observations: Mutex<RateLimit>,
    /// Moment zero.
    start: Instant,
}

impl GroupListen {
    /// Binds the address, with a new certificate. `start` is moment zero of the groups.
    ///
    /// # Errors
    /// [`ListenError`], naming the address.
    pub async fn bind(
        address: SocketAddr,
        inspector: Arc<GroupInspector>,
        admit: Arc<dyn Admit>,
        start: Instant,
    ) -> Result<Self, ListenError> {
        let tls = acceptor().map_err(|why| ListenError::Certificate { address, why })?;
        Server::bind(address, GroupPages::new(inspector, admit, start), Some(tls)).await.map(Self)
    }

    /// Serves until dropped.
    pub async fn run(self) {
        self.0.run().await;
    }
}

impl GroupPages {
    fn new(inspector: Arc<GroupInspector>, admit: Arc<dyn Admit>, start: Instant) -> Self {
        let observations = Mutex::new(RateLimit::new(OBSERVATIONS_PER_SECOND, OBSERVATIONS_AT_ONCE));
        Self { inspector, admit, observations, start }
    }

    async fn group(&self, headers: &HeaderMap, namespace: &str, name: &str) -> Page {
        let Some(token) = token(headers) else { return unauthenticated(NO_TOKEN) };
        match self.admit.admit(token, namespace, name).await {
            Admission::Granted => {}
            Admission::Unauthenticated(why) => return unauthenticated(&why),
            Admission::Forbidden(why) => return refusal(StatusCode::FORBIDDEN, &why),
            Admission::Unavailable(why) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &why),
            Admission::Busy => return too_many(),
        }
        let now = Instant::now();
        if !self.observations.lock().unwrap_or_else(PoisonError::into_inner).admits(now) {
            return too_many();
        }
        let moment =
            Moment(u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX));
        match self.inspector.json(namespace, name, moment).await {
            Some(json) => response(StatusCode::OK, JSON, json),
            None => refusal(
                StatusCode::NOT_FOUND,
                &format!("this operator runs no group {namespace}/{name}, or has no decision for it yet"),
            ),
        }
    }
}

impl Pages for GroupPages {
    fn has(&self, path: &str) -> bool {
        group(path).is_some()
    }

    fn directory(&self) -> &'static str {
        "/groups/NAMESPACE/NAME"
    }

    async fn answer(&self, request: &Parts) -> Page {
        let page = match group(request.uri.path()) {
            Some((namespace, name)) => self.group(&request.headers, namespace, name).await,
            None => refusal(StatusCode::NOT_FOUND, "this page does not exist"),
        };
        // Tells the operator's answers from those of a proxy.
        with_header(page, ANSWERED_BY, env!("CARGO_PKG_VERSION"))
    }
}

/// Namespace and name.
fn group(path: &str) -> Option<(&str, &str)> {
    let (namespace, name) = path.strip_prefix("/groups/")?.split_once('/')?;
    // RFC 1123, as Kubernetes has it: nothing else reaches a request to the API server.
    let is_name = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
    };
    (is_name(namespace) && is_name(name)).then_some((namespace, name))
}

/// The token of a request. The API server takes `Authorization` out of what it proxies, so another header may
/// have it.
fn token(headers: &HeaderMap) -> Option<&str> {
    let of = |name: &str| headers.get(name)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim);
    of(PROXIED_AUTHORIZATION).or_else(|| of(AUTHORIZATION.as_str())).filter(|token| !token.is_empty())
}

fn refusal(status: StatusCode, why: &str) -> Page {
    response(status, PLAIN, format!("{why}\n"))
}

fn unauthenticated(why: &str) -> Page {
    with_header(refusal(StatusCode::UNAUTHORIZED, why), "www-authenticate", "Bearer")
}

fn too_many() -> Page {
    let page = refusal(StatusCode::TOO_MANY_REQUESTS, "too many requests: try again in a second");
    with_header(page, "retry-after", "1")
}

/// The header with the caller's token where a proxy uses `Authorization` for itself: `Bearer TOKEN`.
pub const PROXIED_AUTHORIZATION: &str = "redis-operator-authorization";
/// The header of all answers of the operator: its version.
pub const ANSWERED_BY: &str = "redis-operator-version";
const NO_TOKEN: &str = "this page needs a token: send that of your kubeconfig as `Authorization: Bearer \
                        TOKEN`, or through a proxy as `Redis-Operator-Authorization`; kubectl redis does";
const JSON: &str = "application/json";
/// A person asks once in a while, and a screen that is refreshed, once a second. Each costs the thread of all
/// groups about 50 µs with three members, 3 ms with five hundred.
const OBSERVATIONS_PER_SECOND: u32 = 10;
const OBSERVATIONS_AT_ONCE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::super::script::{show, show_counted};
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Knows one token, whose owner may see one group.
    #[derive(Default)]
    struct Doorkeeper {
        asked: AtomicUsize,
    }

    impl Admit for Doorkeeper {
        fn admit<'a>(
            &'a self,
            token: &'a str,
            namespace: &'a str,
            name: &'a str,
        ) -> BoxFuture<'a, Admission> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let admission = match (token, namespace, name) {
                ("good", "shop", "cart" | "new") => Admission::Granted,
                ("good", ..) => Admission::Forbidden("bob may not".into()),
                ("late", ..) => Admission::Unavailable("no answer".into()),
                ("many", ..) => Admission::Busy,
                _ => Admission::Unauthenticated("renew it".into()),
            };
            Box::pin(std::future::ready(admission))
        }
    }

    /// The pages in the clear, and who guards them.
    async fn served(inspector: &Arc<GroupInspector>) -> (SocketAddr, Arc<Doorkeeper>) {
        let doorkeeper = Arc::new(Doorkeeper::default());
        let admit: Arc<dyn Admit> = Arc::clone(&doorkeeper) as Arc<dyn Admit>;
        let pages = GroupPages::new(Arc::clone(inspector), admit, Instant::now());
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), pages, None).await.unwrap();
        let address = server.address().unwrap();
        tokio::spawn(server.run());
        (address, doorkeeper)
    }

    /// The status and the whole response.
    async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> (u16, String) {
        stream.write_all(format!("{request}\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (text[9..12].parse().unwrap(), text)
    }

    async fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
        let token = token.map(|token| format!("\r\nAuthorization: Bearer {token}")).unwrap_or_default();
        ask(TcpStream::connect(address).await.unwrap(), &format!("GET {path} HTTP/1.1{token}")).await
    }

    #[tokio::test]
    async fn a_group_is_shown_to_those_who_may_see_it_and_to_no_one_else() {
        let inspector = Arc::new(GroupInspector::default());
        let (address, doorkeeper) = served(&inspector).await;
        let view = inspector.open("shop", "cart");
        show(&view, 0, "healthy");
        let (status, text) = get(address, "/groups/shop/cart", Some("good")).await;
        assert!(status == 200 && text.contains(r#""reason":"healthy""#), "{text}");
        let rows = [
            ("/groups/shop/cart", None, 401, "this page needs a token"),
            ("/groups/shop/cart", Some("bad"), 401, "renew it"),
            ("/groups/bank/cart", Some("good"), 403, "bob may not"),
            ("/groups/shop/cart", Some("late"), 503, "no answer"),
            ("/groups/shop/cart", Some("many"), 429, "try again in a second"),
            ("/groups/shop/new", Some("good"), 404, "no group shop/new"),
        ];
        for (path, token, expected, words) in rows {
            let (status, text) = get(address, path, token).await;
            assert!(status == expected && text.contains(words), "{path} {token:?}: {text}");
            assert!(!text.contains("observation"), "{text}");
            assert!(text.contains("\r\nredis-operator-version: "), "{text}");
        }
        let (_, text) = get(address, "/groups/shop/cart", None).await;
        assert!(text.contains("\r\nwww-authenticate: Bearer\r\n"), "{text}");
        let asked = doorkeeper.asked.load(Ordering::Relaxed);
        for path in ["/groups/shop", "/groups//cart", "/groups/shop/..%2f", "/metrics", "/groups/shop/a/b"] {
            assert_eq!(get(address, path, Some("good")).await.0, 404, "{path}");
        }
        assert_eq!(doorkeeper.asked.load(Ordering::Relaxed), asked, "nobody is asked about what is no page");
    }

    #[tokio::test]
    async fn a_token_comes_in_a_header_of_its_own_through_a_proxy() {
        let inspector = Arc::new(GroupInspector::default());
        let (address, _) = served(&inspector).await;
        let view = inspector.open("shop", "cart");
        show(&view, 0, "healthy");
        let request = "GET /groups/shop/cart HTTP/1.1\r\nRedis-Operator-Authorization: Bearer good";
        assert_eq!(ask(TcpStream::connect(address).await.unwrap(), request).await.0, 200);
        let basic = "GET /groups/shop/cart HTTP/1.1\r\nAuthorization: Basic good";
        assert_eq!(ask(TcpStream::connect(address).await.unwrap(), basic).await.0, 401);
    }

    #[tokio::test]
    async fn no_observation_is_made_beyond_the_rate_or_without_a_right() {
        let inspector = Arc::new(GroupInspector::default());
        let (address, _) = served(&inspector).await;
        let view = inspector.open("shop", "cart");
        let made = Arc::new(AtomicUsize::new(0));
        show_counted(&view, &made);
        for _ in 0..3 {
            assert_eq!(get(address, "/groups/shop/cart", Some("bad")).await.0, 401);
        }
        assert_eq!(made.load(Ordering::Relaxed), 0);
        let mut statuses = Vec::new();
        for _ in 0..200 {
            statuses.push(get(address, "/groups/shop/cart", Some("good")).await.0);
        }
        let granted = statuses.iter().filter(|status| **status == 200).count();
        assert!(statuses.contains(&429) && granted >= OBSERVATIONS_AT_ONCE as usize, "{statuses:?}");
        assert_eq!(made.load(Ordering::Relaxed), granted);
    }

    #[tokio::test]
    async fn the_pages_are_served_with_tls_and_not_in_the_clear() {
        let inspector = Arc::new(GroupInspector::default());
        let view = inspector.open("shop", "cart");
        show(&view, 0, "healthy");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let doorkeeper = Arc::new(Doorkeeper::default());
        let listen = GroupListen::bind(any, inspector, doorkeeper, Instant::now()).await.unwrap();
        let address = listen.0.address().unwrap();
        tokio::spawn(listen.run());
        let mut clear = TcpStream::connect(address).await.unwrap();
        clear.write_all(b"GET /groups/shop/cart HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset, with a TLS alert at most.
        drop(clear.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        let connector = super::super::certificate::tests::trusting();
        let name = rustls::pki_types::ServerName::try_from("redis-operator").unwrap();
        let stream = connector.connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
        let request = "GET /groups/shop/cart HTTP/1.1\r\nAuthorization: Bearer good";
        assert_eq!(ask(stream, request).await.0, 200);
    }
}
