//! One function per action. Each does what it is told on the connection that it is given, and tells what came
//! of it. None chooses a target, retries, or goes on after its deadline.
//!
//! **Preconditions.** A plan says what must still hold (run id, role) when an action arrives. Redis cannot
//! make a transaction depend on anything but watched keys, so the check is the *connection*: its number
//! belongs to the run id that it reported, and a process that restarts takes its connections with it. Within
//! the connection each action checks again, in the same round trip:
//!
//! | action | sent | what tells that it was right |
//! |--|--|--|
//! | promote | `MULTI` `ROLE` `REPLICAOF NO ONE` `ROLE` `EXEC` | the second ROLE says master; the first tells what it was |
//! | follow | `MULTI` `ROLE` `REPLICAOF host port` `ROLE` `EXEC` | the second ROLE names the new master; the first says whether clients must go |
//! | handover | see `handover` | every ROLE stands in the transaction that changes it, offsets compared in between |
//! | fence, unfence | `ROLE` `CLIENT PAUSE ms WRITE`, `CLIENT UNPAUSE` | OK; the pause ends by itself |
//! | kick clients | `CLIENT KILL TYPE normal`, `… pubsub` | the number of killed clients; outside of any transaction |
//! | configure | `CONFIG SET` `CONFIG GET` | the value read back |
//!
//! Nothing else may stand in those transactions: one command that an ACL denies aborts all of them
//! (EXECABORT), and a missing right to kill clients must never stop a promotion. A target that is already as
//! wanted is a success.
//!
//! **Doubt.** An action that was sent and not answered may have happened, or may still happen:
//! [`ActFailure::InDoubt`].

mod clients;
mod configure;
mod fence;
mod follow;
mod handover;
mod promote;
mod role;
mod write_pause;

pub use clients::{Kicked, kick_clients};
pub use configure::configure;
pub use fence::{fence, unfence};
pub use follow::{Followed, follow};
pub use handover::{HandoverReport, HandoverTerms, StepTime, handover};
pub use promote::{Promoted, promote};
pub use role::Role;

use super::connection::{AskFailure, Connection, Question};
use super::probe::error_text;
use redis::Value;
use std::time::Instant;

/// Why an action did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActFailure {
    /// Nothing was sent, because the connection that proves whom we talk to had ended.
    #[error("{step}: not sent: its connection had ended")]
    Gone {
        /// What was to be sent.
        step: &'static str,
    },
    /// What must hold does not. Nothing was changed.
    #[error("{step}: not done: {why}")]
    Precondition {
        /// What was to be done.
        step: &'static str,
        /// What stands against it.
        why: String,
    },
    /// The server said no. It changed nothing.
    #[error("{step}: refused: {reply}")]
    Refused {
        /// What was sent.
        step: &'static str,
        /// The error reply.
        reply: String,
    },
    /// The server took it, and then says otherwise: somebody else is at work, or it is no server of this
    /// kind.
    #[error("{step}: not confirmed: {why}")]
    Unconfirmed {
        /// What was done.
        step: &'static str,
        /// What it says.
        why: String,
    },
    /// A handover that was begun and taken back: the old master is master again and takes writes.
    #[error("handover undone: {why}")]
    Undone {
        /// What stopped it.
        why: String,
    },
    /// Sent, and not answered: it may have happened, or may still happen.
    #[error("{step}: in doubt: {why}")]
    InDoubt {
        /// What was sent.
        step: &'static str,
        /// How the answer failed to come.
        why: String,
    },
}

/// Asks, and turns a missing answer into the failure of `step`.
async fn ask(
    connection: &Connection,
    step: &'static str,
    commands: &[&[&str]],
    deadline: Instant,
) -> Result<Vec<Value>, ActFailure> {
    connection.ask(&Question::new(commands), deadline).await.map_err(|failure| match failure {
        AskFailure::Gone => ActFailure::Gone { step },
        AskFailure::Ended | AskFailure::Late => ActFailure::InDoubt { step, why: failure.to_string() },
    })
}

/// The first error among replies that should all be good.
fn all_good(step: &'static str, replies: &[Value]) -> Result<(), ActFailure> {
    match replies.iter().find_map(error_text) {
        Some(reply) => Err(ActFailure::Refused { step, reply }),
        None => Ok(()),
    }
}

/// `commands` within MULTI and EXEC, in one round trip. Returns their results, one each.
async fn transact(
    connection: &Connection,
    step: &'static str,
    commands: &[&[&str]],
    deadline: Instant,
) -> Result<Vec<Value>, ActFailure> {
    let whole: Vec<&[&str]> =
        [&["MULTI"][..]].into_iter().chain(commands.iter().copied()).chain([&["EXEC"][..]]).collect();
    let mut replies = ask(connection, step, &whole, deadline).await?;
    match replies.pop() {
        // What was queued says why EXEC was refused ("EXECABORT" does not), so the first error is the telling
        // one.
        Some(Value::Array(results)) if results.len() == commands.len() => Ok(results),
        Some(refused @ Value::ServerError(_)) => {
            all_good(step, &replies)?;
            Err(ActFailure::Refused { step, reply: error_text(&refused).unwrap_or_default() })
        }
        other => Err(ActFailure::InDoubt { step, why: format!("EXEC answered {other:?}") }),
    }
}
