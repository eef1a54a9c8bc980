//! Many runs as a table.

use crate::checks::Class;
use crate::run::Outcome;
use redis_model::live::Wait;
use redis_operator::guard::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

/// The sum of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs.
    pub schedules: u64,
    /// Real time.
    pub took: Duration,
    faults: u64,
    unpreventable: u64,
    promotions: u64,
    decisions: u64,
    virtual_us: u64,
    classes: BTreeMap<(Wait, usize), Class>,
    reasons: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    refused: BTreeMap<String, Vec<u64>>,
    /// Seeds by breach.
    pub breaches: BTreeMap<&'static str, Vec<u64>>,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        let names: BTreeSet<&'static str> = outcome.breaches.iter().map(|breach| breach.name).collect();
        self.merge(Self {
            schedules: 1,
            took: Duration::ZERO,
            faults: outcome.faults,
            unpreventable: outcome.unpreventable,
            promotions: outcome.promotions,
            decisions: outcome.decisions,
            virtual_us: outcome.took_us,
            classes: outcome.account.classes,
            reasons: outcome.reasons,
            refusals: outcome.refusals,
            refused: outcome.refused.into_iter().map(|reason| (reason, vec![seed])).collect(),
            breaches: names.into_iter().map(|name| (name, vec![seed])).collect(),
        });
    }

    /// How many schedules broke an invariant of these.
    pub fn breaking(&self, is_one: impl Fn(&str) -> bool) -> usize {
        let broken = self.breaches.iter().filter(|(name, _)| is_one(name));
        broken.flat_map(|(_, seeds)| seeds).collect::<BTreeSet<_>>().len()
    }

    /// Acknowledged writes, and those of them that were lost.
    pub fn writes(&self) -> (u64, u64) {
        let mut sum = Class::default();
        self.classes.values().for_each(|class| sum.add(*class));
        (sum.acknowledged, sum.lost)
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.faults += other.faults;
        self.unpreventable += other.unpreventable;
        self.promotions += other.promotions;
        self.decisions += other.decisions;
        self.virtual_us += other.virtual_us;
        for (class, more) in other.classes {
            self.classes.entry(class).or_default().add(more);
        }
        for (mine, others) in [(&mut self.reasons, other.reasons), (&mut self.refusals, other.refusals)] {
            others.into_iter().for_each(|(name, count)| *mine.entry(name).or_default() += count);
        }
        for (reason, seeds) in other.refused {
            self.refused.entry(reason).or_default().extend(seeds);
        }
        for (name, seeds) in other.breaches {
            self.breaches.entry(name).or_default().extend(seeds);
        }
    }
}

/// How often each was seen, and which of all never was.
fn covered(
    f: &mut Formatter<'_>,
    what: &str,
    seen: &BTreeMap<String, u64>,
    all: impl Iterator<Item = &'static str>,
) -> Result {
    writeln!(f, "\n{what}:")?;
    seen.iter().try_for_each(|(name, count)| writeln!(f, "  {name} {count}"))?;
    let never: Vec<&str> = all.filter(|name| !seen.contains_key(*name)).collect();
    writeln!(f, "  never: {}", if never.is_empty() { "none".into() } else { never.join(", ") })
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let seconds = self.took.as_secs_f64().max(f64::MIN_POSITIVE);
        writeln!(
            f,
            "{} schedules in {seconds:.1} s: {:.0} a second; {} faults, {} promotions, {} decisions, {:.0} s of \
             virtual time",
            self.schedules,
            self.schedules as f64 / seconds,
            self.faults,
            self.promotions,
            self.decisions,
            self.virtual_us as f64 / 1e6,
        )?;
        writeln!(
            f,
            "\n| client waits for | replicas that acknowledged | acknowledged | lost | after a report |\n|--|--|--|--|--|"
        )?;
        for ((wait, replicas), class) in &self.classes {
            let wait = match wait {
                Wait::Master => "the master".to_owned(),
                Wait::Replicas(count) => format!("WAIT {count}"),
                Wait::Disks(count) => format!("WAITAOF 1 {count}"),
            };
            let Class { acknowledged, lost, reported } = class;
            writeln!(f, "| {wait} | {replicas} | {acknowledged} | {lost} | {reported} |")?;
        }
        writeln!(
            f,
            "\ncopies lost to a master that its own configuration had started with less: {}",
            self.unpreventable
        )?;
        let reasons = failover_core::reasons().map(|reason| reason.name);
        covered(f, "reasons, by decisions", &self.reasons, reasons)?;
        if !self.refusals.is_empty() {
            let checks = Rule::ALL.iter().map(|rule| rule.name());
            covered(f, "checks of the guard, by decisions that they refused", &self.refusals, checks)?;
        }
        for (reason, seeds) in &self.refused {
            writeln!(f, "refused at the end: {reason} {} {:?}", seeds.len(), &seeds[..seeds.len().min(8)])?;
        }
        for (name, seeds) in &self.breaches {
            let mut seeds = seeds.clone();
            seeds.sort_unstable();
            writeln!(f, "BREACH {name}: {} schedules {:?}", seeds.len(), &seeds[..seeds.len().min(12)])?;
        }
        Ok(())
    }
}
