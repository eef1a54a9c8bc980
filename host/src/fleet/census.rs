//! Counts the groups that are silent, healthy, in failover or in rollout. Each group enters its state and
//! reads the sums. If many groups fall silent together, the operator's own network is the likelier cause.

use crate::group::Moment;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch::{Receiver, Sender};

/// The state of one group, as its own controller knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The moment since which its published master is silent or suspected, and its hang limit in
    /// microseconds. None: the master replies, or is known to be dead.
    pub silent: Option<(Moment, u64)>,
    /// The last verdict was healthy.
    pub is_healthy: bool,
    /// A change of master is under way.
    pub is_failing_over: bool,
    /// Pods are being replaced.
    pub is_rolling_out: bool,
}

/// Sums over all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All groups.
    pub groups: u64,
    /// Groups with a master that fell silent within the last `RECENT_HANG_LIMITS` hang limits and has not
    /// replied since.
    pub silent: u64,
    /// See [`GroupState`].
    pub healthy: u64,
    /// See [`GroupState`].
    pub failing_over: u64,
    /// See [`GroupState`].
    pub rolling_out: u64,
}

impl Counts {
    /// Counts the groups at one moment.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a GroupState>, now: Moment) -> Self {
        let count = |mut counts: Self, state: &GroupState| {
            let is_recent = |(since, hang_limit_us): (Moment, u64)| {
                since.age_us(now) <= hang_limit_us.saturating_mul(RECENT_HANG_LIMITS)
            };
            counts.groups += 1;
            counts.silent += u64::from(state.silent.is_some_and(is_recent));
            counts.healthy += u64::from(state.is_healthy);
            counts.failing_over += u64::from(state.is_failing_over);
            counts.rolling_out += u64::from(state.is_rolling_out);
            counts
        };
        states.into_iter().fold(Self::default(), count)
    }

    /// Each count, by the name of its state.
    pub fn by_state(&self) -> [(&'static str, u64); 4] {
        [
            ("silent", self.silent),
            ("healthy", self.healthy),
            ("failing-over", self.failing_over),
            ("rolling-out", self.rolling_out),
        ]
    }

    /// The share of silent groups, 0 to 1000: `observation.silent-groups-permille`. 0 while fewer than
    /// `SILENT_GROUPS_MIN` are silent: one hung master of three groups is no evidence about the operator.
    /// In steps, so that thousands of groups are not woken for each change.
    pub fn silent_permille(&self) -> u16 {
        if self.silent < SILENT_GROUPS_MIN {
            return 0;
        }
        let permille = self.silent.saturating_mul(1000) / self.groups.max(1);
        u16::try_from(permille / STEP_PERMILLE * STEP_PERMILLE).unwrap_or(1000)
    }
}

/// The census of one operator.
#[derive(Debug)]
pub struct Census {
    entries: Mutex<Entries>,
    silent_permille: Sender<u16>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    states: BTreeMap<u64, GroupState>,
}

impl Default for Census {
    fn default() -> Self {
        Self { entries: Mutex::default(), silent_permille: Sender::new(0) }
    }
}

impl Census {
    /// Adds a group, until the entry is dropped.
    pub fn enter(self: &Arc<Self>) -> CensusEntry {
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        entries.states.insert(number, GroupState::default());
        CensusEntry { census: Arc::clone(self), number }
    }

    /// The share of silent groups, and its changes.
    pub fn silent_permille(&self) -> Receiver<u16> {
        self.silent_permille.subscribe()
    }

    /// Counts again: without an event, silence stops being recent.
    pub fn refresh(&self, now: Moment) -> Counts {
        let counts = Counts::of(self.entries().states.values(), now);
        self.silent_permille.send_if_modified(|permille| {
            let before = std::mem::replace(permille, counts.silent_permille());
            before != *permille
        });
        counts
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code that holds the lock panics halfway through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One group's place in the census.
#[derive(Debug)]
pub struct CensusEntry {
    census: Arc<Census>,
    number: u64,
}

impl CensusEntry {
    /// Changes the group's state.
    pub fn update(&self, now: Moment, change: impl FnOnce(&mut GroupState)) {
        let is_other = {
            let mut entries = self.census.entries();
            let Some(state) = entries.states.get_mut(&self.number) else { return };
            let before = *state;
            change(state);
            *state != before
        };
        if is_other {
            self.census.refresh(now);
        }
    }
}

impl Drop for CensusEntry {
    fn drop(&mut self) {
        self.census.entries().states.remove(&self.number);
    }
}

/// As long as fleet doubt can hold a failover (guard and default policy: ten hang limits). Longer silence is
/// a fault of the group itself.
const RECENT_HANG_LIMITS: u64 = 10;
const SILENT_GROUPS_MIN: u64 = 3;
const STEP_PERMILLE: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn states(silent: usize, of: usize) -> Vec<GroupState> {
        let state = |number: usize| GroupState {
            silent: (number < silent).then_some((Moment(1_000_000), 1_000_000)),
            ..GroupState::default()
        };
        (0..of).map(state).collect()
    }

    fn permille(silent: usize, of: usize, now: u64) -> u16 {
        Counts::of(&states(silent, of), Moment(now)).silent_permille()
    }

    #[test]
    fn the_share_of_silent_groups_counts_from_three_on_and_in_steps() {
        let shares = [(0, 0), (1, 1), (2, 3), (3, 3), (3, 10), (26, 100), (300, 1000)];
        assert_eq!(
            shares.map(|(silent, of)| permille(silent, of, 2_000_000)),
            [0, 0, 0, 1000, 300, 250, 300]
        );
    }

    #[test]
    fn silence_of_more_than_ten_hang_limits_counts_no_more() {
        assert_eq!([10_999_999, 11_000_000, 11_000_001].map(|now| permille(3, 4, now)), [750, 750, 0]);
    }

    #[test]
    fn a_change_is_sent_once_and_a_group_that_ends_counts_no_more() {
        let census = Arc::new(Census::default());
        let mut changes = census.silent_permille();
        let entries: Vec<_> = (0..4).map(|_| census.enter()).collect();
        for entry in &entries[..3] {
            entry.update(Moment(1), |state| state.silent = Some((Moment(1), 1_000_000)));
        }
        assert!(changes.has_changed().is_ok_and(|is| is));
        assert_eq!(*changes.borrow_and_update(), 750);
        entries[0].update(Moment(2), |state| state.silent = Some((Moment(1), 1_000_000)));
        assert!(changes.has_changed().is_ok_and(|is| !is));
        drop(entries);
        assert_eq!(census.refresh(Moment(3)), Counts::default());
        assert_eq!(*changes.borrow_and_update(), 0);
    }
}
