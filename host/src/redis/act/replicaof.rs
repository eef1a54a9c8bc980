//! The change of a server's master, in the first form that the server carries out. Must not choose a master.
//!
//! | form | sent |
//! |--|--|
//! | 1 | `MULTI` `ROLE` `REPLICAOF …` `ROLE` `EXEC` |
//! | 2 | `INFO replication` `REPLICAOF …` `INFO replication` |
//! | 3 | `INFO replication` `SLAVEOF …` `INFO replication` |
//!
//! The second is for Redis up to 7 at maxmemory, which answers OOM to whatever is queued within MULTI, and
//! for MULTI, EXEC or ROLE renamed or denied; the third for REPLICAOF renamed or denied.
//!
//! The next form is tried only after a refusal of a kind that it avoids, and only when the server has
//! certainly not carried out the one before: a queue with an error in it is dropped as a whole (EXECABORT),
//! and a refused command changed nothing. Where MULTI itself is refused, the rest of the pipeline ran command
//! by command, which is form 2 already.
//!
//! Why the precondition still holds without a transaction. It is the run id, and the *connection* proves it:
//! a process that restarts has no such connection, in any form. MULTI adds that no other client acts between
//! ROLE and REPLICAOF. That is not needed:
//!
//! - REPLICAOF does the same whatever the role is by then: NO ONE on a master and the present master on a
//!   replica change nothing.
//! - The reply after it confirms the role. If another program changed it in between, the outcome is
//!   *unconfirmed*, as after a transaction.
//! - Weaker is only what the first reply says: a server that another program made a master right between the
//!   two commands counts as the replica that it was, and its clients are not disconnected.
//!
//! A handover needs more of the demotion, the final offset: see [`demote`].

use super::role::Role;
use super::{ActFailure, Transaction, all_good, ask, text_of, transact};
use crate::redis::Connection;
use crate::redis::probe::error_text;
use failover_core::facts::{ReplicationFacts, ReportedRole};
use redis::Value;
use std::time::Instant;

/// The roles right before and right after.
pub(super) struct Changed {
    pub was: Option<Role>,
    pub is: Option<Role>,
}

/// `REPLICAOF` these two words.
///
/// # Errors
/// [`ActFailure`]; `Refused` with the words of the server's first refusal of REPLICAOF.
pub(super) async fn replicaof(
    connection: &Connection,
    step: &'static str,
    master: [&str; 2],
    deadline: Instant,
) -> Result<Changed, ActFailure> {
    let [host, port] = master;
    let first =
        match transact(connection, step, &[&["ROLE"], &["REPLICAOF", host, port], &["ROLE"]], deadline)
            .await?
        {
            Transaction::Done(results) | Transaction::Plain(results) => match all_good(step, &results) {
                Ok(()) => return Ok(Changed { was: Role::parse(&results[0]), is: Role::parse(&results[2]) }),
                Err(refused) => refused,
            },
            Transaction::Refused(refused) => refused,
        };
    if !is_of_the_form(&first) {
        return Err(first);
    }
    match plain(connection, step, "REPLICAOF", master, deadline).await {
        Err(second @ ActFailure::Refused { .. }) if is_of_the_form(&second) => {
            match plain(connection, step, "SLAVEOF", master, deadline).await {
                // Of the refusals the one of the command's present name says most.
                Err(ActFailure::Refused { .. }) => Err(second),
                done => done,
            }
        }
        done => done,
    }
}

/// Forms 2 and 3.
async fn plain(
    connection: &Connection,
    step: &'static str,
    command: &str,
    [host, port]: [&str; 2],
    deadline: Instant,
) -> Result<Changed, ActFailure> {
    let replies = ask(connection, step, &[&INFO, &[command, host, port], &INFO], deadline).await?;
    all_good(step, &replies)?;
    Ok(Changed { was: role(&replies[0]), is: role(&replies[2]) })
}

