//! Moves the role from a living master (source) to an in-sync replica (target), without losing a write.
//!
//! 1. *look*: read INFO replication of both. Stop if a precondition fails; nothing was changed.
//! 2. *approach*: read the target's offset until it reaches the source's offset of step 1. A replica with its
//!    link up may stay at offset 0 for most of a second after a full copy; it fails here, without a pause of
//!    writes.
//! 3. *pause*: pause the source's writes for a bounded time, and read its offset `P` in the same round trip.
//! 4. *catch up*: read the target's offset, without delay, until it is at least `P`. Equality is not
//!    required: the source's heartbeat moves its offset during a pause.
//! 5. *demote*: on the source, in one transaction: `ROLE`, `REPLICAOF 127.0.0.1 1`, end of the pause, `ROLE`.
//!    The first `ROLE` gives the final offset `F`. On a server that refuses the transaction: `REPLICAOF`
//!    alone, and `F` is read after it (`replicaof`).
//! 6. *compare*: wait until the target's offset is at least `F`; else promote the source again (undo).
//! 7. *promote* the target.
//! 8. *attach*: the source follows the target.
//! 9. *kick*: disconnect the source's clients, so that they look up the new master.
//!
//! No write is lost: the source accepts writes only until step 5, and no command can run between its first
//! `ROLE` and its demotion; or `F` is read when it is a replica already. So every acknowledged write is
//! within `F`, also if the operator stalled and the pause expired before step 5, and where no pause was
//! possible. The target is promoted only with an offset of at least `F` in the same history.
//!
//! At most one master: the source is a replica from step 5 on, and the target a master from step 7 on. A step
//! in doubt is never undone: to promote the source while the target may have been promoted would make two
//! masters. After a crash between 5 and 7 the group has no master, which the next decision repairs.
//!
//! Why step 5 follows an address without a server, and step 8 comes last:
//!
//! - If step 5 made the source follow a target that lags with its link up, the source would start a full copy
//!   of it and delete the missing writes before step 6 (observed with 7.0).
//! - A server that asks a replica for its stream gets NOMASTERLINK and retries only after a second. In step 8
//!   the target is a master and accepts the source at once.

use super::clients::{Kicked, kick_clients};
use super::follow::follow;
use super::promote::promote;
use super::replicaof::demote;
use super::role::text;
use super::write_pause::WritePause;
use super::{ActFailure, all_good};
use crate::redis::clock::{now, since};
use crate::redis::connection::Question;
use crate::redis::{Connection, Endpoint};
use failover_core::facts::{Place, ReplicationFacts, ReportedRole};
use failover_core::mutant;
use redis::Value;
use std::time::{Duration, Instant};

/// The terms of a handover.
#[derive(Clone, Debug)]
pub struct HandoverTerms {
    /// Address at which the source and its clients reach the target.
    pub target: Endpoint,
    /// The source's pause ends by itself after this time. The target has half of it to catch up.
    pub pause_max: Duration,
    /// For all steps. An undo has another `pause_max`.
    pub deadline: Instant,
}

/// A handover that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverReport {
    /// From the sending of the pause to the confirmed promotion, in microseconds: an upper bound of the time
    /// without a master. 0: the handover was done before.
    pub pause_us: u64,
    /// The final offset of the source as a master; the target has reached it.
    pub offset: u64,
    /// Every step, in order.
    pub steps: Vec<StepTime>,
    /// Whether the source follows the target. If not, it accepts no writes, and the next decision can attach
    /// it.
    pub attached: Result<(), ActFailure>,
    /// Result of disconnecting the source's clients.
    pub kicked: Result<Kicked, ActFailure>,
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Its name in the list above.
    pub step: &'static str,
    /// From the end of the former step, in microseconds.
    pub took_us: u64,
}

/// Moves the role of master from `source` to `target`.
///
/// # Errors
/// `Precondition`, `Refused`, `Gone`: nothing was changed. `Undone`: the source is master as before.
/// `InDoubt`: the next round shows the state.
pub async fn handover(
    source: &Connection,
    target: &Connection,
    terms: &HandoverTerms,
) -> Result<HandoverReport, ActFailure> {
    handover_with(source, target, terms, std::future::ready(Ok(()))).await
}

