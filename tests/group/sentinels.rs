//! A Sentinel among the instances: it is observed as members are, and nothing of a group's members depends
//! on it.

use super::Harness;
use redis_operator::contract::{Address, InstanceKind, Text, Value};
use redis_operator::group::{Answer, Effect, Event, Member, Reply};

const SENTINEL: &str = "sentinel-1";

impl Harness {
    fn with_a_sentinel() -> Self {
        let mut harness = Self::healthy(true);
        let address = Address { host: "10.0.0.9".into(), port: 26379 };
        let sentinel = Member {
            id: SENTINEL.into(),
            kind: InstanceKind::Sentinel,
            shard: None,
            address,
            aliases: vec![],
            pod: None,
            is_former: false,
        };
        let members = harness.instances().into_iter().map(|at| Member {
            id: at.id,
            kind: at.kind,
            shard: at.shard,
            address: at.address,
            aliases: at.aliases,
            pod: at.pod,
            is_former: false,
        });
        let members = members.chain([sentinel]).collect();
        harness.on(Event::Members(members));
        assert_eq!(harness.probed(), ["redis-1", "redis-2", "redis-3", SENTINEL]);
        harness.all_answer();
        harness
    }

    fn all_answer(&mut self) {
        for id in ["redis-1", "redis-2", "redis-3"] {
            self.answer(id);
        }
        let sent = self.now.after_us(10);
        let text = Text { text: "run_id:5e\r\nredis_mode:sentinel\r\n".into(), truncated: false };
        let replies = vec![("INFO server".into(), Ok(Value::Text(text)))];
        let answer = Ok(Answer { link: 77, replies });
        self.after(110).on(Event::Reply(Reply { member: SENTINEL.into(), sent, answer }));
    }
}

#[test]
fn it_is_observed_and_is_no_member() {
    let harness = Harness::with_a_sentinel();
    let observation = harness.group.observation(harness.now);
    let sentinel = observation.instances.iter().find(|instance| instance.id == SENTINEL).unwrap();
    assert_eq!((sentinel.kind, sentinel.shard), (InstanceKind::Sentinel, None));
    assert_eq!(observation.group.members_desired, 3);
    assert_eq!(observation.published().unwrap().master, "redis-1");
}

#[test]
fn a_position_is_complete_without_it_and_an_idle_group_rests_with_it() {
    let mut harness = Harness::with_a_sentinel();
    for _ in 0..3 {
        harness.after(25_000).on(Event::Tick);
        harness.all_answer();
    }
    let position = harness.group.observation(harness.now).shards.remove(0).position.unwrap();
    assert_eq!(position.acknowledged_by, ["redis-2", "redis-3"]);
    for _ in 0..3 {
        harness.after(100_000).on(Event::Tick);
        harness.all_answer();
    }
    assert!(harness.wakes_in_us() > 50_000, "as long as without one: {} us", harness.wakes_in_us());
}

#[test]
fn an_event_of_a_sentinel_starts_a_round_at_once_and_decides_nothing() {
    let mut harness = Harness::with_a_sentinel();
    let all = ["redis-1", "redis-2", "redis-3", SENTINEL];
    harness.after(1_000).on(Event::Heard);
    assert_eq!(harness.probed(), all, "long before the next round is due");
    harness.all_answer();
    let sent = harness.effects.iter().any(|effect| matches!(effect, Effect::Act(_)));
    assert!(!sent && harness.wakes_in_us() > 10_000, "all is as it was: {} us", harness.wakes_in_us());
}

#[test]
fn events_within_a_round_let_it_end_and_start_one_more() {
    let mut harness = Harness::with_a_sentinel();
    harness.after(1_000).on(Event::Heard);
    for _ in 0..100 {
        harness.after(1).on(Event::Heard);
        assert!(harness.probed().is_empty(), "the round in progress goes on");
    }
    harness.all_answer();
    let next_us = harness.wakes_in_us();
    assert!((1..1_000).contains(&next_us), "its replies may be from before the last event: {next_us} us");
    harness.after(next_us).on(Event::Tick);
    assert_eq!(harness.probed().len(), 4);
    harness.all_answer();
    assert!(harness.wakes_in_us() > 10_000, "one more, not a hundred: {} us", harness.wakes_in_us());
}
