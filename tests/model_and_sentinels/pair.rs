//! Real servers and Sentinels, and those of the model at the same addresses, to which the same happens. The
//! model's time is the real one.

use redis::Value;
use redis_model::Server;
use redis_model::live::{Boot, Cluster, Files, Happened, Life, Timing, Watching as Settings};
use redis_operator::local::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::real::{AS_MASTER, MASTER_NAME, SOON, Sentinels, Servers, Watching, Wire};

pub struct Pair {
    servers: Servers,
    sentinels: Sentinels,
    model: Cluster,
    begun: Instant,
    /// The ids of Sentinels, real ones and the model's.
    ids: Vec<(String, String)>,
    /// Which Sentinel of the model published what.
    heard: BTreeSet<(usize, &'static str)>,
    /// Elections are won at random: epochs and votes are not compared, only that there is an epoch.
    pub is_random: bool,
}

/// The fields that the operator reads, and that no clock changes.
const FIELDS: [&str; 14] = [
    "config-epoch",
    "down-after-milliseconds",
    "failover-timeout",
    "flags",
    "ip",
    "master-host",
    "master-port",
    "name",
    "num-other-sentinels",
    "num-slaves",
    "parallel-syncs",
    "port",
    "quorum",
    "slave-priority",
];
/// The same, of elections that no chance decides.
const VOTES: [&str; 2] = ["voted-leader", "voted-leader-epoch"];

impl Pair {
    /// A master, two replicas, and Sentinels that know all of them.
    pub async fn start(program: &Path, watching: &Watching) -> Self {
        let mut servers = Servers::of(program, 3, &["--repl-diskless-sync-delay", "0"]);
        servers.start_all().await;
        servers.attach_all().await;
        let sentinels = Sentinels::unprepared(program, &servers, watching);
        let mut model = Cluster::new(Timing {
            latency_us: 100,
            copy_delay_us: 1_000,
            transfer_us: 1_000,
            load_us: 1_000,
            repl_timeout_us: 60_000_000,
            ping_us: 10_000_000,
            backlog_bytes: 1 << 20,
        });
        let place = |endpoint: &redis_operator::redis::Endpoint| (endpoint.host.clone(), endpoint.port);
        for number in 0..servers.count() {
            let (host, port) = place(servers.endpoint(number));
            model.add(Server { host, port, ..Server::new(number + 1) }, Files::None, &[]);
            model.start(number, if number == 0 { Boot::Master } else { Boot::Following(0) });
        }
        model.advance(1_000_000);
        for number in 0..sentinels.count() {
            let at: redis_operator::redis::Endpoint = sentinels.id(number).parse().unwrap();
            let settings = Settings {
                name: MASTER_NAME.into(),
                quorum: (watching.count / 2 + 1) as u64,
                down_after_ms: watching.down_after_ms.into(),
                failover_timeout_ms: watching.failover_timeout_ms.into(),
                parallel_syncs: 1,
            };
            let sentinel = model.add_sentinel(place(&at), settings, place(servers.endpoint(0)));
            model.start_sentinel(sentinel);
        }
        let own = |number| match sentinels.ask(number, &["SENTINEL", "MYID"]) {
            Value::BulkString(id) => String::from_utf8(id).unwrap(),
            other => panic!("{other:?}"),
        };
        let ids =
            (0..sentinels.count()).map(|number| (own(number), model.sentinels()[number].id().to_owned()));
        let (ids, begun, heard) = (ids.collect(), Instant::now(), BTreeSet::new());
        let mut pair = Self { servers, sentinels, model, begun, ids, heard, is_random: false };
        pair.agree("at rest").await;
        pair
    }

    /// The address of a server.
    pub fn at(&self, server: usize) -> (String, String) {
        let at = self.servers.endpoint(server);
        (at.host.clone(), at.port.to_string())
    }

    /// The port of a Sentinel.
    pub fn port(&self, sentinel: usize) -> String {
        self.sentinels.id(sentinel).rsplit_once(':').unwrap().1.to_owned()
    }

