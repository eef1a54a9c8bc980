//! The options that name real Sentinels, the logins for them, and how they watch the group. What is not given
//! is read from the Sentinels.

use super::server_args::{member_by_now, twins};
use super::{Environment, Exit, Servers};
use crate::contract::{InstanceKind, SentinelMode, SentinelSettings, Topology};
use crate::driver::{Access, Entry, StateFile};
use crate::group::{Member, Settings};
use crate::redis::act::sentinel::DOWN_AFTER_MIN_MS;
use crate::redis::{Credentials, Endpoint, Session, Tls};
use crate::topology::allowed::SentinelOption;
use clap::ValueEnum;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Real Sentinels that watch the servers. Passwords come from files, never from the command line. The options
/// of the operator's own Sentinel endpoint are `--sentinel-listen` and those beside it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Sentinels that watch the servers")]
pub struct SentinelArgs {
    /// The Sentinels; they and the operator agree on each failover [default: none watch the servers]
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    sentinels: Vec<String>,
    /// Which side promotes [default: assisted]
    #[arg(long, value_enum, value_name = "MODE", requires = "sentinels")]
    mode: Option<Mode>,
    /// Name of the master in their configuration [default: mymaster]
    #[arg(long, value_name = "NAME", requires = "sentinels")]
    sentinel_master: Option<String>,
    /// ACL user at the Sentinels [default: the user default]
    #[arg(long, value_name = "NAME", requires = "sentinels_password_file")]
    sentinels_user: Option<String>,
    /// File with the password at the Sentinels (their requirepass) [default: none]
    #[arg(long, value_name = "FILE", requires = "sentinels")]
    sentinels_password_file: Option<PathBuf>,
    /// The Sentinels speak TLS, with the certificates of the servers' options unless they have their own
    #[arg(long, requires = "sentinels")]
    sentinels_tls: bool,
    /// File with the certificates to trust at the Sentinels, in PEM [default: --tls-ca]
    #[arg(long, value_name = "FILE", requires = "sentinels_tls")]
    sentinels_tls_ca: Option<PathBuf>,
    /// File with the client certificate for the Sentinels, in PEM [default: --tls-cert]
    #[arg(long, value_name = "FILE", requires = "sentinels_tls_ca", requires = "sentinels_tls_key")]
    sentinels_tls_cert: Option<PathBuf>,
    /// File with its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "sentinels_tls_cert")]
    sentinels_tls_key: Option<PathBuf>,
    /// User of the Sentinels at the servers (their auth-user) [default: --user]
    #[arg(long, value_name = "NAME", requires = "sentinels_auth_file")]
    sentinels_auth_user: Option<String>,
    /// File with the password of the Sentinels at the servers (their auth-pass): each Sentinel is given it
    /// when the file changes, and when it is written anew [default: the operator's own, given when it
    /// changes unless --user is set]
    #[arg(long, value_name = "FILE", requires = "sentinels")]
    sentinels_auth_file: Option<PathBuf>,
    /// Their quorum [default: as they have it]
    #[arg(long, value_name = "N", requires = "sentinels", value_parser = clap::value_parser!(u16).range(1..))]
    sentinels_quorum: Option<u16>,
    /// Their down-after-milliseconds [default: as they have it]
    #[arg(long, value_name = "TIME", requires = "sentinels", value_parser = super::settings::duration)]
    sentinels_down_after: Option<Duration>,
    /// Their failover-timeout [default: as they have it]
    #[arg(long, value_name = "TIME", requires = "sentinels", value_parser = super::settings::duration)]
    sentinels_failover_timeout: Option<Duration>,
    /// Their parallel-syncs [default: as they have it]
    #[arg(long, value_name = "N", requires = "sentinels", value_parser = clap::value_parser!(u16).range(1..))]
    sentinels_parallel_syncs: Option<u16>,
}

/// Which side promotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The operator, elected by the votes of the Sentinels.
    Assisted,
    /// The Sentinels; the operator only where they cannot.
    Deferred,
}

impl SentinelArgs {
    /// Whether Sentinels are named.
    pub(super) fn is_given(&self) -> bool {
        !self.sentinels.is_empty()
    }

    /// Adds the Sentinels to what a group starts from. Without any, nothing changes. The state file tells how
    /// they watched it when an earlier operator ended, and keeps it.
    ///
    /// # Errors
    /// [`Exit::Input`] for the first that is wrong, and for settings that are neither given, nor readable,
    /// nor known.
    pub async fn add_to(
        &self,
        settings: &mut Settings,
        members: &mut Vec<Member>,
        access: &mut Access,
        servers: &Servers,
        kept: &mut StateFile,
        environment: &Environment,
    ) -> Result<(), Exit> {
        if !self.is_given() {
            return Ok(());
        }
        let endpoints = self.endpoints()?;
        access.sentinels = self.entry(servers, environment)?;
        for member in join_all(endpoints.iter().map(member_by_now)).await {
            if let Some(twins) = twins(members, &member) {
                return Err(Exit::Input(format!("--sentinels: {twins}: list every Sentinel once")));
            }
            members.push(as_sentinel(member));
        }
        settings.wanted.topology = Topology::Sentinel;
        let known = kept.sentinel().cloned();
        settings.wanted.sentinel = Some(self.settings(&endpoints, &access.sentinels, known).await?);
        kept.keep_sentinel(settings.wanted.sentinel.clone());
        Ok(())
    }

