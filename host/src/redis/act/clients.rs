//! CLIENT KILL of the clients that must look up the new master. Must not close replication links.

use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use redis::Value;
use std::time::Instant;

/// Number of closed connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kicked {
    /// Normal clients, with blocked ones and monitors; without this connection.
    pub normal: u64,
    /// Subscribers: else they would wait for ever on a server that gets no messages any more.
    pub pubsub: u64,
}

/// Closes all normal and pub/sub connections but this one. A second operator's is among them; it reconnects.
///
/// # Errors
/// [`ActFailure`]. Sent in a pipeline of its own, so that a missing right affects no other action.
pub async fn kick_clients(connection: &Connection, deadline: Instant) -> Result<Kicked, ActFailure> {
    const STEP: &str = "kick clients";
    let kill = |kind| ["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"];
    let replies = ask(connection, STEP, &[&kill("normal"), &kill("pubsub")], deadline).await?;
    all_good(STEP, &replies)?;
    let count = |reply: &Value| {
        if let Value::Int(count) = reply { u64::try_from(*count).unwrap_or_default() } else { 0 }
    };
    Ok(Kicked { normal: count(&replies[0]), pubsub: count(&replies[1]) })
}
