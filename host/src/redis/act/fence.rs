//! CLIENT PAUSE … WRITE: no writes, for a while that ends by itself.
//!
//! Redis has it since 6.2. Before, there is only the pause of everything, which holds our own connection too,
//! and min-replicas-to-write, which does not end by itself: an operator that dies would leave a master that
//! never takes a write again. A fence promises its bound, so on such servers it is refused, and whoever wants
//! the master silenced demotes it.

use super::role::Role;
use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use std::time::{Duration, Instant};

/// Stops writes for at most `at_most`. Sent again, it counts anew (Redis keeps the later end).
///
/// # Errors
/// [`ActFailure`]; a replica is no [`ActFailure`]: it takes no writes anyway.
pub async fn fence(
    connection: &Connection,
    at_most: Duration,
    deadline: Instant,
) -> Result<Role, ActFailure> {
    const STEP: &str = "fence";
    let bound_ms = at_most.as_millis().max(1).to_string();
    let replies =
        ask(connection, STEP, &[&["ROLE"], &["CLIENT", "PAUSE", &bound_ms, "WRITE"]], deadline).await?;
    all_good(STEP, &replies)?;
    Role::parse(&replies[0])
        .ok_or_else(|| ActFailure::Precondition { step: STEP, why: "it is no replication server".into() })
}

/// Ends the fence before its time.
///
/// # Errors
/// [`ActFailure`]. On a server without a fence it succeeds.
pub async fn unfence(connection: &Connection, deadline: Instant) -> Result<(), ActFailure> {
    const STEP: &str = "unfence";
    all_good(STEP, &ask(connection, STEP, &[&["CLIENT", "UNPAUSE"]], deadline).await?)
}
