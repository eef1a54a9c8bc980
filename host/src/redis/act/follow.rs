//! REPLICAOF another server; a former master's clients are disconnected, so that they look up the new master.

use super::ActFailure;
use super::clients::{Kicked, kick_clients};
use super::replicaof::{Changed, NOWHERE, replicaof};
use super::role::Role;
use crate::redis::{Connection, Endpoint};
use failover_core::mutant;
use std::time::Instant;

/// A confirmed change of master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The role right before. A replica of the same master: nothing had to be done.
    pub was: Role,
    /// Only for a former master: the result of disconnecting its clients. After a failure they stay connected
    /// to a replica, which answers their writes with READONLY; the change is not undone.
    pub kicked: Option<Result<Kicked, ActFailure>>,
}

/// Makes a server a replica without a master: it takes no more writes and keeps its data.
///
/// # Errors
/// [`ActFailure`], as of [`follow`].
pub async fn demote(connection: &Connection, deadline: Instant) -> Result<Followed, ActFailure> {
    let [host, port] = NOWHERE;
    let port = port.parse().unwrap_or_default();
    follow(connection, &Endpoint { host: host.into(), port }, deadline).await
}

/// Makes a server follow `master`, confirms it, and disconnects its clients if it was a master.
///
/// # Errors
/// [`ActFailure`]; also if the server accepts the command but reports another master.
pub async fn follow(
    connection: &Connection,
    master: &Endpoint,
    deadline: Instant,
) -> Result<Followed, ActFailure> {
    const STEP: &str = "follow";
    let port = master.port.to_string();
    match replicaof(connection, STEP, [&master.host, &port], deadline).await? {
        Changed { was: Some(was), is: Some(Role::Replica { host, port, .. }) }
            if host.eq_ignore_ascii_case(&master.host) && port == master.port =>
        {
            let kicked = if matches!(was, Role::Master { .. }) && !mutant::is_left_out("act", "kick") {
                Some(kick_clients(connection, deadline).await)
            } else {
                None
            };
            Ok(Followed { was, kicked })
        }
        Changed { is, .. } => Err(ActFailure::Unconfirmed {
            step: STEP,
            why: format!(
                "after REPLICAOF it reports {}",
                is.map_or("neither master nor replica".into(), |role| role.to_string())
            ),
        }),
    }
}
