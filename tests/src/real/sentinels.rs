//! Real Sentinels that watch a group: processes on loopback, and everything that they publish. Starts,
//! signals, asks and listens; asserts nothing about failover itself.

use super::{SOON, Servers, Wire, until};
use redis::Value;
use redis_operator::local::free_ports;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How Sentinels are started.
#[derive(Clone, Debug)]
pub struct Watching {
    /// How many.
    pub count: usize,
    /// `down-after-milliseconds`.
    pub down_after_ms: u32,
    /// `failover-timeout`.
    pub failover_timeout_ms: u32,
    /// Further lines of `sentinel.conf`.
    pub further: Vec<String>,
    /// They speak TLS with each other and with the servers. None: they do not.
    pub tls: Option<Encrypted>,
}

/// How Sentinels speak TLS. They listen in the clear, too, for the test itself.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// The lines with certificate, key and authorities.
    pub files: Vec<String>,
    /// The TLS port of the master.
    pub master_port: u16,
}

impl Default for Watching {
    fn default() -> Self {
        Self { count: 3, down_after_ms: 5_000, failover_timeout_ms: 60_000, further: vec![], tls: None }
    }
}

/// Something that a Sentinel published.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When it arrived.
    pub at: Instant,
    /// Which Sentinel, by its place.
    pub place: usize,
    /// The channel, `+switch-master`.
    pub channel: String,
    /// The message.
    pub text: String,
}

/// The name under which they watch the group.
pub const MASTER_NAME: &str = "mymaster";

/// Running Sentinels. Dropping them ends them.
pub struct Sentinels {
    program: PathBuf,
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    /// Empty: they speak no TLS.
    tls_ports: Vec<u16>,
    children: Vec<Option<Child>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    password: Option<String>,
}

