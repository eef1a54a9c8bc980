//! What is read again while a group is operated: the names of its servers, its password file, its
//! certificates. On a thread of its own, so that neither a resolver that hangs nor a slow terminal holds up a
//! failover, or the other way round. Must not judge a server.

use super::secrets::Secrets;
use super::sentinel_args::as_sentinel;
use super::sentinel_logins::SentinelLogins;
use super::{Environment, Exit, SentinelArgs, Servers};
use crate::contract::{InstanceKind, LinkState};
use crate::driver::{Access, GroupHandle, member};
use crate::group::{Event, Member, Report};
use crate::redis::Endpoint;
use crate::report::{Metrics, Task, supervise};
use futures_util::future::join_all;
use std::net::IpAddr;
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
    files: tokio::sync::Mutex<Files>,
}

/// What files say, and who has to be told.
struct Files {
    secrets: Secrets,
    /// None: Sentinels log in by a login of their own, or there are none.
    sentinel_logins: Option<SentinelLogins>,
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
        let sentinel_logins = if sentinels.are_given_logins(servers) {
            let (name, of_servers) = (sentinels.master_name(), servers.endpoints()?);
            Some(SentinelLogins::new(name, of_servers, sentinels.endpoints()?))
        } else {
            None
        };
        let secrets = Secrets::of(servers, sentinels, environment, access);
        let inputs = Arc::new(Inputs {
            servers: servers.clone(),
            sentinels: sentinels.clone(),
            environment: environment.clone(),
            handle: handle.clone(),
            members: Mutex::new(members.to_vec()),
            files: tokio::sync::Mutex::new(Files { secrets, sentinel_logins }),
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
        let mut files = self.files.lock().await;
        let Files { secrets, sentinel_logins } = &mut *files;
        while is_due(&mut nudged, FILES_EVERY).await {
            let to_servers = secrets.entry.to_servers.clone();
            match secrets.read(&self.servers, &self.sentinels, &self.environment) {
                Ok(false) => {}
                Ok(true) => {
                    self.handle.log_in_as(secrets.logins(), secrets.tls.clone());
                    self.handle.enter_sentinels_as(secrets.entry.clone());
                    tracing::info!("credentials changed");
                }
                Err(why) => tracing::warn!(error = why, "credentials not read: the former ones stand"),
            }
            if let Some(logins) = sentinel_logins {
                if secrets.entry.to_servers != to_servers {
                    logins.change();
                }
                logins.settle(&secrets.entry, secrets.tls.as_ref()).await;
            }
        }
    }
}

/// Small files.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// A failed connection brings the next lookup sooner.
const RESOLVED_EVERY: Duration = Duration::from_secs(5);
/// A resolver may ask over the network each time.
const UNRESOLVED_EVERY: Duration = Duration::from_secs(1);
/// Between two readings, however many connections fail.
const PAUSE: Duration = Duration::from_millis(50);
