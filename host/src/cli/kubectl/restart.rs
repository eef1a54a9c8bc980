//! `kubectl redis restart`: every Pod is made anew, one at a time, the master last and by handover. It is the
//! operator's rollout of any other change: an annotation of the Pods with the time of the request.

use super::cluster::Cluster;
use super::group::Group;
use super::pause::LOOK_EVERY;
use super::text::plain;
use crate::cli::settings::duration;
use crate::cli::{Exit, print};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Restart all Pods of a group, one at a time: replicas first, the master last and by handover
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kubectl redis restart example\n\nIt sets the annotation \
                  k8s.amaiz.com/restartedAt in the annotations of the Pods, as kubectl rollout restart \
                  does for a Deployment. Exit codes: 0 done (or requested, with --no-wait), 1 not \
                  possible, or not done in time, 2 bad input.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// Only request it
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for its end
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    let (namespace, name) = (&cluster.namespace, &args.name);
    let group = cluster.group(name).await?;
    check(&group, name)?;
    let at = Timestamp::now().to_string();
    let changed = cluster.change_group(&group, request(&group, &at)?).await?;
    print(&format!("{namespace}/{name}: requested to restart all Pods, the master last\n"))?;
    if args.no_wait {
        return Ok(0);
    }
    let (generation, deadline) = (changed.generation(), Instant::now() + args.timeout);
    let (mut printed, mut awaits) = (String::new(), None);
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        // The API server may be away for a moment.
        let Ok(group) = cluster.group(name).await else { continue };
        let now = progress(&group, &cluster.pods(&group.resource).await, &at);
        if now != printed {
            print(&format!("{now}\n"))?;
            printed = now;
        }
        awaits = awaited(&group);
        if is_settled(&group, generation) {
            print(&format!("{namespace}/{name} is restarted\n"))?;
            return Ok(0);
        }
        if let Some(why) = blocked(&group, generation) {
            return Err(Exit::Failed(format!("{}: {}", plain(&printed), plain(&why))));
        }
    }
    Err(Exit::Failed(format!(
        "not done within {} s, and still requested: {}; {}",
        args.timeout.as_secs(),
        plain(&printed),
        plain(&awaits.unwrap_or_else(|| format!("kubectl redis explain {name} says what it waits for")))
    )))
}

/// What the operator would refuse, or wait for in vain, is an error before anything is changed.
fn check(group: &Group, name: &str) -> Result<(), Exit> {
    let settings = &group.resource.settings;
    if group.is_paused() {
        return Err(Exit::Failed(format!("{name} is paused and would not act: kubectl redis resume {name}")));
    }
    if settings.replicas == 0 {
        return Err(Exit::Failed(format!("{name} hibernates, and has no Pods: kubectl redis wake {name}")));
    }
    if settings.replicas == 1 && settings.claim.is_none() {
        return Err(Exit::Failed(format!(
            "the only instance of {name} has its data in memory and would lose it: raise its replicas first"
        )));
    }
    Ok(())
}

/// The change of the spec that makes every Pod anew.
fn request(group: &Group, at: &str) -> Result<Value, Exit> {
    match group.resource.kind.name {
        "Redis" => Ok(json!({ "annotations": { RESTARTED_AT: at } })),
        "RedisFailover" => Ok(json!({ "redis": { "podAnnotations": { RESTARTED_AT: at } } })),
        other => {
            Err(Exit::Input(format!("a {other} has no annotations for its Pods: delete its Pods one by one")))
        }
    }
}

/// How many Pods are new.
fn progress(group: &Group, pods: &[Pod], at: &str) -> String {
    let is_new = |pod: &&Pod| {
        let annotations = pod.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(RESTARTED_AT)).is_some_and(|of| of == at)
    };
    format!("{} of {} Pods are new", pods.iter().filter(is_new).count(), group.resource.settings.replicas)
}

/// Whether what was requested is what runs.
pub(super) fn is_settled(group: &Group, generation: Option<i64>) -> bool {
    group.status.conditions.iter().any(|condition| {
        condition.type_ == "Reconciling"
            && condition.status == "False"
            && condition.observed_generation >= generation
    })
}

/// What is missing of what was requested, as the operator says. None: it says nothing.
pub(super) fn awaited(group: &Group) -> Option<String> {
    let mut conditions = group.status.conditions.iter();
    let reconciling = conditions.find(|of| of.type_ == "Reconciling" && of.status == "True")?;
    Some(reconciling.message.clone())
}

/// Why it cannot go on without a person.
pub(super) fn blocked(group: &Group, generation: Option<i64>) -> Option<String> {
    let stalled = group.status.conditions.iter().find(|condition| {
        condition.type_ == "Stalled"
            && condition.status == "True"
            && condition.observed_generation >= generation
    });
    stalled.map(|condition| condition.message.clone())
}

/// On the Pods; another value is another restart.
const RESTARTED_AT: &str = "k8s.amaiz.com/restartedAt";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::KINDS;

    fn redis(more: Value, conditions: Value) -> Group {
        let mut spec = json!({ "replicas": 2, "redis": { "image": "redis:7" } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (version, kind, metadata) = ("k8s.amaiz.com/v1alpha1", "Redis", json!({ "name": "cart" }));
        let status = json!({ "conditions": conditions });
        let whole = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status });
        Group::of(&KINDS[0], serde_json::from_value(whole).unwrap()).unwrap()
    }

    #[test]
    fn what_would_wait_in_vain_or_lose_data_is_refused_with_the_way_out() {
        let why = |more: Value| match check(&redis(more, json!([])), "cart") {
            Err(Exit::Failed(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(check(&redis(json!({}), json!([])), "cart").is_ok());
        assert!(why(json!({ "paused": true })).contains("kubectl redis resume cart"));
        let claim = json!({ "spec": { "accessModes": ["ReadWriteOnce"] } });
        let hibernates = json!({ "hibernate": true, "dataVolumeClaimTemplate": claim });
        assert!(why(hibernates).contains("kubectl redis wake cart"));
        assert!(why(json!({ "replicas": 1 })).contains("raise its replicas first"));
    }

    #[test]
    fn it_is_done_when_this_generation_or_a_later_one_is_settled() {
        let of = |type_: &str, status: &str, generation: i64| {
            let at = "2026-01-01T00:00:00Z";
            json!([{
                "type": type_, "status": status, "reason": "R", "message": "why", "lastTransitionTime": at,
                "observedGeneration": generation
            }])
        };
        let settled = |status: &str, generation| {
            is_settled(&redis(json!({}), of("Reconciling", status, generation)), Some(4))
        };
        assert_eq!(
            [settled("False", 3), settled("True", 4), settled("False", 4), settled("False", 5)],
            [false, false, true, true]
        );
        let blocked = |generation| blocked(&redis(json!({}), of("Stalled", "True", generation)), Some(4));
        assert_eq!((blocked(3), blocked(4).as_deref()), (None, Some("why")));
    }
}
