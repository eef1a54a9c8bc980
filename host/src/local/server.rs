//! One Redis server as a child process. It ends with this process, and it never starts as a master: a master
//! that came back empty would wipe the replicas that still follow it.

use super::process::{self, Signal};
use crate::redis::Endpoint;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// `redis-server` or `valkey-server`; looked up in PATH if it has no slash.
    pub program: PathBuf,
    /// Its loopback address and port.
    pub endpoint: Endpoint,
    /// Its working directory, created if missing; its output goes to `server.log` in there.
    pub dir: PathBuf,
    /// Further command-line arguments, which override the operator's: `["--requirepass", "x"]`.
    pub arguments: Vec<String>,
    /// Lines of `sentinel.conf`: it runs as a Sentinel, and writes its state into that file. None: it is a
    /// server of a group.
    pub sentinel: Option<String>,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    child: Child,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program could not be started.
    #[error("{} does not start: {source}; is it installed, and in PATH?", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Its directory or log could not be created.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// It ended before it answered.
    #[error("server at {endpoint} ended with {status}: {last_line}")]
    Ended {
        /// Its address.
        endpoint: Endpoint,
        /// Its exit status.
        status: ExitStatus,
        /// The last line of its log.
        last_line: String,
    },
    /// It runs but does not answer.
    #[error("server at {endpoint} did not answer within {} ms; see {}", waited.as_millis(), log.display())]
    NotReady {
        /// Its address.
        endpoint: Endpoint,
        /// The time waited.
        waited: Duration,
        /// Its log.
        log: PathBuf,
    },
    /// It has ended and cannot be signalled.
    #[error("server at {endpoint} has already ended")]
    Gone {
        /// Its address.
        endpoint: Endpoint,
    },
}

impl Server {
    /// Starts the process. It does not answer yet.
    ///
    /// # Errors
    /// [`ServerError::Start`] and [`ServerError::Directory`].
    pub fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let in_directory = |source| ServerError::Directory { path: settings.dir.clone(), source };
        std::fs::create_dir_all(&settings.dir).map_err(in_directory)?;
        if let Some(lines) = &settings.sentinel {
            write_configuration(&settings, lines).map_err(in_directory)?;
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log_path(&settings.dir))
            .map_err(in_directory)?;
        let mut command = Command::new(&settings.program);
        command.args(command_line(&settings)).current_dir(&settings.dir).kill_on_drop(true);
        command.stdin(Stdio::null()).stderr(log.try_clone().map_err(in_directory)?).stdout(log);
        // Ctrl-C at the terminal must reach this process only: it ends the servers in its own order.
        command.process_group(0);
        process::die_with_parent(&mut command);
        let child = command
            .spawn()
            .map_err(|source| ServerError::Start { program: settings.program.clone(), source })?;
        Ok(Self { settings, child })
    }

    /// Waits until the server answers. Any answer counts, also a demand for a password.
    ///
    /// # Errors
    /// [`ServerError::Ended`] with the last line of its log, [`ServerError::NotReady`] at `deadline`.
    pub async fn ready(&mut self, deadline: Instant) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(ServerError::Ended {
                    endpoint: self.settings.endpoint.clone(),
                    status,
                    last_line: self.last_line(),
                });
            }
            let answer = tokio::time::timeout_at(deadline.into(), answers(&self.settings.endpoint)).await;
            match answer {
                Ok(true) => return Ok(()),
                // A start needs about 10 ms.
                Ok(false) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(1)).await,
                Ok(false) | Err(_) => {
                    return Err(ServerError::NotReady {
                        endpoint: self.settings.endpoint.clone(),
                        waited: began.elapsed(),
                        log: log_path(&self.settings.dir),
                    });
                }
            }
        }
    }

    /// Its address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Its settings: change the boot role to start it again.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Its process id. None once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`ServerError::Gone`]
    pub fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let gone = || ServerError::Gone { endpoint: self.settings.endpoint.clone() };
        process::send(self.pid().ok_or_else(gone)?, signal).map_err(|_| gone())
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// The system's, if the process cannot be waited for.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    fn last_line(&self) -> String {
        let log = std::fs::read(log_path(&self.settings.dir)).unwrap_or_default();
        String::from_utf8_lossy(&log).trim_end().lines().next_back().unwrap_or("its log is empty").to_owned()
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// A Sentinel that is started again goes on with what it wrote.
fn write_configuration(settings: &ServerSettings, lines: &str) -> std::io::Result<()> {
    let path = settings.dir.join(SENTINEL_CONF);
    if path.exists() {
        return Ok(());
    }
    let Endpoint { host, port } = &settings.endpoint;
    std::fs::write(path, format!("port {port}\nbind {host}\n{lines}"))
}

/// A server starts as a replica of itself. The operator's arguments come first, so that the caller's win:
/// Redis uses the last of two.
fn command_line(settings: &ServerSettings) -> Vec<OsString> {
    if settings.sentinel.is_some() {
        let words = [SENTINEL_CONF.into(), "--sentinel".into()];
        return words.into_iter().chain(settings.arguments.iter().map(OsString::from)).collect();
    }
    let Endpoint { host, port } = &settings.endpoint;
    // Loopback only; nothing on disk; full synchronizations start at once (by default they wait 5 s for more
    // replicas); heartbeats once a second, the shortest period of Redis.
    let ours = format!(
        "--port {port} --bind {host} --protected-mode yes --appendonly no --daemonize no \
         --repl-diskless-sync-delay 0 --repl-ping-replica-period 1 --replicaof {host} {port} --save"
    );
    let words = ours.split(' ').map(OsString::from).chain([OsString::new()]);
    words.chain(settings.arguments.iter().map(OsString::from)).collect()
}

/// Whether the server reacts: with a line of RESP, or by closing the connection, as a TLS port does on plain
/// text.
async fn answers(endpoint: &Endpoint) -> bool {
    let Ok(mut stream) = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await else {
        return false;
    };
    let mut first = [0];
    let sent = stream.write_all(b"PING\r\n").await;
    let answered = stream.read(&mut first).await;
    sent.is_ok()
        && answered.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
}

/// In the directory of a Sentinel.
const SENTINEL_CONF: &str = "sentinel.conf";
