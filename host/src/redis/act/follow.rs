//! REPLICAOF another server; the clients of a former master must go and look up the new one.

use super::clients::{Kicked, kick_clients};
use super::role::Role;
use super::{ActFailure, all_good, transact};
use crate::redis::{Connection, Endpoint};
use std::time::Instant;

/// A confirmed change of master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// What it was right before. A replica of the same master: nothing had to be done.
    pub was: Role,
    /// Only for a former master: what became of its clients. A failure here leaves clients on a replica,
    /// which answers their writes with READONLY; it does not undo the change.
    pub kicked: Option<Result<Kicked, ActFailure>>,
}

/// Makes a server follow `master`, confirms it, and kicks its clients if it was a master.
///
/// # Errors
/// [`ActFailure`]; also when the server took the command and names another master.
pub async fn follow(
    connection: &Connection,
    master: &Endpoint,
    deadline: Instant,
) -> Result<Followed, ActFailure> {
    const STEP: &str = "follow";
    let port = master.port.to_string();
    let results =
        transact(connection, STEP, &[&["ROLE"], &["REPLICAOF", &master.host, &port], &["ROLE"]], deadline)
            .await?;
    all_good(STEP, &results)?;
    match (Role::parse(&results[0]), Role::parse(&results[2])) {
        (Some(was), Some(Role::Replica { host, port, .. }))
            if host.eq_ignore_ascii_case(&master.host) && port == master.port =>
        {
            let kicked = if matches!(was, Role::Master { .. }) {
                Some(kick_clients(connection, deadline).await)
            } else {
                None
            };
            Ok(Followed { was, kicked })
        }
        (_, is) => Err(ActFailure::Unconfirmed {
            step: STEP,
            why: format!(
                "it says that it is {}",
                is.map_or("no replication server".into(), |role| role.to_string())
            ),
        }),
    }
}
