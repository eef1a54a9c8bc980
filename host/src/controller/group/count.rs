//! The state of the group in the census of all groups. Calls no API.

use super::Reconciler;
use crate::contract::{Decision, Health, Verdict};
use crate::driver::moment;
use crate::group::Moment;
use crate::kubernetes::pods;
use std::time::Instant;

impl Reconciler {
    /// Takes in a decision. The published master counts as silent from the moment that it is suspected, long
    /// before its group may act on its silence: at that moment the other groups have to be counted already.
    pub fn count_decision(&self, now: Moment, decision: &Decision) {
        let hang_limit_us = u64::from(self.snapshot.resource.settings.group.hang_limit_ms) * 1000;
        let is_silent = self.snapshot.master().is_some_and(|master| is_silent(decision, master));
        self.census.update(now, |state| {
            state.silent = is_silent.then(|| state.silent.unwrap_or((now, hang_limit_us)));
            state.is_healthy = decision.verdict == Verdict::Healthy;
            state.is_failing_over = is_failing_over(decision);
        });
    }

    /// Takes in whether Pods are yet to be replaced.
    pub fn count_rollout(&self) {
        let snapshot = &self.snapshot;
        let is_outdated = |revision: &str| !snapshot.revision.is_empty() && revision != snapshot.revision;
        let is_rolling_out = snapshot.pods.values().any(|pod| pods::revision(pod).is_some_and(is_outdated));
        let now = moment(self.context.start, Instant::now());
        self.census.update(now, |state| state.is_rolling_out = is_rolling_out);
    }
}

fn is_silent(decision: &Decision, master: &str) -> bool {
    let is_so = |health: Health| matches!(health, Health::Suspect | Health::Silent);
    decision.members.iter().any(|member| member.id == master && is_so(member.health))
}

fn is_failing_over(decision: &Decision) -> bool {
    decision.shards.iter().any(|shard| shard.master_goal.is_some() && shard.master_goal != shard.master)
}
