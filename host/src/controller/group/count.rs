//! The state of the group in the census of all groups. Calls no API.

use super::Reconciler;
use crate::contract::{Decision, LinkState, Verdict};
use crate::driver::moment;
use crate::fleet::GroupState;
use crate::group::Moment;
use crate::kubernetes::pods;
use std::time::Instant;

impl Reconciler {
    /// Takes in the link to a member: only the published master counts.
    pub fn count_link(&self, now: Moment, member: &str, link: LinkState) {
        if self.snapshot.master() != Some(member) {
            return;
        }
        let hang_limit_us = u64::from(self.snapshot.redis.spec.failover.down_after_milliseconds) * 1000;
        self.census.update(now, |state| {
            state.silent = is_silent(link).then(|| state.silent.unwrap_or((now, hang_limit_us)));
        });
    }

    /// Takes in that another master was published: it has just replied.
    pub fn count_new_master(&self) {
        self.census.update(moment(self.context.start, Instant::now()), |state| state.silent = None);
    }

    /// Takes in whether Pods are yet to be replaced.
    pub fn count_rollout(&self) {
        let snapshot = &self.snapshot;
        let is_rolling_out =
            snapshot.pods.values().any(|pod| pods::revision(pod).is_some_and(|of| of != snapshot.revision))
                && !snapshot.revision.is_empty();
        let now = moment(self.context.start, Instant::now());
        self.census.update(now, |state| state.is_rolling_out = is_rolling_out);
    }
}

/// Takes in a decision.
pub fn decision(state: &mut GroupState, decision: &Decision) {
    state.is_healthy = decision.verdict == Verdict::Healthy;
    state.is_failing_over =
        decision.shards.iter().any(|shard| shard.master_goal.is_some() && shard.master_goal != shard.master);
}

/// True: no word from the instance, which may as well be the fault of the operator's network. A refused or
/// closed connection is a word of the instance's host.
fn is_silent(link: LinkState) -> bool {
    matches!(link, LinkState::TimedOut | LinkState::Unreachable)
}
