//! The memory of a shard, as the Observation and the record have it: the running loop fills each field.

use super::Harness;
use redis_operator::contract::{Action, Generation, Position, Refused, Shard, Verdict};
use redis_operator::group::{Effect, Event, Outcome, Record};

impl Harness {
    fn shard(&self) -> Shard {
        self.group.observation(self.now).shards.remove(0)
    }

    fn round(&mut self) {
        self.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            self.answer(id);
        }
    }

    fn records(&self) -> Vec<Record> {
        let record = |effect: &Effect| {
            if let Effect::Publish(record) = effect { Some(record.clone()) } else { None }
        };
        self.effects.iter().filter_map(record).collect()
    }
}

fn generations(lineage: &[Generation]) -> Vec<(&str, Option<u64>)> {
    lineage.iter().map(|generation| (generation.master.as_str(), generation.end_offset)).collect()
}

#[test]
fn a_position_is_published_with_the_replicas_that_reach_it_within_a_second() {
    let mut harness = Harness::healthy(true);
    assert_eq!(harness.shard().position, None);
    harness.round();
    let reached = |harness: &Harness| {
        harness.shard().position.map(|position| (position.offset, position.acknowledged_by))
    };
    let both = || vec!["redis-2".to_owned(), "redis-3".to_owned()];
    assert_eq!(reached(&harness), Some((1_000, both())), "all reach it at once");
    // redis-3 falls behind and stays behind.
    for id in ["redis-1", "redis-2"] {
        harness.world.at(id).offset += 500;
    }
    let begun = harness.now;
    while reached(&harness) == Some((1_000, both())) {
        harness.round();
    }
    assert_eq!(reached(&harness), Some((1_500, vec!["redis-2".to_owned()])));
    assert!(
        (5_900_000..6_100_000).contains(&begun.age_us(harness.now)),
        "after five seconds, and one for replicas"
    );
    let Position { age_us, .. } = harness.shard().position.expect("just seen");
    assert!((1_000_000..1_100_000).contains(&age_us), "{age_us}");
    // Without writes there is no newer position.
    for _ in 0..300 {
        harness.round();
        assert_eq!(harness.records(), []);
    }
}

#[test]
fn a_promotion_begins_a_generation_and_ends_the_former_one() {
    let mut harness = Harness::healthy(true);
    assert_eq!(generations(&harness.shard().lineage), [("redis-1", None)]);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let order = harness.orders().remove(0);
    // The record is published beside the promotion; the replica still shows the old replication id.
    assert_eq!(generations(&harness.records()[0].lineage), [("redis-1", None)]);
    assert_eq!(harness.records()[0].published.master, "redis-2");
    let former = harness.world.at("redis-2").replid.clone();
    let server = harness.world.at("redis-2");
    server.role = redis_model::Role::Master;
    (server.former, server.replid) = (Some((former.clone(), 1_000)), "b".repeat(40));
    let outcome = Outcome::Done { note: String::new(), pause_us: None };
    harness.after(300).on(Event::Finished { order: order.number, outcome });
    for _ in 0..3 {
        harness.survivors_answer();
        harness.after(25_000).on(Event::Tick);
    }
    let shard = harness.shard();
    assert_eq!(generations(&shard.lineage), [("redis-2", None), ("redis-1", Some(1_000))]);
    assert_eq!((&shard.lineage[0].replid, &shard.lineage[1].replid), (&"b".repeat(40), &former));
    assert_eq!(shard.last_failover.map(|failover| failover.target), Some("redis-2".into()));
}

#[test]
fn the_time_without_a_master_counts_from_the_first_decision_without_one() {
    let mut harness = Harness::healthy(true);
    assert_eq!(harness.shard().no_master_age_us, 0);
    harness.world.at("redis-1").follow_itself();
    harness.round();
    let begun = harness.now;
    harness.round();
    assert_eq!(harness.shard().no_master_age_us, begun.age_us(harness.now));
    harness.world.at("redis-1").role = redis_model::Role::Master;
    harness.round();
    assert_eq!(harness.shard().no_master_age_us, 0);
}

#[test]
fn a_refused_action_is_in_the_observations_of_the_next_minute() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let order = harness.orders().remove(0);
    let outcome = Outcome::Failed("promote: refused: NOPERM".into());
    harness.after(300).on(Event::Finished { order: order.number, outcome });
    let refused = |harness: &Harness| harness.group.observation(harness.now).refused;
    let Refused { action, text, age_us } = refused(&harness).remove(0);
    assert!(matches!(action, Action::Promote(promote) if promote.id == "redis-2"));
    assert_eq!((text.as_str(), age_us), ("promote: refused: NOPERM", 0));
    harness.after(60_000_000);
    assert_eq!(refused(&harness), []);
}

