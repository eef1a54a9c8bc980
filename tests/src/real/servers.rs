//! The servers of one group. Starts, signals, restarts and reads them; changes them only by explicit calls.

use super::{SOON, until};
use redis_operator::local::{Server, ServerSettings, Signal, free_ports};
use redis_operator::redis::Endpoint;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One group's servers, by their place. Dropping them ends them.
pub struct Servers {
    dir: tempfile::TempDir,
    seats: Vec<(ServerSettings, Option<Server>)>,
    login: Option<(String, String)>,
}

/// The rows of an INFO by name.
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Empty when there is no such row.
    pub fn row(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// 0 when there is no such row, or no number.
    pub fn number(&self, name: &str) -> u64 {
        self.row(name).parse().unwrap_or(0)
    }
}

/// What boots a server as a master, whatever its settings say: the later argument wins.
pub const AS_MASTER: [&str; 3] = ["--replicaof", "no", "one"];

impl Servers {
    /// A master, at place 0, and its replicas, all in sync.
    pub async fn group(count: usize, arguments: &[&str]) -> Self {
        let mut servers = Self::idle(count, arguments).await;
        servers.attach_all().await;
        servers
    }

    /// Replicas of themselves, as at a first start.
    pub async fn idle(count: usize, arguments: &[&str]) -> Self {
        let mut servers = Self::planned(count, arguments);
        servers.start_all().await;
        servers
    }