/// Demotes the master of a handover, and returns its final offset `F`: every write that it acknowledged is
/// within `F`. `end_pause` ends the pause of its writes.
///
/// In a transaction the first `ROLE` gives `F`, since no command runs between it and the demotion. Without
/// one, `F` is read *after* the demotion: a replica accepts no writes, and one that follows an address
/// without a server receives none, so its `master_repl_offset` stands, and it counts every write that was
/// accepted before, also one between two commands of the pipeline. Both rest on the replication id: it is the
/// one of the begin, so the server was not promoted in between, which would give it another.
///
/// # Errors
/// `Refused`: it is still master. `Unconfirmed`, `InDoubt`: the next round shows the state.
pub(super) async fn demote(
    source: &Connection,
    replid: &str,
    end_pause: Option<&[&str]>,
    deadline: Instant,
) -> Result<u64, ActFailure> {
    const STEP: &str = "demote";
    let [host, port] = NOWHERE;
    let commands = [Some(&["ROLE"][..]), Some(&["REPLICAOF", host, port]), end_pause, Some(&["ROLE"])];
    let commands: Vec<&[&str]> = commands.into_iter().flatten().collect();
    let mut refused = match transact(source, STEP, &commands, deadline).await? {
        Transaction::Done(results) => {
            match (results.first().and_then(Role::parse), results.last().and_then(Role::parse)) {
                (Some(Role::Master { offset }), Some(Role::Replica { .. })) => return Ok(offset),
                (_, Some(Role::Master { .. })) => match all_good(STEP, &results) {
                    Err(refused) => refused,
                    Ok(()) => return Err(unconfirmed(&results)),
                },
                _ => return Err(unconfirmed(&results)),
            }
        }
        // Whether it was demoted, is read below.
        Transaction::Plain(results) => match results.get(1).and_then(error_text) {
            None => return final_offset(source, replid, None, deadline).await,
            Some(reply) => ActFailure::Refused { step: STEP, reply },
        },
        Transaction::Refused(refused) => refused,
    };
    for command in ["REPLICAOF", "SLAVEOF"] {
        if !is_of_the_form(&refused) {
            return Err(refused);
        }
        let replies = ask(source, STEP, &[&[command, host, port]], deadline).await?;
        match all_good(STEP, &replies) {
            Ok(()) => return final_offset(source, replid, end_pause, deadline).await,
            Err(again) => refused = again,
        }
    }
    Err(refused)
}

fn unconfirmed(results: &[Value]) -> ActFailure {
    let (was, is) = (results.first().and_then(Role::parse), results.last().and_then(Role::parse));
    ActFailure::Unconfirmed { step: "demote", why: format!("role before {was:?}, after {is:?}") }
}

/// The offset of a master that was demoted on this connection. A pause that cannot be ended expires, or is
/// found and put back by the next decision.
async fn final_offset(
    source: &Connection,
    replid: &str,
    end_pause: Option<&[&str]>,
    deadline: Instant,
) -> Result<u64, ActFailure> {
    const STEP: &str = "demote";
    let unconfirmed = |why: String| ActFailure::Unconfirmed { step: STEP, why };
    let questions: Vec<&[&str]> = [Some(&INFO[..]), end_pause].into_iter().flatten().collect();
    let replies = ask(source, STEP, &questions, deadline).await?;
    let text = text_of(&replies[0]).ok_or_else(|| unconfirmed(format!("INFO answered {:?}", replies[0])))?;
    let facts = ReplicationFacts::parse(&text);
    match (facts.role, facts.history) {
        (ReportedRole::Replica, Some(history)) if history.replid == replid => Ok(history.offset),
        (role, history) => Err(unconfirmed(format!(
            "after its demotion it reports role {role:?} with replication id {:?}",
            history.map(|history| history.replid)
        ))),
    }
}

/// What INFO replication says of the role. None: it says none.
fn role(info: &Value) -> Option<Role> {
    let text = text_of(info)?;
    let facts = ReplicationFacts::parse(&text);
    let offset = facts.history.map(|history| history.offset);
    let row = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_end);
    match facts.role {
        ReportedRole::Master => Some(Role::Master { offset: offset? }),
        ReportedRole::Replica => Some(Role::Replica {
            host: row("master_host:")?.to_owned(),
            port: row("master_port:")?.parse().ok()?,
            offset: offset.filter(|_| facts.link_up == Some(true)),
        }),
        ReportedRole::Unknown => None,
    }
}

/// Another form of the command may be accepted: memory is full, or a command has another name or is denied.
fn is_of_the_form(failure: &ActFailure) -> bool {
    let ActFailure::Refused { reply, .. } = failure else { return false };
    ["OOM", "NOPERM", "EXECABORT", "ERR unknown command"].iter().any(|start| reply.starts_with(start))
}

/// A loopback port on which no Redis listens: 1 is tcpmux (RFC 1078).
pub(super) const NOWHERE: [&str; 2] = ["127.0.0.1", "1"];
const INFO: [&str; 2] = ["INFO", "replication"];
