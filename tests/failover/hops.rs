//! Servers that are reached through something else: proxies, mapped ports, a second address. Such a hop is no
//! server: its end is no death, and its address no identity.

use redis_operator::group::Report;
use redis_operator::local::Signal;
use redis_operator::redis::Endpoint;
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Operator, Servers, Terms, Writers, access_of, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards to a server from a port of its own.
struct Hop {
    endpoint: Endpoint,
    to: Endpoint,
    /// Only an operator's side of it: a replica's handshake is cut.
    is_closed_to_replicas: bool,
    is_held: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl Hop {
    async fn start(to: &Endpoint, is_closed_to_replicas: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { host: "127.0.0.1".into(), port };
        let is_held = watch::Sender::new(false);
        let mut hop = Self { endpoint, to: to.clone(), is_closed_to_replicas, is_held, accepting: None };
        hop.accept(listener);
        hop
    }

    fn accept(&mut self, listener: TcpListener) {
        let (to, held, is_closed) = (self.to.clone(), self.is_held.subscribe(), self.is_closed_to_replicas);
        self.accepting = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (to, held) = (to.clone(), held.clone());
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect((to.host.as_str(), to.port)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(from_client, to_server, held.clone(), is_closed) => {}
                        () = pass(from_server, to_client, held, false) => {}
                    }
                });
            }
        }));
    }

    /// Ends: connections close, new ones are refused.
    async fn stop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            drop(accepting.await);
        }
    }

    /// Starts again at its port.
    async fn resume(&mut self) {
        self.accept(TcpListener::bind(("127.0.0.1", self.endpoint.port)).await.unwrap());
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
    is_closed_to_replicas: bool,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if is_closed_to_replicas && bytes[..length].windows(8).any(|word| word == b"REPLCONF") {
            return;
        }
        if held.wait_for(|is_held| !*is_held).await.is_err() || to.write_all(&bytes[..length]).await.is_err()
        {
            return;
        }
    }
}

async fn hops(servers: &Servers, is_closed_to_replicas: bool) -> Vec<Hop> {
    let mut hops = Vec::new();
    for place in 0..servers.count() {
        hops.push(Hop::start(servers.endpoint(place), is_closed_to_replicas).await);
    }
    hops
}

async fn look_after(endpoints: Vec<Endpoint>, terms: Terms) -> Operator {
    let access = access_of(&terms, None);
    Operator::at(&endpoints, terms, access).await
}

fn ends(hops: &[Hop]) -> Vec<Endpoint> {
    hops.iter().map(|hop| hop.endpoint.clone()).collect()
}

#[tokio::test]
async fn a_group_behind_mapped_ports_is_left_alone_and_fails_over_by_its_own_addresses() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    let hops = hops(&servers, true).await;
    let operator = look_after(ends(&hops), Terms::default()).await;
    operator.healthy(&hops[0].endpoint.to_string()).await;
    assert_eq!(operator.sent_within(Duration::from_millis(500)).await, [] as [String; 0]);
    servers.end(0).await;
    // By their own ports, which no list has.
    let master = servers.settled().await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
    assert_eq!(servers.held(0, "k", 100).await, 100);
    operator.healthy(&hops[master].endpoint.to_string()).await;
    // A planned change, too.
    operator.handle.switch_over(Some(hops[0].endpoint.to_string()));
    servers.in_sync(0).await;
    operator.healthy(&hops[0].endpoint.to_string()).await;
}

#[tokio::test]
async fn a_proxy_that_restarts_in_front_of_the_master_is_no_death() {
    let servers = Servers::group(3, &[]).await;
    let mut hops = hops(&servers, false).await;
    for (place, hop) in hops.iter().enumerate() {
        let port = hop.endpoint.port.to_string();
        servers.say(place, &["CONFIG", "SET", "replica-announce-port", &port]).await;
    }
    let port = hops[0].endpoint.port.to_string();
    for place in 1..3 {
        servers.say(place, &["REPLICAOF", "127.0.0.1", &port]).await;
    }
    let operator = look_after(ends(&hops), Terms::default()).await;
    operator.healthy(&hops[0].endpoint.to_string()).await;
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    hops[0].stop().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    hops[0].resume().await;
    operator.healthy(&hops[0].endpoint.to_string()).await;
    writers.go_on(100).await;
    let writes = writers.stop();
    assert_eq!(operator.sent(), [] as [String; 0], "{}", operator.last());
    assert_eq!(servers.masters().await, [0]);
    assert!(Acknowledged::lost(&writes, &servers, 0).await.is_empty());
}

#[tokio::test]
async fn an_idle_master_that_only_the_operator_does_not_reach_is_kept() {
    let servers = Servers::group(3, &[]).await;
    for place in 0..3 {
        servers.say(place, &["CONFIG", "SET", "repl-ping-replica-period", "10"]).await;
    }
    let hop = Hop::start(servers.endpoint(0), true).await;
    let endpoints = vec![hop.endpoint.clone(), servers.endpoint(1).clone(), servers.endpoint(2).clone()];
    let operator = look_after(endpoints, Terms::default()).await;
    operator.healthy(&hop.endpoint.to_string()).await;
    // Since the last heartbeat, longer than the hang limit.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    hop.is_held.send_replace(true);
    operator
        .until_report("the long heartbeat is named", |report| {
            matches!(report, Report::Decided(decided) if decided.decision.reason == "heartbeat-waiting"
                && decided.decision.explanation.contains("repl-ping-replica-period"))
        })
        .await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    hop.is_held.send_replace(false);
    operator.healthy(&hop.endpoint.to_string()).await;
    assert_eq!(operator.sent(), [] as [String; 0], "{}", operator.last());
    assert_eq!(servers.masters().await, [0]);
}

#[tokio::test]
async fn a_master_that_hangs_under_load_is_replaced_at_the_limit_whatever_its_heartbeat() {
    let servers = Servers::group(3, &[]).await;
    for place in 0..3 {
        servers.say(place, &["CONFIG", "SET", "repl-ping-replica-period", "10"]).await;
    }
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::start(&servers);
    writers.go_on(300).await;
    // A position of the stream is on record by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stopped = Instant::now();
    servers.signal(0, Signal::Stop);
    let first = writers.first_elsewhere(0, stopped).await;
    assert!(first.at - stopped < Duration::from_millis(3000), "{:?}", first.at - stopped);
    servers.signal(0, Signal::Continue);
    drop(writers.stop());
    assert_eq!(servers.settled().await, first.place);
}

#[tokio::test]
async fn one_server_under_two_addresses_counts_once_and_is_replaced_when_it_dies() {
    let mut servers = Servers::group(2, &["--bind", "127.0.0.1", "127.0.0.2"]).await;
    let second = Endpoint { host: "127.0.0.2".into(), port: servers.endpoint(0).port };
    let endpoints = vec![second, servers.endpoint(0).clone(), servers.endpoint(1).clone()];
    let operator = look_after(endpoints, Terms::default()).await;
    let writers = Writers::start(&servers);
    operator
        .decided("the second address is named", |decided| {
            decided.decision.reason == "replica-missing"
                && decided.decision.explanation.contains("list every server once")
        })
        .await;
    writers.go_on(200).await;
    assert_eq!(operator.sent_within(Duration::from_millis(300)).await, [] as [String; 0]);
    drop(writers.stop());
    assert_eq!(servers.masters().await, [0]);
    servers.end(0).await;
    until("the replica is promoted", async || {
        (servers.info(1, "replication").await?.row("role") == "master").then_some(())
    })
    .await;
    servers.start(0, &[]).await;
    servers.in_sync(1).await;
}
