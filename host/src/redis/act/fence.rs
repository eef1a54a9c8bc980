//! CLIENT PAUSE … WRITE: writes wait, for a bounded time.
//!
//! Redis has it since 6.2. Earlier versions have only CLIENT PAUSE of all commands, which stops this
//! connection too, and min-replicas-to-write, which does not end by itself: if the operator died, the master
//! would refuse writes for ever. A fence must end by itself, so an earlier version refuses it, and a policy
//! demotes the master instead.

use super::role::Role;
use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use std::time::{Duration, Instant};

/// Pauses writes for at most `at_most`. Sent again, the time starts anew (Redis keeps the later end).
///
/// # Errors
/// [`ActFailure`]. A fence of a replica succeeds: it accepts no writes anyway.
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
    Role::parse(&replies[0]).ok_or_else(|| ActFailure::Precondition {
        step: STEP,
        why: "ROLE gave neither master nor replica".into(),
    })
}

/// Ends the fence early.
///
/// # Errors
/// [`ActFailure`]. On a server without a fence it succeeds.
pub async fn unfence(connection: &Connection, deadline: Instant) -> Result<(), ActFailure> {
    const STEP: &str = "unfence";
    all_good(STEP, &ask(connection, STEP, &[&["CLIENT", "UNPAUSE"]], deadline).await?)
}
