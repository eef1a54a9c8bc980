//! Observations that could not be true, or not quite: replies that are missing, cut, garbled or of another
//! world. Keeps what the contract promises of a host: unique ids, sorted lists.

use crate::dice::Dice;
use failover_core::contract::{
    Address, Failure, FailureKind, Instance, Integer, Nested, Nil, Observation, Reply, Sample, Text, Value,
};

/// Breaks a few things in a few instances.
pub fn corrupt(dice: &mut Dice, observation: &mut Observation) {
    for _ in 0..1 + dice.below(4) {
        let other = dice.pick(&observation.instances).map(|instance| instance.address.clone());
        let index = dice.index(observation.instances.len());
        if let Some(instance) = observation.instances.get_mut(index) {
            corrupt_instance(dice, instance, other);
        }
    }
    match dice.below(12) {
        0 => observation.parameters = "not JSON".into(),
        1 => observation.parameters = r#"{"order":"priority-first","discard":["redis-1","redis-2"]}"#.into(),
        2 => observation.group.hang_limit_ms = 0,
        3 => observation.group.hang_limit_ms = u32::MAX,
        4 => observation.group.members_desired = 0,
        5 => observation.instances.clear(),
        _ => {}
    }
}

fn corrupt_instance(dice: &mut Dice, instance: &mut Instance, other: Option<Address>) {
    let index = dice.index(instance.replies.len());
    match dice.below(8) {
        // Two members at one place, or a place that is none.
        0 => instance.aliases.extend(other),
        1 => instance.address = Address { host: String::new(), port: 0 },
        2 => instance.replies.clear(),
        3 => instance.link.alive_age_us = None,
        _ => {
            if let Some(reply) = instance.replies.get_mut(index) {
                corrupt_reply(dice, reply);
            }
        }
    }
}

fn corrupt_reply(dice: &mut Dice, reply: &mut Reply) {
    match dice.below(6) {
        0 => reply.newest = None,
        1 => {
            reply.failure = Some(Failure {
                kind: FailureKind::TimedOut,
                text: "no reply".into(),
                age_us: dice.below(5_000_000),
            })
        }
        2 => {
            let value = match dice.below(3) {
                0 => Value::Integer(Integer { number: i64::MIN }),
                1 => Value::Nil(Nil { of: "bulk".into() }),
                _ => Value::Nested(Nested { resp: "*1\r\n$4\r\nrole\r\n".into(), truncated: true }),
            };
            reply.newest = Some(Sample { value, age_us: dice.number() });
        }
        _ => {
            if let Some(Sample { value: Value::Text(text), .. }) = &mut reply.newest {
                mutate(dice, text);
            }
        }
    }
}

fn mutate(dice: &mut Dice, text: &mut Text) {
    for _ in 0..1 + dice.below(3) {
        text.text = mutated(dice, &text.text);
    }
    text.truncated = dice.chance(300);
}

/// One seeded change of a text: a row dropped, doubled, moved or cut, a number made absurd, bytes put in.
pub fn mutated(dice: &mut Dice, text: &str) -> String {
    let mut rows: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    let (one, other) = (dice.index(rows.len()), dice.index(rows.len()));
    match dice.below(7) {
        0 => _ = rows.remove(one),
        1 => rows.swap(one, other),
        2 => rows.insert(one, rows[other].clone()),
        3 => {
            if let Some((name, _)) = rows[one].split_once(':') {
                let absurd = [
                    "-1",
                    "18446744073709551615",
                    "9223372036854775808",
                    "99999999999999999999",
                    "",
                    " 1",
                    "1e9",
                    "ok:ok",
                    "\u{1f980}",
                ];
                rows[one] = format!("{name}:{}", dice.pick(&absurd).unwrap_or(&""));
            }
        }
        4 => {
            let kept: String = rows[one].chars().take(dice.index(20)).collect();
            rows[one] = kept;
        }
        5 => {
            let noise = [
                "slave0:ip=,port=0,state=,offset=,lag=",
                "role:sentinel",
                ":::",
                "master_host:",
                "\u{0}\u{7f}",
                "db0:keys=,expires=",
            ];
            rows.insert(one, (*dice.pick(&noise).unwrap_or(&"")).to_owned());
        }
        _ => {
            let kept = text.chars().count();
            return text.chars().take(dice.index(kept)).collect();
        }
    }
    rows.join("\r\n")
}
