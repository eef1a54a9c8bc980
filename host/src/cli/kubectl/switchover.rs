//! `kubectl redis switchover`: requests a planned change of master, and follows it to its end.

use super::cluster::Cluster;
use super::facts::Facts;
use super::group::Group;
use super::pause::LOOK_EVERY;
use super::text::{ms, plain};
use super::timeline::story;
use super::words;
use crate::cli::settings::duration;
use crate::cli::{Exit, print};
use crate::kubernetes::crd::RedisStatus;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Hand the role of master over to a replica, under load and without loss
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl redis switchover example\n  kubectl redis switchover example \
                  --to redis-example-2 --timeout 2m\n\nExit codes: 0 done (or requested, with \
                  --no-wait), 1 refused, not possible, or not done in time, 2 bad input.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// Pod to make master [default: the best replica in sync]
    #[arg(long, value_name = "POD")]
    to: Option<String>,
    /// Wait for its end (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Only request it
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// How long to wait for its end
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    let facts = Facts::gather(cluster, &args.name).await?;
    let group = cluster.group(&args.name).await?;
    let to = args.to.as_deref().map(|to| to.trim_start_matches("pod/"));
    let source = match check(&facts, to)? {
        Ready::From(source) => source,
        Ready::Done(master) => {
            print(&format!("{master} is already master\n"))?;
            return Ok(0);
        }
    };
    let id = fresh_id();
    cluster.change_group(&group, json!({ "switchover": { "id": id, "to": to } })).await?;
    let target = to.map_or_else(|| "the best replica in sync".to_owned(), plain);
    print(&format!("{source} is master; requested a handover to {target}\n"))?;
    if args.no_wait {
        return Ok(0);
    }
    follow(args, cluster, &Requested { id, source, to, epoch: epoch(&facts.status) }).await
}

/// The result of the check before the request.
#[derive(Debug, PartialEq, Eq)]
enum Ready {
    /// This master can hand over.
    From(String),
    /// This instance is already master.
    Done(String),
}

/// A request, and the state before it.
struct Requested<'a> {
    id: String,
    source: String,
    to: Option<&'a str>,
    epoch: i64,
}

/// Whether the request makes sense: what the operator would refuse, or wait for in vain, is an error here,
/// before anything is changed.
fn check(facts: &Facts, to: Option<&str>) -> Result<Ready, Exit> {
    let name = &facts.name;
    let no = |why: String| Err(Exit::Failed(why));
    let Some(master) = facts.master() else {
        return no(format!("there is no master that could hand over: {}", facts.decision().1));
    };
    if let Some(to) = to {
        let Some(row) = facts.row(to) else {
            let names: Vec<&str> = facts.instances.iter().map(|row| row.name.as_str()).collect();
            return Err(Exit::Input(format!(
                "--to: {} is no instance of {name}, which has {}",
                plain(to),
                names.join(", ")
            )));
        };
        if to == master {
            return Ok(Ready::Done(master.to_owned()));
        }
        if let Some(why) = row.ineligible.as_ref().filter(|why| !words::is_passing(why)) {
            return no(format!(
                "{to} cannot become master, {why}: {}",
                words::ineligible(why).as_ref().unwrap_or(&row.proof)
            ));
        }
    } else if !facts
        .instances
        .iter()
        .any(|row| row.name != master && row.ineligible.as_ref().is_none_or(|why| words::is_passing(why)))
    {
        return no(format!(
            "no other instance of {name} can become master: kubectl redis explain {name} says why"
        ));
    }
    if facts.paused {
        return no(format!("{name} is paused and would not act: kubectl redis resume {name}"));
    }
    Ok(Ready::From(master.to_owned()))
}

/// Prints the progress until the request is done, refused, or too late.
async fn follow(args: &Args, cluster: &Cluster, requested: &Requested<'_>) -> Result<u8, Exit> {
    let deadline = Instant::now() + args.timeout;
    let mut printed = String::new();
    let mut done: Option<Instant> = None;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        // The API server may be away for a moment.
        let Ok(Group { status, .. }) = cluster.group(&args.name).await else { continue };
        match progress(&status, requested) {
            Progress::NotSeen => {}
            Progress::Refused(why) => return Err(Exit::Failed(plain(&why))),
            Progress::UnderWay(now) if now != printed => {
                print(&format!("{}\n", plain(&now)))?;
                printed = now;
            }
            Progress::UnderWay(_) => {}
            Progress::Done { master, pause_us } => {
                // The durations are written once the other replicas follow.
                let since = *done.get_or_insert_with(Instant::now);
                if pause_us.is_some() || since.elapsed() >= MEASURED_WITHIN {
                    let pause = pause_us.map_or_else(
                        || "the write pause is not known".into(),
                        |us| format!("writes paused for {}", ms(us)),
                    );
                    print(&format!("{master} is master; {pause}, nothing lost\n"))?;
                    return Ok(0);
                }
            }
        }
    }
    let why = if printed.is_empty() {
        "no operator has accepted it: check that one runs and watches this namespace".to_owned()
    } else {
        plain(&printed)
    };
    Err(Exit::Failed(format!("not done within {} s, and still requested: {why}", args.timeout.as_secs())))
}

