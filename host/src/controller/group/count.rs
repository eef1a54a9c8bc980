//! The state of the group in the census of all groups. Calls no API.

use super::Reconciler;
use crate::contract::{Decision, Verdict};
use crate::driver::moment;
use crate::group::Moment;
use crate::kubernetes::pods;
use std::sync::Arc;
use std::time::Instant;

impl Reconciler {
    /// Takes in a decision, and what the guard saw then: a policy must not make the operator doubt itself.
    /// The published master counts as silent from the moment that it gives no reply, long before its group
    /// may act on its silence: at that moment the other groups have to be counted already.
    pub fn count_decision(&self, now: Moment, decision: &Decision) {
        let hang_limit_us = u64::from(self.snapshot.resource.settings.group.hang_limit_ms) * 1000;
        let picture = Arc::clone(&self.snapshot.picture);
        // Its Pods are away on request: it is no sign of anything.
        let hibernates = self.snapshot.resource.settings.replicas == 0;
        self.census.update(now, |state| {
            state.silent = (picture.is_master_silent && !hibernates)
                .then(|| state.silent.unwrap_or((now, hang_limit_us)));
            let works = decision.verdict == Verdict::Healthy && picture.master.is_some();
            state.is_healthy = works || hibernates;
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

fn is_failing_over(decision: &Decision) -> bool {
    decision.shards.iter().any(|shard| shard.master_goal.is_some() && shard.master_goal != shard.master)
}