impl Sentinels {
    /// Starts them for the master at place 0, and waits until they know each other and all replicas.
    pub async fn start(servers: &Servers, watching: &Watching) -> Self {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into());
        Self::of(Path::new(&program), servers, watching).await
    }

    /// The same, of that program.
    pub async fn of(program: &Path, servers: &Servers, watching: &Watching) -> Self {
        let sentinels = Self::unprepared(program, servers, watching);
        for place in 0..watching.count {
            sentinels.knows(place, servers.count() - 1, watching.count - 1).await;
        }
        sentinels
    }

    /// Starts them and waits for nothing.
    pub fn unprepared(program: &Path, servers: &Servers, watching: &Watching) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ports = free_ports(u64::from(servers.endpoint(0).port) << 3, watching.count * 2).unwrap();
        let mut tls_ports = ports.split_off(watching.count);
        let quorum = watching.count / 2 + 1;
        let host = &servers.endpoint(0).host;
        let master_port = watching.tls.as_ref().map_or(servers.endpoint(0).port, |tls| tls.master_port);
        for (port, tls_port) in ports.iter().zip(&tls_ports) {
            let folder = dir.path().join(port.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            let mut text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\n\
                 sentinel monitor {MASTER_NAME} {host} {master_port} {quorum}\n\
                 sentinel down-after-milliseconds {MASTER_NAME} {}\n\
                 sentinel failover-timeout {MASTER_NAME} {}\n",
                folder.display(),
                folder.join("log").display(),
                watching.down_after_ms,
                watching.failover_timeout_ms
            );
            watching.further.iter().for_each(|line| text += &format!("{line}\n"));
            if let Some(Encrypted { files, .. }) = &watching.tls {
                text += &format!("tls-port {tls_port}\ntls-replication yes\ntls-auth-clients no\n");
                files.iter().for_each(|line| text += &format!("{line}\n"));
            }
            std::fs::write(folder.join("sentinel.conf"), text).unwrap();
        }
        if watching.tls.is_none() {
            tls_ports.clear();
        }
        let required = |line: &String| line.strip_prefix("requirepass ").map(str::to_owned);
        let mut sentinels = Self {
            program: program.to_owned(),
            dir,
            children: ports.iter().map(|_| None).collect(),
            ports,
            tls_ports,
            heard: Arc::default(),
            password: watching.further.iter().find_map(required),
        };
        (0..watching.count).for_each(|place| sentinels.start_again(place));
        sentinels
    }

    /// Starts one that does not run, from its own file, and listens to it.
    pub fn start_again(&mut self, place: usize) {
        let file = self.dir.path().join(self.ports[place].to_string()).join("sentinel.conf");
        let mut command = Command::new(&self.program);
        command.arg(file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        self.children[place] = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while self.wire(place).is_none() {
            assert!(begun.elapsed() < SOON, "the Sentinel does not listen: {}", self.log(place));
            std::thread::sleep(Duration::from_millis(1));
        }
        self.listen(place);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// As the operator calls it.
    pub fn id(&self, place: usize) -> String {
        format!("127.0.0.1:{}", self.ports[place])
    }

    /// As `--sentinels` takes them.
    pub fn list(&self) -> String {
        (0..self.count()).map(|place| self.id(place)).collect::<Vec<_>>().join(",")
    }

    /// The same for their TLS ports.
    pub fn tls_list(&self) -> String {
        self.tls_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// How the test logs in from now on.
    pub fn log_in_as(&mut self, password: &str) {
        self.password = Some(password.to_owned());
    }

    /// SIGKILL, and the process is gone.
    pub fn end(&mut self, place: usize) {
        if let Some(mut child) = self.children[place].take() {
            // It may have ended by itself.
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// Sends a signal by its name, `STOP`.
    pub fn signal(&self, place: usize, signal: &str) {
        let pid = self.children[place].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// A connection that is logged in. None: it does not listen.
    pub fn wire(&self, place: usize) -> Option<Wire> {
        let mut wire = Wire::to(&self.id(place))?;
        if let Some(password) = &self.password {
            wire.ask(&["AUTH", password]);
        }
        Some(wire)
    }

    /// One command and its reply.
    pub fn ask(&self, place: usize, words: &[&str]) -> Value {
        self.wire(place).unwrap().ask(words)
    }

    /// Rows of fields: of SENTINEL MASTER one, of SENTINELS and REPLICAS several. Empty after an error.
    pub fn rows(&self, place: usize, about: &str) -> Vec<Vec<(String, String)>> {
        let reply = self.ask(place, &["SENTINEL", about, MASTER_NAME]);
        let row = |value: &Value| {
            let words: Vec<String> = redis::from_redis_value(value.clone()).unwrap_or_default();
            words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>()
        };
        match &reply {
            Value::Array(rows) if matches!(rows.first(), Some(Value::Array(_))) => {
                rows.iter().map(row).collect()
            }
            Value::Array(words) if !words.is_empty() => vec![row(&reply)],
            _ => vec![],
        }
    }

    /// A field of the master that it names. Empty: there is no such field.
    pub fn field(&self, place: usize, name: &str) -> String {
        let row = self.rows(place, "MASTER").into_iter().next().unwrap_or_default();
        row.into_iter().find(|(field, _)| field == name).map(|(_, value)| value).unwrap_or_default()
    }

    /// The master that it names, `127.0.0.1:6379`.
    pub fn named(&self, place: usize) -> String {
        format!("{}:{}", self.field(place, "ip"), self.field(place, "port"))
    }

    /// Waits until it knows so many replicas and peers, all of them up, and has read INFO of each replica.
    pub async fn knows(&self, place: usize, replicas: usize, peers: usize) {
        let is_up = |row: &Vec<(String, String)>, kind: &str| {
            row.iter().any(|(name, value)| name == "flags" && value == kind)
        };
        let is_read = |row: &Vec<(String, String)>| {
            row.iter().any(|(name, value)| name == "slave-repl-offset" && value != "0")
        };
        until(&format!("{} knows all, {}", self.id(place), self.log(place)), async || {
            let (known, others) = (self.rows(place, "REPLICAS"), self.rows(place, "SENTINELS"));
            let is_whole = known.len() == replicas
                && known.iter().all(|row| is_up(row, "slave") && is_read(row))
                && others.len() == peers
                && others.iter().all(|row| is_up(row, "sentinel"))
                && self.field(place, "flags") == "master";
            is_whole.then_some(())
        })
        .await;
    }

    /// Waits until all that run name that master.
    pub async fn all_name(&self, master: &str) {
        until(&format!("all Sentinels name {master}"), async || {
            let mut running = (0..self.count()).filter(|place| self.children[*place].is_some());
            running.all(|place| self.named(place) == master).then_some(())
        })
        .await;
    }

    /// Everything heard so far on one channel.
    pub fn heard(&self, channel: &str) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.channel == channel).cloned().collect()
    }

    /// All channels and messages since then, for messages of tests.
    pub fn story(&self) -> String {
        let heard = self.heard.lock().unwrap();
        let line = |heard: &Heard| format!("{} {} {}\n", heard.place, heard.channel, heard.text);
        heard.iter().map(line).collect()
    }

    /// Waits until all Sentinels have published a switch to that master after `since`. Returns when the last
    /// one did.
    pub async fn all_told(&self, to: &str, since: Instant) -> Instant {
        let ending = format!(" {}", to.replace(':', " "));
        until(&format!("all Sentinels publish the switch to {to}"), async || {
            let switches = self.heard("+switch-master");
            let of = |place: usize| {
                let mut of = switches.iter().filter(move |heard| heard.place == place && heard.at >= since);
                of.find(|heard| heard.text.ends_with(&ending)).map(|heard| heard.at)
            };
            (0..self.count()).map(of).collect::<Option<Vec<_>>>()?.into_iter().max()
        })
        .await
    }

    /// Its log.
    pub fn log(&self, place: usize) -> String {
        let file = self.dir.path().join(self.ports[place].to_string()).join("log");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    fn listen(&self, place: usize) {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        let client = redis::Client::open(format!("redis://{password}{}", self.id(place))).unwrap();
        let mut connection = client.get_connection().unwrap();
        let heard = Arc::clone(&self.heard);
        let (subscribed, is_subscribed) = std::sync::mpsc::channel();
        // Ends with the Sentinel.
        std::thread::spawn(move || {
            let mut pubsub = connection.as_pubsub();
            pubsub.psubscribe("*").unwrap();
            subscribed.send(()).unwrap();
            loop {
                match pubsub.get_message() {
                    Ok(message) => heard.lock().unwrap().push(Heard {
                        at: Instant::now(),
                        place,
                        channel: message.get_channel_name().to_owned(),
                        text: message.get_payload().unwrap_or_default(),
                    }),
                    Err(error) if is_interrupted(&error) => {}
                    Err(_) => return,
                }
            }
        });
        is_subscribed.recv().unwrap();
    }
}

fn is_interrupted(error: &redis::RedisError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == ErrorKind::Interrupted)
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the Sentinels published:\n{}", self.story());
        }
        (0..self.count()).for_each(|place| self.end(place));
    }
}
