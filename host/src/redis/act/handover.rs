//! The role passes from a living master to an in-sync replica, and no write is lost.
//!
//! 1. *look*: both sides, before anything is touched.
//! 2. *approach*: the target is asked until it has what the source had then. A replica that only says that
//!    its link is up, and stands at offset 0 for most of a second after a full copy, stops here, where it
//!    costs nobody anything.
//! 3. *pause*: the source holds its writes, for a bounded time, and says its offset in the same round trip.
//! 4. *catch up*: the same as 2, back to back, for that offset. At least that: the source's own heartbeat
//!    moves the offset during a pause, so equality would never be certain.
//! 5. *demote*: `MULTI` `ROLE` `REPLICAOF nobody` end-of-pause `ROLE` `EXEC` on the source. If we stalled
//!    beyond the pause, writes went through before this: the first ROLE tells, because nothing can stand
//!    between it and the change. It follows nobody yet: told to follow a target that lags and still calls its
//!    link up, it would ask that for a full copy and lose those writes before we could compare (tried on
//!    7.0).
//! 6. *compare*: the target must have reached what that ROLE said, else the source becomes master again.
//! 7. *promote* the target.
//! 8. *attach*: the source follows the target, which is a master by now and takes it at once. Had it asked
//!    before, it would have been turned away (NOMASTERLINK) and tried again only after a second.
//! 9. *kick*: the source's clients look up the new master.
//!
//! At every point at most one server takes writes, and a step that is in doubt is never undone: after 5 the
//! source is a replica, and promoting it while the target may have been promoted would make two masters. What
//! is left after a crash is a group without a master, which the next decision mends.

use super::clients::{Kicked, kick_clients};
use super::follow::follow;
use super::promote::promote;
use super::role::{Role, text};
use super::write_pause::WritePause;
use super::{ActFailure, all_good, transact};
use crate::redis::connection::Question;
use crate::redis::{Connection, Endpoint};
use failover_core::facts::{Place, ReplicationFacts, ReportedRole};
use redis::Value;
use std::time::{Duration, Instant};

/// The terms of a handover.
#[derive(Clone, Debug)]
pub struct HandoverTerms {
    /// Where the source, and its clients, find the target.
    pub target: Endpoint,
    /// The source's pause ends by itself after this long. The target gets half of it to catch up.
    pub pause_max: Duration,
    /// For the whole. Undoing has another `pause_max`.
    pub deadline: Instant,
}

/// A handover that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverReport {
    /// From the sending of the pause to the confirmation of the promotion: nobody was without a master for
    /// longer. 0: the role had passed before.
    pub pause_us: u64,
    /// The last byte of the source's stream as a master; the target has it.
    pub offset: u64,
    /// Every step, in order.
    pub steps: Vec<StepTime>,
    /// Whether the source follows the target by now. If not, it takes no writes, and whoever looks next can
    /// attach it.
    pub attached: Result<(), ActFailure>,
    /// What became of the source's clients.
    pub kicked: Result<Kicked, ActFailure>,
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// As in the list above.
    pub step: &'static str,
    /// From the end of the step before.
    pub took_us: u64,
}

