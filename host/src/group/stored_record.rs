//! A record in the form that survives the operator: times are Unix milliseconds, because no other clock
//! survives a restart; they are only used to compute ages. The state file has one, and the object of a group
//! in Kubernetes.

use super::event::{Changed, Moment, Record};
use crate::contract::{Evidence, Generation, Position, Published, SentinelSettings};
use serde::{Deserialize, Serialize};

/// The record of one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredRecord {
    /// Index of the shard.
    #[serde(default)]
    pub shard: u16,
    /// Its master.
    pub published: Published,
    /// When this was stored; ages are as of then.
    pub published_unix_ms: u64,
    /// Newest first.
    #[serde(default)]
    pub lineage: Vec<Generation>,
    /// The last position that replicas were seen to reach.
    #[serde(default)]
    pub position: Option<Position>,
    /// The last change of master.
    pub last_failover: Option<StoredChange>,
    /// How the Sentinels watched the group, for an operator that starts while none of them answers. None in a
    /// group without, and in Kubernetes, where the resource says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<SentinelSettings>,
}

/// A change of master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredChange {
    /// When.
    pub unix_ms: u64,
    /// The former master, if that is known.
    pub source: Option<String>,
    /// The new master.
    pub target: String,
    /// The master in the end.
    pub meant_for: String,
    /// The proof that it rested on.
    pub evidence: Evidence,
}

impl StoredRecord {
    /// A record of `now`, which is that time of day.
    pub fn new(record: Record, now: Moment, now_unix_ms: u64) -> Self {
        let Record { shard, published, lineage, position, last_failover } = record;
        let last_failover =
            last_failover.map(|Changed { at, age_us, source, target, meant_for, evidence }| StoredChange {
                unix_ms: now_unix_ms.saturating_sub(age_us.saturating_add(at.age_us(now)) / 1000),
                source,
                target,
                meant_for,
                evidence,
            });
        Self {
            shard,
            published,
            published_unix_ms: now_unix_ms,
            lineage,
            position,
            last_failover,
            sentinel: None,
        }
    }

    /// The record, with ages as of that time of day. Where the clock is behind the record, as on a host that
    /// boots without one, its age is not known: it counts as older than any process, so that those that may
    /// have newer data are waited for.
    pub fn record(self, now_unix_ms: u64) -> Record {
        let Self { shard, published, published_unix_ms, lineage, position, last_failover, sentinel: _ } =
            self;
        let age_us = |then_ms: u64| now_unix_ms.saturating_sub(then_ms).saturating_mul(1000);
        let is_behind = published_unix_ms.saturating_sub(now_unix_ms) > SKEW_MS;
        let since_us = if is_behind { UNKNOWN_AGE_US } else { age_us(published_unix_ms) };
        let published = Published { age_us: published.age_us.saturating_add(since_us), ..published };
        let older = |generation: Generation| Generation {
            age_us: generation.age_us.saturating_add(since_us),
            ..generation
        };
        let lineage = lineage.into_iter().map(older).collect();
        let position = position
            .map(|position| Position { age_us: position.age_us.saturating_add(since_us), ..position });
        let last_failover =
            last_failover.map(|StoredChange { unix_ms, source, target, meant_for, evidence }| Changed {
                at: Moment::default(),
                age_us: age_us(unix_ms),
                source,
                target,
                meant_for,
                evidence,
            });
        Record { shard, published, lineage, position, last_failover }
    }
}

/// By which two clocks that are set may differ.
const SKEW_MS: u64 = 1000;
/// A century: no process is older.
const UNKNOWN_AGE_US: u64 = 100 * 365 * 86_400 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_at(unix_ms: u64) -> StoredRecord {
        let published = Published {
            master: "redis-1".into(),
            run_id: "r".into(),
            replid: "a".into(),
            offset: 1,
            epoch: 1,
            age_us: 5,
            node: None,
        };
        StoredRecord {
            shard: 0,
            published,
            published_unix_ms: unix_ms,
            lineage: Vec::new(),
            position: None,
            last_failover: None,
            sentinel: None,
        }
    }

    #[test]
    fn a_clock_that_is_behind_makes_the_record_old_and_not_young() {
        let age_us = |now_ms: u64| stored_at(10_000_000).record(now_ms).published.age_us;
        assert_eq!(age_us(10_002_000), 2_000_005);
        assert_eq!(age_us(9_999_500), 5, "two clocks differ a little");
        assert_eq!(age_us(6_400_000), 5 + UNKNOWN_AGE_US, "an hour behind");
    }
}