/// The same, with a permission that is asked for between step 2 and step 3: when nothing is changed yet, and
/// nothing is left that may take longer than a pause of writes may.
///
/// # Errors
/// As [`handover`], and those of the permission.
pub async fn handover_with(
    source: &Connection,
    target: &Connection,
    terms: &HandoverTerms,
    permission: impl Future<Output = Result<(), ActFailure>>,
) -> Result<HandoverReport, ActFailure> {
    let mut watch = Stopwatch { last: now(), steps: Vec::new() };
    let start = match look(source, target, terms).await? {
        Start::Done(offset) => {
            return Ok(HandoverReport {
                pause_us: 0,
                offset,
                steps: watch.steps,
                attached: Ok(()),
                kicked: Ok(Kicked::default()),
            });
        }
        Start::Ready(info) => info,
    };
    watch.lap("look");
    let approach_until = terms.deadline.min(now() + APPROACH_MAX);
    if !mutant::is_left_out("act", "approach") {
        let approached = wait_for(target, &start.replid, start.offset, approach_until, APPROACH_PACE).await;
        approached.map_err(|why| ActFailure::Precondition { step: "handover", why })?;
    }
    watch.lap("approach");
    permission.await?;
    watch.last = now();

    let paused_at = now();
    let catch_up_until = terms.deadline.min(paused_at + terms.pause_max / 2);
    let (pause, info) = WritePause::begin(source, terms.pause_max, catch_up_until).await?;
    watch.lap("pause");
    let reached = match catch_up(target, &start, &info, catch_up_until).await {
        Ok(offset) => offset,
        Err(why) => return Err(end_pause(source, &pause, terms, why).await),
    };
    watch.lap("catch up");

    let end_command = pause.end_command();
    let offset = match demote(source, &start.replid, end_command.as_deref(), terms.deadline).await {
        Ok(offset) => offset,
        Err(in_doubt @ (ActFailure::InDoubt { .. } | ActFailure::Unconfirmed { .. })) => {
            return Err(in_doubt);
        }
        Err(refused) => return Err(end_pause(source, &pause, terms, refused.to_string()).await),
    };
    watch.lap("demote");
    if reached < offset && !mutant::is_left_out("act", "compare") {
        let until = terms.deadline.min(now() + terms.pause_max / 2);
        if let Err(why) = wait_for(target, &start.replid, offset, until, Duration::ZERO).await {
            return Err(undo(source, terms, why).await);
        }
    }
    watch.lap("compare");
    match promote(target, terms.deadline).await {
        Ok(_) => {}
        Err(ActFailure::InDoubt { why, .. }) if !mutant::is_left_out("act", "promotion-in-doubt") => {
            return Err(ActFailure::InDoubt { step: "promote", why });
        }
        Err(failure) => return Err(undo(source, terms, failure.to_string()).await),
    }
    watch.lap("promote");
    let pause_us = micros(since(paused_at));
    let attached = follow(source, &terms.target, terms.deadline).await.map(|_| ());
    watch.lap("attach");
    let kicked = kick_clients(source, terms.deadline).await;
    watch.lap("kick");
    Ok(HandoverReport { pause_us, offset, steps: watch.steps, attached, kicked })
}

/// Before the pause no client waits, so the target is not asked more often than this.
const APPROACH_PACE: Duration = Duration::from_millis(1);

/// A replica sends REPLCONF ACK once a second, and after a full copy its stream starts with that: time for
/// two.
const APPROACH_MAX: Duration = Duration::from_secs(2);

/// The fields of INFO replication that a handover needs.
struct ReplicationInfo {
    role: ReportedRole,
    replid: String,
    offset: u64,
    master: Option<Place>,
    is_linked: bool,
    in_failover: bool,
}

