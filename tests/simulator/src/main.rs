//! `simulate SEEDS [FROM]`: runs so many schedules. `simulate seed N [NAME]`: one of them, with its timeline,
//! shrunk to what breaks the invariant of that name. With `lies` before it, policies lie in them.

use anyhow::{Context, Result};
use simulator::report::Summary;
use simulator::{Schedule, embedded_policy, shrink, simulate};
use std::time::Instant;

const USAGE: &str = "usage: simulate [lies] SEEDS [FROM] | simulate [lies] seed N [BREACH]";

fn main() -> Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let has_lies = words.first().is_some_and(|word| word == "lies");
    words.drain(..usize::from(has_lies));
    let schedule_of = if has_lies { Schedule::with_lies } else { Schedule::of };
    let number = |place: usize| words.get(place).map(|word| word.parse::<u64>().context(USAGE)).transpose();
    if words.first().is_some_and(|word| word == "seed") {
        let mut schedule = schedule_of(number(1)?.context(USAGE)?);
        let policies = embedded_policy()?;
        if let Some(name) = words.get(2) {
            schedule = shrink::shrink(&schedule, name, &policies);
        }
        println!("{schedule:#?}");
        let outcome = simulate(&schedule, &policies, true);
        outcome.timeline.iter().for_each(|line| println!("{line}"));
        outcome.breaches.iter().for_each(|breach| println!("BREACH {breach:?}"));
        return Ok(());
    }
    let (count, from) = (number(0)?.context(USAGE)?, number(1)?.unwrap_or(0));
    let policies = embedded_policy()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let begin = Instant::now();
    let mut summary = std::thread::scope(|scope| {
        let part = |thread: u64| {
            let policies = &policies;
            scope.spawn(move || {
                let mut part = Summary::default();
                for seed in (from + thread..from + count).step_by(threads as usize) {
                    part.add(seed, simulate(&schedule_of(seed), policies, false));
                }
                part
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        let mut sum = Summary::default();
        for part in parts {
            sum.merge(part.join().expect("a run that panics is a fault"));
        }
        sum
    });
    summary.took = begin.elapsed();
    println!("{summary}");
    anyhow::ensure!(summary.breaches.is_empty(), "an invariant was broken: simulate seed N BREACH shows how");
    Ok(())
}
