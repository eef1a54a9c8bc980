//! Schedules in which operators reach servers through hops: proxies, mapped ports, sidecars.

use crate::schedule::{Fault, Schedule, Step, Target};
use redis_model::Dice;

impl Schedule {
    /// The schedule of a seed with a hop before each server; hops restart.
    pub fn with_hops(seed: u64) -> Self {
        let mut schedule = Self::of(seed);
        // Apart from the dice of the schedule, whose other steps stay what they are.
        let dice = &mut Dice::new(seed ^ 0x40b5);
        let servers = 0..schedule.servers.len();
        schedule.hops = servers.clone().collect();
        let last_us = schedule.steps.last().map_or(0, |step| step.at_us);
        for _ in 0..1 + dice.index(4) {
            let target =
                if dice.chance(600) { Target::Master } else { Target::Replica(dice.index(servers.len())) };
            let for_us = dice.one_of([5_000, 40_000, 200_000, 400_000, 1_200_000, 6_000_000]);
            let fault = if dice.chance(800) {
                Fault::StopHop { target, for_us }
            } else {
                Fault::Lock { target, for_us }
            };
            schedule.steps.push(Step { at_us: dice.below(last_us + 2_000_000), fault });
        }
        schedule.steps.sort_by_key(|step| step.at_us);
        schedule
    }
}
