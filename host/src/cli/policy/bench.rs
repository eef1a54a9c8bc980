//! `policy bench`: the duration of a decision, by group size.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::{Environment, Exit, Format, PolicyChoice, print, print_json};
use crate::policy::{Loaded, Policy, PolicyFault, Stop, healthy_group};

/// Measure decisions: p50, p99 and decisions per second, in a fresh instance (as in operation) and, for the
/// embedded policy, in a reused one (to show the cost of the fresh one)
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy bench --members 3,500 --format json\n\nEach \
                  member has the INFO of a real server, about 1.9 KB. Times include passing the \
                  observation in and the decision out; with --policy also to its worker process and back.")]
pub(super) struct Args {
    /// Group sizes
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [3, 10, 50, 100, 500],
        value_name = "N,…",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    members: Vec<u16>,
    /// Duration of each measurement
    #[arg(long, default_value_t = 500, value_name = "MS")]
    for_ms: u64,
    #[command(flatten)]
    choice: PolicyChoice,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    members: u16,
    observation_bytes: usize,
    fresh: Times,
    /// None in a worker process, which has no such instance.
    reused: Option<Times>,
}

#[derive(Serialize)]
struct Times {
    decisions: usize,
    per_second: u64,
    p50_us: f64,
    p99_us: f64,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let sandbox = arguments.choice.sandbox(environment)?;
    let component = arguments.choice.load(&sandbox)?;
    let duration = Duration::from_millis(arguments.for_ms);
    let rows: Result<Vec<Row>, PolicyFault> =
        arguments.members.iter().map(|members| measure(&component, *members, duration)).collect();
    let rows = rows.map_err(|fault| {
        Exit::Failed(format!("{} ({}): {fault}", component.title(), arguments.choice.source()))
    })?;
    match arguments.format {
        Format::Json => print_json(&serde_json::json!({
            "policy": component.title(), "digest": component.digest(),
            "pooled": sandbox.is_pooled(), "rows": rows
        }))?,
        Format::Table => {
            let pool = if sandbox.is_pooled() { "pooled" } else { "no pool: address space too small" };
            print(&format!("{} sha256:{:.12} ({pool})\n{HEADING}", component.title(), component.digest()))?;
            for Row { members, observation_bytes, fresh, reused } in &rows {
                print(&format!(
                    "{members:>7} {:>10.1} |{} |{}\n",
                    *observation_bytes as f64 / 1000.0,
                    columns(fresh),
                    reused.as_ref().map_or_else(|| "  –".to_owned(), columns)
                ))?;
            }
        }
    }
    Ok(0)
}

fn measure(policy: &Loaded, members: u16, duration: Duration) -> Result<Row, PolicyFault> {
    let observation = healthy_group(members);
    let observation_bytes = serde_json::to_vec(&observation).map_or(0, |json| json.len());
    let stop = Stop::default();
    let fresh = times(duration, || policy.on_trial(&stop).decide(&observation).map(drop))?;
    let reused = match policy {
        Loaded::Embedded(component) => {
            let mut instance = component.reused()?;
            Some(times(duration, || instance.decide(&observation).map(drop))?)
        }
        Loaded::Foreign(_) => None,
    };
    Ok(Row { members, observation_bytes, fresh, reused })
}

fn times(
    duration: Duration,
    mut decide: impl FnMut() -> Result<(), PolicyFault>,
) -> Result<Times, PolicyFault> {
    (0..WARM_UP).try_for_each(|_| decide())?;
    let mut samples: Vec<Duration> = Vec::new();
    let begun = Instant::now();
    while samples.len() < SAMPLES_MIN || begun.elapsed() < duration {
        let start = Instant::now();
        decide()?;
        samples.push(start.elapsed());
    }
    let per_second = (samples.len() as f64 / begun.elapsed().as_secs_f64()) as u64;
    samples.sort();
    let percentile = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0;
    Ok(Times { decisions: samples.len(), per_second, p50_us: percentile(50), p99_us: percentile(99) })
}

fn columns(Times { decisions: _, per_second, p50_us, p99_us }: &Times) -> String {
    format!("{p50_us:>10.1} {p99_us:>10.1} {per_second:>9}")
}

const HEADING: &str = "                    |        fresh instance          |        reused instance\n\
    members    JSON KB |   p50 us     p99 us     per s |   p50 us     p99 us     per s\n";
const WARM_UP: usize = 10;
const SAMPLES_MIN: usize = 100;