/// Two operators: the one that waits has read the record at its start, the other one has changed the master
/// since.
#[test]
fn an_operator_without_authority_adopts_what_the_other_one_published() {
    let mut leader = Harness::healthy(true);
    let first = leader.records().remove(0);
    leader.kill_master();
    leader.survivors_answer();
    leader.refuse("redis-1");
    let second = leader.records().remove(0);
    let (first_epoch, second_epoch) = (first.published.epoch, second.published.epoch);
    assert!(first_epoch < second_epoch);

    let mut standby = Harness::healthy(false);
    standby.on(Event::Records(vec![first.clone()]));
    assert_eq!(standby.shard().published.map(|published| published.master), Some("redis-1".into()));
    standby.on(Event::Records(vec![second.clone()]));
    let shard = standby.shard();
    assert_eq!(shard.published.map(|published| published.master), Some("redis-2".into()));
    assert_eq!(generations(&shard.lineage), generations(&second.lineage));
    // A watch that is late brings an older one.
    standby.on(Event::Records(vec![first.clone()]));
    assert_eq!(standby.shard().published.map(|published| published.epoch), Some(second_epoch));

    // With authority, what it published itself stands.
    let position = leader.shard().position;
    let without = Record { position: None, ..second };
    leader.on(Event::Records(vec![first, without]));
    assert_eq!(leader.shard().published.map(|published| published.epoch), Some(second_epoch));
    assert_eq!(leader.shard().position.map(|of| of.offset), position.map(|of| of.offset));
}

/// Every member refuses; a policy that paces itself is asked as often as events come, and sends little.
#[test]
fn where_all_refuse_attempts_grow_apart_and_the_next_in_line_is_asked_first() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let begun = harness.now;
    let mut sent = vec![];
    let mut refuse_orders = |harness: &mut Harness| {
        for order in harness.orders() {
            sent.push((order.action.target().to_owned(), begun.age_us(harness.now) / 1_000_000));
            let outcome = Outcome::Failed("promote: refused: NOPERM".into());
            harness.after(300).on(Event::Finished { order: order.number, outcome });
        }
    };
    while begun.age_us(harness.now) < 20_000_000 {
        refuse_orders(&mut harness);
        harness.after(20_000).on(Event::Tick);
        for id in ["redis-2", "redis-3"] {
            refuse_orders(&mut harness);
            harness.answer(id);
        }
    }
    let first: Vec<&str> = sent.iter().take(3).map(|(id, _)| id.as_str()).collect();
    assert_eq!(first, ["redis-2", "redis-3", "redis-2"], "{sent:?}");
    assert!((5..=7).contains(&sent.len()), "{sent:?}");
    assert_eq!(harness.verdict(), Some((Verdict::Refuse, "promotion-refused".into())));
}

/// A record of a master that never was one would make the loss of the next promotion nothing: there is no
/// stream that it lacks.
#[test]
fn a_promotion_that_was_not_carried_out_leaves_the_record_of_the_master_before() {
    let ends: [(Outcome, bool); 3] = [
        (Outcome::Failed("promote: refused: NOPERM".into()), false),
        (Outcome::NotSent("no connection".into()), false),
        (Outcome::InDoubt("no answer in time".into()), true),
    ];
    for (outcome, is_doubted) in ends {
        let mut harness = Harness::healthy(true);
        let before = harness.shard();
        harness.kill_master();
        harness.survivors_answer();
        harness.refuse("redis-1");
        assert_eq!(harness.published(), [("redis-2".to_owned(), 2)], "beside the promotion");
        let order = harness.orders().remove(0);
        harness.after(300).on(Event::Finished { order: order.number, outcome });
        let mut records = harness.records();
        if is_doubted {
            assert_eq!(records, [], "it may have happened");
            harness.answer("redis-2");
            records = harness.records();
        }
        let first = records.remove(0);
        let (known, now) = (before.published.clone().expect("published"), first.published);
        assert_eq!(
            (now.master, now.run_id, now.replid, now.offset, now.epoch),
            (known.master, known.run_id, known.replid, known.offset, 3)
        );
        assert_eq!(generations(&first.lineage), generations(&before.lineage));
    }
}

#[test]
fn what_was_refused_before_is_published_when_it_is_done() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let (mut published, begun) = (vec![], harness.now);
    let mut refuse_orders = |harness: &mut Harness| {
        published.extend(harness.published());
        for order in harness.orders() {
            let outcome = Outcome::Failed("promote: refused: NOPERM".into());
            harness.after(300).on(Event::Finished { order: order.number, outcome });
            published.extend(harness.published());
        }
    };
    while begun.age_us(harness.now) < 4_000_000 {
        refuse_orders(&mut harness);
        harness.after(20_000).on(Event::Tick);
        for id in ["redis-2", "redis-3"] {
            refuse_orders(&mut harness);
            harness.answer(id);
        }
    }
    let masters: Vec<&str> = published.iter().map(|(master, _)| master.as_str()).collect();
    assert_eq!(
        masters,
        ["redis-2", "redis-1", "redis-3", "redis-1"],
        "once ahead each, and back: {published:?}"
    );
}
