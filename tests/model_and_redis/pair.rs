//! Three real servers and three of the model, at the same addresses, which get the same steps.

use super::rows::{Ids, rows};
use redis::Value;
use redis_model::live::{Boot, Cluster, Files, Life, PING_BYTES, Session, Timing};
use redis_model::{Dialect, Dice, Role, Server};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::real::{SOON, Servers, Wire};

pub struct Pair {
    real: Servers,
    model: Cluster,
    files: Files,
    ids: Ids,
    keys: u64,
}

/// What both get.
#[derive(Clone, Debug)]
pub enum Step {
    /// Commands on one connection; `{N}` stands for the address of server N.
    Say(usize, Vec<Vec<&'static str>>),
    /// `SET` of a new key.
    Write(usize),
    /// SIGKILL, and a new start.
    Restart(usize, Boot),
}

impl Step {
    pub fn any(dice: &mut Dice, dialect: Dialect) -> Self {
        let server = dice.index(COUNT);
        let follow = |dice: &mut Dice| match dice.index(COUNT) {
            0 => vec!["REPLICAOF", "{0}"],
            1 => vec!["SLAVEOF", "{1}"],
            _ => vec!["REPLICAOF", "{2}"],
        };
        match dice.index(20) {
            0..=5 => Self::Write(server),
            6..=8 => Self::Say(server, vec![vec!["REPLICAOF", "NO", "ONE"]]),
            9..=12 => Self::Say(server, vec![follow(dice)]),
            13 => Self::Say(server, vec![vec!["MULTI"], follow(dice), vec!["ROLE"], vec!["DISCARD"]]),
            // The executor's own ways.
            14 if dialect >= Dialect::Redis7 => Self::Say(
                server,
                vec![
                    vec!["MULTI"],
                    vec!["CLIENT", "PAUSE", "60000", "WRITE"],
                    follow(dice),
                    vec!["CLIENT", "UNPAUSE"],
                    vec!["EXEC"],
                ],
            ),
            15 => {
                let replicas = dice.one_of(["0", "0", "1", "2"]);
                Self::Say(
                    server,
                    vec![
                        vec!["CONFIG", "SET", "min-replicas-to-write", replicas],
                        vec!["CONFIG", "GET", "min-replicas-to-write"],
                    ],
                )
            }
            16 => {
                let priority = dice.one_of(["0", "10", "100"]);
                Self::Say(
                    server,
                    vec![
                        vec!["CONFIG", "SET", "replica-priority", priority],
                        vec!["CONFIG", "GET", "replica-priority"],
                        vec!["PING"],
                        vec!["NOSUCHCOMMAND"],
                        vec!["EXEC"],
                        vec!["DISCARD"],
                        vec!["MULTI"],
                        vec!["NOSUCHCOMMAND"],
                        vec!["EXEC"],
                    ],
                )
            }
            17 => Self::Say(server, vec![vec!["SAVE"]]),
            _ => {
                let boot = match dice.index(4) {
                    0 => Boot::Master,
                    1 => Boot::Itself,
                    _ => Boot::Following((server + 1 + dice.index(COUNT - 1)) % COUNT),
                };
                Self::Restart(server, boot)
            }
        }
    }
}

impl Pair {
    /// A master and two replicas in sync.
    pub async fn start(program: &Path, dialect: Dialect, files: Files) -> Self {
        let appendonly = if files == Files::Aof { "yes" } else { "no" };
        // Without files, what a replica was sent goes, too.
        let keeps = if files == Files::Rdb { "no" } else { "yes" };
        let real = Servers::of(
            program,
            COUNT,
            &[
                ["--save", ""],
                ["--appendonly", appendonly],
                ["--rdb-del-sync-files", keeps],
                ["--repl-diskless-sync", "yes"],
                ["--repl-diskless-sync-delay", "0"],
                // No byte of a stream that nobody sent.
                ["--repl-ping-replica-period", "3600"],
                ["--repl-timeout", "7200"],
            ]
            .concat(),
        );
        let mut model = Cluster::new(Timing {
            latency_us: 100,
            copy_delay_us: 1_000,
            transfer_us: 1_000,
            load_us: 1_000,
            repl_timeout_us: u64::MAX,
            ping_us: u64::MAX,
            backlog_bytes: 1 << 20,
        });
        for place in 0..COUNT {
            let mut server = Server::new(place + 1);
            (server.host, server.port, server.dialect) =
                (real.endpoint(place).host.clone(), real.endpoint(place).port, dialect);
            model.add(server, files, &[]);
        }
        // Redis 8.0 counts on from its append-only file, in which a SELECT stands less often than in the
        // stream.
        let ids = Ids::new((dialect, files) != (Dialect::Redis8, Files::Aof));
        let mut pair = Self { real, model, files, ids, keys: 0 };
        for place in 0..COUNT {
            let boot = if place == 0 { Boot::Master } else { Boot::Following(0) };
            pair.start_both(place, boot).await;
        }
        pair.rest().await.unwrap();
        pair
    }