    /// Servers that do not run yet, of the version under test.
    pub fn planned(count: usize, arguments: &[&str]) -> Self {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into());
        Self::of(Path::new(&program), count, arguments)
    }

    /// Servers of that program that do not run yet.
    pub fn of(program: &Path, count: usize, arguments: &[&str]) -> Self {
        Self::at(program, &vec!["127.0.0.1".into(); count], arguments)
    }

    /// The same, each at a host of its own.
    pub fn at(program: &Path, hosts: &[String], arguments: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let dir = tempfile::tempdir().unwrap();
        let seed = (u64::from(std::process::id()) << 12) + NEXT.fetch_add(1, Ordering::Relaxed);
        let settings = |(host, port): (&String, u16)| ServerSettings {
            program: program.to_owned(),
            endpoint: Endpoint { host: host.clone(), port },
            dir: dir.path().join(port.to_string()),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            sentinel: None,
        };
        let ports = free_ports(seed, hosts.len()).unwrap();
        let seats = hosts.iter().zip(ports).map(|it| (settings(it), None)).collect();
        Self { dir, seats, login: None }
    }

    /// How [`Self::client`] logs in from now on.
    pub fn log_in_as(&mut self, user: &str, password: &str) {
        self.login = Some((user.into(), password.into()));
    }

    /// User and password of [`Self::client`].
    pub fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Further arguments of one server, from its next start on.
    pub fn arguments(&mut self, place: usize, arguments: &[&str]) {
        self.seats[place].0.arguments.extend(arguments.iter().map(ToString::to_string));
    }

    /// A folder that goes with the servers.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a server's files are.
    pub fn dir_of(&self, place: usize) -> &Path {
        &self.seats[place].0.dir
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seats.len()
    }

    /// Starts all that do not run.
    pub async fn start_all(&mut self) {
        for place in 0..self.count() {
            if self.seats[place].1.is_none() {
                self.start(place, &[]).await;
            }
        }
    }

    /// Makes place 0 the master and waits until all others are in sync with it.
    pub async fn attach_all(&mut self) {
        self.say(0, &["REPLICAOF", "NO", "ONE"]).await;
        for place in 1..self.count() {
            self.follow(place, 0).await;
        }
        self.in_sync(0).await;
    }

    /// Starts one, as a replica of itself unless `arguments` say otherwise; these hold for this start only.
    pub async fn start(&mut self, place: usize, arguments: &[&str]) {
        let (settings, running) = &mut self.seats[place];
        let mut once = settings.clone();
        once.arguments.extend(arguments.iter().map(ToString::to_string));
        let mut server = Server::start(once).unwrap();
        server.ready(Instant::now() + SOON).await.unwrap();
        *running = Some(server);
    }

    /// SIGKILL, without waiting for what comes of it. Returns right before the signal went out.
    pub fn kill(&mut self, place: usize) -> Instant {
        let now = Instant::now();
        self.signal(place, Signal::Kill);
        now
    }

    /// SIGKILL, and the process is gone.
    pub async fn end(&mut self, place: usize) {
        if let Some(mut server) = self.seats[place].1.take() {
            // It may have ended by itself.
            drop(server.signal(Signal::Kill));
            server.ended().await.unwrap();
        }
    }

    /// It was started, and not ended since.
    pub fn runs(&self, place: usize) -> bool {
        self.seats[place].1.is_some()
    }

    /// The master, if there is one and every other running server is in sync with it.
    pub async fn settled_now(&self) -> Option<usize> {
        match self.masters().await.as_slice() {
            [master] => self.is_in_sync(*master).await.then_some(*master),
            _ => None,
        }
    }

    /// Sends a signal.
    pub fn signal(&self, place: usize, signal: Signal) {
        self.seats[place].1.as_ref().unwrap().signal(signal).unwrap();
    }

    /// Where it listens.
    pub fn endpoint(&self, place: usize) -> &Endpoint {
        &self.seats[place].0.endpoint
    }

    /// As the operator calls it.
    pub fn id(&self, place: usize) -> String {
        self.endpoint(place).to_string()
    }

    /// As `--redis` takes them.
    pub fn list(&self) -> String {
        (0..self.count()).map(|place| self.id(place)).collect::<Vec<_>>().join(",")
    }

    /// A client of one.
    pub async fn client(&self, place: usize) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let login =
            self.login.as_ref().map_or_else(String::new, |(user, password)| format!("{user}:{password}@"));
        redis::Client::open(format!("redis://{login}{}", self.endpoint(place)))?
            .get_multiplexed_async_connection()
            .await
    }

    /// One command and its answer.
    pub async fn ask<T: redis::FromRedisValue>(&self, place: usize, words: &[&str]) -> redis::RedisResult<T> {
        let mut client = self.client(place).await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut client).await
    }

    /// One command that must succeed.
    pub async fn say(&self, place: usize, words: &[&str]) {
        self.ask::<redis::Value>(place, words).await.unwrap();
    }

    /// Makes one server follow another.
    pub async fn follow(&self, place: usize, master: usize) {
        let Endpoint { host, port } = self.endpoint(master);
        self.say(place, &["REPLICAOF", host, &port.to_string()]).await;
    }

    /// A section of INFO. None: it does not answer.
    pub async fn info(&self, place: usize, section: &str) -> Option<Facts> {
        let text: String = self.ask(place, &["INFO", section]).await.ok()?;
        Some(Facts(
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        ))
    }

    /// The servers that report role master.
    pub async fn masters(&self) -> Vec<usize> {
        let mut masters = Vec::new();
        for place in 0..self.count() {
            if self.seats[place].1.is_some()
                && self.info(place, "replication").await.is_some_and(|facts| facts.row("role") == "master")
            {
                masters.push(place);
            }
        }
        masters
    }

    /// Waits until `master` is master, and every other running server is its replica in sync.
    pub async fn in_sync(&self, master: usize) {
        until(&format!("{} is the master of all", self.id(master)), async || {
            self.is_in_sync(master).await.then_some(())
        })
        .await;
    }

    /// Waits until there is a master and every other running server is in sync with it. Returns the master.
    pub async fn settled(&self) -> usize {
        until("one master and all others in sync", async || self.settled_now().await).await
    }

    async fn is_in_sync(&self, master: usize) -> bool {
        let Some(at_master) = self.info(master, "replication").await else { return false };
        let port = self.endpoint(master).port.to_string();
        let mut replicas = 0;
        for place in (0..self.count()).filter(|place| *place != master && self.seats[*place].1.is_some()) {
            let Some(facts) = self.info(place, "replication").await else { return false };
            if facts.row("role") != "slave"
                || facts.row("master_port") != port
                || facts.row("master_link_status") != "up"
            {
                return false;
            }
            replicas += 1;
        }
        if at_master.row("role") != "master" || at_master.number("connected_slaves") != replicas {
            return false;
        }
        // After a full copy a link is up for most of a second before its stream flows: only what arrives
        // proves it.
        let Ok(mut client) = self.client(master).await else { return false };
        let published = redis::cmd("PUBLISH").arg("in-sync").arg("?").exec_async(&mut client).await;
        published.is_ok() && has_reached(&mut client, replicas).await
    }

    /// Writes `count` keys of one prefix, and waits until all replicas that are attached have them.
    pub async fn fill(&self, place: usize, prefix: &str, count: usize, bytes: usize) {
        let replicas = self.info(place, "replication").await.unwrap().number("connected_slaves");
        self.fill_until(place, prefix, count, bytes, replicas).await;
    }

    /// The same, and waits until so many replicas have them.
    pub async fn fill_until(&self, place: usize, prefix: &str, count: usize, bytes: usize, replicas: u64) {
        let value = "x".repeat(bytes);
        let mut client = self.client(place).await.unwrap();
        let mut pipeline = redis::pipe();
        for number in 0..count {
            pipeline.cmd("SET").arg(format!("{prefix}{number}")).arg(&value).ignore();
        }
        pipeline.exec_async(&mut client).await.unwrap();
        until("all replicas have the keys", async || has_reached(&mut client, replicas).await.then_some(()))
            .await;
    }

    /// How many of the keys of [`Self::fill`] a server has.
    pub async fn held(&self, place: usize, prefix: &str, count: usize) -> usize {
        let mut client = self.client(place).await.unwrap();
        let mut command = redis::cmd("EXISTS");
        for number in 0..count {
            command.arg(format!("{prefix}{number}"));
        }
        command.query_async(&mut client).await.unwrap()
    }

    /// How many keys it has; 0 when it does not answer.
    pub async fn size(&self, place: usize) -> u64 {
        self.ask(place, &["DBSIZE"]).await.unwrap_or(0)
    }
}

/// Whether so many replicas have, soon, everything that this client wrote. WAIT counts from the client's own
/// last write.
async fn has_reached(client: &mut redis::aio::MultiplexedConnection, replicas: u64) -> bool {
    let reached: redis::RedisResult<u64> =
        redis::cmd("WAIT").arg(replicas).arg(100).query_async(client).await;
    reached.is_ok_and(|reached| reached >= replicas)
}
