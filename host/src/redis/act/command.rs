//! Any other command of the allow-list: the door through which Sentinel and Redis Cluster will come.

use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use std::time::Instant;

/// Exact commands, in capitals. CONFIG REWRITE keeps a topology over a restart of servers that have a
/// configuration file of their own, as Sentinel does after each change.
const COMMANDS: [&[&str]; 1] = [&["CONFIG", "REWRITE"]];

/// Sends a command of the allow-list.
///
/// # Errors
/// [`ActFailure`]; `Precondition` for a command beyond the allow-list, before anything is sent.
pub async fn command(
    connection: &Connection,
    arguments: &[String],
    deadline: Instant,
) -> Result<(), ActFailure> {
    const STEP: &str = "command";
    let is_same = |allowed: &&&[&str]| {
        allowed.len() == arguments.len()
            && allowed.iter().zip(arguments).all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    let Some(words) = COMMANDS.iter().find(is_same) else {
        return Err(ActFailure::Precondition {
            step: STEP,
            why: format!("{:?} is not among the commands that may be sent", arguments.join(" ")),
        });
    };
    all_good(STEP, &ask(connection, STEP, &[words], deadline).await?)
}
