//! The simulator's command line. A schedule is printed as JSON: a file in `mended/` is what became of one.

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use redis_operator::policy::PolicyChain;
use simulator::mended::Mended;
use simulator::policies::{embedded_policy, kept_embedded_policy, policy_of_file};
use simulator::{Schedule, shrink, simulate};
use std::path::PathBuf;
use std::sync::Arc;

/// Run the whole operator on a virtual clock, against a model of Redis
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many schedules, and show their sum
    Many {
        /// How many
        seeds: u64,
        /// The first seed
        #[arg(default_value_t = 0)]
        from: u64,
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        policy: Choice,
    },
    /// Run the schedule of one seed, and show its timeline
    Seed {
        /// The seed
        seed: u64,
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        shown: Shown,
    },
    /// Run the schedule of a file, and show its timeline
    File {
        /// The file
        path: PathBuf,
        #[command(flatten)]
        shown: Shown,
    },
    /// Show what becomes of acknowledged writes, by kind of fault
    Durability {
        /// Schedules a row
        seeds: u64,
    },
    /// Show what policies break with the guard and without it
    #[cfg(feature = "mutants")]
    Guard {
        /// Schedules a row
        seeds: u64,
        /// The component of `classic`
        classic: PathBuf,
    },
    /// Leave out each rule, check and precondition in turn, and show what notices
    #[cfg(feature = "mutants")]
    Mutants {
        /// Schedules a mutant, at most
        seeds: u64,
        /// Only those whose name contains this
        #[arg(default_value = "")]
        which: String,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Kind {
    /// Policies that trap, lie and idle are swapped in; the embedded one is next in line
    #[arg(long)]
    lies: bool,
    /// Sentinels watch the servers
    #[arg(long)]
    sentinels: bool,
    /// The servers are Pods, which are deleted
    #[arg(long)]
    pods: bool,
    /// Operators reach servers through proxies, which restart
    #[arg(long)]
    hops: bool,
    /// The only policy decides as the engine does, with a change at random in most answers
    #[arg(long)]
    hostile: bool,
}

impl Kind {
    fn schedule(&self, seed: u64) -> Schedule {
        match self {
            Self { lies: true, .. } => Schedule::with_lies(seed),
            Self { sentinels: true, .. } => Schedule::with_sentinels(seed),
            Self { pods: true, .. } => Schedule::with_pods(seed),
            Self { hops: true, .. } => Schedule::with_hops(seed),
            Self { hostile: is_hostile, .. } => Schedule { is_hostile: *is_hostile, ..Schedule::of(seed) },
        }
    }
}

#[derive(Debug, Args)]
struct Choice {
    /// A policy component [default: the embedded one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Shown {
    /// Shrink it first to what still breaks the invariant of this name
    breach: Option<String>,
    #[command(flatten)]
    policy: Choice,
}

impl Choice {
    fn load(&self) -> Result<Arc<PolicyChain>> {
        self.policy.as_deref().map_or_else(embedded_policy, policy_of_file)
    }
}

fn main() -> Result<()> {
    match Line::parse().command {
        Command::Many { seeds, from, kind, policy } => many(seeds, from, &kind, &policy),
        Command::Seed { seed, kind, shown } => show(kind.schedule(seed), &shown),
        Command::File { path, shown } => show(Mended::read(&path)?.schedule, &shown),
        Command::Durability { seeds } => {
            println!("{}", simulator::durability::HEAD);
            simulator::durability::rows(seeds)?.iter().for_each(|row| println!("{row}"));
            Ok(())
        }
        #[cfg(feature = "mutants")]
        Command::Guard { seeds, classic } => {
            println!("{}", simulator::guarded::HEAD);
            let rows = simulator::guarded::rows(seeds, &classic)?;
            rows.iter().for_each(|row| println!("{row}"));
            rows.iter().flat_map(|row| row.seeds()).for_each(|line| println!("{line}"));
            Ok(())
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { seeds, which } => mutants(seeds, &which),
    }
}

fn show(mut schedule: Schedule, shown: &Shown) -> Result<()> {
    let policies = shown.policy.load()?;
    if let Some(name) = &shown.breach {
        schedule = shrink::shrink(&schedule, name, &policies);
    }
    println!("{}", serde_json::to_string(&schedule)?);
    let outcome = simulate(&schedule, &policies, true);
    outcome.timeline.iter().for_each(|line| println!("{line}"));
    outcome.breaches.iter().for_each(|breach| println!("BREACH {breach:?}"));
    Ok(())
}

fn many(seeds: u64, from: u64, kind: &Kind, policy: &Choice) -> Result<()> {
    let policies = policy.policy.as_deref().map_or_else(kept_embedded_policy, policy_of_file)?;
    let summary = simulator::many(from..from + seeds, |seed| kind.schedule(seed), || Arc::clone(&policies));
    println!("{summary}");
    ensure!(summary.breaches.is_empty(), "an invariant was broken: simulate seed N BREACH shows how");
    Ok(())
}

#[cfg(feature = "mutants")]
fn mutants(seeds: u64, which: &str) -> Result<()> {
    use simulator::mutants::{all, fate};
    println!("| left out | scenarios that are decided otherwise | schedule | test |\n|--|--|--|--|");
    let mut alive = vec![];
    for mutant in all().into_iter().filter(|mutant| mutant.contains(which)) {
        let fate = fate(&mutant, seeds)?;
        println!("{fate}");
        alive.extend((!fate.is_killed()).then_some(mutant));
    }
    println!("\n{} are noticed by none of these: {}", alive.len(), alive.join(", "));
    Ok(())
}
