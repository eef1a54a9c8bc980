//! One group of `demo sentinel`: three servers, three real Sentinels that watch them, and clients that write;
//! with or without the operator. Starts and asks; what it hears goes to the script as events.

use super::load::{Load, Moved};
use crate::cli::face_args::FaceArgs;
use crate::cli::sentinel_args::as_sentinel;
use crate::cli::{Environment, Exit, GroupSettings, PolicyChoice, Prefer, Session};
use crate::contract::{SentinelMode, SentinelSettings, Topology};
use crate::driver::{Access, Entry, member};
use crate::group::{Moment, Record};
use crate::local::{ServerSettings, Supervisor, free_ports};
use crate::redis::Endpoint;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// Something that the clients or the Sentinels of a group saw.
pub enum Seen {
    /// Another server acknowledged a write: its place.
    Moved(usize),
    /// A Sentinel published `+switch-master`: the new master's address.
    Switched(String),
}

/// An event: of which group, when, what.
pub type Event = (usize, Instant, Seen);

/// A group, its Sentinels and its clients.
pub struct Beside {
    /// The servers.
    pub servers: Vec<Endpoint>,
    sentinels: Vec<Endpoint>,
    supervisor: Supervisor,
    watch: Supervisor,
    /// The operator. None: the Sentinels are alone.
    pub session: Option<Session>,
    load: Option<Load>,
    listeners: JoinSet<()>,
}

impl Beside {
    /// Starts the servers, the first as master, and the Sentinels; waits until each of them knows all.
    ///
    /// # Errors
    /// [`Exit`], with nothing left running.
    pub async fn open(number: usize, program: &Path, dir: &Path) -> Result<Self, Exit> {
        let seed = (u64::from(std::process::id()) << 1) + number as u64;
        let ports = free_ports(seed, SERVERS + SENTINELS)
            .ok_or_else(|| Exit::Failed("there are not enough free ports".into()))?;
        let endpoint = |port: &u16| Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: *port };
        let (servers, sentinels) = ports.split_at(SERVERS);
        let servers: Vec<Endpoint> = servers.iter().map(endpoint).collect();
        let sentinels: Vec<Endpoint> = sentinels.iter().map(endpoint).collect();
        let settings = |at: &Endpoint, arguments: &str, sentinel: Option<String>| ServerSettings {
            program: program.to_owned(),
            endpoint: at.clone(),
            dir: dir.join(at.port.to_string()),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            sentinel,
        };
        let Endpoint { host, port } = &servers[0];
        let (first, follows) = ("--replicaof no one", format!("--replicaof {host} {port}"));
        let group =
            servers.iter().map(|at| settings(at, if *at == servers[0] { first } else { &follows }, None));
        let failed = |error: crate::local::ServerError| Exit::Failed(error.to_string());
        let (supervisor, _) = Supervisor::start(group.collect()).await.map_err(failed)?;
        let lines = format!(
            "sentinel monitor {MASTER} {host} {port} {}\nsentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}\n",
            SENTINELS / 2 + 1
        );
        let watching = sentinels.iter().map(|at| settings(at, "", Some(lines.clone())));
        let (watch, _) = Supervisor::start(watching.collect()).await.map_err(failed)?;
        let group = Self {
            servers,
            sentinels,
            supervisor,
            watch,
            session: None,
            load: None,
            listeners: JoinSet::new(),
        };
        for sentinel in &group.sentinels {
            let peers = format!("+OK {SENTINELS} ");
            says(sentinel, &format!("SENTINEL CKQUORUM {MASTER}"), |line| line.starts_with(&peers)).await?;
            let replicas = format!("*{}", SERVERS - 1);
            says(sentinel, &format!("SENTINEL REPLICAS {MASTER}"), |line| line == replicas).await?;
        }
        Ok(group)
    }

    /// Puts the operator beside the Sentinels, with authority.
    ///
    /// # Errors
    /// [`Exit`]
    pub async fn add_operator(&mut self, environment: &Environment) -> Result<(), Exit> {
        let mut settings = operated().settings(SERVERS)?;
        settings.wanted.topology = Topology::Sentinel;
        settings.wanted.sentinel = Some(SentinelSettings {
            master_name: MASTER.into(),
            sentinels_desired: SENTINELS as u16,
            quorum: (SENTINELS / 2 + 1) as u16,
            down_after_ms: DOWN_AFTER_MS,
            failover_timeout_ms: FAILOVER_TIMEOUT_MS,
            parallel_syncs: 1,
            mode: SentinelMode::Assisted,
        });
        let mut members = Vec::new();
        for endpoint in &self.servers {
            members.push(member(endpoint).await.map_err(Exit::Failed)?);
        }
        for endpoint in &self.sentinels {
            members.push(as_sentinel(member(endpoint).await.map_err(Exit::Failed)?));
        }
        let access = Access {
            logins: None.into(),
            tls: None,
            sentinels: Entry::default(),
            network: None,
            hang_limit: operated().down_after,
        };
        let policy =
            PolicyChoice { policy: None, policy_cache: None, no_policy_cache: true, unproven_policy: false };
        let unpublished = |_: Moment, _: Record| {};
        let session = Session::open(
            settings,
            members,
            access,
            &policy,
            &FaceArgs::default(),
            unpublished,
            environment,
        )?;
        session.authorise(true);
        self.session = Some(session);
        Ok(())
    }

    /// Lets clients write, and tells what they and the Sentinels see.
    ///
    /// # Errors
    /// [`Exit::Failed`]
    pub async fn start_to_write(&mut self, number: usize, seen: &UnboundedSender<Event>) -> Result<(), Exit> {
        for sentinel in &self.sentinels {
            let failed = |error: io::Error| Exit::Failed(format!("Sentinel at {sentinel}: {error}"));
            let mut stream = connect(sentinel).await.map_err(failed)?;
            stream.write_all(b"SUBSCRIBE +switch-master\r\n").await.map_err(failed)?;
            let seen = seen.clone();
            self.listeners.spawn(async move {
                let mut lines = BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    // mymaster FORMER-HOST FORMER-PORT HOST PORT
                    let words: Vec<&str> = line.split(' ').collect();
                    if let [MASTER, _, _, host, port] = words[..] {
                        drop(seen.send((number, Instant::now(), Seen::Switched(format!("{host}:{port}")))));
                    }
                }
            });
        }
        let nodes: Result<Vec<_>, _> = self.servers.iter().map(|at| at.to_string().parse()).collect();
        let nodes = nodes.map_err(|error| Exit::Failed(format!("not an address: {error}")))?;
        let (load, mut moved) =
            Load::start(&nodes).map_err(|error| Exit::Failed(format!("no thread: {error}")))?;
        self.load = Some(load);
        let seen = seen.clone();
        self.listeners.spawn(async move {
            while let Some(Moved { to, at }) = moved.recv().await {
                drop(seen.send((number, at, Seen::Moved(to))));
            }
        });
        Ok(())
    }

    /// SIGKILL of a server, which is not started again. Returns the moment of the signal.
    pub async fn kill(&self, place: usize) -> Result<Instant, Exit> {
        let server = &self.servers[place];
        let killed = self.supervisor.kill(server).await;
        killed.ok_or_else(|| Exit::Failed(format!("{server} ended by itself")))
    }

    /// Starts a killed server again.
    pub fn revive(&self, place: usize) {
        self.supervisor.revive(&self.servers[place]);
    }

    /// Asks for a planned change of master, as a person would: the operator if there is one, else a Sentinel.
    pub async fn change(&self) -> Result<(), Exit> {
        match &self.session {
            Some(session) => {
                session.handle.switch_over(None);
                Ok(())
            }
            None => {
                says(&self.sentinels[0], &format!("SENTINEL FAILOVER {MASTER}"), |line| line == "+OK").await
            }
        }
    }

    /// Whether all other servers are replicas of this one that acknowledge what it sends.
    pub async fn is_whole(&self, master: usize) -> bool {
        let command = format!("WAIT {} 10", SERVERS - 1);
        let all = format!(":{}", SERVERS - 1);
        ask(&self.servers[master], &command).await.is_ok_and(|line| line == all)
    }

    /// Tells the clients of the master, as a Sentinel does.
    pub fn tell(&self, master: &str) {
        let place = self.servers.iter().position(|server| server.to_string() == master);
        if let (Some(load), Some(place)) = (&self.load, place) {
            load.tell(place);
        }
    }

    /// Ends the clients and takes their writes. None: a client panicked.
    pub fn take_load(&mut self) -> Option<Load> {
        self.load.take()
    }

    /// Ends all of it.
    pub async fn stop(self) {
        if let Some(session) = &self.session {
            session.authorise(false);
        }
        self.watch.stop().await;
        self.supervisor.stop().await;
    }
}

