//! Schedules with Sentinels: who watches the group, and what happens to them beside the faults of servers and
//! operators.

use crate::schedule::{Fault, Schedule, Step, Target};
use redis_model::Dice;
use redis_operator::contract::{SentinelMode, SentinelSettings};
use serde::{Deserialize, Serialize};

/// The Sentinels of a schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SentinelPlan {
    /// How many.
    pub count: usize,
    /// Mode `Assisted`; else `Deferred`.
    pub is_assisted: bool,
    /// `down-after-milliseconds`.
    pub down_after_ms: u32,
    /// `failover-timeout`.
    pub failover_timeout_ms: u32,
    /// For so long after the last fault nothing is mended yet.
    pub rest_us: u64,
}

impl SentinelPlan {
    /// How they watch the group.
    pub fn settings(&self) -> SentinelSettings {
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        SentinelSettings {
            master_name: MASTER_NAME.into(),
            sentinels_desired: count,
            quorum: count / 2 + 1,
            down_after_ms: self.down_after_ms,
            failover_timeout_ms: self.failover_timeout_ms,
            parallel_syncs: 1,
            mode: if self.is_assisted { SentinelMode::Assisted } else { SentinelMode::Deferred },
        }
    }
}

impl Schedule {
    /// The schedule of a seed with Sentinels, and with faults of theirs.
    pub fn with_sentinels(seed: u64) -> Self {
        let mut schedule = Self::of(seed);
        // Apart from the dice of the schedule, whose other steps stay what they are.
        let dice = &mut Dice::new(seed ^ 0x5e47);
        let is_assisted = dice.chance(600);
        let plan = SentinelPlan {
            count: dice.one_of([1, 3, 3, 3, 3, 5]),
            is_assisted,
            down_after_ms: dice.one_of([1_500, 2_000, 5_000]),
            failover_timeout_ms: dice.one_of([3_000, 10_000, 10_000]),
            rest_us: dice.one_of([0, 0, 0, 8_000_000, 25_000_000]),
        };
        let last_us = schedule.steps.last().map_or(0, |step| step.at_us);
        for _ in 0..dice.index(4) {
            let at_us = dice.below(last_us + 2_000_000);
            schedule.steps.push(Step { at_us, fault: fault(dice, &plan) });
        }
        if dice.chance(200) {
            let (target, back_us) =
                (Target::Replica(dice.index(4)), dice.one_of([150_000, 2_500_000, 9_000_000]));
            schedule.timing.load_us = dice.one_of([30_000, 700_000, 12_000_000]);
            let fault = Fault::Move { target, back_us };
            schedule.steps.push(Step { at_us: dice.below(last_us + 1_000_000), fault });
        }
        if dice.chance(300) {
            // The Sentinels are alone with the death of a master.
            let at_us = dice.below(last_us + 1_000_000);
            let back_us = dice.one_of([4_000_000, 9_000_000, 25_000_000]);
            schedule.steps.push(Step { at_us, fault: Fault::KillOperator { back_us } });
            let later_us = dice.one_of([0, 2_000, 5_000, 8_000, 40_000, 1_000_000]);
            let (back_us, empty) = (Some(dice.one_of([150_000, 2_500_000, 12_000_000])), dice.chance(300));
            let death = Fault::Kill { target: Target::Master, back_us, empty, power: false };
            let hang = Fault::Stop { target: Target::Master, for_us: 8_000_000 };
            let fault = if dice.chance(700) { death } else { hang };
            schedule.steps.push(Step { at_us: at_us + later_us, fault });
        }
        schedule.steps.sort_by_key(|step| step.at_us);
        schedule.sentinels = Some(plan);
        schedule
    }
}

fn fault(dice: &mut Dice, plan: &SentinelPlan) -> Fault {
    let time = |dice: &mut Dice| dice.one_of([40_000, 400_000, 1_200_000, 2_500_000, 6_000_000, 15_000_000]);
    let sentinel = dice.index(plan.count);
    let target = Target::Sentinel(sentinel);
    match dice.index(16) {
        0..=2 => Fault::Kill {
            target,
            back_us: dice.chance(800).then(|| time(dice)),
            empty: dice.chance(250),
            power: false,
        },
        3 | 4 => Fault::Stop { target, for_us: time(dice) },
        5 => {
            let back_us = (0..plan.count).map(|_| 100_000 + time(dice)).collect();
            Fault::KillSentinels { back_us, empty: dice.chance(200) }
        }
        6 => Fault::CutSentinels { for_us: time(dice) },
        7 => Fault::CutOperator { target, for_us: time(dice), one_way: dice.chance(500) },
        8 => {
            let other =
                dice.one_of([Target::Master, Target::Replica(0), Target::Sentinel(0), Target::Sentinel(1)]);
            Fault::CutPeers { one: target, other, for_us: time(dice) }
        }
        9 => Fault::Isolate { target, for_us: time(dice) },
        10 => Fault::LoseReply { target },
        11 => Fault::JumpClock { sentinel, by_us: dice.one_of([1_000_000, 5_000_000, 60_000_000]) },
        12 | 13 => Fault::KillOperator { back_us: dice.one_of([2_000_000, 8_000_000, 25_000_000]) },
        14 => Fault::Isolate { target: Target::Master, for_us: time(dice) },
        _ => {
            let words: &[&str] = dice.one_of([
                &["SENTINEL", "FAILOVER", MASTER_NAME][..],
                &["SENTINEL", "FAILOVER", MASTER_NAME],
                &["SENTINEL", "REMOVE", MASTER_NAME],
                &["SENTINEL", "SET", MASTER_NAME, "quorum", "1"],
                &["SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", "60000"],
            ]);
            Fault::Say { sentinel, words: words.iter().map(|word| (*word).to_owned()).collect() }
        }
    }
}

const MASTER_NAME: &str = "mymaster";
