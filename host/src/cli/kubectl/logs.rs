//! `kubectl redis logs`: what the operators logged about a group, as one timeline over all of them.

use super::cluster::Cluster;
use super::operators::{Entry, merged, moment, operators};
use super::text::{Paint, Tone, plain};
use crate::cli::settings::duration;
use crate::cli::{Environment, Exit, Format, print};
use serde_json::json;
use std::time::Duration;

/// Show what the operators decided and did for a Redis, as one timeline over all operators
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kubectl redis logs example\n  kubectl redis logs example --since 10m -o \
                  json\n\nThe lines come from the logs of the operators' Pods, through the API server, \
                  which needs the rights to list pods and to get pods/log in the operator's namespace. \
                  Times are those of each operator's node. What a Pod that is gone has logged is gone, \
                  too: see your log store."
)]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// How far back
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    since: Duration,
    /// Output format; json: one object per line, with all fields
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    output: Format,
}

pub async fn run(args: &Args, cluster: &Cluster, environment: &Environment) -> Result<u8, Exit> {
    cluster.group(&args.name).await?;
    let group = (cluster.namespace.as_str(), args.name.as_str());
    let all = operators(cluster).await?;
    let (mut logs, mut unread) = (Vec::new(), Vec::new());
    for operator in &all {
        match operator.log(cluster, group, args.since).await {
            Ok(log) => logs.push(log),
            Err(why) => unread.push(format!("the log of {} cannot be read: {why}", operator.name)),
        }
    }
    if logs.is_empty() {
        return Err(Exit::Failed(unread.join("; ")));
    }
    let timeline = merged(logs);
    let paint = Paint(environment.has_colour);
    match args.output {
        Format::Json => timeline.iter().try_for_each(|entry| print(&as_json(entry)))?,
        Format::Table if timeline.is_empty() => {
            let read = all.len() - unread.len();
            print(&format!(
                "{read} of {} operators were asked, and logged nothing about {} for {} s: see --since\n",
                all.len(),
                args.name,
                args.since.as_secs()
            ))?;
        }
        Format::Table => print(&timeline.iter().map(|entry| row(entry, paint)).collect::<String>())?,
    }
    // A timeline with a gap must not look whole.
    if unread.is_empty() { Ok(0) } else { Err(Exit::Failed(unread.join("; "))) }
}

/// A line of the timeline.
pub(super) fn row(entry: &Entry, paint: Paint) -> String {
    let line = &entry.line;
    let tone = match line.level.as_str() {
        "ERROR" => Tone::Bad,
        "WARN" => Tone::Warn,
        _ => Tone::Plain,
    };
    let mut words = plain(&line.message);
    if let (Some(verdict), Some(reason)) = (line.field("verdict"), line.field("reason")) {
        words += &format!(": {}, {}", plain(verdict), plain(reason));
    }
    if let Some(explanation) = line.field("explanation") {
        words += &format!(": {}", plain(explanation));
    }
    let rest = line.fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    let rest: String = rest
        .filter(|(name, _)| name != "reason" || line.field("verdict").is_none())
        .map(|(name, value)| format!(" {}={}", plain(name), plain(value)))
        .collect();
    format!(
        "{} {} {} {}{}\n",
        moment(line.at),
        plain(&entry.operator),
        paint.tone(tone, &format!("{:<5}", plain(&line.level))),
        paint.tone(tone, &words),
        paint.tone(Tone::Faint, &rest)
    )
}

/// An object with all fields.
pub(super) fn as_json(entry: &Entry) -> String {
    let line = &entry.line;
    let mut object = json!({
        "timestamp": line.at.to_string(), "operator": entry.operator, "level": line.level,
        "message": line.message
    });
    for (name, value) in &line.fields {
        object[name] = value.as_str().into();
    }
    format!("{object}\n")
}

/// The same in every line, said in words, or a page of JSON.
const LEFT_OUT: &[&str] = &[
    "namespace",
    "name",
    "topology",
    "verdict",
    "explanation",
    "observation",
    "observation_bytes",
    "policy",
];

#[cfg(test)]
mod tests {
    use super::super::operators::entries;
    use super::*;

    const ONE: &str = r#"{"timestamp":"2026-01-01T00:00:01.000001Z","level":"INFO","message":"authority gained","identity":"operator-a","lease":"redis-operator"}
{"timestamp":"2026-01-01T00:00:02.000000Z","level":"INFO","message":"decided","namespace":"shop","name":"cart","topology":"replication","epoch":7,"verdict":"act","reason":"master-dead","explanation":"redis-cart-0 is dead.","action":"promote","instance":"redis-cart-1","policy":"0123"}
{"timestamp":"2026-01-01T00:00:02.000000Z","level":"INFO","message":"observed","namespace":"shop","name":"cart","observation":"{}"}
{"timestamp":"2026-01-01T00:00:02.100000Z","level":"INFO","message":"decided","namespace":"shop","name":"other","verdict":"act"}
{"timestamp":"2026-01-01T00:00:02.100000Z","level":"INFO","message":"decided","namespace":"live","name":"cart","verdict":"act"}
thread 'main' panicked"#;
    const OTHER: &str = "2026-01-01T00:00:01.500000Z  WARN authority lost: no action until it is regained lease=\"redis-operator\"
2026-01-01T00:00:03.000000Z  WARN resource not as specified namespace=\"shop\" name=\"cart\" reason=\"SecretMissing\" explanation=\"create it\x1b[31m\"
2026-01-01T00:00:04.000000Z  INFO serving address=0.0.0.0:8080";

    #[test]
    fn the_logs_of_all_operators_are_one_timeline_of_one_group() {
        let group = ("shop", "cart");
        let all = merged([entries("operator-b", OTHER, group), entries("operator-a", ONE, group)]);
        let text: String = all.iter().map(|entry| row(entry, Paint(false))).collect();
        let expected = [
            "2026-01-01T00:00:01.000Z operator-a INFO  authority gained identity=operator-a lease=redis-operator",
            "2026-01-01T00:00:01.500Z operator-b WARN  authority lost: no action until it is regained lease=redis-operator",
            "2026-01-01T00:00:02.000Z operator-a INFO  decided: act, master-dead: redis-cart-0 is dead. action=promote epoch=7 instance=redis-cart-1",
            "2026-01-01T00:00:02.000Z operator-a INFO  observed",
            "2026-01-01T00:00:03.000Z operator-b WARN  resource not as specified: create it [31m reason=SecretMissing",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let object: serde_json::Value = serde_json::from_str(&as_json(&all[3])).unwrap();
        assert_eq!((&object["operator"], &object["observation"]), (&json!("operator-a"), &json!("{}")));
    }
}
