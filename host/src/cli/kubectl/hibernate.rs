//! `kubectl redis hibernate` and `wake`: all Pods away with the data kept on the claims, and back. The
//! operator makes it so; this asks, after a look at what would be lost, and follows it.

use super::cluster::Cluster;
use super::facts::Facts;
use super::pause::LOOK_EVERY;
use super::restart::{awaited, blocked, is_settled};
use super::text::plain;
use crate::cli::settings::duration;
use crate::cli::{Exit, print};
use crate::contract::{Instance, Value};
use crate::kubernetes::objects::GRACE_S;
use failover_core::facts::{INFO_PERSISTENCE, PersistenceFacts};
use kube::api::ApiResource;
use serde_json::json;
use std::time::{Duration, Instant};

/// Hibernate a Redis: all its Pods away, and the data kept on its volumes until kubectl redis wake
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl redis hibernate example\n  kubectl redis hibernate example \
                  --force\n\nIt sets spec.hibernate. Each instance saves its data as it ends, the \
                  master last; claims, Services and the operator's record stay. A Redis without volumes, \
                  or one that does not save, is refused. Exit codes: 0 done (or requested, with \
                  --no-wait), 1 refused or not done in time, 2 bad input.")]
pub struct Hibernate {
    #[command(flatten)]
    common: Common,
    /// Hibernate a group that is not healthy, or whose files cannot be checked: what is not on its volumes is
    /// lost
    #[arg(long)]
    force: bool,
}

/// Wake a Redis from hibernation: its Pods come back with the data of their volumes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis wake example\n\nNo instance follows another before the \
                  operator has compared them: the recorded master is waited for, and what no other copy has \
                  is not replaced.")]
