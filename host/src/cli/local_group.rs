//! A group of servers of our own: started, kept running and looked after. Shared by `local` and `demo`;
//! whoever drops it ends it.

use super::{Environment, Exit, GroupSettings, PolicyChoice, Session};
use crate::driver::{Access, member};
use crate::group::{Moment, Record};
use crate::local::{Boot, Change, Scratch, ServerError, ServerSettings, Supervisor, free_ports};
use crate::redis::Endpoint;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

/// What servers to start.
#[derive(Clone, Debug, clap::Args)]
pub struct LocalServers {
    /// How many replicas beside the master
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub replicas: u16,
    /// Port of the first server; the others have those after it [default: free ones]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Program of the servers: redis-server or valkey-server, or its path
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    program: PathBuf,
    /// Directory for the servers' logs, which is kept [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The group.
pub struct LocalGroup {
    /// Who looks after it.
    pub session: Session,
    /// Who keeps the servers running.
    pub supervisor: Supervisor,
    /// What becomes of the servers.
    pub changes: UnboundedReceiver<Change>,
    /// Where the servers listen.
    pub endpoints: Vec<Endpoint>,
    /// Their directory, if it is to go with us. Declared last, so that it goes after they have.
    pub scratch: Option<Scratch>,
}

impl LocalServers {
    /// Starts the servers, none of which is master, and whoever will choose one, without authority yet.
    /// `told` is called on the group's own thread with every record that is published.
    ///
    /// # Errors
    /// [`Exit`], with nothing left running.
    pub async fn open(
        &self,
        group: &GroupSettings,
        policy: &PolicyChoice,
        told: impl Fn(Moment, &Record) + Send + 'static,
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
                    Exit::Failed(format!("no directory in {}: {error}", parent.display()))
                })?;
                (scratch.path().to_owned(), Some(scratch))
            }
        };
        let (known, master) = watch::channel(None);
        let publish = move |now: Moment, record: Record| {
            told(now, &record);
            known.send_replace(record.published.master.parse().ok());
        };
        let mut members = Vec::new();
        for endpoint in &endpoints {
            members.push(member(endpoint).await.map_err(Exit::Failed)?);
        }
        let access = Access { logins: None.into(), tls: None, hang_limit: group.down_after };
        // First, because a policy that is none must end this before any server starts.
        let session = Session::open(settings, members, access, policy, publish, environment)?;
        let servers = endpoints.iter().map(|endpoint| ServerSettings {
            program: self.program.clone(),
            endpoint: endpoint.clone(),
            dir: dir.join(endpoint.port.to_string()),
            boot: Boot::FollowingItself,
            arguments: Vec::new(),
        });
        let (supervisor, changes) =
            Supervisor::start(servers.collect(), master).await.map_err(|error| self.not_started(&error))?;
        Ok(LocalGroup { session, supervisor, changes, endpoints, scratch })
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Exit> {
        let count = usize::from(self.replicas) + 1;
        let ports = match self.port {
            Some(first) => {
                let last = first.checked_add(self.replicas).ok_or_else(|| {
                    Exit::Input(format!("--port: {count} ports from {first} on are not there"))
                })?;
                let ports: Vec<u16> = (first..=last).collect();
                if let Some(taken) =
                    ports.iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, **port)).is_err())
                {
                    return Err(Exit::Input(format!(
                        "--port: port {taken} is taken; choose another, or leave --port out"
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
    /// Ends the servers, and nobody fails over because of that.
    pub async fn stop(self) {
        self.session.authorise(false);
        self.supervisor.stop().await;
        drop(self.scratch);
    }
}

/// The signals that end a command. Opened before there is anything to clean up: from then on none of them
/// just kills.
pub struct Interrupts([Signal; 3]);

impl Interrupts {
    /// Ctrl-C, SIGTERM, and the end of the terminal.
    ///
    /// # Errors
    /// [`Exit::Failed`] when the system gives no signals.
    pub fn open() -> Result<Self, Exit> {
        let open = |kind| signal(kind).map_err(|error| Exit::Failed(format!("no signals: {error}")));
        Ok(Self([
            open(SignalKind::interrupt())?,
            open(SignalKind::terminate())?,
            open(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one.
    pub async fn recv(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
