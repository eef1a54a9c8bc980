//! What answers clients of Redis Sentinel for a RedisFailover, and how Sentinels watch it. Must not read a
//! cluster or a clock.

use super::model::lines;
use super::{Failover, Role, SentinelMode};
use crate::contract;
use crate::kubernetes::status::Problem;
use crate::topology::allowed::{DOWN_AFTER_MIN_MS, SentinelOption};
use std::collections::BTreeMap;

/// The mode of a resource that names none, and was not adopted from another operator. A group that is new to
/// this operator needs no Sentinels: Served gives the same answers at the same address, promotes
/// without asking for votes, and has nothing that a restart forgets. It stays the default for groups
/// that exist, since another one would replace the Pods of all their endpoints.
const DEFAULT_MODE: SentinelMode = SentinelMode::Served;

/// The mode of an adopted resource that names none: its Sentinels run, and stay.
const ADOPTED_MODE: SentinelMode = SentinelMode::Assisted;

impl Failover {
    /// What answers clients of Sentinel, and who promotes.
    pub fn mode(&self) -> SentinelMode {
        let default = if self.is_adopted() { ADOPTED_MODE } else { DEFAULT_MODE };
        self.spec.sentinel.mode.unwrap_or(default)
    }

    /// The name by which clients of Sentinel ask for the master.
    pub fn master_name(&self) -> &str {
        if self.spec.sentinel.disable_my_master { self.name() } else { "mymaster" }
    }

    /// How Sentinels watch the group. None: none do, as in mode Served.
    pub fn watched(&self) -> Option<contract::SentinelSettings> {
        match self.mode() {
            SentinelMode::Served => None,
            SentinelMode::Assisted => Some(self.watched_in(contract::SentinelMode::Assisted)),
            SentinelMode::Deferred => Some(self.watched_in(contract::SentinelMode::Deferred)),
        }
    }

    /// How so many Sentinels watch the group that another mode has left: until they have ended they vote, and
    /// are told.
    pub fn watched_by_leaving(&self, count: usize) -> contract::SentinelSettings {
        let mut settings = self.watched_in(contract::SentinelMode::Assisted);
        settings.sentinels_desired = u16::try_from(count).unwrap_or(u16::MAX);
        settings
    }

    fn watched_in(&self, mode: contract::SentinelMode) -> contract::SentinelSettings {
        let lines = self.sentinel_lines();
        let number = |option: SentinelOption| {
            let value = lines.get(option.name()).filter(|value| option.check(value).is_ok());
            value.and_then(|value| value.parse::<u32>().ok())
        };
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let desired = small(u32::try_from(self.replicas(Role::Sentinel)).unwrap_or_default());
        let least = if mode == contract::SentinelMode::Assisted { DOWN_AFTER_MIN_MS } else { 0 };
        contract::SentinelSettings {
            master_name: self.master_name().to_owned(),
            sentinels_desired: desired,
            quorum: number(SentinelOption::Quorum).map_or(desired / 2 + 1, small),
            down_after_ms: number(SentinelOption::DownAfterMilliseconds).unwrap_or(DOWN_AFTER_MS).max(least),
            failover_timeout_ms: number(SentinelOption::FailoverTimeout).unwrap_or(FAILOVER_TIMEOUT_MS),
            parallel_syncs: number(SentinelOption::ParallelSyncs).map_or(PARALLEL_SYNCS, small),
            mode,
        }
    }

    /// A server without a valid reply for so many milliseconds hangs. As `failover` says, or as
    /// `sentinel.customConfig` does in Sentinel's words.
    pub fn hang_limit_ms(&self) -> u32 {
        let own = self.spec.failover.down_after_milliseconds;
        let lines = self.sentinel_lines();
        let of_sentinel = lines.get("down-after-milliseconds").and_then(|value| value.parse::<u32>().ok());
        of_sentinel.filter(|ms| !self.says_when_it_hangs && (100..=600_000).contains(ms)).unwrap_or(own)
    }

    /// What of the settings of Sentinels cannot be done.
    pub(super) fn sentinel_problems(&self) -> Vec<Problem> {
        let Some(watched) = self.watched() else { return Vec::new() };
        let refused = |message| Problem { reason: "DirectiveRefused", message };
        let lines = self.sentinel_lines();
        let checked = lines.iter().filter_map(|(name, value)| {
            let why = SentinelOption::parse(name).and_then(|option| option.check(value)).err()?;
            Some(refused(format!("spec.sentinel.customConfig: {why}: take {name} out of it, or correct it")))
        });
        let mut all: Vec<Problem> = checked.collect();
        let asked = lines.get(SentinelOption::DownAfterMilliseconds.name());
        let asked = asked.and_then(|value| value.parse::<u32>().ok());
        if let Some(asked) = asked.filter(|asked| *asked > 0 && *asked < watched.down_after_ms) {
            all.push(refused(format!(
                "spec.sentinel.customConfig: down-after-milliseconds {asked} is less than {DOWN_AFTER_MIN_MS}, which \
                 mode Assisted needs: a Sentinel dials a new master up to a second after it is told of it; \
                 {DOWN_AFTER_MIN_MS} is set instead: raise it, or set mode Deferred"
            )));
        }
        all
    }

    fn sentinel_lines(&self) -> BTreeMap<String, String> {
        lines(&self.spec.sentinel.pods.custom_config)
    }
}

/// As spotahome/redis-operator sets them.
const DOWN_AFTER_MS: u32 = 5_000;
const FAILOVER_TIMEOUT_MS: u32 = 10_000;
/// As in its sentinel.conf.
const PARALLEL_SYNCS: u16 = 2;
