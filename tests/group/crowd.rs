//! A group that shares its thread with many: what it puts off, and what it does not.

use super::{Stage, promoted};
use redis_operator::group::{Effect, Event, Report};
use redis_operator::policy::contract::LinkState;

#[test]
fn a_crowd_delays_no_failover() {
    let mut stage = Stage::healthy(true);
    stage.group.among(1_000);
    stage.kill_master();
    stage.survivors_answer();
    stage.refuse("redis-1");
    assert_eq!(stage.orders().iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
}

#[test]
fn a_healthy_group_of_a_crowd_is_decided_on_every_tenth_look() {
    let mut stage = Stage::healthy(true);
    stage.group.among(1_000);
    stage.after(1_000_000);
    let decided = (0..40).filter(|_| look(&mut stage)).count();
    assert!((3..6).contains(&decided), "{decided}");
}

#[test]
fn who_was_held_up_itself_calls_nobody_silent() {
    let mut stage = Stage::healthy(true);
    stage.after(25_000).on(Event::Tick);
    assert_eq!(stage.probed().len(), 3);
    // Their answers lie in the sockets meanwhile.
    stage.after(900_000).on(Event::Tick);
    assert_eq!((timed_out(&stage), stage.verdict()), (0, None));
    ["redis-1", "redis-2", "redis-3"].into_iter().for_each(|id| stage.answer(id));
    assert_eq!(timed_out(&stage), 0);
}

#[test]
fn who_is_always_late_still_sees_who_is_silent() {
    let mut stage = Stage::healthy(true);
    for _ in 0..10 {
        let wake = stage.wakes_in_us();
        stage.after(wake + 300_000).on(Event::Tick);
        if timed_out(&stage) > 0 {
            return;
        }
        stage.answer("redis-1");
        stage.answer("redis-2");
    }
    panic!("redis-3 has not answered for ten looks");
}

/// Everybody answers. Whether a policy was asked.
fn look(stage: &mut Stage) -> bool {
    let wake = stage.wakes_in_us();
    stage.after(wake).on(Event::Tick);
    ["redis-1", "redis-2", "redis-3"].into_iter().for_each(|id| stage.answer(id));
    stage.verdict().is_some()
}

fn timed_out(stage: &Stage) -> usize {
    let is_it = |effect: &&Effect| matches!(effect, Effect::Report(Report::Link { state: LinkState::TimedOut, .. }));
    stage.effects.iter().filter(is_it).count()
}