    /// Both get a command, and reply the same. `<N>` stands for the id of Sentinel N.
    pub fn ask(&mut self, sentinel: usize, words: &[&str]) -> String {
        self.pass();
        let with = |id: fn(&(String, String)) -> &String| -> Vec<String> {
            let word = |word: &&str| {
                let ids = self.ids.iter().enumerate();
                ids.fold((*word).to_owned(), |word, (number, ids)| {
                    word.replace(&format!("<{number}>"), id(ids))
                })
            };
            words.iter().map(word).collect()
        };
        let (here, there) = (with(|ids| &ids.0), with(|ids| &ids.1));
        let of = |words: &[String]| words.iter().map(String::as_str).collect::<Vec<_>>().join("\u{1}");
        let (here, there) = (of(&here), of(&there));
        let here: Vec<&str> = here.split('\u{1}').collect();
        let there: Vec<&str> = there.split('\u{1}').collect();
        let real = self.plain(&self.sentinels.ask(sentinel, &here));
        let said = self.model.ask_sentinel(sentinel, &there);
        let said = self.plain(&redis::parse_redis_value(said.as_bytes()).unwrap());
        assert_eq!(real, said, "sentinel {sentinel}, {words:?}");
        real
    }

    /// Both servers get a command of a person's.
    pub fn say(&mut self, server: usize, words: &[&str]) {
        self.pass();
        Wire::to(&self.servers.id(server)).unwrap().ask(words);
        self.model.ask(server, &mut redis_model::live::Session::default(), words);
    }

    pub async fn kill_server(&mut self, server: usize) {
        self.pass();
        self.servers.end(server).await;
        self.model.kill(server, false);
    }

    /// It starts again, as a master.
    pub async fn start_server(&mut self, server: usize) {
        self.pass();
        self.servers.start(server, &AS_MASTER).await;
        self.model.start(server, Boot::Master);
    }

    pub fn kill_sentinel(&mut self, sentinel: usize) {
        self.pass();
        self.sentinels.end(sentinel);
        self.model.kill_sentinel(sentinel);
    }

    pub fn start_sentinel(&mut self, sentinel: usize) {
        self.pass();
        self.sentinels.start_again(sentinel);
        self.model.start_sentinel(sentinel);
    }

    /// SIGSTOP, and SIGCONT after a while.
    pub async fn stop_sentinel_for(&mut self, sentinel: usize, time: Duration) {
        self.pass();
        self.sentinels.signal(sentinel, "STOP");
        self.model.stop_sentinel(sentinel);
        tokio::time::sleep(time).await;
        self.pass();
        self.sentinels.signal(sentinel, "CONT");
        self.model.resume_sentinel(sentinel);
    }

    /// A server hangs for a while.
    pub async fn stop_server_for(&mut self, server: usize, time: Duration) {
        self.pass();
        self.servers.signal(server, Signal::Stop);
        self.model.stop(server);
        tokio::time::sleep(time).await;
        self.pass();
        self.servers.signal(server, Signal::Continue);
        self.model.resume(server);
    }

    /// Time goes by.
    pub async fn wait(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
        self.pass();
    }

    /// Some Sentinel of both has published this by now, or does.
    pub async fn both_hear(&mut self, channel: &str) {
        let begun = Instant::now();
        loop {
            self.pass();
            let real = !self.sentinels.heard(channel).is_empty();
            let said = self.heard.iter().any(|(_, heard)| *heard == channel);
            if real && said {
                return;
            }
            let state = format!("real {real}, model {said}\n{}", self.sentinels.story());
            assert!(begun.elapsed() < SOON, "never heard: {channel}: {state}");
            tokio::time::sleep(PACE).await;
        }
    }

    /// No Sentinel of either has published this.
    pub fn neither_heard(&mut self, channel: &str) {
        self.pass();
        assert!(self.sentinels.heard(channel).is_empty(), "{channel}: {}", self.sentinels.story());
        assert!(!self.heard.iter().any(|(_, heard)| *heard == channel), "{channel}, in the model");
    }