/// Hands the role of `source` to `target`.
///
/// # Errors
/// `Precondition`, `Refused`, `Gone`: nothing was touched. `Undone`: nothing has changed in the end.
/// `InDoubt`: look again.
pub async fn handover(
    source: &Connection,
    target: &Connection,
    terms: &HandoverTerms,
) -> Result<HandoverReport, ActFailure> {
    let mut watch = Watch { last: Instant::now(), steps: Vec::new() };
    let start = match look(source, target, terms).await? {
        Ready::Already(offset) => {
            return Ok(HandoverReport {
                pause_us: 0,
                offset,
                steps: watch.steps,
                attached: Ok(()),
                kicked: Ok(Kicked::default()),
            });
        }
        Ready::Now(standing) => standing,
    };
    watch.lap("look");
    let approach_until = terms.deadline.min(Instant::now() + APPROACH_MAX);
    let approached = wait_for(target, &start.replid, start.offset, approach_until, APPROACH_PACE).await;
    approached.map_err(|why| ActFailure::Precondition { step: "handover", why })?;
    watch.lap("approach");

    let paused_at = Instant::now();
    let catch_up_until = terms.deadline.min(paused_at + terms.pause_max / 2);
    let (hold, info) = WritePause::take(source, terms.pause_max, catch_up_until).await?;
    watch.lap("pause");
    let mut reached = match catch_up(target, &start, &info, catch_up_until).await {
        Ok(offset) => offset,
        Err(why) => return Err(let_go(source, &hold, terms, why).await),
    };
    watch.lap("catch up");

    let commands = [&["ROLE"][..], &REPLICAOF_NOBODY, &hold.end(), &["ROLE"]];
    let offset = match transact(source, "demote", &commands, terms.deadline)
        .await
        .and_then(|results| last_offset(&results))
    {
        Ok(offset) => offset,
        Err(in_doubt @ (ActFailure::InDoubt { .. } | ActFailure::Unconfirmed { .. })) => {
            return Err(in_doubt);
        }
        Err(refused) => return Err(let_go(source, &hold, terms, refused.to_string()).await),
    };
    watch.lap("demote");
    if reached < offset {
        reached = match wait_for(
            target,
            &start.replid,
            offset,
            terms.deadline.min(Instant::now() + terms.pause_max / 2),
            Duration::ZERO,
        )
        .await
        {
            Ok(offset) => offset,
            Err(why) => return Err(undo(source, terms, why).await),
        };
    }
    debug_assert!(reached >= offset, "only a target that has every byte is promoted");
    watch.lap("compare");
    match promote(target, terms.deadline).await {
        Ok(_) => {}
        Err(ActFailure::InDoubt { why, .. }) => return Err(ActFailure::InDoubt { step: "promote", why }),
        Err(failure) => return Err(undo(source, terms, failure.to_string()).await),
    }
    watch.lap("promote");
    let pause_us = micros(paused_at.elapsed());
    let attached = follow(source, &terms.target, terms.deadline).await.map(|_| ());
    watch.lap("attach");
    let kicked = kick_clients(source, terms.deadline).await;
    watch.lap("kick");
    Ok(HandoverReport { pause_us, offset, steps: watch.steps, attached, kicked })
}

/// While nobody waits for us, the target may rather catch up than answer.
const APPROACH_PACE: Duration = Duration::from_millis(1);

/// A replica acknowledges once a second, and after a full copy its stream starts with that: two chances.
const APPROACH_MAX: Duration = Duration::from_secs(2);

/// A loopback port that no Redis listens on: 1 is tcpmux (RFC 1078).
const REPLICAOF_NOBODY: [&str; 3] = ["REPLICAOF", "127.0.0.1", "1"];

/// What INFO replication says of one side, as far as a handover needs it.
struct Standing {
    role: ReportedRole,
    replid: String,
    offset: u64,
    master: Option<Place>,
    is_linked: bool,
    in_failover: bool,
}

impl Standing {
    fn parse(info: &Value) -> Option<Self> {
        let text = text(info)?;
        let facts = ReplicationFacts::parse(&text);
        let history = facts.history?;
        let is_linked = facts.link_up == Some(true);
        Some(Self {
            role: facts.role,
            replid: history.replid.into(),
            offset: history.offset,
            master: facts.master,
            is_linked,
            in_failover: facts.in_failover,
        })
    }
}

enum Ready {
    /// The role has passed before: the source follows the target, which is a master at this offset.
    Already(u64),
    /// This is the source.
    Now(Standing),
}

