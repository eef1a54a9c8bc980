//! `kubectl redis status`: one resource in detail, or a line for each.

use super::cluster::Cluster;
use super::facts::{Facts, Row};
use super::text::{Paint, Tone, age, or_dash, plain};
use super::timeline::timeline;
use crate::cli::{Environment, Exit, Format, print, print_json};
use crate::kubernetes::status::HIBERNATED;
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// Show a group: its master, its instances, the last failover; without a name, one line for each group
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl redis status example\n  kubectl redis status -A --watch\n  \
                  kubectl redis status example -o json\n\nLags and offsets come from the operator that holds \
                  the Lease, through the API server; without the rights to get leases and pods/proxy \
                  in its namespace they are left out.")]
pub struct Args {
    /// The Redis or RedisFailover [default: all of the namespace]
    name: Option<String>,
    /// Show all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    output: Format,
    /// Show it until interrupted: on a terminal every second, else whenever a master, a health or a reason
    /// changes
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,
}

pub async fn run(args: &Args, cluster: &Cluster, environment: &Environment) -> Result<u8, Exit> {
    let paint = Paint(environment.has_colour);
    if args.watch {
        return watch(args, cluster, environment.is_terminal, paint).await;
    }
    let facts = gather(args, cluster).await?;
    match (args.output, &facts[..]) {
        (Format::Json, [facts]) if args.name.is_some() => print_json(facts)?,
        (Format::Json, _) => print_json(&facts)?,
        (Format::Table, _) => print(&text(args, &facts, paint, Timestamp::now()))?,
    }
    Ok(0)
}

/// The one resource, or all.
async fn gather(args: &Args, cluster: &Cluster) -> Result<Vec<Facts>, Exit> {
    if let Some(name) = &args.name {
        return Ok(vec![Facts::gather(cluster, name).await?]);
    }
    let all = cluster.groups(args.all_namespaces).await?.into_iter();
    let mut all: Vec<Facts> = all.map(|group| Facts::new(group, &[], Err(String::new()))).collect();
    // Of a fleet that fills more than a screen, what needs a look comes first.
    all.sort_by_key(|facts| (tone(facts) == Tone::Good, facts.namespace.clone(), facts.name.clone()));
    Ok(all)
}

fn text(args: &Args, all: &[Facts], paint: Paint, now: Timestamp) -> String {
    match all {
        [facts] if args.name.is_some() => screen(facts, paint, now),
        [] if args.all_namespaces => "no Redis or RedisFailover in any namespace\n".into(),
        [] => {
            "no Redis or RedisFailover here; kubectl redis status -A shows those of all namespaces\n".into()
        }
        all => lines(all, args.all_namespaces, paint, now) + &summary(all),
    }
}

