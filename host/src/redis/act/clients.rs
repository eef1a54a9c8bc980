//! CLIENT KILL of those who must look up the master again. Replicas and the master's own link are never
//! touched.

use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use redis::Value;
use std::time::Instant;

/// How many connections were closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kicked {
    /// Ordinary ones, blocked ones and monitors, our own excepted.
    pub normal: u64,
    /// Subscribers, who would otherwise wait for ever on a replica that lost its master.
    pub pubsub: u64,
}

/// Closes all normal and pub/sub connections but this one. A second operator's is among them: it dials anew.
///
/// # Errors
/// [`ActFailure`]. It stands alone in its pipeline, so that a missing right hurts nothing else.
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