impl ReplicationInfo {
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

enum Start {
    /// The handover was done before: the source follows the target, which is a master at this offset.
    Done(u64),
    /// It can begin. The source's state.
    Ready(ReplicationInfo),
}

/// Checks the preconditions while the source still accepts writes.
async fn look(source: &Connection, target: &Connection, terms: &HandoverTerms) -> Result<Start, ActFailure> {
    let until = terms.deadline.min(now() + terms.pause_max);
    let (at_source, at_target) = tokio::join!(read_info(source, until), read_info(target, until));
    let not_ready = |why: String| ActFailure::Precondition { step: "handover", why };
    let from = at_source.map_err(|why| not_ready(format!("the master: {why}")))?;
    let to = at_target.map_err(|why| not_ready(format!("the target: {why}")))?;
    let is_done = from.role == ReportedRole::Replica
        && from.master == Some(Place::new(&terms.target.host, terms.target.port));
    match (from.role, to.role) {
        (ReportedRole::Replica, ReportedRole::Master) if is_done => Ok(Start::Done(to.offset)),
        (ReportedRole::Master, ReportedRole::Replica) if from.in_failover => {
            Err(not_ready("the master runs a FAILOVER command".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica)
            if from.replid != to.replid && !mutant::is_left_out("act", "same-history") =>
        {
            Err(not_ready("the target and the master have different replication ids".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica)
            if !to.is_linked && !mutant::is_left_out("act", "link-up") =>
        {
            Err(not_ready("the target's link to its master is down".into()))
        }
        (ReportedRole::Master, ReportedRole::Replica) => Ok(Start::Ready(from)),
        (ReportedRole::Master, ReportedRole::Master | ReportedRole::Unknown) => {
            Err(not_ready("the target is not a replica".into()))
        }
        (ReportedRole::Replica | ReportedRole::Unknown, _) => {
            Err(not_ready("the source is not a master".into()))
        }
    }
}

/// A read: if its answer is missing, nothing is in doubt.
async fn read_info(connection: &Connection, deadline: Instant) -> Result<ReplicationInfo, String> {
    let replies = connection
        .ask(&Question::new(&[["INFO", "replication"]]), deadline)
        .await
        .map_err(|failure| failure.to_string())?;
    all_good("INFO replication", &replies).map_err(|failure| failure.to_string())?;
    ReplicationInfo::parse(&replies[0])
        .ok_or_else(|| "INFO replication has no replication id and offset".into())
}

/// Waits until the target has reached the source's offset at the begin of the pause.
async fn catch_up(
    target: &Connection,
    start: &ReplicationInfo,
    paused: &Value,
    until: Instant,
) -> Result<u64, String> {
    let paused = ReplicationInfo::parse(paused)
        .ok_or("INFO replication of the master has no replication id and offset")?;
    if paused.role != ReportedRole::Master || paused.replid != start.replid {
        return Err("the master changed its role or replication id during the handover".into());
    }
    if mutant::is_left_out("act", "catch-up") {
        return Ok(paused.offset);
    }
    wait_for(target, &paused.replid, paused.offset, until, Duration::ZERO).await
}

/// Reads the target's offset until it reaches `offset`, at most until `until`. Stops early if the target's
/// link is down, since no more bytes can arrive then. A `pace` of zero reads without delay: during a pause
/// clients wait.
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
            |at| format!("the target is at offset {at} and must reach {offset}: {why}"),
        )
    };
    loop {
        let info = read_info(target, until).await.map_err(|why| short(seen, &why))?;
        if info.replid != replid || info.role != ReportedRole::Replica {
            return Err("the target changed its role or replication id during the handover".into());
        }
        if info.offset >= offset {
            return Ok(info.offset);
        }
        seen = Some(info.offset);
        if !info.is_linked {
            return Err(short(seen, "its link to its master is down"));
        }
        if now() >= until {
            return Err(short(seen, "out of time"));
        }
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
    }
}

/// Undoes the pause, the only change so far.
async fn end_pause(
    source: &Connection,
    pause: &WritePause,
    terms: &HandoverTerms,
    why: String,
) -> ActFailure {
    match pause.end(source, now() + terms.pause_max).await {
        Ok(()) => ActFailure::Undone { why },
        Err(failure) => failure,
    }
}

/// Promotes the source again. Only if the target was certainly not promoted.
async fn undo(source: &Connection, terms: &HandoverTerms, why: String) -> ActFailure {
    match promote(source, now() + terms.pause_max).await {
        Ok(_) => ActFailure::Undone { why },
        Err(failure) => ActFailure::InDoubt { step: "undo", why: format!("{failure}, after: {why}") },
    }
}

struct Stopwatch {
    last: Instant,
    steps: Vec<StepTime>,
}

impl Stopwatch {
    fn lap(&mut self, step: &'static str) {
        let lap = now();
        self.steps.push(StepTime { step, took_us: micros(lap - self.last) });
        self.last = lap;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
