//! How often a group looks while nothing is wrong. Never slows a group in which something is: its policy says
//! when to look again, and that holds.
//!
//! The death of a process is seen by its closed socket, whatever the pace; looks are for what closes nothing:
//! a server that hangs, a role that somebody else changed, a lag that grows.
//!
//! | groups on a thread | between two looks |
//! |--|--|
//! | up to 33 | the interval of the settings, 25 ms |
//! | more | 0.75 ms for each group |
//! | 1,000 and more | 750 ms, half of the hang limit |
//!
//! The price: the silence of a stream counts from the first look that shows its last byte, so in a crowd a
//! server that hangs is replaced later by up to the time between two looks.

use super::{Group, Moment};
use crate::contract::{Decision, Group as Wanted};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Group {
    /// Tells how many groups share the thread, this one included.
    pub fn set_groups_on_thread(&mut self, groups: u64) {
        self.groups = groups;
    }

    fn interval_us(&self) -> u64 {
        self.settings.interval_us.max((self.groups * GROUP_US).min(self.hang_limit_us() / 2))
    }

    /// How long to rest after a quiet look. How long a stream has stood still is known as exactly as it is
    /// looked at, and one that has stood still since the look before needs fewer looks.
    pub(super) fn rest_us(&self, now: Moment) -> u64 {
        let is_idle = self.members.values().all(|member| member.stands_still());
        let idle_us = if is_idle {
            (self.hang_limit_us() / 2).min(self.settings.interval_us * IDLE_INTERVALS)
        } else {
            0
        };
        self.paced_us(now, self.interval_us().max(idle_us))
    }

    /// To the next look while nothing is wrong. In a crowd each group has its own moment of the interval, or
    /// all would look at once whenever something held up all of them.
    pub(super) fn next_us(&self, now: Moment) -> u64 {
        self.paced_us(now, self.interval_us())
    }

    fn paced_us(&self, now: Moment, interval_us: u64) -> u64 {
        let is_crowded = self.interval_us() > self.settings.interval_us;
        if is_crowded { interval_us - (now.0 + self.offset_us) % interval_us } else { interval_us }
    }

    /// How long a decision stands while looks show nothing new: as long as it says, and in a crowd for some
    /// looks at least.
    pub(super) fn unchanged_us(&self, decision: &Decision) -> u64 {
        decision.next_look_us.max(self.interval_us() * DECISION_LOOKS)
    }

    /// Between two positions that are published. Many groups publish less often, so that all of them together write
    /// twenty records a second at the most.
    pub(super) fn position_every_us(&self) -> u64 {
        POSITION_US * self.groups.div_ceil(GROUPS_OF_A_FULL_PACE)
    }

    fn hang_limit_us(&self) -> u64 {
        u64::from(self.settings.wanted.hang_limit_ms) * 1000
    }
}

/// The same for a group in every process, and another for each.
pub fn offset_us(wanted: &Wanted) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&wanted.namespace, &wanted.name).hash(&mut hasher);
    // Room for sums with moments. In steps, so that some look together: waking up costs as much as a look
    // does.
    (hasher.finish() >> 16) / STEP_US * STEP_US
}

/// Three probes with their answers cost 0.1 to 0.15 ms of a processor (measured): a fifth of it is spent on
/// looks at the most.
const GROUP_US: u64 = 750;
/// A dozen of a thousand groups look together, which takes them a millisecond or two.
const STEP_US: u64 = 10_000;
/// A decision costs three times what a look does (measured).
const DECISION_LOOKS: u64 = 10;
/// A loss is counted from the last position that is on record.
const POSITION_US: u64 = 5_000_000;
const GROUPS_OF_A_FULL_PACE: u64 = 100;
/// Between two looks while nothing is written.
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
    fn few_groups_look_as_one_does_and_many_at_the_most_as_rarely_as_half_the_hang_limit() {
        let intervals =
            [1, 10, 50, 100, 1_000, 100_000].map(|groups| group("cart", 1_000, groups).interval_us());
        assert_eq!(intervals, [25_000, 25_000, 37_500, 75_000, 500_000, 500_000]);
        assert_eq!(group("cart", 300, 1_000).interval_us(), 150_000);
        assert_eq!(group("cart", 30, 1_000).interval_us(), 25_000, "never less often than a group alone");
    }

    #[test]
    fn each_group_of_a_crowd_keeps_its_own_moment_of_the_interval() {
        let moment = |name: &str, now: u64| (now + group(name, 1_000, 1_000).rest_us(Moment(now))) % 500_000;
        let cart = [0, 1, 250_000, 499_999].map(|now| moment("cart", now));
        assert_eq!(cart, [cart[0]; 4], "whenever it was held up");
        let moments: std::collections::BTreeSet<u64> =
            (0..100).map(|number| moment(&format!("cart-{number}"), 0) / 50_000).collect();
        assert_eq!(moments.len(), 10, "all through the interval");
    }

    #[test]
    fn a_group_of_few_has_no_moment_of_its_own() {
        assert_eq!([3, 17, 24_999].map(|now| group("cart", 1_000, 33).rest_us(Moment(now))), [100_000; 3]);
    }
}
