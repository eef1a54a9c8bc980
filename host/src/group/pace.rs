//! How often a healthy group starts a round of probes. Must not slow down an unhealthy group: its policy says
//! when the next round starts.
//!
//! The death of a process closes its sockets and is seen at once, whatever the pace. Rounds find what closes
//! no socket: a server that hangs, a role that another program changed, a lag that grows.
//!
//! | groups on a thread | between two rounds |
//! |--|--|
//! | up to 33 | the interval of the settings, 25 ms |
//! | more | 0.75 ms for each group |
//! | 1,000 and more | 750 ms, half of the hang limit |
//!
//! The price: the silence of a stream counts from the first round that shows its last byte. So with many
//! groups on a thread, a hung server is replaced later by up to the time between two rounds.

use super::member_state::MemberState;
use super::{Group, Moment};
use crate::contract::{Decision, Group as Wanted};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Group {
    /// Sets how many groups share the thread, this one included.
    pub fn set_groups_on_thread(&mut self, groups: u64) {
        self.groups = groups;
    }

    fn interval_us(&self) -> u64 {
        self.settings.interval_us.max((self.groups * GROUP_US).min(self.hang_limit_us() / 2))
    }

    /// The time to the next round after one that showed nothing new. Longer if no stream has moved since the
    /// round before: an idle stream needs fewer samples to show how long it has stood still.
    pub(super) fn rest_us(&self, now: Moment) -> u64 {
        let is_idle = self.servers().all(MemberState::stands_still);
        let idle_us = if is_idle {
            (self.hang_limit_us() / 2).min(self.settings.interval_us * IDLE_INTERVALS)
        } else {
            0
        };
        self.paced_us(now, self.interval_us().max(idle_us))
    }

    /// The time to the next round of a healthy group. With many groups on a thread, each starts its rounds at
    /// its own offset in the interval; else a stall of the thread would make all of them probe at once.
    pub(super) fn next_us(&self, now: Moment) -> u64 {
        self.paced_us(now, self.interval_us())
    }

    fn paced_us(&self, now: Moment, interval_us: u64) -> u64 {
        let is_crowded = self.interval_us() > self.settings.interval_us;
        if is_crowded { interval_us - (now.0 + self.offset_us) % interval_us } else { interval_us }
    }

    /// How long a decision stands while rounds show nothing new: as long as it says, and at least for
    /// [`DECISION_ROUNDS`] rounds.
    pub(super) fn unchanged_us(&self, decision: &Decision) -> u64 {
        decision.next_look_us.max(self.interval_us() * DECISION_ROUNDS)
    }

    /// Between two published positions of the stream. Many groups publish less often each, so that all of
    /// them together write at most twenty records a second.
    pub(super) fn position_every_us(&self) -> u64 {
        POSITION_US * self.groups.div_ceil(GROUPS_OF_A_FULL_PACE)
    }

    fn hang_limit_us(&self) -> u64 {
        u64::from(self.settings.wanted.hang_limit_ms) * 1000
    }
}

/// The offset of a group in the interval: a hash of its name, so equal in every process and spread over
/// groups.
pub fn offset_us(wanted: &Wanted) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&wanted.namespace, &wanted.name).hash(&mut hasher);
    // Shifted, so that sums with moments do not overflow. In steps, so that some groups share a wake-up,
    // which costs as much as a round.
    (hasher.finish() >> 16) / STEP_US * STEP_US
}

/// Three probes with their replies cost 0.1 to 0.15 ms of a processor (measured): at most a fifth of a
/// processor is spent on rounds.
const GROUP_US: u64 = 750;
/// Of a thousand groups a dozen share a step; their rounds take a millisecond or two.
const STEP_US: u64 = 10_000;
/// A decision costs three times as much as a round (measured).
const DECISION_ROUNDS: u64 = 10;
/// A loss is counted from the last recorded position.
const POSITION_US: u64 = 5_000_000;
const GROUPS_OF_A_FULL_PACE: u64 = 100;
/// Intervals between two rounds while nothing is written.
const IDLE_INTERVALS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::contract::{Preference, Topology};

    fn group(name: &str, hang_limit_ms: u32, groups: u64) -> Group {
        let wanted = Wanted {
            namespace: "shop".into(),
            name: name.into(),
            topology: Topology::Replication,
            members_desired: 3,
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        };
        let mut group = Group::new(
            Settings { wanted, parameters: "{}".into(), interval_us: 25_000, records: vec![] },
            Moment(0),
        );
        group.set_groups_on_thread(groups);
        group
    }

    #[test]
    fn the_interval_grows_with_the_groups_up_to_half_the_hang_limit() {
        let intervals =
            [1, 10, 50, 100, 1_000, 100_000].map(|groups| group("cart", 1_000, groups).interval_us());
        assert_eq!(intervals, [25_000, 25_000, 37_500, 75_000, 500_000, 500_000]);
        assert_eq!(group("cart", 300, 1_000).interval_us(), 150_000);
        assert_eq!(group("cart", 30, 1_000).interval_us(), 25_000, "never longer than for one group");
    }

    #[test]
    fn each_of_many_groups_keeps_its_own_offset_in_the_interval() {
        let moment = |name: &str, now: u64| (now + group(name, 1_000, 1_000).rest_us(Moment(now))) % 500_000;
        let cart = [0, 1, 250_000, 499_999].map(|now| moment("cart", now));
        assert_eq!(cart, [cart[0]; 4], "after a stall of any length");
        let moments: std::collections::BTreeSet<u64> =
            (0..100).map(|number| moment(&format!("cart-{number}"), 0) / 50_000).collect();
        assert_eq!(moments.len(), 10, "spread over the whole interval");
    }

    #[test]
    fn one_of_few_groups_rests_from_the_end_of_its_last_round() {
        assert_eq!([3, 17, 24_999].map(|now| group("cart", 1_000, 33).rest_us(Moment(now))), [100_000; 3]);
    }
}
