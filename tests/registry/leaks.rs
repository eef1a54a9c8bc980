//! What a registry that is somebody else's gets to see, and what becomes of what it says: no login of another
//! host, none in the clear, none for a host that it names; and none of its words in an error.

use redis_operator::policy::{EMBEDDED, digest_of};
use redis_operator::registry::{FetchError, GivenLogin, HostRule, Login, Logins, Reach, Reference, Remote};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex, OnceLock};
use tests::real::build_program;
use tests::registry::{PASSWORD, USER};

/// Base64 of the login.
const BASIC: &str = "authorization: basic dxnlcjpzzxnhbwu=";
/// What it answers where it refuses: the words of somebody else.
const WORDS: &str = "the-words-of-somebody-else";

/// A server of some registry: answers each request out of its head, and keeps all heads.
struct Fake {
    /// Host and port.
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

type Answer = (String, String, Vec<u8>);

impl Fake {
    /// `answer` gets the head of a request, and the own address. It ends with the test program.
    fn start(is_tls: bool, answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (own, heads) = (address.clone(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), is_tls, &own, &kept, &answer);
            }
        });
        Self { address, heads }
    }

    fn has_seen(&self, text: &str) -> bool {
        self.heads.lock().unwrap().iter().any(|head| head.to_ascii_lowercase().contains(text))
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn serve(
    stream: TcpStream,
    is_tls: bool,
    own: &str,
    kept: &Mutex<Vec<String>>,
    answer: &impl Fn(&str, &str) -> Answer,
) {
    let serve = |stream: &mut dyn ReadWrite| {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            // A client that does not trust the certificate hangs up.
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(char::from(byte[0]));
            // TLS, which this one does not speak: it hangs up.
            if !head.starts_with(char::is_alphabetic) {
                return;
            }
        }
        kept.lock().unwrap().push(head.clone());
        let (status, headers, body) = answer(&head, own);
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        // A client that has read enough hangs up.
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
        drop(stream.flush());
    };
    let mut stream = stream;
    if is_tls {
        let mut session = rustls::ServerConnection::new(Arc::clone(&trusted().1)).unwrap();
        serve(&mut rustls::Stream::new(&mut session, &mut stream));
        session.send_close_notify();
        drop(session.write_tls(&mut stream));
    } else {
        serve(&mut stream);
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A file of the certificate of all these servers, and what they serve with.
fn trusted() -> &'static (PathBuf, Arc<rustls::ServerConfig>) {
    static TRUSTED: OnceLock<(PathBuf, Arc<rustls::ServerConfig>)> = OnceLock::new();
    TRUSTED.get_or_init(|| {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let path = std::env::temp_dir().join(format!("registry-leaks-{}.pem", std::process::id()));
        std::fs::write(&path, made.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        (path, Arc::new(config))
    })
}

fn found(body: Vec<u8>) -> Answer {
    ("200 OK".into(), String::new(), body)
}

fn refused(status: &str, headers: String) -> Answer {
    (status.into(), headers, WORDS.into())
}

fn is_for(head: &str, path: &str) -> bool {
    head.starts_with(&format!("GET {path} "))
}

/// The artifact of the embedded policy.
fn artifact(head: &str) -> Option<Answer> {
    let digest = format!("sha256:{}", digest_of(EMBEDDED));
    if is_for(head, "/v2/mine/manifests/1") {
        let layer = json!({ "mediaType": "application/wasm", "digest": digest, "size": EMBEDDED.len() });
        return Some(found(json!({ "schemaVersion": 2, "layers": [layer] }).to_string().into_bytes()));
    }
    is_for(head, &format!("/v2/mine/blobs/{digest}")).then(|| found(EMBEDDED.to_vec()))
}

fn says(head: &str, line: &str) -> bool {
    head.to_ascii_lowercase().contains(line)
}

fn basic() -> String {
    "WWW-Authenticate: Basic realm=\"here\"\r\n".into()
}

fn bearer(realm: &str) -> String {
    format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"here\",scope=\"repository:mine:pull\"\r\n")
}

/// `policy pull` by the program, with the login of the environment for that registry.
fn pulled(of: &str, login_for: &str, further: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let (image, output) = (format!("{of}/mine:1"), dir.path().join("mine.wasm"));
    let mut command = super::command(dir.path(), &["policy", "pull", &image, "--output"]);
    command.arg(&output).args(further).env("SSL_CERT_FILE", &trusted().0);
    command.env("REDIS_OPERATOR_REGISTRY", login_for);
    command.env("REDIS_OPERATOR_REGISTRY_USER", USER).env("REDIS_OPERATOR_REGISTRY_PASSWORD", PASSWORD);
    let ended = command.output().unwrap();
    assert_eq!(ended.status.success(), output.exists());
    ended
}

fn complaint(output: &Output) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success() && line.lines().count() == 1, "{line}");
    assert!(!line.contains(WORDS) && !line.contains(PASSWORD), "{line}");
    line
}

