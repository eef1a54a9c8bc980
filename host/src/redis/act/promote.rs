//! REPLICAOF NO ONE, confirmed by the role right after it.

use super::ActFailure;
use super::replicaof::{Changed, replicaof};
use super::role::Role;
use crate::redis::Connection;
use std::time::Instant;

/// A confirmed promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The role right before. A master: nothing had to be done.
    pub was: Role,
    /// Its offset right after, where the new history starts.
    pub offset: u64,
}

/// Makes a server a master and confirms it.
///
/// # Errors
/// [`ActFailure`]; also if the server accepts the command but does not report role master.
pub async fn promote(connection: &Connection, deadline: Instant) -> Result<Promoted, ActFailure> {
    const STEP: &str = "promote";
    match replicaof(connection, STEP, ["NO", "ONE"], deadline).await? {
        Changed { was: Some(was), is: Some(Role::Master { offset }) } => Ok(Promoted { was, offset }),
        Changed { is, .. } => Err(ActFailure::Unconfirmed {
            step: STEP,
            why: format!(
                "after REPLICAOF NO ONE it reports {}",
                is.map_or("neither master nor replica".into(), |role| role.to_string())
            ),
        }),
    }
}
