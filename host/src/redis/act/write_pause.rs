//! How a handover holds the writes of its source: with a pause that ends by itself, or before Redis 6.2 with
//! min-replicas-to-write, which does not, so that its former value travels along to be put back.

use super::role::text;
use super::{ActFailure, all_good, ask};
use crate::contract::FailureKind;
use crate::redis::Connection;
use crate::redis::probe::{error_kind, error_text};
use redis::Value;
use std::time::{Duration, Instant};

/// More replicas than anybody has. Found as a former value, it was left by a handover that died: it is put
/// back to 0.
const UNREACHABLE_REPLICAS: &str = "1000000";

/// The writes of a master are held.
pub(super) enum WritePause {
    /// CLIENT PAUSE … WRITE: writers wait.
    Pause,
    /// min-replicas-to-write beyond reach: writers get NOREPLICAS. Its former value.
    MinReplicas(String),
}

impl WritePause {
    /// Holds the writes and, in the same round trip, reads INFO replication: no write can be behind what it
    /// says.
    ///
    /// # Errors
    /// [`ActFailure`]. `InDoubt`: writes may be held.
    pub(super) async fn take(
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
            // Before 6.2 the fourth word is a syntax error: nothing is paused.
            Some(reply) if error_kind(&reply) == FailureKind::ErrorReply && reply.starts_with("ERR ") => {
                Self::take_without_pause(source, at_most, deadline).await
            }
            Some(reply) => Err(ActFailure::Refused { step: STEP, reply }),
        }
    }

    async fn take_without_pause(
        source: &Connection,
        at_most: Duration,
        deadline: Instant,
    ) -> Result<(Self, Value), ActFailure> {
        const STEP: &str = "hold writes by min-replicas-to-write";
        let now = ask(
            source,
            STEP,
            &[&["CONFIG", "GET", "min-replicas-to-write"], &["CONFIG", "GET", "min-replicas-max-lag"]],
            deadline,
        )
        .await?;
        all_good(STEP, &now)?;
        let value =
            |reply: &Value| if let Value::Array(pair) = reply { pair.get(1).and_then(text) } else { None };
        let (Some(former), Some(lag)) = (value(&now[0]), value(&now[1])) else {
            return Err(ActFailure::Precondition {
                step: STEP,
                why: "it has no min-replicas-to-write".into(),
            });
        };
        let former = if former == UNREACHABLE_REPLICAS { "0".into() } else { former };
        // A lag of 0 switches the check off. 10 is Redis' default, and harmless to leave: it needs the other
        // one to bite.
        let lag = if lag == "0" { "10" } else { &lag };
        let set = [
            &["CONFIG", "SET", "min-replicas-max-lag", lag][..],
            &["CONFIG", "SET", "min-replicas-to-write", UNREACHABLE_REPLICAS],
            &["INFO", "replication"],
        ];
        let hold = Self::MinReplicas(former);
        match ask(source, STEP, &set, deadline)
            .await
            .and_then(|replies| all_good(STEP, &replies).map(|()| replies))
        {
            Ok(mut replies) => Ok((hold, replies.swap_remove(2))),
            Err(failure) => {
                hold.release(source, Instant::now() + at_most).await?;
                Err(failure)
            }
        }
    }

    /// The command that lets writes through again.
    pub(super) fn end(&self) -> Vec<&str> {
        match self {
            Self::Pause => vec!["CLIENT", "UNPAUSE"],
            Self::MinReplicas(former) => vec!["CONFIG", "SET", "min-replicas-to-write", former],
        }
    }

    /// Lets writes through again, on a master whose role did not change. A pause that cannot be ended ends by
    /// itself.
    ///
    /// # Errors
    /// When min-replicas-to-write could not be put back: a person must.
    pub(super) async fn release(&self, source: &Connection, deadline: Instant) -> Result<(), ActFailure> {
        const STEP: &str = "let writes through";
        let released =
            ask(source, STEP, &[&self.end()], deadline).await.and_then(|replies| all_good(STEP, &replies));
        match self {
            Self::Pause => Ok(()),
            Self::MinReplicas(former) => released.map_err(|failure| ActFailure::InDoubt {
                step: STEP,
                why: format!(
                    "{failure}; until min-replicas-to-write is set back to {former} the master may refuse \
                     writes"
                ),
            }),
        }
    }
}