    /// Both take a step and come to rest.
    ///
    /// # Errors
    /// How they differ.
    pub async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Say(place, commands) => self.say(place, &commands)?,
            Step::Write(place) => self.write(place)?,
            Step::Restart(place, boot) => {
                self.real.end(place).await;
                self.model.kill(place, false);
                self.start_both(place, boot).await;
            }
        }
        self.rest().await
    }

    async fn start_both(&mut self, place: usize, boot: Boot) {
        let arguments = match boot {
            Boot::Master => vec!["--replicaof".to_owned(), "no".into(), "one".into()],
            Boot::Itself => vec![],
            Boot::Following(master) => {
                let at = self.real.endpoint(master);
                vec!["--replicaof".to_owned(), at.host.clone(), at.port.to_string()]
            }
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.real.start(place, &arguments).await;
        self.model.start(place, boot);
    }

    fn say(&mut self, place: usize, commands: &[Vec<&'static str>]) -> Result<(), String> {
        let mut real = wire(&self.real, place);
        let mut session = Session::default();
        for command in commands {
            if command[..] == ["SAVE"] {
                // It writes a file whatever the configuration says.
                if self.files == Files::Rdb {
                    real.ask(&["SAVE"]);
                    self.model.save(place);
                }
                continue;
            }
            let words = self.words(command);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let here = plain(&real.ask(&words));
            let reply = self.model.ask(place, &mut session, &words);
            let there = plain(&redis::parse_redis_value(reply.as_bytes()).unwrap());
            if here != there {
                return Err(format!("{words:?}: the server replies {here}, the model {there}"));
            }
        }
        Ok(())
    }

    /// The words of a command, with addresses.
    fn words(&self, command: &[&str]) -> Vec<String> {
        let word = |word: &&str| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            Some(place) => {
                let at = self.real.endpoint(place.parse().unwrap());
                vec![at.host.clone(), at.port.to_string()]
            }
            None => vec![(*word).to_owned()],
        };
        command.iter().flat_map(word).collect()
    }

    fn write(&mut self, place: usize) -> Result<(), String> {
        self.keys += 1;
        let mut real = wire(&self.real, place);
        let before = offset(&mut real);
        let reply = plain(&real.ask(&["SET", &format!("key{}", self.keys), "value"]));
        let bytes = offset(&mut real) - before;
        let is_taken = self.model.set(place, bytes);
        if is_taken != (reply == OK) {
            return Err(format!("SET: the server replies {reply}, the model takes it: {is_taken}"));
        }
        Ok(())
    }

    /// Waits until the servers are at rest, and say what the model says.
    async fn rest(&mut self) -> Result<(), String> {
        self.model.advance(self.model.now_us() + REST_US);
        let begun = Instant::now();
        let mut equal = 0;
        loop {
            let mut difference = None;
            self.take_over_pings();
            for place in 0..COUNT {
                difference = difference.or(self.difference(place));
            }
            let is_equal = difference.is_none() && self.all_have_pinged();
            equal = if is_equal { equal + 1 } else { 0 };
            if equal == EQUAL {
                self.ids.keep();
                return Ok(());
            }
            self.ids.forget();
            if let Some(difference) = difference.filter(|_| begun.elapsed() > SOON) {
                return Err(format!("{difference}\n{}", self.both()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The first second of each server is over.
    fn all_have_pinged(&self) -> bool {
        (0..COUNT).all(|place| {
            let Value::BulkString(text) = wire(&self.real, place).ask(&["INFO", "server"]) else {
                return false;
            };
            let uptime_s = rows(&String::from_utf8_lossy(&text))["uptime_in_seconds"].parse::<u64>();
            uptime_s.is_ok_and(|uptime_s| uptime_s >= 2)
        })
    }

    /// Whatever its period, a master sends a PING in the first second of its life.
    fn take_over_pings(&mut self) {
        for place in 0..COUNT {
            let real = offset(&mut wire(&self.real, place));
            if real == self.model.view(place).offset + PING_BYTES {
                self.model.ping(place);
                self.model.advance(self.model.now_us() + REST_US);
            }
        }
    }

    /// What all say.
    fn both(&self) -> String {
        let say = |place: usize| {
            let Value::BulkString(text) = wire(&self.real, place).ask(&["INFO", "replication"]) else {
                return String::new();
            };
            let there = redis_model::says::replication(&self.model.view(place));
            format!("server {place}: {}in the model: {there}", String::from_utf8_lossy(&text))
        };
        (0..COUNT).map(say).collect()
    }

    fn difference(&mut self, place: usize) -> Option<String> {
        let view = self.model.view(place);
        assert_eq!(self.model.processes()[place].life(), Life::Up);
        let mut wire = wire(&self.real, place);
        for section in ["replication", "persistence", "keyspace"] {
            let Value::BulkString(text) = wire.ask(&["INFO", section]) else { return Some("no INFO".into()) };
            let here = rows(&String::from_utf8(text).unwrap());
            let there = rows(&redis_model::says::info(&view, section));
            for (name, said) in &there {
                let Some(real) = here.get(name) else {
                    return Some(format!("server {place}: INFO {section} has no row {name}"));
                };
                if !self.ids.are_alike(name, real, said) {
                    return Some(format!("server {place}: {name} is {real}, in the model {said}"));
                }
            }
            // Rows that come and go with the state.
            let is_missed = |name: &&String| name.starts_with("slave") || name.starts_with("db");
            if let Some(name) = here.keys().filter(is_missed).find(|name| !there.contains_key(*name)) {
                return Some(format!("server {place}: the model has no row {name}"));
            }
        }
        let is_up = |role: &Role| matches!(role, Role::Replica(link) if !link.up);
        if is_up(&view.role) {
            // While a link is down its state in ROLE changes with each attempt.
            return None;
        }
        if !self.ids.has_exact_offsets() {
            return None;
        }
        let here = in_order(&wire.ask(&["ROLE"]));
        let there = in_order(&redis::parse_redis_value(redis_model::says::role(&view).as_bytes()).unwrap());
        (here != there).then(|| format!("server {place}: ROLE is {here:?}, in the model {there:?}"))
    }
}

/// A reply as text; of an error, its code.
fn plain(value: &Value) -> String {
    match value {
        Value::ServerError(error) => format!("-{}", error.code()),
        Value::Array(values) => format!("{:?}", values.iter().map(plain).collect::<Vec<_>>()),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => OK.into(),
        other => format!("{other:?}"),
    }
}

/// ROLE, whose replicas stand in any order.
fn in_order(value: &Value) -> Vec<String> {
    let Value::Array(values) = value else { return vec![plain(value)] };
    let mut words = vec![];
    for value in values {
        match value {
            Value::Array(replicas) => {
                let mut replicas: Vec<String> = replicas.iter().map(plain).collect();
                replicas.sort();
                words.extend(replicas);
            }
            other => words.push(plain(other)),
        }
    }
    words
}

/// A connection to one of the servers.
fn wire(servers: &Servers, place: usize) -> Wire {
    Wire::to(&servers.id(place)).unwrap()
}

fn offset(wire: &mut Wire) -> u64 {
    let Value::BulkString(text) = wire.ask(&["INFO", "replication"]) else { return 0 };
    rows(&String::from_utf8(text).unwrap())["master_repl_offset"].parse().unwrap()
}

const COUNT: usize = 3;
const OK: &str = "OK";
/// The model's time between two steps.
const REST_US: u64 = 5_000_000;
/// So often in a row the same, a tenth of a second apart.
const EQUAL: u32 = 3;