/// Repeats a question until the first line of the reply is the awaited one.
async fn says(at: &Endpoint, command: &str, is_it: impl Fn(&str) -> bool) -> Result<(), Exit> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let said = ask(at, command).await;
        match said {
            Ok(line) if is_it(&line) => return Ok(()),
            _ if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            Ok(line) => return Err(Exit::Failed(format!("{at} answered {line:?} to {command}"))),
            Err(error) => return Err(Exit::Failed(format!("{at} did not answer to {command}: {error}"))),
        }
    }
}

/// The first line of the reply.
async fn ask(at: &Endpoint, command: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = connect(at).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        BufReader::new(stream).lines().next_line().await
    };
    let line = tokio::time::timeout(ANSWER_MAX, asked).await.map_err(|_| io::ErrorKind::TimedOut)??;
    line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn connect(at: &Endpoint) -> io::Result<TcpStream> {
    TcpStream::connect((at.host.as_str(), at.port)).await
}

fn operated() -> GroupSettings {
    GroupSettings {
        name: "demo".into(),
        down_after: Duration::from_secs(1),
        interval: Duration::from_millis(25),
        min_size: None,
        prefer: Prefer::Availability,
        self_fence_lag: Duration::from_secs(2),
        parameters: "{}".into(),
    }
}

const MASTER: &str = "mymaster";
pub const SERVERS: usize = 3;
pub const SENTINELS: usize = 3;
/// The shortest that the operator leaves beside itself (decision 64); the Sentinels alone get the same.
pub const DOWN_AFTER_MS: u32 = 1_500;
const FAILOVER_TIMEOUT_MS: u32 = 60_000;
/// Sentinels find one another by messages every two seconds.
const READY_MAX: Duration = Duration::from_secs(20);
const ANSWER_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