/// Shows it again and again.
async fn watch(args: &Args, cluster: &Cluster, is_terminal: bool, paint: Paint) -> Result<u8, Exit> {
    let mut shown = None;
    loop {
        let (now, gathered) = (Timestamp::now(), gather(args, cluster).await);
        let (gist, page) = match gathered {
            Ok(all) => (all.iter().map(gist).collect(), text(args, &all, paint, now)),
            // The API server may be away for a moment; what was wrong from the beginning stays so.
            Err(Exit::Failed(why)) if shown.is_some() => (why.clone(), format!("{}\n", plain(&why))),
            Err(error) => return Err(error),
        };
        let is_news = shown.as_ref() != Some(&gist);
        if is_terminal {
            print(&format!("{CLEAR}{now:.0}\n\n{page}"))?;
        } else if is_news {
            print(&format!("{now:.0}\n{page}\n"))?;
        }
        shown = Some(gist);
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// What makes a change worth to be shown: no age, lag or offset.
pub(super) fn gist(facts: &Facts) -> String {
    let rows = facts.instances.iter().map(|row| (&row.name, &row.role, &row.health, row.ready));
    let (replicas, pending) = (facts.status.replicas, facts.pending());
    let rows: Vec<_> = rows.collect();
    format!(
        "{}/{} {:?} {:?} {replicas} {pending:?} {rows:?}\n",
        facts.namespace,
        facts.name,
        facts.master(),
        facts.decision()
    )
}

/// How many are well.
pub(super) fn summary(all: &[Facts]) -> String {
    let well = all.iter().filter(|facts| tone(facts) == Tone::Good).count();
    match all.len() - well {
        _ if all.len() < 2 => String::new(),
        0 => format!("\n{well} groups, all healthy\n"),
        others => {
            format!("\n{} groups: {well} healthy, {others} not; kubectl redis explain says why\n", all.len())
        }
    }
}

/// One resource in detail.
pub(super) fn screen(facts: &Facts, paint: Paint, now: Timestamp) -> String {
    let (reason, explanation) = facts.decision();
    let mut text = format!(
        "{} {}/{}: {}\n",
        paint.tone(Tone::Head, &facts.kind),
        facts.namespace,
        facts.name,
        paint.tone(tone(facts), &plain(reason))
    );
    text += &format!(
        "{}\n\n",
        if explanation.is_empty() {
            "No operator has written a status yet.".into()
        } else {
            plain(explanation)
        }
    );
    let mut row = |head: &str, what: String| {
        text += &format!("{} {what}\n", paint.tone(Tone::Head, &format!("{head:<11}")))
    };
    let published =
        facts.status.published.as_ref().filter(|published| Some(published.name.as_str()) == facts.master());
    let since = published.map_or_else(String::new, |published| {
        format!(" since {} ({} ago), epoch {}", published.at, age(&published.at, now), published.epoch)
    });
    row(
        "Master",
        facts
            .master()
            .map_or_else(|| paint.tone(Tone::Bad, "none"), |master| format!("{}{since}", plain(master))),
    );
    row(
        "Replicas",
        format!("{} of {} desired answer, the master included", facts.status.replicas, facts.desired),
    );
    row("Conditions", conditions(facts, paint, now));
    row("Policy", or_dash(Some(facts.status.policy.as_str()).filter(|policy| !policy.is_empty())));
    if facts.paused {
        row(
            "Paused",
            paint.tone(Tone::Warn, &format!("yes, no action is taken: kubectl redis resume {}", facts.name)),
        );
    }
    if let Some((to, why)) = facts.pending() {
        let why = why.map_or_else(String::new, |why| format!(", {why}"));
        row(
            "Switchover",
            paint.tone(
                Tone::Warn,
                &format!(
                    "requested, to {}{why}",
                    to.map_or_else(|| "the best replica in sync".into(), plain)
                ),
            ),
        );
    } else if let Some(why) = &facts.status.switchover_refused {
        row("Switchover", paint.tone(Tone::Warn, &format!("the last one was refused: {}", plain(why))));
    }
    text += "\n";
    text += &instances(facts, paint, now);
    if let Some(last) = &facts.status.last_failover {
        text += &format!("\n{}", timeline(last, paint, now));
    }
    let source = match (&facts.view, &facts.no_view) {
        (Some(view), _) => format!("From {}, {} ms ago.", plain(&view.operator), view.age_ms),
        (None, why) => format!(
            "From the resource's status; lags and offsets are not known: {}.",
            plain(why.as_deref().unwrap_or_default())
        ),
    };
    text + &format!("\n{}\n", paint.tone(Tone::Faint, &source))
}

fn instances(facts: &Facts, paint: Paint, now: Timestamp) -> String {
    let row = |row: &Row| {
        let ready = row.ready.map(|ready| if ready { "yes" } else { "no" });
        let master = if facts.master() == Some(&row.name) { Tone::Head } else { Tone::Plain };
        vec![
            (master, plain(&row.name)),
            (master, row.role.to_lowercase()),
            (health_tone(&row.health), row.health.clone()),
            (Tone::Plain, or_dash(row.since.as_ref().map(|since| age(since, now)))),
            (Tone::Plain, or_dash(row.lag_bytes)),
            (Tone::Plain, or_dash(row.offset)),
            (if row.ready == Some(false) { Tone::Warn } else { Tone::Plain }, or_dash(ready)),
            (Tone::Plain, or_dash(row.node.as_deref())),
            (Tone::Plain, or_dash(row.created.as_ref().map(|created| age(created, now)))),
        ]
    };
    let rows: Vec<_> = facts.instances.iter().map(row).collect();
    paint.table(&["INSTANCE", "ROLE", "HEALTH", "FOR", "LAG", "OFFSET", "READY", "NODE", "AGE"], &rows)
}

/// The conditions that are true, with their time, and Ready if it is false.
fn conditions(facts: &Facts, paint: Paint, now: Timestamp) -> String {
    let all = facts.status.conditions.iter().filter_map(|condition| {
        let (is_ready, holds) = (condition.type_ == "Ready", condition.status == "True");
        let tone = match (is_ready, holds) {
            (true, true) => Tone::Good,
            (true, false) => Tone::Bad,
            (false, true) => Tone::Warn,
            (false, false) => return None,
        };
        let word = if holds { condition.type_.clone() } else { format!("not {}", condition.type_) };
        Some(format!("{} for {}", paint.tone(tone, &word), age(&condition.last_transition_time, now)))
    });
    let all: Vec<String> = all.collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

/// One line for each resource.
pub(super) fn lines(all: &[Facts], everywhere: bool, paint: Paint, now: Timestamp) -> String {
    let row = |facts: &Facts| {
        let since = facts.status.published.as_ref().map(|published| age(&published.at, now));
        let failover = facts
            .status
            .last_failover
            .as_ref()
            .map(|last| format!("{} ago, {}", age(&last.at, now), last.evidence.to_lowercase()));
        let mut cells = vec![
            (Tone::Plain, title(facts)),
            (Tone::Plain, or_dash(facts.master())),
            (Tone::Plain, or_dash(since)),
            (Tone::Plain, format!("{}/{}", facts.status.replicas, facts.desired)),
            (tone(facts), or_dash(Some(facts.decision().0).filter(|reason| !reason.is_empty()))),
            (Tone::Plain, or_dash(failover)),
        ];
        if everywhere {
            cells.insert(0, (Tone::Plain, facts.namespace.clone()));
        }
        cells
    };
    let mut heads = vec!["NAME", "MASTER", "SINCE", "REPLICAS", "REASON", "LAST CHANGE"];
    if everywhere {
        heads.insert(0, "NAMESPACE");
    }
    paint.table(&heads, &all.iter().map(row).collect::<Vec<_>>())
}

/// The name, with the kind of one that is no Redis.
fn title(facts: &Facts) -> String {
    match facts.kind.as_str() {
        "Redis" => facts.name.clone(),
        kind => format!("{}/{}", kind.to_lowercase(), facts.name),
    }
}

fn tone(facts: &Facts) -> Tone {
    match (facts.master(), facts.decision().0) {
        (Some(_), "healthy") | (None, HIBERNATED) => Tone::Good,
        (Some(_), _) => Tone::Warn,
        (None, _) => Tone::Bad,
    }
}

pub(super) fn health_tone(health: &str) -> Tone {
    match health {
        "InSync" => Tone::Good,
        "Dead" | "Silent" | "Abdicated" | "Amnesic" => Tone::Bad,
        // In progress, or unknown.
        _ => Tone::Warn,
    }
}

/// To the top left of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";
const WATCH_EVERY: Duration = Duration::from_secs(1);
