//! One function per action. Each sends one action on the given connection and returns its outcome. None
//! chooses a target, retries, or sends a command after its deadline.
//!
//! **Preconditions.** A plan states what must still hold (run id, role) when an action arrives. A Redis
//! transaction can depend on nothing but watched keys, so the check is the *connection*: its number belongs
//! to the run id that it reported, and the connections of a process end with it. On the connection each
//! action checks again, in the same round trip:
//!
//! | action | sent | confirmed by |
//! |--|--|--|
//! | promote | `MULTI` `ROLE` `REPLICAOF NO ONE` `ROLE` `EXEC` | second ROLE: master; first: former role |
//! | follow, demote | `MULTI` `ROLE` `REPLICAOF host port` `ROLE` `EXEC` | second ROLE: its master |
//! | handover | see `handover` | a ROLE in each transaction, offsets compared in between |
//! | fence, unfence | `ROLE` `CLIENT PAUSE ms WRITE`, `CLIENT UNPAUSE` | OK; the pause ends by itself |
//! | kick clients | `CLIENT KILL TYPE normal`, `… pubsub` | number of killed clients; in no transaction |
//! | configure | `CONFIG SET` `CONFIG GET` | the value read back |
//!
//! Actions with Sentinels have a table of their own: `sentinel/mod.rs`.
//!
//! The second and third form of promote, follow and the demotion of a handover, for a server that refuses
//! MULTI, ROLE or REPLICAOF: see `replicaof`.
//!
//! No other command may be in those transactions: one command that an ACL denies aborts all of them
//! (EXECABORT), and a missing right to kill clients must never stop a promotion. A target that is in the
//! wanted state already is a success.
//!
//! **Doubt.** An action that was sent and not answered may have happened, or may still happen:
//! [`ActFailure::InDoubt`].

mod clients;
mod configure;
mod fence;
mod follow;
mod handover;
mod promote;
mod replicaof;
mod role;
pub mod sentinel;
mod write_pause;

pub use clients::{Kicked, kick_clients};
pub use configure::configure;
pub use fence::{fence, unfence};
pub use follow::{Followed, demote, follow};
pub use handover::{HandoverReport, HandoverTerms, StepTime, handover, handover_with};
pub use promote::{Promoted, promote};
pub use role::Role;

use super::connection::{AskFailure, Connection, Question};
use super::probe::error_text;
use redis::Value;
use std::time::Instant;

/// Why an action did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActFailure {
    /// Nothing was sent: the connection, which proves the run id, had ended.
    #[error("{step}: not sent: the connection had ended")]
    Gone {
        /// The step.
        step: &'static str,
    },
    /// Nothing was sent to the server: the answers that it needs first were not there in time. The next
    /// attempt may find them.
    #[error("{step}: not in time: {why}")]
    NotInTime {
        /// The step.
        step: &'static str,
        /// What was missing.
        why: String,
    },
    /// A precondition does not hold. Nothing was changed.
    #[error("{step}: not done: {why}")]
    Precondition {
        /// The step.
        step: &'static str,
        /// The precondition.
        why: String,
    },
    /// The server replied with an error. It changed nothing.
    #[error("{step}: refused: {reply}")]
    Refused {
        /// The step.
        step: &'static str,
        /// The error reply.
        reply: String,
    },
    /// The server accepted the command, but then reports another state: another program acts on it, or it is
    /// no server of this kind.
    #[error("{step}: not confirmed: {why}")]
    Unconfirmed {
        /// The step.
        step: &'static str,
        /// The state that it reports.
        why: String,
    },
    /// A handover was begun and undone: the old master is master again and accepts writes.
    #[error("handover undone: {why}")]
    Undone {
        /// The cause.
        why: String,
    },
    /// Sent and not answered: it may have happened, or may still happen.
    #[error("{step}: in doubt: {why}")]
    InDoubt {
        /// The step.
        step: &'static str,
        /// Why there is no answer.
        why: String,
    },
}

/// Sends the commands as one pipeline. A missing answer is a failure of `step`.
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

/// A bulk or simple string.
fn text_of(value: &Value) -> Option<String> {
    role::text(value)
}

/// Ok if no reply is an error, else the first error.
fn all_good(step: &'static str, replies: &[Value]) -> Result<(), ActFailure> {
    match replies.iter().find_map(error_text) {
        Some(reply) => Err(ActFailure::Refused { step, reply }),
        None => Ok(()),
    }
}

/// What became of commands within MULTI and EXEC.
enum Transaction {
    /// It was carried out: a result per command.
    Done(Vec<Value>),
    /// MULTI was refused, so each command was carried out by itself: a result per command.
    Plain(Vec<Value>),
    /// It was refused as a whole, and nothing was carried out.
    Refused(ActFailure),
}

/// Sends `commands` within MULTI and EXEC, in one round trip.
async fn transact(
    connection: &Connection,
    step: &'static str,
    commands: &[&[&str]],
    deadline: Instant,
) -> Result<Transaction, ActFailure> {
    let whole: Vec<&[&str]> =
        [&["MULTI"][..]].into_iter().chain(commands.iter().copied()).chain([&["EXEC"][..]]).collect();
    let mut replies = ask(connection, step, &whole, deadline).await?;
    if replies.first().is_some_and(|multi| error_text(multi).is_some()) {
        replies.pop();
        return Ok(Transaction::Plain(replies.split_off(1)));
    }
    match replies.pop() {
        // The reply to a queued command has the reason for EXECABORT, which EXEC's own reply does not have:
        // so the first error counts.
        Some(Value::Array(results)) if results.len() == commands.len() => Ok(Transaction::Done(results)),
        Some(refused @ Value::ServerError(_)) => {
            let reply = error_text(&refused).unwrap_or_default();
            if !reply.starts_with("EXECABORT") {
                // EXEC itself was refused, so the queue stands: without this, every later command on this
                // connection would join it.
                let left = ask(connection, step, &[&["DISCARD"]], deadline).await?;
                if all_good(step, &left).is_err() {
                    // The end of the connection drops the queue, too.
                    ask(connection, step, &[&["QUIT"]], deadline).await?;
                }
            }
            let first = all_good(step, &replies).err();
            Ok(Transaction::Refused(first.unwrap_or(ActFailure::Refused { step, reply })))
        }
        other => Err(ActFailure::InDoubt { step, why: format!("EXEC answered {other:?}") }),
    }
}
