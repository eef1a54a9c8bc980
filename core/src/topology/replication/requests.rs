//! Rules for planned changes of master: asked for by a person, by the orchestrator, or by the last failover.

use super::actions::{can_be_told, handover};
use super::sync::lacks;
use crate::contract::{Loss, RequestAnswer, RequestState, Switchover};
use crate::election::{succession, unfit};
use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Ruling, Scene, stage};

/// Who a request means.
enum Asked {
    /// This replica.
    Target(usize),
    /// The best, once one is in sync.
    NoneInSync,
    /// It holds the role already.
    IsMaster,
    /// It cannot be done, and why.
    Refused(String),
}

fn asked(scene: &Scene, master: usize, request: &Switchover) -> Asked {
    let Some(id) = &request.target else {
        return best_in_sync(scene, master).map_or(Asked::NoneInSync, Asked::Target);
    };
    match scene.view.find(id) {
        None => Asked::Refused(format!("{id} is not a member of the group")),
        Some(index) if index == master => Asked::IsMaster,
        Some(index) => match unfit(&scene.view.members[index]) {
            Some(why @ ("priority-zero" | "priority-unknown" | "not-announced")) => {
                Asked::Refused(format!("{id} may not become master: {why}"))
            }
            Some(_) | None => Asked::Target(index),
        },
    }
}

/// Lossless wherever it goes: so the priority decides, among those in sync.
fn best_in_sync(scene: &Scene, master: usize) -> Option<usize> {
    let candidates: Vec<usize> = scene
        .view
        .answering()
        .map(|(index, _)| index)
        .filter(|&index| {
            index != master && is_ready(scene, index, master) && !scene.view.members[index].is_terminating()
        })
        .collect();
    succession(scene.view, None, &candidates)
        .into_iter()
        .min_by_key(|&index| scene.view.members[index].replication.priority)
}

fn is_ready(scene: &Scene, index: usize, master: usize) -> bool {
    unfit(&scene.view.members[index]).is_none() && lacks(scene.view, index, master).is_none()
}

fn why_not_ready(scene: &Scene, target: usize, master: usize) -> String {
    let why = lacks(scene.view, target, master)
        .or_else(|| unfit(&scene.view.members[target]).map(str::to_owned))
        .unwrap_or_default();
    format!("{} is not ready: {why}", scene.id(target))
}

fn request<'a>(scene: &Scene<'a>) -> Option<(usize, &'a Switchover)> {
    let master = scene.master().filter(|&master| can_be_told(&scene.view.members[master]))?;
    Some((master, scene.observation().switchover.as_ref()?))
}

/// What becomes of the request that the host sent along, whatever rule decided. `decided` is that rule's reason
/// and sentence, for a request that something more urgent keeps waiting.
pub fn answer(scene: &Scene, decided: (Reason, &str)) -> Option<RequestAnswer> {
    let asked_for = scene.observation().switchover.as_ref()?;
    let is_shard = scene.observation().shards.iter().any(|shard| shard.index == asked_for.shard);
    let (state, reason, text) =
        match request(scene).map(|(master, request)| (master, asked(scene, master, request))) {
            _ if !is_shard => {
                let text = format!("the group has no shard {}", asked_for.shard);
                (RequestState::Refused, Reason::SwitchoverRefused, text)
            }
            Some((_, Asked::Refused(why))) => (RequestState::Refused, Reason::SwitchoverRefused, why),
            Some((master, Asked::IsMaster)) => {
                (RequestState::Done, Reason::Switchover, format!("{} is master", scene.id(master)))
            }
            Some((_, Asked::NoneInSync)) => {
                (RequestState::Waiting, Reason::SwitchoverWaiting, NONE_IN_SYNC.to_owned())
            }
            Some((master, Asked::Target(target))) if !is_ready(scene, target, master) => {
                (RequestState::Waiting, Reason::SwitchoverWaiting, why_not_ready(scene, target, master))
            }
            Some((_, Asked::Target(_))) | None => (RequestState::Waiting, decided.0, decided.1.to_owned()),
        };
    Some(RequestAnswer { state, reason: reason.name().into(), text })
}

pub fn switchover_refused(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    match asked(scene, master, request) {
        Asked::Refused(why) => Some(Ruling::refuse(format!("the switchover cannot be done: {why}"))),
        Asked::Target(_) | Asked::NoneInSync | Asked::IsMaster => None,
    }
}

pub fn switchover_waiting(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    let why = match asked(scene, master, request) {
        Asked::NoneInSync => NONE_IN_SYNC.to_owned(),
        Asked::Target(target) if !is_ready(scene, target, master) => why_not_ready(scene, target, master),
        Asked::Target(_) | Asked::IsMaster | Asked::Refused(_) => return None,
    };
    Some(Ruling::wait(
        format!("a switchover from {} was asked for; {why}", scene.id(master)),
        CHANGING_LOOK_US,
    ))
}

pub fn switchover(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    match asked(scene, master, request) {
        Asked::Target(target) => Some(hand_over(scene, master, target, "a switchover was asked for")),
        Asked::NoneInSync | Asked::IsMaster | Asked::Refused(_) => None,
    }
}

pub fn master_terminating(scene: &Scene) -> Option<Ruling> {
    let master = scene.master().filter(|&master| {
        scene.view.members[master].is_terminating() && can_be_told(&scene.view.members[master])
    })?;
    if scene.view.members.len() < 2 {
        return None;
    }
    Some(match best_in_sync(scene, master) {
        Some(target) => hand_over(scene, master, target, &format!("{} was asked to stop", scene.id(master))),
        None => Ruling::wait(
            format!(
                "{} was asked to stop, and no replica is in sync and may become master",
                scene.id(master)
            ),
            CHANGING_LOOK_US / 10,
        ),
    })
}

pub fn priority_handover(scene: &Scene) -> Option<Ruling> {
    let master = scene.master().filter(|&master| can_be_told(&scene.view.members[master]))?;
    let failover = scene
        .view
        .last_failover()
        .filter(|failover| failover.meant_for != failover.target && failover.target == scene.id(master))?;
    let target = scene.view.find(&failover.meant_for).filter(|&target| {
        // A Pod that is about to stop would have to hand it back.
        target != master && is_ready(scene, target, master) && !scene.view.members[target].is_terminating()
    })?;
    Some(hand_over(
        scene,
        master,
        target,
        &format!(
            "{} only bridged the last failover, which was meant for {}",
            scene.id(master),
            scene.id(target)
        ),
    ))
}

fn hand_over(scene: &Scene, source: usize, target: usize, why: &str) -> Ruling {
    let summary = format!("hand over from {} to {}", scene.id(source), scene.id(target));
    let text = format!("{why}; {} hands over to {}, nothing lost", scene.id(source), scene.id(target));
    let stages = stage(summary, vec![handover(scene.view, source, target)]).into_iter().collect();
    Ruling { loss: Some(Loss { bytes: Some(0) }), ..Ruling::act(text, target, stages) }
}

const NONE_IN_SYNC: &str = "no replica is in sync and may become master";
