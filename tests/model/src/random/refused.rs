//! What servers refused lately, and disks that cannot be written.

use crate::dice::Dice;
use failover_core::contract::{
    Action, Configure, Evidence, Expectation, Follow, Handover, Observation, Promote, Promotion, Refused,
    Role, Value,
};
use failover_core::facts::{INFO_PERSISTENCE, INFO_SERVER, ServerFacts};

/// Adds a few of them.
pub fn afflict(dice: &mut Dice, observation: &mut Observation) {
    for _ in 0..1 + dice.below(4) {
        let (one, other) = (dice.index(observation.instances.len()), dice.index(observation.instances.len()));
        if observation.instances.is_empty() {
            return;
        }
        match dice.below(4) {
            0 => break_disk(observation, one),
            _ => {
                let action = action(dice, observation, one, other);
                let text = "NOPERM this user has no permissions".into();
                observation.refused.push(Refused { action, text, age_us: dice.below(60_000_000) });
            }
        }
    }
    observation.refused.sort_by_key(|refused| std::cmp::Reverse(refused.age_us));
}

fn break_disk(observation: &mut Observation, index: usize) {
    for reply in &mut observation.instances[index].replies {
        if let Some(Value::Text(text)) = reply.newest.as_mut().map(|sample| &mut sample.value)
            && reply.command == INFO_PERSISTENCE
        {
            text.text = text.text.replace("rdb_last_bgsave_status:ok", "rdb_last_bgsave_status:err");
        }
    }
}

fn action(dice: &mut Dice, observation: &Observation, one: usize, other: usize) -> Action {
    let id = |index: usize| observation.instances[index].id.clone();
    let expect = |index: usize, role: Role| {
        let info = observation.instances[index].replies.iter().find(|reply| reply.command == INFO_SERVER);
        let run_id = info.and_then(|reply| match &reply.newest.as_ref()?.value {
            Value::Text(text) => ServerFacts::parse(&text.text).run_id.map(str::to_owned),
            Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
        });
        Expectation { run_id: run_id.unwrap_or_default(), role, replid: None, node: None }
    };
    match dice.below(5) {
        0 | 1 => Action::Promote(Promote {
            id: id(one),
            source: None,
            meant_for: id(one),
            evidence: Evidence::Dead,
            how: Promotion::ReplicaofNoOne,
            completes: vec![],
            expect: expect(one, Role::Replica),
        }),
        2 => Action::Follow(Follow {
            id: id(one),
            master: id(other),
            discards_bytes: Some(0),
            expect: expect(one, Role::Replica),
        }),
        3 => Action::Handover(Handover {
            source: id(one),
            target: id(other),
            meant_for: id(other),
            pause_max_ms: 1000,
            expect_source: expect(one, Role::Master),
            expect_target: expect(other, Role::Replica),
        }),
        _ => Action::Configure(Configure {
            id: id(one),
            directive: "min-replicas-to-write".into(),
            to: "1".into(),
            expect: expect(one, Role::Master),
        }),
    }
}