    /// The addresses as they are written.
    ///
    /// # Errors
    /// [`Exit::Input`] for the first that is none.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Exit> {
        let parse =
            |text: &String| text.parse().map_err(|error| Exit::Input(format!("--sentinels: {error}")));
        self.sentinels.iter().map(parse).collect()
    }

    /// How to connect to them, as the files have it now.
    ///
    /// # Errors
    /// [`Exit::Input`] for a file that cannot be read.
    pub(super) fn entry(&self, servers: &Servers, environment: &Environment) -> Result<Entry, Exit> {
        let to_servers = match &self.sentinels_auth_file {
            Some(path) => Some(credentials("--sentinels-auth-file", path, self.sentinels_auth_user.clone())?),
            None => servers.credentials(environment)?,
        };
        Ok(Entry { logins: self.login()?.into(), tls: self.tls(servers)?, to_servers, ..Entry::default() })
    }

    /// The operator's login at the Sentinels, as the file has it now.
    ///
    /// # Errors
    /// [`Exit::Input`] for a file that cannot be read.
    pub(super) fn login(&self) -> Result<Option<Credentials>, Exit> {
        let path = self.sentinels_password_file.as_deref();
        let login = |path| credentials("--sentinels-password-file", path, self.sentinels_user.clone());
        path.map(login).transpose()
    }

    /// Whether the Sentinels are given the login of [`Entry::to_servers`] when it changes. A user of the
    /// operator's own need not be theirs, nor have their rights.
    pub(super) fn are_given_logins(&self, servers: &Servers) -> bool {
        self.is_given() && (self.sentinels_auth_file.is_some() || !servers.has_user())
    }

    /// The name of the master in their configuration.
    pub(super) fn master_name(&self) -> &str {
        self.sentinel_master.as_deref().unwrap_or("mymaster")
    }

    /// How their connections are encrypted, as the files have it now.
    fn tls(&self, servers: &Servers) -> Result<Option<Tls>, Exit> {
        if !self.sentinels_tls {
            return Ok(None);
        }
        let Some(ca) = &self.sentinels_tls_ca else {
            let of_servers = servers.tls()?;
            return of_servers.map(Some).ok_or_else(|| {
                Exit::Input(
                    "--sentinels-tls needs certificates to trust: give --sentinels-tls-ca FILE".into(),
                )
            });
        };
        let client = self.sentinels_tls_cert.as_deref().zip(self.sentinels_tls_key.as_deref());
        let client = client.or_else(|| servers.client_certificate());
        Tls::new(ca, client, None).map(Some).map_err(|error| Exit::Input(error.to_string()))
    }

    /// The files of their certificates that are not those of the servers.
    pub(super) fn tls_files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.sentinels_tls_ca, &self.sentinels_tls_cert, &self.sentinels_tls_key].into_iter().flatten()
    }

    /// How they watch the group: as given, else as they say, else as is known.
    async fn settings(
        &self,
        endpoints: &[Endpoint],
        entry: &Entry,
        known: Option<SentinelSettings>,
    ) -> Result<SentinelSettings, Exit> {
        let name = self.master_name().to_owned();
        let mode = match self.mode.unwrap_or(Mode::Assisted) {
            Mode::Assisted => SentinelMode::Assisted,
            Mode::Deferred => SentinelMode::Deferred,
        };
        let wanted = name.as_str();
        let look = |at| async move { (Endpoint::to_string(at), look(at, entry, wanted).await) };
        let looks: Vec<Looked> = join_all(endpoints.iter().map(look)).await;
        let is_watched = looks.iter().any(|(_, look)| matches!(look, Ok(Look::Watches(_))));
        let of_others = |(_, look): &Looked| match look {
            Ok(Look::Others(names)) => Some(names.clone()),
            Ok(Look::Watches(_)) | Err(_) => None,
        };
        if let (false, Some(names)) = (is_watched, looks.iter().find_map(of_others)) {
            return Err(Exit::Input(format!(
                "--sentinel-master: no Sentinel watches a master {name:?}; one watches {names}"
            )));
        }
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        // More than 65535 Sentinels or replicas are no different from that many.
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let known = known.filter(|known| known.master_name == name);
        let read = |option: SentinelOption, given: Option<u32>| {
            let known = known.as_ref().map(|known| match option {
                SentinelOption::Quorum => u32::from(known.quorum),
                SentinelOption::DownAfterMilliseconds => known.down_after_ms,
                SentinelOption::FailoverTimeout => known.failover_timeout_ms,
                SentinelOption::ParallelSyncs => u32::from(known.parallel_syncs),
            });
            number(&looks, option, given, known)
        };
        let settings = SentinelSettings {
            master_name: name,
            sentinels_desired: u16::try_from(endpoints.len())
                .map_err(|_| Exit::Input("--sentinels: there are too many".into()))?,
            quorum: small(read(SentinelOption::Quorum, self.sentinels_quorum.map(u32::from))?),
            down_after_ms: read(SentinelOption::DownAfterMilliseconds, self.sentinels_down_after.map(ms))?,
            failover_timeout_ms: read(
                SentinelOption::FailoverTimeout,
                self.sentinels_failover_timeout.map(ms),
            )?,
            parallel_syncs: small(read(
                SentinelOption::ParallelSyncs,
                self.sentinels_parallel_syncs.map(u32::from),
            )?),
            mode,
        };
        match mode {
            SentinelMode::Assisted if settings.down_after_ms < DOWN_AFTER_MIN_MS => {
                Err(Exit::Input(format!(
                    "down-after-milliseconds of the Sentinels is {}, and needs {DOWN_AFTER_MIN_MS} or more: a \
                     Sentinel dials a new master up to a second after it is told of it, and would take \
                     it for down before; give --sentinels-down-after 2s to have it set, or --mode deferred",
                    settings.down_after_ms
                )))
            }
            SentinelMode::Assisted | SentinelMode::Deferred | SentinelMode::Served => Ok(settings),
        }
    }
}

