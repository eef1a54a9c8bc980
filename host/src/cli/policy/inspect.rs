//! `policy inspect`: the description of a policy, and its file.

use serde_json::{Value, json};

use crate::cli::{Environment, Exit, Format, PolicyChoice, print, print_json};
use crate::contract::{InstanceKind, Topology, Want};
use crate::policy::{About, POLICY_WORLD};

/// Show a policy: name, version, world, digest, parameters, wanted commands
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy inspect --policy mine.wasm --format json")]
pub(super) struct Args {
    #[command(flatten)]
    choice: PolicyChoice,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let policy = arguments.choice.load(&arguments.choice.sandbox(environment)?)?;
    match arguments.format {
        Format::Table => print(&table(policy.about(), &arguments.choice.source()))?,
        Format::Json => print_json(&record(policy.about(), &arguments.choice.source()))?,
    }
    Ok(0)
}

fn table(policy: &About, source: &str) -> String {
    let about = &policy.description;
    let topologies: Vec<&str> = about.topologies.iter().copied().map(topology).collect();
    let wants: Vec<String> = about.wants.iter().map(want).collect();
    let schema = serde_json::to_string_pretty(&schema(policy)).unwrap_or_default();
    let rows = [
        ("policy", policy.title.clone()),
        ("summary", about.summary.clone()),
        ("file", source.to_owned()),
        ("digest", format!("sha256:{}", policy.digest)),
        ("size", format!("{} bytes", policy.size_bytes)),
        ("world", POLICY_WORLD.to_owned()),
        ("exports", policy.exports.join("\n")),
        ("imports", "nothing".to_owned()),
        ("topologies", topologies.join(", ")),
        ("wants", if wants.is_empty() { "the standard commands only".to_owned() } else { wants.join("\n") }),
        ("parameters", schema),
    ];
    rows.iter()
        .flat_map(|(name, text)| {
            text.lines().enumerate().map(move |(row, line)| (if row == 0 { name } else { "" }, line))
        })
        .map(|(name, line)| format!("{name:<12}{line}\n"))
        .collect()
}

fn record(policy: &About, source: &str) -> Value {
    let about = &policy.description;
    json!({
        "name": about.name,
        "version": about.version,
        "summary": about.summary,
        "file": source,
        "digest": policy.digest,
        "size_bytes": policy.size_bytes,
        "world": POLICY_WORLD,
        "exports": policy.exports,
        "imports": [],
        "topologies": about.topologies,
        "wants": about.wants,
        "parameters_schema": schema(policy),
    })
}

/// The schema as JSON, which loading has checked.
fn schema(policy: &About) -> Value {
    serde_json::from_str(&policy.description.parameters_schema).unwrap_or_default()
}

fn want(want: &Want) -> String {
    let kind = match want.kind {
        InstanceKind::Redis => "redis",
        InstanceKind::Sentinel => "sentinel",
    };
    format!("{} (from each {kind} of a {} group)", want.arguments.join(" "), topology(want.topology))
}

fn topology(topology: Topology) -> &'static str {
    match topology {
        Topology::Replication => "replication",
        Topology::Sentinel => "sentinel",
        Topology::Cluster => "cluster",
    }
}
