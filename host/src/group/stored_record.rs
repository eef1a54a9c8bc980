//! A record in the form that survives the operator: times are Unix milliseconds, because no other clock
//! survives a restart; they are only used to compute ages. The state file has one, and the object of a group
//! in Kubernetes.

use super::event::{Changed, Moment, Record};
use crate::contract::{Evidence, Generation, Position, Published};
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
        Self { shard, published, published_unix_ms: now_unix_ms, lineage, position, last_failover }
    }

    /// The record, with ages as of that time of day. A clock that went back makes nothing younger than it
    /// was.
    pub fn record(self, now_unix_ms: u64) -> Record {
        let Self { shard, published, published_unix_ms, lineage, position, last_failover } = self;
        let age_us = |then_ms: u64| now_unix_ms.saturating_sub(then_ms).saturating_mul(1000);
        let since_us = age_us(published_unix_ms);
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
