//! The options that name existing Redis servers, and the login to them.

use super::{Environment, Exit};
use crate::driver::{Access, Entry, member, unresolved_member};
use crate::group::Member;
use crate::redis::{Credentials, Endpoint, Tls};
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The servers, and how to reach them. A password comes from a file or from REDIS_OPERATOR_PASSWORD, never
/// from the command line, which every user of the machine can read.
#[derive(Clone, Debug, clap::Args)]
pub struct Servers {
    /// The members of the group; `[::1]:6379` for IPv6
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', required = true)]
    redis: Vec<String>,
    /// ACL user [default: the user default]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File with the password [default: the variable REDIS_OPERATOR_PASSWORD, if set]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the certificates to trust, in PEM; enables TLS
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// File with the client certificate, in PEM, for servers that require one
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// File with its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Name in the servers' certificates [default: the host in --redis]
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
}

impl Servers {
    /// Resolves the names and reads the files. A name that does not resolve is that member's own fault, and
    /// may resolve later: `upkeep.rs` goes on with it.
    ///
    /// # Errors
    /// [`Exit::Input`] for the first error.
    pub async fn resolve(
        &self,
        hang_limit: Duration,
        environment: &Environment,
    ) -> Result<(Vec<Member>, Access), Exit> {
        let mut members: Vec<Member> = Vec::new();
        for member in join_all(self.endpoints()?.iter().map(member_by_now)).await {
            if let Some(twins) = twins(&members, &member) {
                return Err(Exit::Input(format!("--redis: {twins}: list every server once")));
            }
            members.push(member);
        }
        Ok((
            members,
            Access {
                logins: self.credentials(environment)?.into(),
                tls: self.tls()?,
                sentinels: Entry::default(),
                network: None,
                hang_limit,
            },
        ))
    }

    /// The addresses as they are written.
    ///
    /// # Errors
    /// [`Exit::Input`] for the first that is none.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Exit> {
        let parse = |text: &String| text.parse().map_err(|error| Exit::Input(format!("--redis: {error}")));
        self.redis.iter().map(parse).collect()
    }

    /// User and password, as the file has it now.
    pub(super) fn credentials(&self, environment: &Environment) -> Result<Option<Credentials>, Exit> {
        let (password, source) = match &self.password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Exit::Input(format!("--password-file {}: {error}", path.display())))?;
                (Some(text), format!("--password-file {}", path.display()))
            }
            None => (environment.password.clone(), "REDIS_OPERATOR_PASSWORD".into()),
        };
        match password {
            Some(password) => Credentials::new(self.user.clone(), &password)
                .map(Some)
                .map_err(|error| Exit::Input(format!("{source}: {error}"))),
            None if self.user.is_some() => Err(Exit::Input(
                "--user needs a password: give --password-file or set REDIS_OPERATOR_PASSWORD".into(),
            )),
            None => Ok(None),
        }
    }

    /// Certificates and key, as the files have them now.
    pub(super) fn tls(&self) -> Result<Option<Tls>, Exit> {
        let Some(ca) = &self.tls_ca else { return Ok(None) };
        Tls::new(ca, self.client_certificate(), self.tls_name.as_deref())
            .map(Some)
            .map_err(|error| Exit::Input(error.to_string()))
    }

    /// The files of the operator's own certificate and key. None: it has none.
    pub(super) fn client_certificate(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// Whether the operator logs in as a user of its own.
    pub(super) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The files of [`Self::tls`].
    pub(super) fn tls_files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.tls_ca, &self.tls_cert, &self.tls_key].into_iter().flatten()
    }
}

/// That the member is among the listed already, in words. None: it is not.
pub(super) fn twins(listed: &[Member], member: &Member) -> Option<String> {
    let twin = listed.iter().find(|other| is_same_server(other, member))?;
    let as_what =
        if twin.id == member.id { String::new() } else { format!(", as {} and as {}", twin.id, member.id) };
    Some(format!("{} is listed twice{as_what}", member.id))
}

/// The member, without aliases if its name does not resolve in time.
pub(super) async fn member_by_now(endpoint: &Endpoint) -> Member {
    match tokio::time::timeout(RESOLVE_DEADLINE, member(endpoint)).await {
        Ok(Ok(member)) => member,
        Ok(Err(_)) | Err(_) => unresolved_member(endpoint),
    }
}

fn is_same_server(one: &Member, other: &Member) -> bool {
    let places = |member: &Member| {
        member
            .aliases
            .iter()
            .chain([&member.address])
            .map(|at| (at.host.to_ascii_lowercase(), at.port))
            .collect::<Vec<_>>()
    };
    let known = places(one);
    places(other).iter().any(|place| known.contains(place))
}

/// The start does not wait longer for the resolver.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);
