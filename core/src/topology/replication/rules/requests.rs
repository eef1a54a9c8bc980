//! Rules for planned changes of master: asked for by a person, by the orchestrator, or by the last failover.

use crate::contract::{RequestAnswer, RequestState, Switchover};
use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Ruling, stage};
use crate::topology::replication::actions::handover;
use crate::topology::replication::election::succession;
use crate::topology::replication::in_sync::not_in_sync;
use crate::topology::replication::ineligible::{Ineligible, unfit};
use crate::topology::replication::reasons::*;
use crate::topology::replication::scene::Scene;

/// What a request comes to.
enum Asked {
    /// This replica is to become master.
    Target(usize),
    /// The best replica is, and none is in sync yet.
    NoneInSync,
    /// The target is master already.
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
            Some(
                why @ (Ineligible::PriorityZero | Ineligible::PriorityUnknown | Ineligible::NotAnnounced),
            ) => Asked::Refused(format!("{id} cannot become master: {}", why.name())),
            Some(
                Ineligible::Duplicate
                | Ineligible::OtherMode
                | Ineligible::NoReply
                | Ineligible::NotAReplica
                | Ineligible::FailoverInProgress
                | Ineligible::Syncing
                | Ineligible::Loading
                | Ineligible::RunIdUnknown
                | Ineligible::HistoryUnknown
                | Ineligible::ForeignHistory
                | Ineligible::NotRedis,
            )
            | None => Asked::Target(index),
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
    succession(&scene.view, None, &candidates)
        .into_iter()
        .min_by_key(|&index| scene.view.members[index].replication.priority)
}

fn is_ready(scene: &Scene, index: usize, master: usize) -> bool {
    unfit(&scene.view.members[index]).is_none() && not_in_sync(&scene.view, index, master).is_none()
}

fn why_not_ready(scene: &Scene, target: usize, master: usize) -> String {
    let why = not_in_sync(&scene.view, target, master)
        .or_else(|| unfit(&scene.view.members[target]).map(|why| why.name().to_owned()))
        .unwrap_or_default();
    format!("{} is not ready: {why}", scene.id(target))
}

fn request<'a>(scene: &Scene<'a>) -> Option<(usize, &'a Switchover)> {
    let master = scene.master().filter(|&master| scene.view.members[master].accepts_commands())?;
    Some((master, scene.observation().switchover.as_ref()?))
}

/// What becomes of the request that the host sent along, whichever rule decided: a request that something
/// more urgent keeps waiting has that rule's reason.
pub fn answer(scene: &Scene, decided: &Ruling) -> Option<RequestAnswer> {
    let asked_for = scene.observation().switchover.as_ref()?;
    let is_shard = scene.observation().shards.iter().any(|shard| shard.index == asked_for.shard);
    let (state, reason, text) = match request(scene)
        .map(|(master, request)| (master, asked(scene, master, request)))
    {
        _ if !is_shard => {
            let text = format!("the group has no shard {}", asked_for.shard);
            (RequestState::Refused, SWITCHOVER_REFUSED, text)
        }
        Some((_, Asked::Refused(why))) => (RequestState::Refused, SWITCHOVER_REFUSED, why),
        Some((master, Asked::IsMaster)) => {
            (RequestState::Done, SWITCHOVER, format!("{} is master", scene.id(master)))
        }
        Some((_, Asked::NoneInSync)) => (RequestState::Waiting, SWITCHOVER_WAITING, NONE_IN_SYNC.to_owned()),
        Some((master, Asked::Target(target))) if !is_ready(scene, target, master) => {
            (RequestState::Waiting, SWITCHOVER_WAITING, why_not_ready(scene, target, master))
        }
        Some((_, Asked::Target(_))) | None => {
            (RequestState::Waiting, decided.reason, decided.explanation.clone())
        }
    };
    Some(RequestAnswer { state, reason: reason.name.into(), text })
}

pub fn switchover_refused(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    match asked(scene, master, request) {
        Asked::Refused(why) => {
            Some(Ruling::refuse(SWITCHOVER_REFUSED, format!("the switchover is not possible: {why}")))
        }
        Asked::Target(_) | Asked::NoneInSync | Asked::IsMaster => None,
    }
}

pub fn switchover(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    match asked(scene, master, request) {
        Asked::Target(target) if is_ready(scene, target, master) => {
            Some(hand_over(scene, SWITCHOVER, (master, target), "a switchover was requested"))
        }
        Asked::Target(_) | Asked::NoneInSync | Asked::IsMaster | Asked::Refused(_) => None,
    }
}

pub fn master_terminating(scene: &Scene) -> Option<Ruling> {
    let master = scene.master().filter(|&master| {
        scene.view.members[master].is_terminating() && scene.view.members[master].accepts_commands()
    })?;
    if scene.view.members.len() < 2 {
        return None;
    }
    let why = format!("{} is terminating", scene.id(master));
    Some(match best_in_sync(scene, master) {
        Some(target) => hand_over(scene, MASTER_TERMINATING, (master, target), &why),
        None => Ruling::wait(
            MASTER_TERMINATING,
            format!("{why}, but no eligible replica is in sync"),
            CHANGING_LOOK_US / 10,
        ),
    })
}

pub fn switchover_waiting(scene: &Scene) -> Option<Ruling> {
    let (master, request) = request(scene)?;
    let why = match asked(scene, master, request) {
        Asked::NoneInSync => NONE_IN_SYNC.to_owned(),
        Asked::Target(target) if !is_ready(scene, target, master) => why_not_ready(scene, target, master),
        Asked::Target(_) | Asked::IsMaster | Asked::Refused(_) => return None,
    };
    let text = format!("a switchover from {} was requested; {why}", scene.id(master));
    Some(Ruling::wait(SWITCHOVER_WAITING, text, CHANGING_LOOK_US))
}

pub fn priority_handover(scene: &Scene) -> Option<Ruling> {
    let master = scene.master().filter(|&master| scene.view.members[master].accepts_commands())?;
    let failover = scene
        .view
        .last_failover()
        .filter(|failover| failover.meant_for != failover.target && failover.target == scene.id(master))?;
    let target = scene.view.find(&failover.meant_for).filter(|&target| {
        // A Pod that is about to stop would have to hand it back.
        target != master && is_ready(scene, target, master) && !scene.view.members[target].is_terminating()
    })?;
    let why = format!("{}, for which the last failover was meant, has caught up", scene.id(target));
    Some(hand_over(scene, PRIORITY_HANDOVER, (master, target), &why))
}

fn hand_over(scene: &Scene, reason: Reason, (source, target): (usize, usize), why: &str) -> Ruling {
    let (from, to) = (scene.id(source), scene.id(target));
    let action = handover(&scene.view, source, target);
    let stages = stage(format!("hand over from {from} to {to}"), vec![action]).into_iter().collect();
    let text = format!("{why}; {from} hands over to {to} without loss");
    Ruling::act(reason, text, target, stages).losing(Some(0))
}

const NONE_IN_SYNC: &str = "no eligible replica is in sync";
