//! `kubectl redis explain`: why this master, why no failover now, and which instances could take over.

use super::cluster::Cluster;
use super::facts::{Facts, Row};
use super::status::health_tone;
use super::text::{Paint, Tone, age, plain};
use super::timeline::story;
use super::words;
use crate::cli::{Environment, Exit, print};
use k8s_openapi::jiff::Timestamp;

/// Explain why this instance is master, why there is no failover now, and which instances could take over
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis explain example\n\nThe reasons are those of \
                  wit/REASONS.md. The data comes from the operator that holds the Lease, through the \
                  API server. Without the rights to get leases and pods/proxy in its namespace, the \
                  resource's status is explained.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
}

pub async fn run(args: &Args, cluster: &Cluster, environment: &Environment) -> Result<u8, Exit> {
    let facts = Facts::gather(cluster, &args.name).await?;
    print(&explanation(&facts, Paint(environment.has_colour), Timestamp::now()))?;
    Ok(0)
}

/// The whole explanation.
pub(super) fn explanation(facts: &Facts, paint: Paint, now: Timestamp) -> String {
    let mut text = format!("{}\n", paint.tone(Tone::Head, &master_question(facts)));
    for line in why_master(facts, now) {
        text += &format!("  {line}\n");
    }
    let (reason, explanation) = facts.decision();
    text += &format!("\n{}\n", paint.tone(Tone::Head, failover_question(facts)));
    if reason.is_empty() {
        text += "  No operator has written a status yet: check that one runs and watches this namespace.\n";
    } else {
        text += &format!("  {}: {}\n", plain(reason), plain(explanation));
        let words =
            words::reason(reason).unwrap_or("This reason is the policy's own: see its documentation.");
        text += &format!("  {}\n", paint.tone(Tone::Faint, words));
    }
    for stage in facts.view.iter().flat_map(|view| &view.decision.stages) {
        text += &format!("  next: {}\n", plain(&stage.summary));
    }
    text += &format!("\n{}\n", paint.tone(Tone::Head, "Which instances could take over?"));
    for row in &facts.instances {
        text += &chances(row, facts.master() == Some(&row.name), paint);
    }
    let source = match (&facts.view, &facts.no_view) {
        (Some(view), _) => {
            format!("From {}, {} ms ago, by policy {:.12}.", plain(&view.operator), view.age_ms, view.policy)
        }
        (None, why) => {
            format!(
                "From the resource's status, as of its last change; no answer from the operator: {}.",
                plain(why.as_deref().unwrap_or_default())
            )
        }
    };
    text + &format!("\n{}\n", paint.tone(Tone::Faint, &source))
}

fn master_question(facts: &Facts) -> String {
    facts.master().map_or_else(
        || "Why is there no master?".into(),
        |master| format!("Why is {} master?", plain(master)),
    )
}

fn why_master(facts: &Facts, now: Timestamp) -> Vec<String> {
    let Some(master) = facts.master() else {
        let before = facts.status.published.as_ref().map(|published| {
            format!("The last published master is {}, {} ago.", published.name, age(&published.at, now))
        });
        return before
            .into_iter()
            .chain(["No instance is known to be master; the reason below says why.".into()])
            .collect();
    };
    let last = facts.status.last_failover.as_ref();
    let mut lines = Vec::new();
    match last.filter(|last| last.to == master) {
        Some(last) => lines.push(format!("{} ago {}.", age(&last.at, now), story(last))),
        None => lines.push("It is the first master that this operator knows of.".into()),
    }
    if let Some(published) = facts.status.published.as_ref().filter(|published| published.name == master) {
        lines.push(format!(
            "It was published {} ago, as epoch {}; a working master is replaced on request only.",
            age(&published.at, now),
            published.epoch
        ));
    }
    if let Some(row) = facts.row(master) {
        lines.push(format!("Now: {}, {}.", row.health, plain(&row.proof)));
    }
    lines
}

fn failover_question(facts: &Facts) -> &'static str {
    use crate::contract::Verdict;
    match facts.view.as_ref().map(|view| view.decision.verdict) {
        Some(Verdict::Act) => "What is being done now?",
        Some(Verdict::Refuse) => "Why is nothing done, and what must a person decide?",
        Some(Verdict::Wait) => "What is the operator waiting for?",
        Some(Verdict::Healthy) | None => "Why is there no failover now?",
    }
}

/// One instance: its health with the evidence, and its rank or why it is not eligible.
fn chances(row: &Row, is_master: bool, paint: Paint) -> String {
    let lag = row.lag_bytes.map_or_else(String::new, |lag| format!(", {lag} bytes behind"));
    let mut text = format!(
        "  {:<24} {}: {}{lag}\n",
        plain(&row.name),
        paint.tone(health_tone(&row.health), &row.health),
        plain(&row.proof)
    );
    let place = match (&row.ineligible, row.rank) {
        _ if is_master => "it is the master".into(),
        (Some(why), _) => {
            format!(
                "not eligible, {}: {}",
                plain(why),
                words::ineligible(why)
                    .unwrap_or_else(|| "The policy's documentation says what that means.".into())
            )
        }
        (None, Some(rank)) => format!("eligible, number {rank} in the order of succession"),
        (None, None) => "not ranked".into(),
    };
    text += &format!("  {:<24} {place}\n", "");
    if !row.set_aside.is_empty() {
        let kept = row.set_aside.iter().map(|set| plain(set)).collect::<Vec<_>>().join(", ");
        text += &format!("  {:<24} /data/set-aside has its former files: {kept}\n", "");
    }
    text
}
