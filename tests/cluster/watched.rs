//! RedisFailover with real Sentinels: modes Assisted and Deferred. Clients of Sentinel write all the time.

use super::redisfailover::{Version, all_name, condition, name_of, pods, settled, status};
use super::rig::Operator;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use redis::aio::MultiplexedConnection;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, Signal, is_ready, until};
use tokio::task::{AbortHandle, JoinHandle};

/// Looks its master up at the Sentinels, as client libraries do, and writes one key after the other, for as
/// long as it lives.
pub struct SentinelClient {
    /// The numbers that were acknowledged, when, and whether a replica had each before the next was sent.
    written: Arc<Mutex<Vec<(u64, Instant, bool)>>>,
    task: AbortHandle,
}

impl SentinelClient {
    /// Returns once it has written something. `sentinels`: addresses.
    pub async fn start(sentinels: Vec<String>, password: Option<&'static str>) -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(write(sentinels, password, Arc::clone(&written))).abort_handle();
        let client = Self { written, task };
        client.go_on(1).await;
        client
    }

    /// Waits for so many more writes.
    pub async fn go_on(&self, writes: usize) {
        let target = self.count() + writes;
        until("writes go on", async || (self.count() >= target).then_some(())).await;
    }

    pub fn count(&self) -> usize {
        self.written.lock().unwrap().len()
    }

    /// The longest time between two writes since then.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let written = self.written.lock().unwrap();
        let at: Vec<Instant> = written.iter().map(|write| write.1).filter(|at| *at >= since).collect();
        let pauses = at.windows(2).map(|two| two[1] - two[0]);
        pauses.max().unwrap_or_default().max(at.first().map(|first| *first - since).unwrap_or_default())
    }

    /// Ends, and counts what that instance has not: of all that was acknowledged, and of what had reached a
    /// replica.
    pub async fn lost(self, address: &str, password: Option<&str>) -> (usize, usize) {
        self.task.abort();
        let written = self.written.lock().unwrap().clone();
        let mut connection = connect(address, 6379, password).await.unwrap();
        let (mut lost, mut lost_replicated) = (0, 0);
        for some in written.chunks(1000) {
            let mut pipeline = redis::pipe();
            some.iter().for_each(|(number, ..)| _ = pipeline.cmd("EXISTS").arg(number));
            let held: Vec<bool> = pipeline.query_async(&mut connection).await.unwrap();
            lost += held.iter().filter(|held| !**held).count();
            lost_replicated +=
                some.iter().zip(&held).filter(|((.., copied), held)| *copied && !**held).count();
        }
        (lost, lost_replicated)
    }
}

impl Drop for SentinelClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(address: &str, port: u16, password: Option<&str>) -> Option<MultiplexedConnection> {
    let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let client = redis::Client::open(format!("redis://{login}{address}:{port}/")).ok()?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(2)));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