/// Demands a login, and takes the right one.
fn closed() -> impl Fn(&str, &str) -> Answer + Send + Sync + 'static {
    |head, _| match artifact(head) {
        Some(answer) if says(head, BASIC) => answer,
        Some(_) | None => refused("401 Unauthorized", basic()),
    }
}

#[test]
fn the_login_goes_to_its_own_registry_and_to_no_other() {
    build_program();
    let own = Fake::start(true, closed());
    assert!(pulled(&own.address, &own.address, &[]).status.success());
    assert!(own.has_seen(BASIC));
    let other = Fake::start(true, closed());
    let line = complaint(&pulled(&other.address, &own.address, &[]));
    assert!(line.contains("401"), "{line}");
    assert!(other.requests() > 0 && !other.has_seen("authorization:"));
}

#[test]
fn the_login_is_never_sent_without_tls() {
    let plain = Fake::start(false, closed());
    let line = complaint(&pulled(&plain.address, &plain.address, &["--plain-http"]));
    assert!(line.contains("no login is sent without TLS") && line.contains(&plain.address), "{line}");
    assert!(plain.requests() > 0 && !plain.has_seen("authorization:"));
    // Nor by way of a token, from a host with TLS.
    let realm = Fake::start(true, |_, _| found(br#"{"token": "T"}"#.to_vec()));
    let at = format!("https://{}/token", realm.address);
    let plain = Fake::start(false, move |_, _| refused("401 Unauthorized", bearer(&at)));
    complaint(&pulled(&plain.address, &plain.address, &["--plain-http"]));
    assert_eq!((plain.has_seen("authorization:"), realm.requests()), (false, 0));
}

/// A registry whose tokens come from `realm`.
fn with_tokens_from(realm: String) -> Fake {
    Fake::start(true, move |head, _| match artifact(head) {
        Some(answer) if says(head, "authorization: bearer t\r\n") => answer,
        Some(_) | None => refused("401 Unauthorized", bearer(&realm)),
    })
}

fn token_server() -> Fake {
    Fake::start(true, |head, _| {
        if says(head, BASIC) {
            found(br#"{"token": "T"}"#.to_vec())
        } else {
            refused("403 Forbidden", String::new())
        }
    })
}

#[test]
fn the_login_goes_to_a_token_s_host_only_if_it_is_the_registry_s_own_or_listed() {
    let realm = token_server();
    let registry = with_tokens_from(format!("https://{}/token", realm.address));
    let line = complaint(&pulled(&registry.address, &registry.address, &[]));
    let pair = format!("{}={}", registry.address, realm.address);
    assert!(line.contains("REDIS_OPERATOR_TOKEN_HOSTS") && line.contains(&pair), "{line}");
    assert_eq!((realm.requests(), registry.has_seen(BASIC)), (0, false));
    // As the message says.
    let dir = tempfile::tempdir().unwrap();
    let (image, output) = (format!("{}/mine:1", registry.address), dir.path().join("mine.wasm"));
    let mut command = super::command(dir.path(), &["policy", "pull", &image, "--output"]);
    command.arg(&output).env("SSL_CERT_FILE", &trusted().0).env("REDIS_OPERATOR_TOKEN_HOSTS", &pair);
    command.env("REDIS_OPERATOR_REGISTRY", &registry.address);
    command.env("REDIS_OPERATOR_REGISTRY_USER", USER).env("REDIS_OPERATOR_REGISTRY_PASSWORD", PASSWORD);
    super::said(&command.output().unwrap());
    assert_eq!(std::fs::read(&output).unwrap(), EMBEDDED);
    assert!(realm.has_seen(BASIC) && !registry.has_seen(BASIC));
    // Its own host.
    let own = Fake::start(true, |head, own| match artifact(head) {
        Some(answer) if says(head, "authorization: bearer t\r\n") => answer,
        None if says(head, BASIC) => found(br#"{"token": "T"}"#.to_vec()),
        Some(_) | None => refused("401 Unauthorized", bearer(&format!("https://{own}/token"))),
    });
    assert!(pulled(&own.address, &own.address, &[]).status.success());
}

#[test]
fn what_a_redirect_leads_to_gets_no_login() {
    let blobs = Fake::start(true, |head, _| {
        let has_login = says(head, "authorization:");
        if has_login { refused("400 Bad Request", String::new()) } else { found(EMBEDDED.to_vec()) }
    });
    let to = format!("Location: https://{}/elsewhere\r\n", blobs.address);
    let registry = Fake::start(true, move |head, _| match artifact(head) {
        Some(_) if !says(head, BASIC) => refused("401 Unauthorized", basic()),
        Some(_) if head.starts_with("GET /v2/mine/blobs/") => {
            ("307 Temporary Redirect".into(), to.clone(), vec![])
        }
        Some(answer) => answer,
        None => refused("404 Not Found", String::new()),
    });
    assert!(pulled(&registry.address, &registry.address, &[]).status.success());
    assert!(blobs.requests() > 0 && !blobs.has_seen("authorization:"));
}

fn anonymous(reach: Reach) -> Remote {
    Remote::new(Logins::default(), reach, 1 << 20).unwrap()
}

#[tokio::test]
async fn no_word_of_another_server_is_in_an_error() {
    for (status, is_it) in [
        ("500 Internal Server Error", "500"),
        ("418 I am a teapot", "418"),
        ("403 Forbidden", "403"),
        ("404 Not Found", "not found"),
    ] {
        let status = status.to_owned();
        let server = Fake::start(false, move |_, _| refused(&status, String::new()));
        let remote = anonymous(Reach::anywhere());
        let image: Reference = format!("{}/mine:1", server.address).parse().unwrap();
        let errors = [
            remote.download(&format!("http://{}/file", server.address)).await.unwrap_err(),
            remote.pull(&image, true).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(is_it) && !error.to_string().contains(WORDS), "{error}");
        }
    }
    // A manifest that is none, and one of something else.
    for body in [WORDS.to_owned(), json!({ "layers": WORDS }).to_string(), {
        json!({ "layers": [{ "mediaType": WORDS, "digest": WORDS, "size": 1 }] }).to_string()
    }] {
        let server = Fake::start(false, move |_, _| found(body.clone().into_bytes()));
        let image: Reference = format!("{}/mine:1", server.address).parse().unwrap();
        let error = anonymous(Reach::anywhere()).pull(&image, true).await.unwrap_err();
        assert!(matches!(error, FetchError::NoComponent(_)) && !error.to_string().contains(WORDS), "{error}");
    }
    // The address of a redirect.
    let server = Fake::start(false, |_, _| {
        let to = format!("Location: http://127.0.0.1:1/{WORDS}\r\n");
        ("302 Found".into(), to, vec![])
    });
    let error = anonymous(Reach::anywhere()).download(&format!("http://{}/", server.address)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("redirected to 127.0.0.1:1") && !error.contains(WORDS), "{error}");
}

#[tokio::test]
async fn private_addresses_are_not_asked_by_any_name_or_redirect() {
    let inside = Fake::start(false, |_, _| found(EMBEDDED.to_vec()));
    let port = inside.address.rsplit(':').next().unwrap();
    let remote = anonymous(Reach::within(vec![], false));
    for host in
        ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[::1]"]
    {
        let error = remote.download(&format!("http://{host}:{port}/")).await.unwrap_err().to_string();
        assert!(error.contains("--policy-allow-private"), "{host}: {error}");
    }
    assert_eq!(inside.requests(), 0);
    // The host may be asked, and what it redirects to may not.
    let to = format!("Location: http://localhost:{port}/\r\n");
    let outside = Fake::start(false, move |_, _| ("302 Found".into(), to.clone(), vec![]));
    let listed: HostRule = outside.address.parse().unwrap();
    let remote = anonymous(Reach::within(vec![listed.clone()], true));
    let error = remote.download(&format!("http://{}/", outside.address)).await.unwrap_err().to_string();
    assert!(error.contains("--policy-hosts") && error.contains("localhost"), "{error}");
    assert_eq!((outside.requests(), inside.requests()), (1, 0));
    let both = vec![listed, format!("localhost:{port}").parse().unwrap()];
    let remote = anonymous(Reach::within(both, true));
    assert_eq!(remote.download(&format!("http://{}/", outside.address)).await.unwrap(), EMBEDDED);
}

#[tokio::test]
async fn an_upload_to_another_host_gets_no_login() {
    let other = Fake::start(false, |_, _| ("201 Created".into(), String::new(), vec![]));
    let to = format!("Location: http://{}/upload\r\n", other.address);
    let registry = Fake::start(false, move |head, own| {
        if is_for(head, "/token?service=here&scope=repository:mine:pull") {
            found(br#"{"token": "T"}"#.to_vec())
        } else if !says(head, "authorization: bearer t\r\n") {
            refused("401 Unauthorized", bearer(&format!("http://{own}/token")))
        } else if head.starts_with("POST ") {
            ("202 Accepted".into(), to.clone(), vec![])
        } else if head.starts_with("PUT ") {
            ("201 Created".into(), String::new(), vec![])
        } else {
            refused("404 Not Found", String::new())
        }
    });
    let image: Reference = format!("{}/mine:1", registry.address).parse().unwrap();
    anonymous(Reach::anywhere()).push(EMBEDDED, &[], &image, true).await.unwrap();
    assert!(registry.has_seen("authorization: bearer t") && other.requests() == 2);
    assert!(!other.has_seen("authorization:"));
}

#[tokio::test]
async fn a_login_of_a_secret_counts_in_place_of_the_operator_s() {
    let server = Fake::start(true, closed());
    let image: Reference = format!("{}/mine:1", server.address).parse().unwrap();
    let config = json!({ "auths": { &server.address: { "username": USER, "password": PASSWORD } } });
    let login = Logins::in_config(config.to_string().as_bytes(), &image.registry).unwrap();
    assert_eq!(login, Some(Login { user: USER.into(), password: PASSWORD.into() }));
    assert_eq!(Logins::in_config(config.to_string().as_bytes(), "ghcr.io"), Ok(None));
    let broken = Logins::in_config(WORDS.as_bytes(), "ghcr.io").unwrap_err();
    assert!(!broken.contains(WORDS), "{broken}");
    let given = GivenLogin { registry: Some(image.registry.clone()), login: login.unwrap() };
    let logins = Logins { given: Some(given), ..Logins::default() };
    // The certificate is not trusted here: nothing is sent at all.
    let remote = Remote::new(logins, Reach::anywhere(), 1 << 20).unwrap();
    assert!(matches!(remote.pull_as(None, &image, false).await, Err(FetchError::Unreachable { .. })));
    assert_eq!(server.requests(), 0);
}