/// Refuses what could only fail later, while the source still takes writes.
async fn look(source: &Connection, target: &Connection, terms: &HandoverTerms) -> Result<Ready, ActFailure> {
    let until = terms.deadline.min(Instant::now() + terms.pause_max);
    let (at_source, at_target) = tokio::join!(standing(source, until), standing(target, until));
    let not_ready = |why: String| ActFailure::Precondition { step: "handover", why };
    let from = at_source.map_err(|why| not_ready(format!("the master: {why}")))?;
    let to = at_target.map_err(|why| not_ready(format!("the target: {why}")))?;
    let is_done = from.role == ReportedRole::Replica
        && from.master == Some(Place::new(&terms.target.host, terms.target.port));
    match (from.role, to.role) {
        (ReportedRole::Replica, ReportedRole::Master) if is_done => Ok(Ready::Already(to.offset)),
        (ReportedRole::Master, ReportedRole::Replica) if from.in_failover => {
            Err(not_ready("the master is within a FAILOVER of its own".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica) if from.replid != to.replid => {
            Err(not_ready("the target has another history than the master".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica) if !to.is_linked => {
            Err(not_ready("the target's link to its master is down".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica) => Ok(Ready::Now(from)),
        (ReportedRole::Master, ReportedRole::Master | ReportedRole::Unknown) => {
            Err(not_ready("the target is no replica".into()))
        }
        (ReportedRole::Replica | ReportedRole::Unknown, _) => {
            Err(not_ready("its source is no master".into()))
        }
    }
}

/// A read: without an answer nothing is in doubt.
async fn standing(connection: &Connection, deadline: Instant) -> Result<Standing, String> {
    let replies = connection
        .ask(&Question::new(&[["INFO", "replication"]]), deadline)
        .await
        .map_err(|failure| failure.to_string())?;
    all_good("INFO replication", &replies).map_err(|failure| failure.to_string())?;
    Standing::parse(&replies[0]).ok_or_else(|| "INFO replication has no replication id and offset".into())
}

/// Until the target has what the source had when its writes were held.
async fn catch_up(
    target: &Connection,
    start: &Standing,
    held: &Value,
    until: Instant,
) -> Result<u64, String> {
    let held =
        Standing::parse(held).ok_or("INFO replication of the master has no replication id and offset")?;
    if held.role != ReportedRole::Master || held.replid != start.replid {
        return Err("the master changed its role or history in the meantime".into());
    }
    wait_for(target, &held.replid, held.offset, until, Duration::ZERO).await
}

/// Asks until the target has reached `offset`, bounded by `until`. Gives up early when the target's link is
/// down, because then no more bytes can come. With a `pace` of zero it asks back to back: while writes are
/// held every moment counts.
async fn wait_for(
    target: &Connection,
    replid: &str,
    offset: u64,
    until: Instant,
    pace: Duration,
) -> Result<u64, String> {
    let mut seen = None;
    let short = |seen: Option<u64>, why: &str| {
        seen.map_or_else(
            || format!("the target: {why}"),
            |at| format!("the target stands at offset {at} and must reach {offset}: {why}"),
        )
    };
    loop {
        let now = standing(target, until).await.map_err(|why| short(seen, &why))?;
        if now.replid != replid || now.role != ReportedRole::Replica {
            return Err("the target changed its role or history in the meantime".into());
        }
        if now.offset >= offset {
            return Ok(now.offset);
        }
        seen = Some(now.offset);
        if !now.is_linked {
            return Err(short(seen, "its link to its master is down"));
        }
        if Instant::now() >= until {
            return Err(short(seen, "time is up"));
        }
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
    }
}

/// The offset at which the source stopped being master; the second ROLE confirms that it did.
fn last_offset(results: &[Value]) -> Result<u64, ActFailure> {
    const STEP: &str = "demote";
    match (results.first().and_then(Role::parse), results.last().and_then(Role::parse)) {
        (Some(Role::Master { offset }), Some(Role::Replica { .. })) => Ok(offset),
        (was, is) => {
            if let Some(Role::Master { .. }) = is {
                all_good(STEP, results)?;
            }
            Err(ActFailure::Unconfirmed { step: STEP, why: format!("it was {was:?} and is {is:?}") })
        }
    }
}

/// Nothing was changed yet: only the writes were held.
async fn let_go(source: &Connection, hold: &WritePause, terms: &HandoverTerms, why: String) -> ActFailure {
    match hold.release(source, Instant::now() + terms.pause_max).await {
        Ok(()) => ActFailure::Undone { why },
        Err(failure) => failure,
    }
}

/// The source was demoted, and the target surely not promoted.
async fn undo(source: &Connection, terms: &HandoverTerms, why: String) -> ActFailure {
    match promote(source, Instant::now() + terms.pause_max).await {
        Ok(_) => ActFailure::Undone { why },
        Err(failure) => ActFailure::InDoubt { step: "undo", why: format!("{failure}, after: {why}") },
    }
}

struct Watch {
    last: Instant,
    steps: Vec<StepTime>,
}

impl Watch {
    fn lap(&mut self, step: &'static str) {
        let now = Instant::now();
        self.steps.push(StepTime { step, took_us: micros(now - self.last) });
        self.last = now;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
