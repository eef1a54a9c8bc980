//! How a handover pauses the writes of its source: with CLIENT PAUSE … WRITE, which ends by itself; before
//! Redis 6.2, or where CLIENT is renamed or denied, with min-replicas-to-write, which does not, so the former
//! value is kept and restored. Where CONFIG is refused, too, there is no pause: the handover loses nothing
//! all the same, because its safety rests on the offset of the demotion; while many write, it is undone.

use super::role::text;
use super::{ActFailure, all_good, ask};
use crate::contract::FailureKind;
use crate::redis::Connection;
use crate::redis::clock::now;
use crate::redis::probe::{error_kind, error_text};
use redis::Value;
use std::time::{Duration, Instant};

/// More replicas than any group has. If it is found as the former value, an interrupted handover left it, and
/// 0 is restored.
const UNREACHABLE_REPLICAS: &str = "1000000";

/// The command is not known, not in this form, or not allowed.
fn is_refusal(reply: &str) -> bool {
    error_kind(reply) == FailureKind::ErrorReply && reply.starts_with("ERR ") || reply.starts_with("NOPERM")
}

/// A pause of a master's writes.
pub(super) enum WritePause {
    /// CLIENT PAUSE … WRITE: writes wait.
    Pause,
    /// An unreachable min-replicas-to-write: writes get NOREPLICAS. Holds the former value.
    MinReplicas(String),
    /// The server refuses both. Writes go on until the demotion.
    Nothing,
}

impl WritePause {
    /// Pauses writes and reads INFO replication in the same round trip: no write can follow the offset in it.
    ///
    /// # Errors
    /// [`ActFailure`]. `InDoubt`: writes may be paused.
    pub(super) async fn begin(
        source: &Connection,
        at_most: Duration,
        deadline: Instant,
    ) -> Result<(Self, Value), ActFailure> {
        const STEP: &str = "pause writes";
        let bound_ms = at_most.as_millis().max(1).to_string();
        let mut replies = ask(
            source,
            STEP,
            &[&["CLIENT", "PAUSE", &bound_ms, "WRITE"], &["INFO", "replication"]],
            deadline,
        )
        .await?;
        match error_text(&replies[0]) {
            None => Ok((Self::Pause, replies.swap_remove(1))),
            // Before 6.2 the fourth word is a syntax error, and nothing is paused; a renamed or denied CLIENT
            // paused nothing either.
            Some(reply) if is_refusal(&reply) => {
                match Self::begin_by_min_replicas(source, at_most, deadline).await {
                    Err(ActFailure::Refused { reply, .. }) if is_refusal(&reply) => {
                        Self::begin_without(source, deadline).await
                    }
                    begun => begun,
                }
            }
            Some(reply) => Err(ActFailure::Refused { step: STEP, reply }),
        }
    }

    async fn begin_without(source: &Connection, deadline: Instant) -> Result<(Self, Value), ActFailure> {
        const STEP: &str = "read the offset";
        let mut replies = ask(source, STEP, &[&["INFO", "replication"]], deadline).await?;
        all_good(STEP, &replies)?;
        Ok((Self::Nothing, replies.swap_remove(0)))
    }

    async fn begin_by_min_replicas(
        source: &Connection,
        at_most: Duration,
        deadline: Instant,
    ) -> Result<(Self, Value), ActFailure> {
        const STEP: &str = "pause writes by min-replicas-to-write";
        let directives = ask(
            source,
            STEP,
            &[&["CONFIG", "GET", "min-replicas-to-write"], &["CONFIG", "GET", "min-replicas-max-lag"]],
            deadline,
        )
        .await?;
        all_good(STEP, &directives)?;
        let value =
            |reply: &Value| if let Value::Array(pair) = reply { pair.get(1).and_then(text) } else { None };
        let (Some(former), Some(lag)) = (value(&directives[0]), value(&directives[1])) else {
            return Err(ActFailure::Precondition {
                step: STEP,
                why: "the server has no directive min-replicas-to-write".into(),
            });
        };
        let former = if former == UNREACHABLE_REPLICAS { "0".into() } else { former };
        // A lag of 0 disables the check. 10 is Redis' default, and has no effect once min-replicas-to-write
        // is restored to 0.
        let lag = if lag == "0" { "10" } else { &lag };
        let set = [
            &["CONFIG", "SET", "min-replicas-max-lag", lag][..],
            &["CONFIG", "SET", "min-replicas-to-write", UNREACHABLE_REPLICAS],
            &["INFO", "replication"],
        ];
        let pause = Self::MinReplicas(former);
        let asked = ask(source, STEP, &set, deadline).await;
        if let Some(reply) = asked.as_ref().ok().and_then(|replies| error_text(&replies[1])) {
            // Nothing is paused, so there is nothing to restore.
            return Err(ActFailure::Refused { step: STEP, reply });
        }
        match asked.and_then(|replies| all_good(STEP, &replies).map(|()| replies)) {
            Ok(mut replies) => Ok((pause, replies.swap_remove(2))),
            Err(failure) => {
                pause.end(source, now() + at_most).await?;
                Err(failure)
            }
        }
    }

    /// The command that ends the pause. None: there is none.
    pub(super) fn end_command(&self) -> Option<Vec<&str>> {
        match self {
            Self::Pause => Some(vec!["CLIENT", "UNPAUSE"]),
            Self::MinReplicas(former) => Some(vec!["CONFIG", "SET", "min-replicas-to-write", former]),
            Self::Nothing => None,
        }
    }

    /// Ends the pause of a master that keeps its role. A CLIENT PAUSE that cannot be ended expires.
    ///
    /// # Errors
    /// If min-replicas-to-write could not be restored: the user must do it.
    pub(super) async fn end(&self, source: &Connection, deadline: Instant) -> Result<(), ActFailure> {
        const STEP: &str = "end the write pause";
        let Some(command) = self.end_command() else { return Ok(()) };
        let ended =
            ask(source, STEP, &[&command], deadline).await.and_then(|replies| all_good(STEP, &replies));
        match self {
            Self::Pause | Self::Nothing => Ok(()),
            Self::MinReplicas(former) => ended.map_err(|failure| ActFailure::InDoubt {
                step: STEP,
                why: format!(
                    "{failure}; the master may refuse writes: run CONFIG SET min-replicas-to-write {former}"
                ),
            }),
        }
    }
}
