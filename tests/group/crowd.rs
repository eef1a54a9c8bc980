//! A group that shares its thread with many others: its healthy rounds are fewer, its failover is not
//! delayed.

use super::{Harness, promoted};
use redis_operator::group::Event;

#[test]
fn many_groups_on_a_thread_delay_no_failover() {
    let mut harness = Harness::healthy(true);
    harness.group.set_groups_on_thread(1_000);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert_eq!(harness.orders().iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
}

#[test]
fn with_many_groups_a_healthy_one_is_decided_on_in_every_tenth_round() {
    let mut harness = Harness::healthy(true);
    harness.group.set_groups_on_thread(1_000);
    harness.after(1_000_000);
    let decided = (0..40).filter(|_| round(&mut harness)).count();
    assert!((3..6).contains(&decided), "{decided}");
}

/// All members answer. True: a policy was asked.
fn round(harness: &mut Harness) -> bool {
    let wake = harness.wakes_in_us();
    harness.after(wake).on(Event::Tick);
    ["redis-1", "redis-2", "redis-3"].into_iter().for_each(|id| harness.answer(id));
    harness.verdict().is_some()
}
