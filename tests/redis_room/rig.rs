//! Servers and links for one test. Everything ends with it.

use redis_operator::contract::{FailureKind, Value};
use redis_operator::contract::{InstanceKind, Topology};
use redis_operator::local::{Server, ServerSettings, free_ports};
use redis_operator::redis::{
    Connection, Credentials, Endpoint, Link, LinkEvent, LinkSettings, Probe, Tls, act,
};
use redis_operator::topology::commands;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longer than any step takes, even on a busy machine; no test waits until it is over.
pub const SOON: Duration = Duration::from_secs(10);

pub fn soon() -> Instant {
    Instant::now() + SOON
}

pub fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seed = u64::from(std::process::id()) * 4096 + NEXT.fetch_add(1, Ordering::Relaxed);
    free_ports(seed, 1).unwrap()[0]
}

/// The directories of one test's servers.
pub struct Rig(tempfile::TempDir);

impl Rig {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn settings(&self, boot: Option<&Endpoint>, arguments: &[&str]) -> ServerSettings {
        let endpoint = Endpoint { host: "127.0.0.1".into(), port: free_port() };
        let follows = boot
            .iter()
            .flat_map(|master| ["--replicaof".to_owned(), master.host.clone(), master.port.to_string()]);
        let arguments = follows.chain(arguments.iter().map(ToString::to_string));
        ServerSettings {
            program: std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into()).into(),
            dir: self.path(&endpoint.port.to_string()),
            endpoint,
            arguments: arguments.collect(),
            sentinel: None,
        }
    }

    pub async fn start(&self, settings: ServerSettings) -> Server {
        let mut server = Server::start(settings).unwrap();
        server.ready(soon()).await.unwrap();
        server
    }

    /// A server that waits for its role.
    pub async fn idle(&self, arguments: &[&str]) -> Server {
        self.start(self.settings(None, arguments)).await
    }

    pub async fn idle_with(&self, arguments: Vec<String>) -> Server {
        self.start(ServerSettings { arguments, ..self.settings(None, &[]) }).await
    }

    /// A master, and a link to it that has answered.
    pub async fn master(&self) -> (Server, Probed) {
        let server = self.idle(&[]).await;
        let mut probed = Probed::new(server.endpoint());
        act::promote(&probed.connection().await, soon()).await.unwrap();
        (server, probed)
    }

    /// A replica of `master` that receives its stream, and a link to it that has answered.
    pub async fn replica(&self, master: &Endpoint) -> (Server, Probed) {
        let server = self.start(self.settings(Some(master), &[])).await;
        let mut probed = Probed::new(server.endpoint());
        probed.until("INFO replication", "master_link_status:up").await;
        let row = format!("port={},state=online", server.endpoint().port);
        Probed::new(master).until("INFO replication", &row).await;
        (server, probed)
    }
}

/// A link with its events.
pub struct Probed {
    pub link: Link,
    events: UnboundedReceiver<LinkEvent>,
}

pub fn link_settings(endpoint: &Endpoint) -> LinkSettings {
    LinkSettings {
        network: None,
        endpoint: endpoint.clone(),
        logins: None.into(),
        tls: None,
        dial_deadline: Duration::from_secs(2),
        redial_after: SOON,
        probe: Arc::new(Probe::new(&commands(Topology::Replication, InstanceKind::Redis, &[]))),
    }
}

impl Probed {
    pub fn new(endpoint: &Endpoint) -> Self {
        Self::with(link_settings(endpoint))
    }

    pub fn with(settings: LinkSettings) -> Self {
        let (sender, events) = unbounded_channel();
        Self {
            link: Link::new("it".into(), settings, Arc::new(move |event| drop(sender.send(event)))),
            events,
        }
    }

    pub fn logged_in(endpoint: &Endpoint, user: Option<&str>, password: &str, tls: Option<Tls>) -> Self {
        let logins = Some(Credentials::new(user.map(ToString::to_string), password).unwrap()).into();
        Self::with(LinkSettings { logins, tls, ..link_settings(endpoint) })
    }

    pub async fn event(&mut self) -> LinkEvent {
        tokio::time::timeout(SOON, self.next()).await.expect("no event").expect("the link lives")
    }

    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }

    /// Probes, and returns the connection's number and its replies.
    pub async fn answer(&mut self) -> (u64, Replies) {
        self.link.probe();
        match self.event().await {
            LinkEvent::Answered { link, replies, .. } => (link, Replies(replies)),
            other => panic!("{other:?}"),
        }
    }

    /// Probes, and returns why it failed.
    pub async fn failure(&mut self) -> (FailureKind, String) {
        self.link.probe();
        match self.event().await {
            LinkEvent::Failed { kind, text, .. } => (kind, text),
            other => panic!("{other:?}"),
        }
    }

    pub async fn connection(&mut self) -> Connection {
        let (number, _) = self.answer().await;
        self.link.connection(number).unwrap()
    }

    /// Probes until a reply contains `wanted`.
    pub async fn until(&mut self, command: &str, wanted: &str) -> String {
        let deadline = soon();
        loop {
            let text = self.answer().await.1.text(command);
            if text.contains(wanted) {
                return text;
            }
            assert!(Instant::now() < deadline, "never {wanted}: {text}");
            tokio::task::yield_now().await;
        }
    }
}

pub struct Replies(pub Vec<(Arc<str>, Result<Value, redis_operator::redis::CommandFailure>)>);

impl Replies {
    pub fn text(&self, command: &str) -> String {
        match self.0.iter().find(|(name, _)| **name == *command).map(|(_, reply)| reply) {
            Some(Ok(Value::Text(text))) => text.text.clone(),
            other => panic!("{command}: {other:?}"),
        }
    }
}

/// A client of the servers under test, by the redis crate alone.
pub async fn client(endpoint: &Endpoint) -> redis::aio::MultiplexedConnection {
    redis::Client::open(format!("redis://{endpoint}"))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

/// Redis 6.2 and later. The tests run on whatever `REDIS_SERVER` names.
pub async fn has_write_pause(probed: &mut Probed) -> bool {
    let info = probed.answer().await.1.text("INFO server");
    let version = failover_core::facts::ServerFacts::parse(&info).version.unwrap();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
    (parts.next(), parts.next()) >= (Some(6), Some(2))
}