/// The progress of a request, by the resource's status.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// No operator has accepted it.
    NotSeen,
    /// It cannot be done, or is no longer needed.
    Refused(String),
    /// The explanation of the present decision.
    UnderWay(String),
    /// This instance is master now.
    Done { master: String, pause_us: Option<i64> },
}

fn progress(status: &RedisStatus, requested: &Requested<'_>) -> Progress {
    if status.switchover_id.as_ref() != Some(&requested.id) {
        return Progress::NotSeen;
    }
    if let Some(why) = &status.switchover_refused {
        return Progress::Refused(why.clone());
    }
    let published = status
        .published
        .as_ref()
        .filter(|published| published.epoch > requested.epoch && published.name != requested.source);
    match published.filter(|published| requested.to.is_none_or(|to| to == published.name)) {
        Some(published) => {
            let last = status
                .last_failover
                .as_ref()
                .filter(|last| last.to == published.name && last.from.as_ref() == Some(&requested.source));
            if let Some(last) = last.filter(|last| last.evidence != "Requested") {
                return Progress::Refused(format!("a failover came first: {}", story(last)));
            }
            let pause_us = last.and_then(|last| last.timeline.as_ref()?.pause_microseconds);
            Progress::Done { master: published.name.clone(), pause_us }
        }
        None => Progress::UnderWay(status.message.clone()),
    }
}

fn epoch(status: &RedisStatus) -> i64 {
    status.published.as_ref().map_or(0, |published| published.epoch)
}

/// An id that no earlier request has.
fn fresh_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("kubectl-{now:x}-{:x}", std::process::id())
}

/// From the promotion until the last of the other replicas follows takes milliseconds. A replica that does
/// not follow must not delay the command.
const MEASURED_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, no_view};
    use super::*;
    use crate::kubernetes::crd::{LastFailover, PublishedMaster, Timeline};

    fn text(result: Result<Ready, Exit>) -> String {
        match result {
            Ok(ready) => format!("{ready:?}"),
            Err(Exit::Failed(why) | Exit::Input(why)) => why,
            Err(Exit::Done | Exit::Usage) => unreachable!(),
        }
    }

    #[test]
    fn an_impossible_request_is_refused_before_anything_is_changed() {
        let mut facts = facts();
        assert_eq!(text(check(&facts, None)), r#"From("redis-example-0")"#);
        assert_eq!(text(check(&facts, Some("redis-example-1"))), r#"From("redis-example-0")"#);
        assert_eq!(text(check(&facts, Some("redis-example-0"))), r#"Done("redis-example-0")"#);
        let unknown = text(check(&facts, Some("redis-example-7")));
        assert_eq!(
            unknown,
            "--to: redis-example-7 is no instance of example, which has redis-example-0, redis-example-1, \
             redis-example-2"
        );
        let never = text(check(&facts, Some("redis-example-2")));
        assert!(
            never.starts_with("redis-example-2 cannot become master, priority-zero: ")
                && never.contains("spec.config"),
            "{never}"
        );
        facts.paused = true;
        assert!(text(check(&facts, None)).contains("kubectl redis resume example"));
        let mut headless = no_view();
        headless.status.master = None;
        assert!(text(check(&headless, None)).starts_with("there is no master"));
    }

    #[test]
    fn a_request_is_done_when_its_own_id_is_accepted_and_the_role_has_moved() {
        let requested = Requested { id: "new".into(), source: "a".into(), to: Some("b"), epoch: 4 };
        let published = |name: &str, epoch| {
            let (run_id, replication_id, at) = (String::new(), String::new(), String::new());
            Some(PublishedMaster { name: name.into(), run_id, replication_id, offset: 0, epoch, at })
        };
        let mut status = RedisStatus {
            switchover_id: Some("old".into()),
            published: published("b", 5),
            ..RedisStatus::default()
        };
        assert_eq!(progress(&status, &requested), Progress::NotSeen);
        status.switchover_id = Some("new".into());
        assert_eq!(progress(&status, &requested), Progress::Done { master: "b".into(), pause_us: None });
        let timeline = Timeline { pause_microseconds: Some(1_250), ..Timeline::default() };
        let handed = LastFailover {
            at: String::new(),
            from: Some("a".into()),
            to: "b".into(),
            meant_for: "b".into(),
            evidence: "Requested".into(),
            timeline: Some(timeline),
            publish_microseconds: None,
        };
        status.last_failover = Some(handed.clone());
        assert_eq!(
            progress(&status, &requested),
            Progress::Done { master: "b".into(), pause_us: Some(1_250) }
        );
        status.last_failover = Some(LastFailover { evidence: "Dead".into(), ..handed });
        assert!(
            matches!(progress(&status, &requested), Progress::Refused(why) if why.contains("a was dead"))
        );
        (status.published, status.message) = (published("a", 4), "b is not ready".into());
        assert_eq!(progress(&status, &requested), Progress::UnderWay("b is not ready".into()));
        status.switchover_refused = Some("no".into());
        assert_eq!(progress(&status, &requested), Progress::Refused("no".into()));
    }

    #[test]
    fn two_requests_have_different_ids_that_the_schema_accepts() {
        let (one, other) = (fresh_id(), fresh_id());
        assert!(one != other && one.len() <= 63, "{one} {other}");
    }
}
