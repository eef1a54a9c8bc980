//! A Pod's status as a kubelet words it, and its way to the API, again and again until it is there. Decides
//! nothing.

use super::Seat;
use super::ledger::now;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Publishes every change, and restores the status if it was changed, until the Pod is gone.
pub(super) async fn publish(seat: &Seat) {
    let (mut changes, mut pod) = (seat.ledger.changes(), seat.pod.clone());
    while publish_once(seat).await {
        loop {
            tokio::select! {
                Ok(()) = changes.changed() => break,
                // The controllers call the Pods of a lost node unready; a gate is opened.
                Ok(()) = pod.changed() => {
                    if holds(&pod.borrow_and_update(), "Ready") != is_ready(seat) {
                        break;
                    }
                }
                else => return,
            }
        }
    }
}

/// Whether the Pod is still there.
pub(super) async fn publish_once(seat: &Seat) -> bool {
    let pod = seat.pod.borrow().clone();
    let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else { return false };
    let pods: Api<Pod> = Api::namespaced(seat.shared.client.clone(), namespace);
    loop {
        seat.node.is_found().await;
        // With the UID: a namesake that came after has another.
        let status = json!({"metadata": {"uid": pod.metadata.uid}, "status": status_of(seat)});
        match pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(&status)).await {
            Ok(_) => return true,
            Err(Error::Api(answer)) if matches!(answer.code, 404 | 409) => return false,
            Err(_) => tokio::time::sleep(PACE).await,
        }
    }
}

/// Since when each condition is what it is.
pub(super) type Since = BTreeMap<&'static str, (bool, Time)>;

fn status_of(seat: &Seat) -> Value {
    let pod = seat.pod.borrow().clone();
    let Some(spec) = &pod.spec else { return Value::Null };
    let statuses = |names: Vec<&String>| {
        names.into_iter().filter_map(|name| seat.ledger.status(name)).collect::<Vec<_>>()
    };
    let main = statuses(spec.containers.iter().map(|container| &container.name).collect());
    let first = statuses(spec.init_containers.iter().flatten().map(|container| &container.name).collect());
    let is_initialized = first.iter().all(has_succeeded);
    let are_ready = main.iter().all(|status| status.ready);
    let mut since = seat.since.lock().expect("no holder panics");
    let mut condition = |type_: &'static str, holds: bool, reason: &str| {
        let entry = since.entry(type_).or_insert_with(|| (holds, now()));
        if entry.0 != holds {
            *entry = (holds, now());
        }
        let (status, reason) = if holds { ("True", None) } else { ("False", Some(reason.to_owned())) };
        PodCondition {
            type_: type_.into(),
            status: status.into(),
            reason,
            last_transition_time: Some(entry.1.clone()),
            ..Default::default()
        }
    };
    json!({
        "phase": phase_of(spec, &first, &main),
        "conditions": [
            condition("PodScheduled", true, ""),
            condition("Initialized", is_initialized, "ContainersNotInitialized"),
            condition("ContainersReady", are_ready, "ContainersNotReady"),
            condition(
                "Ready",
                is_ready(seat),
                if are_ready { "ReadinessGatesNotReady" } else { "ContainersNotReady" },
            ),
        ],
        "initContainerStatuses": first,
        "containerStatuses": main,
        "hostIP": seat.node.address,
        "hostIPs": [{"ip": seat.node.address}],
        "podIP": seat.network.address(),
        "podIPs": [{"ip": seat.network.address()}],
        "startTime": seat.started_at,
    })
}

/// Whether all containers are ready, and all gates open.
fn is_ready(seat: &Seat) -> bool {
    let pod = seat.pod.borrow().clone();
    let Some(spec) = &pod.spec else { return false };
    spec.containers
        .iter()
        .all(|container| seat.ledger.status(&container.name).is_some_and(|status| status.ready))
        && spec.readiness_gates.iter().flatten().all(|gate| holds(&pod, &gate.condition_type))
}

/// Whether the API has a condition of a Pod as true.
pub(in crate::cluster) fn holds(pod: &Pod, type_: &str) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn phase_of(spec: &PodSpec, first: &[ContainerStatus], main: &[ContainerStatus]) -> &'static str {
    let never = spec.restart_policy.as_deref() == Some("Never");
    if never && first.iter().any(|status| exit_code(status).is_some_and(|code| code != 0)) {
        return "Failed";
    }
    let has_run = |status: &ContainerStatus| {
        status.last_state.is_some() || status.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    if !main.iter().all(has_run) {
        return "Pending";
    }
    let always = matches!(spec.restart_policy.as_deref(), None | Some("Always"));
    let ends: Option<Vec<i32>> = main.iter().map(exit_code).collect();
    match ends {
        Some(codes) if !always && codes.iter().all(|code| *code == 0) => "Succeeded",
        Some(_) if never => "Failed",
        _ => "Running",
    }
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref()?.terminated.as_ref().map(|end| end.exit_code)
}

fn has_succeeded(status: &ContainerStatus) -> bool {
    exit_code(status) == Some(0)
}

/// Of asking again while the API is away.
const PACE: Duration = Duration::from_millis(100);