pub struct Wake {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The Redis
    name: String,
    /// Only request it
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for its end
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

pub async fn hibernate(args: &Hibernate, cluster: &Cluster) -> Result<u8, Exit> {
    let name = &args.common.name;
    let group = cluster.group(name).await?;
    if !is_redis(&group.resource.api) {
        return Err(Exit::Failed(no_hibernation(name, &group.resource.api)));
    }
    let redis = cluster.redis(name).await?;
    if redis.spec.data_volume_claim_template.is_none() {
        return Err(Exit::Failed(format!(
            "{name} has its data in memory and would lose it: move the data to a Redis with \
             spec.dataVolumeClaimTemplate, or, if it is not needed any more, delete {name}"
        )));
    }
    let was_set = redis.spec.hibernate;
    if !was_set && !args.force {
        let grace_s = redis.spec.termination_grace_period_seconds.unwrap_or(GRACE_S);
        check(&Facts::gather(cluster, name).await?, grace_s - HANDOVER_S).map_err(Exit::Failed)?;
    }
    follow(&args.common, cluster, true).await
}

pub async fn wake(args: &Wake, cluster: &Cluster) -> Result<u8, Exit> {
    let name = &args.common.name;
    let group = cluster.group(name).await?;
    if !is_redis(&group.resource.api) {
        return Err(Exit::Failed(no_hibernation(name, &group.resource.api)));
    }
    if cluster.redis(name).await?.spec.paused {
        return Err(Exit::Failed(format!(
            "{name} is paused, and no master would be chosen: kubectl redis resume {name} first"
        )));
    }
    follow(&args.common, cluster, false).await
}

/// Why a group of another kind has no hibernation, and the way out.
fn no_hibernation(name: &str, kind: &ApiResource) -> String {
    format!(
        "{name} is a {kind}, and only a Redis hibernates: clients of a {kind} ask Sentinels for the master, which \
         fail over, or name none, while no instance runs; move the data to a Redis to hibernate it, or \
         kubectl redis pause {name} to have the operator change nothing",
        kind = kind.kind
    )
}

fn is_redis(kind: &ApiResource) -> bool {
    kind.kind == "Redis"
}

/// Whether all data will be on the volumes. Not: why, and the way out. `saves_s`: how long a save may take.
fn check(facts: &Facts, saves_s: i64) -> Result<(), String> {
    let name = &facts.name;
    let Some(view) = &facts.view else {
        let why = facts.no_view.as_deref().unwrap_or_default();
        return Err(format!(
            "whether {name} can save its data is not known: {}; --force does it all the same",
            plain(why)
        ));
    };
    if facts.paused {
        return Err(format!("{name} is paused: kubectl redis resume {name} first, or --force"));
    }
    let (reason, explanation) = facts.decision();
    if reason != "healthy" {
        return Err(format!(
            "{name} is not healthy, {}: {}: wait until it is, or --force",
            plain(reason),
            plain(explanation)
        ));
    }
    view.observation
        .instances
        .iter()
        .filter_map(|instance| unsaved(instance, name, saves_s))
        .next()
        .map_or(Ok(()), Err)
}

/// Why what an instance has would not be on its volume. None: nothing says so.
fn unsaved(instance: &Instance, name: &str, saves_s: i64) -> Option<String> {
    let reply = instance.replies.iter().find(|reply| reply.command == INFO_PERSISTENCE)?;
    let Value::Text(text) = &reply.newest.as_ref()?.value else { return None };
    let facts = PersistenceFacts::parse(&text.text);
    let id = &instance.id;
    if facts.aof_enabled == Some(true) {
        return (facts.is_aof_written == Some(false)).then(|| {
            format!("{id} cannot write its append-only file: free or enlarge its volume, or --force")
        });
    }
    if facts.is_rdb_saved == Some(false) {
        return Some(format!("the last save of {id} failed: free or enlarge its volume, or --force"));
    }
    let took_s = text
        .text
        .lines()
        .find_map(|line| line.strip_prefix("rdb_last_bgsave_time_sec:")?.trim().parse().ok());
    took_s.filter(|took_s: &i64| *took_s >= saves_s).map(|took_s| {
        format!(
            "the last save of {id} took {took_s} s, and Kubernetes gives it about {saves_s} s at its end: set \
             config.appendonly of {name} to yes or raise terminationGracePeriodSeconds first, or --force"
        )
    })
}

/// Requests it, and prints the progress to its end.
async fn follow(args: &Common, cluster: &Cluster, hibernate: bool) -> Result<u8, Exit> {
    let (namespace, name) = (&cluster.namespace, &args.name);
    // Absent and false are the same; absent leaves no trace in the resource.
    let changed = cluster.change(name, json!({ "hibernate": hibernate.then_some(true) })).await?;
    let (generation, deadline) = (changed.metadata.generation, Instant::now() + args.timeout);
    let word = if hibernate { "hibernate" } else { "wake" };
    print(&format!("{namespace}/{name}: requested to {word}\n"))?;
    if args.no_wait {
        return Ok(0);
    }
    let (mut printed, mut awaits) = (String::new(), None);
    while Instant::now() < deadline {
        // The API server may be away for a moment.
        if let Ok(group) = cluster.group(name).await {
            let count = cluster.pods(&group.resource).await.len();
            let now = if hibernate {
                format!("{count} Pods are left")
            } else {
                format!("{count} of {} Pods are back", group.resource.settings.replicas)
            };
            if now != printed {
                print(&format!("{now}\n"))?;
                printed = now;
            }
            awaits = awaited(&group);
            if is_settled(&group, generation) {
                let master = group.status.master.unwrap_or_default();
                print(&if hibernate {
                    format!(
                        "{namespace}/{name} hibernates: its claims keep the data; kubectl redis wake {name} wakes it\n"
                    )
                } else {
                    format!("{namespace}/{name} is awake: {} is master\n", plain(&master))
                })?;
                return Ok(0);
            }
            if let Some(why) = blocked(&group, generation) {
                return Err(Exit::Failed(format!("still requested to {word}: {}", plain(&why))));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(Exit::Failed(format!(
        "not done within {} s, and still requested: {printed}; {}",
        args.timeout.as_secs(),
        plain(&awaits.unwrap_or_else(|| format!("kubectl redis explain {name} says what it waits for")))
    )))
}

/// So long the master waits at its end for a replica that could take over.
const HANDOVER_S: i64 = 10;

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, no_view};
    use super::*;
    use crate::kubernetes::kinds::{KINDS, Kind};

    fn healthy(persistence: &str) -> Facts {
        let mut facts = facts();
        let view = facts.view.as_mut().unwrap();
        view.decision.reason = "healthy".into();
        for instance in &mut view.observation.instances {
            for reply in instance.replies.iter_mut().filter(|reply| reply.command == INFO_PERSISTENCE) {
                if let Some(Value::Text(text)) = reply.newest.as_mut().map(|newest| &mut newest.value) {
                    text.text = persistence.into();
                }
            }
        }
        facts
    }

    #[test]
    fn another_kind_has_no_hibernation_and_the_way_out_is_told() {
        let kind = KINDS.iter().map(Kind::api).find(|api| api.kind == "RedisFailover").unwrap();
        assert!(!is_redis(&kind) && is_redis(&KINDS[0].api()));
        let why = no_hibernation("cart", &kind);
        for part in ["cart is a RedisFailover", "only a Redis hibernates", "kubectl redis pause cart"] {
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_group_hibernates_only_when_its_data_will_be_on_its_volumes() {
        let why = |persistence: &str| check(&healthy(persistence), 20).unwrap_err();
        let ok = "aof_enabled:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:-1\r\n";
        assert_eq!(check(&healthy(ok), 20), Ok(()));
        assert_eq!(
            check(
                &healthy("aof_enabled:1\r\nrdb_last_bgsave_status:err\r\naof_last_write_status:ok\r\n"),
                20
            ),
            Ok(())
        );
        assert!(
            why("aof_enabled:1\r\naof_last_write_status:err\r\n")
                .contains("cannot write its append-only file")
        );
        assert!(
            why("aof_enabled:0\r\nrdb_last_bgsave_status:err\r\n")
                .contains("the last save of redis-example-0 failed")
        );
        assert!(
            why("aof_enabled:0\r\nrdb_last_bgsave_time_sec:20\r\n")
                .contains("set config.appendonly of example to yes")
        );
        let mut paused = healthy(ok);
        paused.paused = true;
        assert!(check(&paused, 20).unwrap_err().contains("kubectl redis resume example"));
        assert!(
            check(&facts(), 20)
                .unwrap_err()
                .contains("example is not healthy, replica-syncing: One is not in sync yet.")
        );
        assert!(check(&no_view(), 20).unwrap_err().contains("is not known: the right to get pods/proxy"));
    }
}
