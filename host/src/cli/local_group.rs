//! A group of servers that this process starts, restarts and operates. Shared by `local` and `demo`. Dropping
//! it ends the servers.

use super::face_args::FaceArgs;
use super::{Environment, Exit, GroupSettings, PolicyChoice, Session};
use crate::driver::{Access, Entry, member};
use crate::group::{Moment, Record};
use crate::local::{Change, Scratch, ServerError, ServerSettings, Supervisor, free_ports};
use crate::redis::Endpoint;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

/// The servers to start.
#[derive(Clone, Debug, clap::Args)]
pub struct LocalServers {
    /// Replicas beside the master
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(0..=100)
    )]
    pub replicas: u16,
    /// Port of the first server; the others get the following ones [default: free ports]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Program of the servers: redis-server, valkey-server, or a path
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    program: PathBuf,
    /// Directory for the servers' logs, kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The group.
pub struct LocalGroup {
    /// The driver of the group.
    pub session: Session,
    /// Restarts the servers.
    pub supervisor: Supervisor,
    /// Changes of the servers.
    pub changes: UnboundedReceiver<Change>,
    /// Addresses of the servers.
    pub endpoints: Vec<Endpoint>,
    /// Their temporary directory. Declared last, so that it is deleted after the servers have ended.
    pub scratch: Option<Scratch>,
}

impl LocalServers {
    /// Starts the servers, none of them master, and the driver, without authority yet. `on_record` is called
    /// on the group's own thread with every published record.
    ///
    /// # Errors
    /// [`Exit`], with nothing left running.
    pub async fn open(
        &self,
        group: &GroupSettings,
        policy: &PolicyChoice,
        face: &FaceArgs,
        on_record: impl Fn(Moment, &Record) + Send + 'static,
        environment: &Environment,
    ) -> Result<LocalGroup, Exit> {
        let endpoints = self.endpoints()?;
        let settings = group.settings(endpoints.len())?;
        let (dir, scratch) = match &self.dir {
            Some(dir) => {
                let dir = std::path::absolute(dir)
                    .map_err(|error| Exit::Input(format!("--dir {}: {error}", dir.display())))?;
                (dir, None)
            }
            None => {
                let parent = &environment.temp_dir;
                let scratch = Scratch::new(parent).map_err(|error| {
                    Exit::Failed(format!("cannot create a directory in {}: {error}", parent.display()))
                })?;
                (scratch.path().to_owned(), Some(scratch))
            }
        };
        let publish = move |now: Moment, record: Record| on_record(now, &record);
        let mut members = Vec::new();
        for endpoint in &endpoints {
            members.push(member(endpoint).await.map_err(Exit::Failed)?);
        }
        let access = Access {
            logins: None.into(),
            tls: None,
            sentinels: Entry::default(),
            network: None,
            hang_limit: group.down_after,
        };
        // First, because an invalid policy must end this before any server starts.
        let session = Session::open(settings, members, access, policy, face, publish, environment)?;
        let servers = endpoints.iter().map(|endpoint| ServerSettings {
            program: self.program.clone(),
            endpoint: endpoint.clone(),
            dir: dir.join(endpoint.port.to_string()),
            arguments: Vec::new(),
            sentinel: None,
        });
        let (supervisor, changes) =
            Supervisor::start(servers.collect()).await.map_err(|error| self.not_started(&error))?;
        Ok(LocalGroup { session, supervisor, changes, endpoints, scratch })
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Exit> {
        let count = usize::from(self.replicas) + 1;
        let ports = match self.port {
            Some(first) => {
                let last = first.checked_add(self.replicas).ok_or_else(|| {
                    Exit::Input(format!("--port: there are no {count} ports from {first} on"))
                })?;
                let ports: Vec<u16> = (first..=last).collect();
                if let Some(used) =
                    ports.iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, **port)).is_err())
                {
                    return Err(Exit::Input(format!(
                        "--port: port {used} is in use: choose another, or leave --port out"
                    )));
                }
                ports
            }
            None => free_ports(std::process::id().into(), count)
                .ok_or_else(|| Exit::Failed(format!("there are no {count} free ports")))?,
        };
        Ok(ports.into_iter().map(|port| Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port }).collect())
    }

    fn not_started(&self, error: &ServerError) -> Exit {
        match error {
            ServerError::Start { .. } => Exit::Input(format!("--program: {error}")),
            ServerError::Directory { .. } => Exit::Input(format!("--dir: {error}")),
            ServerError::Ended { .. } | ServerError::NotReady { .. } | ServerError::Gone { .. } => {
                Exit::Failed(error.to_string())
            }
        }
    }
}

impl LocalGroup {
    /// Ends the servers, without a failover because of that.
    pub async fn stop(self) {
        self.session.authorise(false);
        self.supervisor.stop().await;
        drop(self.scratch);
    }
}

/// The signals that end a command. Opened before there is anything to clean up, so that from then on no
/// signal ends the process at once.
pub struct Interrupts([Signal; 3]);

impl Interrupts {
    /// Ctrl-C, SIGTERM, and the closing of the terminal.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the system provides no signals.
    pub fn open() -> Result<Self, Exit> {
        let open =
            |kind| signal(kind).map_err(|error| Exit::Failed(format!("cannot handle signals: {error}")));
        Ok(Self([
            open(SignalKind::interrupt())?,
            open(SignalKind::terminate())?,
            open(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them.
    pub async fn recv(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