/// A member that is a Sentinel.
pub(super) fn as_sentinel(member: Member) -> Member {
    Member { kind: InstanceKind::Sentinel, shard: None, ..member }
}

/// What a Sentinel says at the start.
enum Look {
    /// How it watches the master of that name.
    Watches(BTreeMap<String, String>),
    /// It watches masters of other names: these.
    Others(String),
}

type Looked = (String, Result<Look, String>);

async fn look(at: &Endpoint, entry: &Entry, name: &str) -> Result<Look, String> {
    let session = Session::open(at, &entry.logins, entry.tls.as_ref(), LOOK).await?;
    let masters = session.sentinel_masters().await.map_err(|why| format!("{at}: {why}"))?;
    let named = |row: &&BTreeMap<String, String>| row.get("name").is_some_and(|is| is == name);
    Ok(match masters.iter().find(named) {
        Some(row) => Look::Watches(row.clone()),
        None => {
            let names: Vec<&str> =
                masters.iter().filter_map(|row| row.get("name")).map(String::as_str).collect();
            Look::Others(if names.is_empty() { "nothing".into() } else { names.join(", ") })
        }
    })
}

/// The value of an option: as given, else the one that all Sentinels that answer have; where none does, or
/// they differ, the known one.
fn number(
    looks: &[Looked],
    option: SentinelOption,
    given: Option<u32>,
    known: Option<u32>,
) -> Result<u32, Exit> {
    if let Some(given) = given {
        return option.check(&given.to_string()).map(|()| given).map_err(Exit::Input);
    }
    let name = option.name();
    let value = |(at, look): &Looked| match look {
        Ok(Look::Watches(row)) => Some((at.clone(), row.get(name)?.parse::<u32>().ok()?)),
        Ok(Look::Others(_)) | Err(_) => None,
    };
    let mut values = looks.iter().filter_map(value);
    if let Some(known) = known.filter(|_| !are_alike(looks.iter().filter_map(value).map(|(_, value)| value)))
    {
        return Ok(known);
    }
    let (first_at, first) = values.next().ok_or_else(|| {
        let why = looks.iter().find_map(|(_, look)| look.as_ref().err()).cloned().unwrap_or_default();
        Exit::Input(format!(
            "no Sentinel says its {name}: {why}: check --sentinels, or give all four settings; --state keeps them for the next start"
        ))
    })?;
    match values.find(|(_, other)| *other != first) {
        Some((at, other)) => Err(Exit::Input(format!(
            "{name} is {first} at {first_at} and {other} at {at}: give the option of that name, and it is set at \
             all of them"
        ))),
        None => Ok(first),
    }
}

/// There is a value, and no other one.
fn are_alike(mut values: impl Iterator<Item = u32>) -> bool {
    values.next().is_some_and(|first| values.all(|other| other == first))
}

fn credentials(option: &str, path: &Path, user: Option<String>) -> Result<Credentials, Exit> {
    let named = |error: &dyn std::fmt::Display| Exit::Input(format!("{option} {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    Credentials::new(user, &text).map_err(|error| named(&error))
}

/// For one Sentinel at the start.
const LOOK: Duration = Duration::from_secs(2);