async fn write(
    sentinels: Vec<String>,
    password: Option<&str>,
    written: Arc<Mutex<Vec<(u64, Instant, bool)>>>,
) {
    let mut number = 0;
    for turn in 0.. {
        let sentinel = &sentinels[turn % sentinels.len()];
        let Some(mut connection) = reach(sentinel, password).await else {
            tokio::time::sleep(PACE).await;
            continue;
        };
        loop {
            number += 1;
            let mut pipeline = redis::pipe();
            pipeline.cmd("SET").arg(number).arg(number).cmd("WAIT").arg(1).arg(20);
            let Ok((_, copies)) = pipeline.query_async::<(String, u64)>(&mut connection).await else { break };
            written.lock().unwrap().push((number, Instant::now(), copies > 0));
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn reach(sentinel: &str, password: Option<&str>) -> Option<MultiplexedConnection> {
    let mut asked = connect(sentinel, 26379, None).await?;
    let words = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg("mymaster").to_owned();
    let (host, port): (String, u16) = words.query_async(&mut asked).await.ok()?;
    connect(&host, port, password).await
}

/// Between two writes, and two attempts.
const PACE: Duration = Duration::from_millis(2);

/// What a Sentinel tells its subscribers, from now on.
pub struct Listener(JoinHandle<()>, Arc<Mutex<Vec<(Instant, String)>>>);

impl Listener {
    /// Of changes of master.
    pub async fn start(sentinel: &str) -> Self {
        Self::to(sentinel, &["+switch-master"]).await
    }

    pub async fn to(sentinel: &str, channels: &[&str]) -> Self {
        let client = redis::Client::open(format!("redis://{sentinel}:26379/")).unwrap();
        let mut listener = client.get_async_pubsub().await.unwrap();
        listener.subscribe(channels).await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(message) = listener.on_message().next().await {
                let text = message.get_payload::<String>().unwrap_or_default();
                known.lock().unwrap().push((Instant::now(), text));
            }
        });
        Self(task, heard)
    }

    pub fn heard(&self) -> Vec<(Instant, String)> {
        self.1.lock().unwrap().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub async fn addresses(cluster: &Cluster, at: (&str, &str), component: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for pod in pods(cluster, at, component).await {
        addresses.push(cluster.address(at.0, &name_of(&pod)).await.unwrap());
    }
    addresses
}

/// A group of three instances and three Sentinels in that mode.
pub async fn made(cluster: &Cluster, at: (&str, &str), mode: &str, further: &str) -> String {
    let (namespace, name) = at;
    cluster
        .apply(&format!(
            "apiVersion: databases.spotahome.com/v1\nkind: RedisFailover\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  sentinel: {{mode: {mode}, customConfig: [down-after-milliseconds 1500, failover-timeout 3000]}}\n{further}"
        ))
        .await;
    let began = Instant::now();
    let master = settled(cluster, at, Version::V1, (3, 3)).await;
    let seconds = began.elapsed().as_secs_f32();
    println!("{mode}: a group of three with three Sentinels after {seconds:.1} s");
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    all_name(cluster, at, "mymaster", &master, 6379).await;
    master
}

pub async fn patch(cluster: &Cluster, (namespace, name): (&str, &str), patch: &str) {
    let words = [
        "patch",
        "redisfailover.databases.spotahome.com",
        name,
        "--type",
        "merge",
        "-p",
        patch,
        "-n",
        namespace,
    ];
    cluster.kubectl(&words).await.unwrap();
}

pub async fn another_master(cluster: &Cluster, at: (&str, &str), than: &str) -> String {
    until("another master", async || {
        status(cluster, at, Version::V1).await?.group.master.filter(|next| next != than)
    })
    .await
}

pub async fn with_sentinels_assisted_a_killed_master_and_a_switchover_are_told_by_them_once(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\nstringData: {{password: s3cret}}\n"
    );
    cluster.apply(&secret).await;
    let at = (namespace, "cart");
    let master = made(cluster, at, "Assisted", "  auth: {secretPath: login}\n").await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let mut listeners = Vec::new();
    for sentinel in &sentinels {
        listeners.push(Listener::start(sentinel).await);
    }
    let password = Some("s3cret");
    let client = SentinelClient::start(sentinels.clone(), password).await;
    client.go_on(50).await;

    // A planned change loses nothing.
    let began = Instant::now();
    patch(cluster, at, r#"{"spec":{"switchover":{"id":"one"}}}"#).await;
    let second = another_master(cluster, at, &master).await;
    until("all Sentinels told it", async || {
        listeners.iter().all(|listener| listener.heard().len() == 1).then_some(())
    })
    .await;
    client.go_on(50).await;
    println!("Assisted: a switchover kept a client from writing for {:?}", client.longest_pause(began));
    let address = cluster.address(namespace, &second).await.unwrap();
    let (lost, _) = client.lost(&address, password).await;
    assert_eq!(lost, 0);
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, second);
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;

    // A killed master.
    let client = SentinelClient::start(sentinels.clone(), password).await;
    client.go_on(50).await;
    let killed = Instant::now();
    cluster.running(namespace, &second).signal("redis", Signal::Kill);
    until("all Sentinels told it", async || {
        listeners.iter().all(|listener| listener.heard().len() == 2).then_some(())
    })
    .await;
    let told = listeners.iter().filter_map(|listener| listener.heard().last().map(|(at, _)| *at - killed));
    println!("Assisted: all Sentinels told of the next master {:?} after SIGKILL", told.max().unwrap());
    let third = another_master(cluster, at, &second).await;
    client.go_on(50).await;
    println!("Assisted: the kill kept a client from writing for {:?}", client.longest_pause(killed));
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, third);
    all_name(cluster, at, "mymaster", &third, 6379).await;
    let (_, lost_replicated) =
        client.lost(&cluster.address(namespace, &third).await.unwrap(), password).await;
    assert_eq!(lost_replicated, 0);

    // A Sentinel that is replaced knows nothing at first, and is told.
    let gone = name_of(&pods(cluster, at, "sentinel").await[0]);
    cluster.kubectl(&["delete", "pod", &gone, "-n", namespace]).await.unwrap();
    until("another Sentinel is ready", async || {
        let all = pods(cluster, at, "sentinel").await;
        let is_new = |pod: &Pod| name_of(pod) != gone;
        (all.len() == 3 && all.iter().all(|pod| is_new(pod) && is_ready(pod))).then_some(())
    })
    .await;
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, third);
    for listener in &listeners {
        assert!(listener.heard().len() <= 2, "nobody overturned it: {:?}", listener.heard());
    }
    drop(operator);
}

pub async fn with_sentinels_deferred_they_promote_and_the_operator_follows(
    cluster: &Cluster,
    namespace: &str,
) {
    let operator = Operator::start(cluster, namespace);
    let at = (namespace, "cart");
    let master = made(cluster, at, "Deferred", "").await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let listener = Listener::start(&sentinels[0]).await;
    let client = SentinelClient::start(sentinels.clone(), None).await;
    client.go_on(50).await;
    let before = promotions(&operator);
    let killed = Instant::now();
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    until("the Sentinel told it", async || (listener.heard().len() == 1).then_some(())).await;
    let told = listener.heard()[0].0 - killed;
    let next = another_master(cluster, at, &master).await;
    client.go_on(50).await;
    println!(
        "Deferred: the Sentinels told of the next master {told:?} after SIGKILL, and no write for {:?}",
        client.longest_pause(killed)
    );
    assert_eq!(promotions(&operator), before, "the operator promoted nobody");
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, next);
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    let (_, lost) = client.lost(&cluster.address(namespace, &next).await.unwrap(), None).await;
    assert_eq!(lost, 0);
}

/// How many promotions the operator has sent.
fn promotions(operator: &Operator) -> usize {
    let log = operator.log();
    log.lines().filter(|line| line.contains("action sent") && line.contains("Promote")).count()
}
