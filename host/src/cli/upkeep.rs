//! What is read again while a group is operated: the names of its servers, its password file, its
//! certificates. On a thread of its own, so that neither a resolver that hangs nor a slow terminal holds up a
//! failover, or the other way round. Must not judge a server.

use super::sentinel_args::as_sentinel;
use super::{Environment, Exit, SentinelArgs, Servers};
use crate::contract::{InstanceKind, LinkState};
use crate::driver::{Access, Entry, GroupHandle, member};
use crate::group::{Event, Member, Report};
use crate::redis::{Credentials, Endpoint, Logins, Tls};
use crate::report::{Metrics, Task, supervise};
use futures_util::future::join_all;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Keeps names, password and certificates of a group up to date until dropped.
pub struct Upkeep {
    /// Reading is due now.
    nudge: watch::Sender<()>,
}

/// What the group uses now.
struct Inputs {
    servers: Servers,
    sentinels: SentinelArgs,
    environment: Environment,
    handle: GroupHandle,
    members: Mutex<Vec<Member>>,
    secrets: tokio::sync::Mutex<Secrets>,
}

impl Upkeep {
    /// Starts it, from what was read at the start.
    ///
    /// # Errors
    /// [`Exit::Failed`] on a machine without threads.
    pub fn start(
        servers: &Servers,
        sentinels: &SentinelArgs,
        (members, access): (&[Member], &Access),
        handle: &GroupHandle,
        environment: &Environment,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Exit> {
        let failed = |error: std::io::Error| Exit::Failed(format!("cannot start a thread: {error}"));
        let (nudge, nudged) = watch::channel(());
        let of_kind = |kind| move |endpoint| (endpoint, kind);
        let endpoints = servers.endpoints()?.into_iter().map(of_kind(InstanceKind::Redis));
        let endpoints =
            endpoints.chain(sentinels.endpoints()?.into_iter().map(of_kind(InstanceKind::Sentinel)));
        let endpoints: Vec<(Endpoint, InstanceKind)> = endpoints.collect();
        let inputs = Arc::new(Inputs {
            servers: servers.clone(),
            sentinels: sentinels.clone(),
            environment: environment.clone(),
            handle: handle.clone(),
            members: Mutex::new(members.to_vec()),
            secrets: tokio::sync::Mutex::new(Secrets::of(servers, environment, access)),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let live = async move {
            let is_name = |(endpoint, _): &&(Endpoint, _)| endpoint.host.parse::<IpAddr>().is_err();
            let (inputs, metrics, nudged) = (&inputs, &metrics, &nudged);
            let names = endpoints.iter().filter(is_name).map(async |(name, kind)| {
                let follow = || inputs.follow_name(name, *kind, nudged.clone());
                supervise(Task::Upkeep, &name.to_string(), metrics, follow).await;
            });
            let files = supervise(Task::Upkeep, "files", metrics, || inputs.follow_files(nudged.clone()));
            tokio::join!(join_all(names), files);
        };
        std::thread::Builder::new()
            .name("upkeep".into())
            .spawn(move || {
                runtime.block_on(live);
                // A lookup that hangs must not hold the thread.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { nudge })
    }

    /// Reads at once what may explain a connection that fails: another password, another address.
    pub fn note(&self, report: &Report) {
        if let Report::Link { state, .. } = report {
            match state {
                LinkState::Unauthorized
                | LinkState::Refused
                | LinkState::Unreachable
                | LinkState::TimedOut
                | LinkState::Closed => _ = self.nudge.send(()),
                LinkState::Unknown
                | LinkState::Answering
                | LinkState::Loading
                | LinkState::Busy
                | LinkState::ProtocolError => {}
            }
        }
    }
}

/// Waits for a nudge, or for so long. False: the group has ended.
async fn is_due(nudged: &mut watch::Receiver<()>, every: Duration) -> bool {
    tokio::time::sleep(PAUSE).await;
    !matches!(tokio::time::timeout(every, nudged.changed()).await, Ok(Err(_)))
}

impl Inputs {
    /// Resolves one name again and again: it may come later, or get another address. While it does not
    /// resolve, the addresses that it had stand.
    async fn follow_name(&self, name: &Endpoint, kind: InstanceKind, mut nudged: watch::Receiver<()>) {
        let mut was_resolved = true;
        loop {
            match member(name).await {
                Ok(member) => {
                    if !was_resolved {
                        tracing::info!(member = member.id, "name resolves");
                    }
                    was_resolved = true;
                    self.set(match kind {
                        InstanceKind::Redis => member,
                        InstanceKind::Sentinel => as_sentinel(member),
                    });
                }
                Err(error) if was_resolved => {
                    was_resolved = false;
                    tracing::warn!(
                        member = %name,
                        error,
                        "name does not resolve: check its spelling, or wait until it is known"
                    );
                }
                Err(_) => {}
            }
            if !is_due(&mut nudged, if was_resolved { RESOLVED_EVERY } else { UNRESOLVED_EVERY }).await {
                return;
            }
        }
    }

    fn set(&self, member: Member) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let known = members.iter_mut().find(|known| known.id == member.id && **known != member);
        if let Some(known) = known {
            *known = member;
            self.handle.send(Event::Members(members.clone()));
        }
    }

    /// Reads password and certificates again and again. What they were is tried after what they are: servers
    /// change one after the other.
    async fn follow_files(&self, mut nudged: watch::Receiver<()>) {
        let mut secrets = self.secrets.lock().await;
        while is_due(&mut nudged, FILES_EVERY).await {
            match secrets.read(&self.servers, &self.sentinels, &self.environment) {
                Ok(false) => {}
                Ok(true) => {
                    self.handle.log_in_as(Logins::any(secrets.logins.clone()), secrets.tls.clone());
                    self.handle.enter_sentinels_as(secrets.entry.clone());
                    tracing::info!("credentials changed");
                }
                Err(why) => tracing::warn!(error = why, "credentials not read: the former ones stand"),
            }
        }
    }
}

/// Password and certificates, and what they were.
struct Secrets {
    /// The newest first.
    logins: Vec<Option<Credentials>>,
    tls: Option<Tls>,
    /// Of the Sentinels.
    entry: Entry,
    /// Content of the files of `tls`.
    files: Vec<Option<Vec<u8>>>,
    /// The last error, which is reported once.
    error: Option<String>,
}

impl Secrets {
    fn of(servers: &Servers, environment: &Environment, access: &Access) -> Self {
        Self {
            // As read a moment ago: should the file have changed since, the servers refuse it, and it is read
            // again.
            logins: servers.credentials(environment).into_iter().collect(),
            tls: access.tls.clone(),
            entry: access.sentinels.clone(),
            files: contents(servers),
            error: None,
        }
    }

    /// True if anything changed.
    ///
    /// # Errors
    /// One sentence, once.
    fn read(
        &mut self,
        servers: &Servers,
        sentinels: &SentinelArgs,
        environment: &Environment,
    ) -> Result<bool, String> {
        let read = self.read_all(servers, sentinels, environment);
        let error = read.as_ref().err().cloned();
        let is_old = error == self.error;
        self.error = error;
        if is_old { read.or(Ok(false)) } else { read }
    }

    fn read_all(
        &mut self,
        servers: &Servers,
        sentinels: &SentinelArgs,
        environment: &Environment,
    ) -> Result<bool, String> {
        let said = |exit: Exit| match exit {
            Exit::Input(why) | Exit::Failed(why) => why,
            Exit::Done | Exit::Usage => String::new(),
        };
        let login = servers.credentials(environment).map_err(said)?;
        let is_new_login = self.logins.first() != Some(&login);
        if is_new_login {
            self.logins.retain(|former| *former != login);
            self.logins.insert(0, login);
            self.logins.truncate(LOGINS_MAX);
        }
        let files = contents(servers);
        let is_new_tls = files != self.files;
        if is_new_tls {
            let tls = servers.tls().map_err(said)?;
            self.tls =
                tls.map(|tls| self.tls.as_ref().map_or_else(|| tls.clone(), |former| tls.clone().or(former)));
            self.files = files;
        }
        // Of Sentinels only the newest login is tried: they keep the connections that they have.
        let entry = sentinels.entry(servers, environment).map_err(said)?;
        let is_new_entry = (&entry.logins, &entry.to_servers) != (&self.entry.logins, &self.entry.to_servers);
        if is_new_entry || is_new_tls {
            self.entry = entry;
        }
        Ok(is_new_login || is_new_tls || is_new_entry)
    }
}

fn contents(servers: &Servers) -> Vec<Option<Vec<u8>>> {
    servers.tls_files().map(|path: &PathBuf| std::fs::read(path).ok()).collect()
}

/// A server that has missed this number of changes will not accept an earlier password either.
const LOGINS_MAX: usize = 3;
/// Small files.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// A failed connection brings the next lookup sooner.
const RESOLVED_EVERY: Duration = Duration::from_secs(5);
/// A resolver may ask over the network each time.
const UNRESOLVED_EVERY: Duration = Duration::from_secs(1);
/// Between two readings, however many connections fail.
const PAUSE: Duration = Duration::from_millis(50);
