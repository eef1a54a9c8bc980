//! What policies break with the guard and without it: why the guard exists. A policy other than the embedded
//! one has that behind it, as in the product, so what the guard refuses is decided by the next in line.

use crate::policies::{embedded_policy, policy_of_file};
use crate::report::Summary;
use crate::{Schedule, many};
use anyhow::Result;
use failover_core::mutant::leave_out;
use redis_operator::policy::{Policy, PolicyChain};
use std::fmt::{Display, Formatter};
use std::path::Path;
use std::sync::Arc;

/// The head of the table.
pub const HEAD: &str = "| policy | guard | schedules that break a promise | several masters | acknowledged \
                        writes lost in silence, or overwritten | no end | acknowledged writes \
                        that are lost |\n|--|--|--|--|--|--|--|";

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    policy: &'static str,
    is_guarded: bool,
    sum: Summary,
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { policy, is_guarded, sum } = self;
        let broken = |names: &[&str]| sum.breaking(|name| names.contains(&name));
        let (acknowledged, lost) = sum.writes();
        write!(
            f,
            "| {policy} | {} | {} of {} | {} | {} | {} | {lost} of {acknowledged} |",
            if *is_guarded { "yes" } else { "no" },
            // A fault of the policy is what the guard is for.
            sum.breaking(|name| name != "fault"),
            sum.schedules,
            broken(&["several-masters"]),
            broken(&["silent-loss", "silent-overwrite", "unguarded-overwrite", "better-copy-passed-over"]),
            broken(&["never-settled", "never-published", "refused-without-master", "hammered"]),
        )
    }
}

impl Row {
    /// The broken promises, each with its first seeds.
    pub fn seeds(&self) -> Vec<String> {
        let Self { policy, is_guarded, sum } = self;
        let broken = sum.breaches.iter().filter(|(name, _)| **name != "fault");
        broken
            .map(|(name, seeds)| {
                let first: Vec<u64> = seeds.iter().copied().take(8).collect();
                format!("{policy}, guard {is_guarded}, {name}: {first:?}")
            })
            .collect()
    }
}

/// The rows, of so many schedules each.
///
/// # Errors
/// A file that is no policy.
pub fn rows(seeds: u64, classic: &Path) -> Result<Vec<Row>> {
    let embedded = embedded_policy()?.live();
    let classic = policy_of_file(classic)?.live();
    let chain = |front: Option<&Arc<dyn Policy>>| {
        let chain = PolicyChain::new(Arc::clone(&embedded));
        if let Some(front) = front {
            // Nothing is in quarantine in a new chain.
            drop(chain.swap(Arc::clone(front)));
        }
        Arc::new(chain)
    };
    let hostile = |seed| Schedule { is_hostile: true, ..Schedule::of(seed) };
    let mut rows = vec![];
    for is_guarded in [true, false] {
        leave_out((!is_guarded).then_some("guard:*"));
        let mut row = |policy, sum| rows.push(Row { policy, is_guarded, sum });
        row("default", many(0..seeds, Schedule::of, || chain(None)));
        row("classic", many(0..seeds, Schedule::of, || chain(Some(&classic))));
        row("default, with a change at random in most answers", many(0..seeds, hostile, || chain(None)));
    }
    leave_out(None);
    Ok(rows)
}
