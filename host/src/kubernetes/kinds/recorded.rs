//! What the status of a resource says to the operator that starts from it, and what `failover` of its spec
//! says to a policy: the same for all kinds.

use super::Recorded;
use crate::contract::{Evidence, Generation, Position, Preference, Published};
use crate::group::{Changed, Moment, Record};
use crate::kubernetes::crd::{FailoverSettings, Prefer, PublishedMaster, RedisStatus};
use crate::kubernetes::status::settled_generation;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// What to do about a silent master, and the lag of the self-fence that this rests on.
pub fn preference(failover: &FailoverSettings) -> (Preference, Option<u32>) {
    match failover.prefer {
        Prefer::Availability => (Preference::Availability, None),
        Prefer::Consistency => (Preference::Consistency, Some(failover.self_fence_lag_seconds)),
    }
}

/// What a status says. `whole`: the status in the form of its kind.
pub fn recorded(status: &RedisStatus, whole: Value, now: Timestamp) -> Recorded {
    Recorded {
        status: Some(whole),
        records: record(status, now).into_iter().collect(),
        // Known even where the rest of the record is not valid.
        master: status.published.as_ref().map(|published| published.name.clone()),
        settled_generation: settled_generation(&status.conditions),
        switchover_id: status.switchover_id.clone(),
        switchover_refused: status.switchover_refused.clone(),
        replication_user: status.replication_user.clone(),
    }
}

/// The record in the status. None: none was written, or it is not valid.
fn record(status: &RedisStatus, now: Timestamp) -> Option<Record> {
    let PublishedMaster { name, run_id, replication_id, offset, epoch, at } = status.published.as_ref()?;
    let published = Published {
        master: name.clone(),
        run_id: run_id.clone(),
        replid: replication_id.clone(),
        offset: u64::try_from(*offset).ok()?,
        epoch: u64::try_from(*epoch).ok()?,
        age_us: age_us(at, now)?,
        node: None,
    };
    let last_failover = status.last_failover.as_ref().and_then(|last| {
        Some(Changed {
            at: Moment::default(),
            age_us: age_us(&last.at, now)?,
            source: last.from.clone(),
            target: last.to.clone(),
            meant_for: last.meant_for.clone(),
            evidence: evidence(&last.evidence)?,
        })
    });
    let lineage = status.lineage.iter().filter_map(|generation| {
        Some(Generation {
            replid: generation.replication_id.clone(),
            master: generation.master.clone(),
            end_offset: generation.end_offset.and_then(|end| u64::try_from(end).ok()),
            age_us: age_us(&generation.since, now)?,
        })
    });
    let position = status.position.as_ref().and_then(|position| {
        Some(Position {
            replid: position.replication_id.clone(),
            offset: u64::try_from(position.offset).ok()?,
            acknowledged_by: position.acknowledged_by.clone(),
            age_us: age_us(&position.at, now)?,
        })
    });
    Some(Record { shard: 0, published, lineage: lineage.collect(), position, last_failover })
}

fn age_us(at: &str, now: Timestamp) -> Option<u64> {
    let at: Timestamp = at.parse().ok()?;
    Some(u64::try_from(now.as_microsecond().saturating_sub(at.as_microsecond())).unwrap_or(0))
}

fn evidence(word: &str) -> Option<Evidence> {
    serde_json::from_value(Value::String(word.to_owned())).ok()
}