    /// Waits until all say the same, and go on saying so.
    pub async fn agree(&mut self, what: &str) {
        let (begun, mut equal) = (Instant::now(), 0);
        loop {
            self.pass();
            let (real, said) = (self.real(), self.said());
            equal = if real == said { equal + 1 } else { 0 };
            if equal == EQUAL {
                return;
            }
            if begun.elapsed() > SOON {
                let differ = real.iter().zip(&said).filter(|(real, said)| real != said);
                let lines: Vec<String> =
                    differ.map(|(real, said)| format!("real  {real}\nmodel {said}")).collect();
                panic!("{what}:\n{}\n{} and {} rows", lines.join("\n"), real.len(), said.len());
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// The model's time is the real one.
    fn pass(&mut self) {
        let us = u64::try_from(self.begun.elapsed().as_micros()).unwrap();
        self.model.advance(us + 1_000_000);
        for (_, happened) in self.model.take_happened() {
            if let Happened::Sentinel { sentinel, channel, .. } = happened {
                self.heard.insert((sentinel, channel));
            }
        }
    }

    fn running(&self) -> Vec<usize> {
        let is_up = |sentinel: &usize| self.model.sentinels()[*sentinel].life() == Life::Up;
        (0..self.sentinels.count()).filter(is_up).collect()
    }

    fn real(&self) -> Vec<String> {
        let mut all = vec![];
        for sentinel in self.running() {
            for about in ABOUT {
                let rows = self.sentinels.rows(sentinel, about);
                all.extend(self.lines(sentinel, about, rows));
            }
        }
        all
    }

    fn said(&mut self) -> Vec<String> {
        let mut all = vec![];
        for sentinel in self.running() {
            for about in ABOUT {
                let reply = self.model.ask_sentinel(sentinel, &["SENTINEL", about, MASTER_NAME]);
                let rows = rows(&redis::parse_redis_value(reply.as_bytes()).unwrap());
                all.extend(self.lines(sentinel, about, rows));
            }
        }
        all
    }

    /// Rows as lines, in an order of their own.
    fn lines(&self, sentinel: usize, about: &str, rows: Vec<Vec<(String, String)>>) -> Vec<String> {
        let line = |row: Vec<(String, String)>| {
            let is_read = |name: &str| FIELDS.contains(&name) || VOTES.contains(&name) && !self.is_random;
            let fields = row.into_iter().filter(|(name, _)| is_read(name)).map(|(name, value)| {
                let is_epoch = self.is_random && name == "config-epoch" && value != "0";
                let value = if is_epoch { "some".into() } else { self.known(&value) };
                format!("{name}={value}")
            });
            format!("sentinel {sentinel} {about} {}", fields.collect::<Vec<_>>().join(" "))
        };
        let mut lines: Vec<String> = rows.into_iter().map(line).collect();
        lines.sort();
        lines
    }

    /// An id of a Sentinel as its number.
    fn known(&self, word: &str) -> String {
        let place = self.ids.iter().position(|(real, said)| real == word || said == word);
        place.map_or_else(|| word.to_owned(), |number| format!("<{number}>"))
    }

    /// A reply as text; of an error, its code.
    fn plain(&self, value: &Value) -> String {
        match value {
            Value::ServerError(error) => format!("-{}", error.code()),
            Value::Array(values) => {
                format!("{:?}", values.iter().map(|value| self.plain(value)).collect::<Vec<_>>())
            }
            Value::BulkString(bytes) => self.known(&String::from_utf8_lossy(bytes)),
            Value::SimpleString(text) => text.split(' ').next().unwrap_or_default().to_owned(),
            Value::Okay => "OK".into(),
            other => format!("{other:?}"),
        }
    }
}

fn rows(reply: &Value) -> Vec<Vec<(String, String)>> {
    let row = |value: &Value| {
        let words: Vec<String> = redis::from_redis_value(value.clone()).unwrap_or_default();
        words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>()
    };
    match reply {
        Value::Array(rows) if matches!(rows.first(), Some(Value::Array(_))) => rows.iter().map(row).collect(),
        Value::Array(words) if !words.is_empty() => vec![row(reply)],
        _ => vec![],
    }
}

const ABOUT: [&str; 3] = ["MASTER", "REPLICAS", "SENTINELS"];
const PACE: Duration = Duration::from_millis(100);
/// So often in a row.
const EQUAL: u32 = 5;
