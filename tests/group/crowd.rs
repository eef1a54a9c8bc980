//! A group that shares its thread with many: what it puts off, and what it does not.

use super::{Stage, promoted};
use redis_operator::group::Event;

#[test]
fn a_crowd_delays_no_failover() {
    let mut stage = Stage::healthy(true);
    stage.group.set_groups_on_thread(1_000);
    stage.kill_master();
    stage.survivors_answer();
    stage.refuse("redis-1");
    assert_eq!(stage.orders().iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
}

#[test]
fn a_healthy_group_of_a_crowd_is_decided_on_every_tenth_look() {
    let mut stage = Stage::healthy(true);
    stage.group.set_groups_on_thread(1_000);
    stage.after(1_000_000);
    let decided = (0..40).filter(|_| look(&mut stage)).count();
    assert!((3..6).contains(&decided), "{decided}");
}

/// Everybody answers. Whether a policy was asked.
fn look(stage: &mut Stage) -> bool {
    let wake = stage.wakes_in_us();
    stage.after(wake).on(Event::Tick);
    ["redis-1", "redis-2", "redis-3"].into_iter().for_each(|id| stage.answer(id));
    stage.verdict().is_some()
}
