//! Rules for planned changes of master: asked for by a person, by the orchestrator, or by the last failover.

use crate::contract::{Action, RequestAnswer, RequestState, Switchover};
use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Ruling, stage};
use crate::topology::replication::actions::handover;
use crate::topology::replication::election::succession;
use crate::topology::replication::in_sync::not_in_sync;
use crate::topology::replication::ineligible::{Ineligible, unfit};
use crate::topology::replication::reasons::*;
use crate::topology::replication::refused::refused_handover;
use crate::topology::replication::scene::Scene;
use crate::topology::replication::writes::refuses_writes;

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

/// A request that could not be done within [`DEADLINE_US`] is refused: the group is not to wait for it
/// without an end, and whoever made it may have forgotten it.
fn asked(scene: &Scene, master: usize, request: &Switchover) -> Asked {
    let now = match asked_for(scene, master, request) {
        Asked::Target(target) => match refused_handover(&scene.view, target) {
            Some(refusal) if refusal.count >= REFUSALS_MAX => {
                Asked::Refused(format!("{} answered \"{}\"", scene.id(target), refusal.text))
            }
            Some(_) | None => Asked::Target(target),
        },
        asked @ (Asked::NoneInSync | Asked::IsMaster | Asked::Refused(_)) => asked,
    };
    let why = match now {
        Asked::NoneInSync => NONE_IN_SYNC.to_owned(),
        Asked::Target(target) if !is_ready(scene, target, master) => why_not_ready(scene, target, master),
        Asked::Target(_) | Asked::IsMaster | Asked::Refused(_) => return now,
    };
    if request.age_us < DEADLINE_US { now } else { Asked::Refused(format!("{why} within 60 s")) }
}

fn asked_for(scene: &Scene, master: usize, request: &Switchover) -> Asked {
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
                | Ineligible::PromotionRefused
                | Ineligible::NotRedis,
            )
            | None => Asked::Target(index),
        },
    }
}

/// Lossless wherever it goes: so the priority decides, among those in sync; first those to which no handover
/// was refused a moment ago, whose own disks work.
fn best_in_sync(scene: &Scene, master: usize) -> Option<usize> {
    let candidates: Vec<usize> = scene
        .view
        .answering()
        .map(|(index, _)| index)
        .filter(|&index| {
            index != master && is_ready(scene, index, master) && !scene.view.members[index].is_terminating()
        })
        .collect();
    succession(&scene.view, None, &candidates).into_iter().min_by_key(|&index| {
        let member = &scene.view.members[index];
        let is_refused = refused_handover(&scene.view, index).is_some();
        (is_refused, refuses_writes(member).is_some(), member.replication.priority)
    })
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

/// A handover that is wanted, and why.
struct Wanted {
    source: usize,
    target: usize,
    why: String,
}

pub fn switchover(scene: &Scene) -> Option<Ruling> {
    hand_over(scene, SWITCHOVER, wanted_by_request(scene)?)
}

fn wanted_by_request(scene: &Scene) -> Option<Wanted> {
    let (source, request) = request(scene)?;
    match asked(scene, source, request) {
        Asked::Target(target) if is_ready(scene, target, source) => {
            Some(Wanted { source, target, why: "a switchover was requested".into() })
        }
        Asked::Target(_) | Asked::NoneInSync | Asked::IsMaster | Asked::Refused(_) => None,
    }
}

/// The master lives and refuses every write: it is replaced without loss by one that will take them, and not
/// soon after another change, so that disks that come and go do not move the master all the time. Since 7.0 a
/// replica that cannot write its disk ends itself at the next write (`replica-ignore-disk-write-errors`), so
/// the old master may have to be started again once its disk works.
pub fn master_cannot_write(scene: &Scene) -> Option<Ruling> {
    hand_over(scene, MASTER_CANNOT_WRITE, wanted_for_writes(scene).ok()?)
}

/// The handover from a master that refuses writes, or why there is none.
fn wanted_for_writes(scene: &Scene) -> Result<Wanted, Option<String>> {
    let source =
        scene.master().filter(|&master| scene.view.members[master].accepts_commands()).ok_or(None)?;
    let cause = refuses_writes(&scene.view.members[source]).ok_or(None)?;
    let why = format!("{} refuses all writes, because {cause}", scene.id(source));
    let works = |&target: &usize| refuses_writes(&scene.view.members[target]).is_none();
    let Some(target) = best_in_sync(scene, source).filter(works) else {
        return Err(Some(format!("{why}; no replica in sync has a disk that works: free its disk")));
    };
    match scene.view.last_failover() {
        Some(last) if last.age_us < BETWEEN_DISK_HANDOVERS_US => Err(Some(format!(
            "{why}; the last change of master was a moment ago, {} is next",
            scene.id(target)
        ))),
        Some(_) | None => Ok(Wanted { source, target, why }),
    }
}

pub fn writes_stopped(scene: &Scene) -> Option<Ruling> {
    match wanted_for_writes(scene) {
        Err(why) => Some(Ruling::refuse(WRITES_STOPPED, why?)),
        // It was refused, or `master_cannot_write` would have decided.
        Ok(Wanted { target, why, .. }) => {
            let words = refused_handover(&scene.view, target).map_or("", |refusal| refusal.text);
            let text = format!("{why}; the handover to {} did not succeed: \"{words}\"", scene.id(target));
            Some(Ruling::refuse(WRITES_STOPPED, text))
        }
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
    match best_in_sync(scene, master) {
        Some(target) => hand_over(scene, MASTER_TERMINATING, Wanted { source: master, target, why }),
        None => Some(Ruling::wait(
            MASTER_TERMINATING,
            format!("{why}, but no eligible replica is in sync"),
            CHANGING_LOOK_US / 10,
        )),
    }
}

/// Handovers that are wanted and may have to wait because they were refused.
pub fn wanted_handovers(scene: &Scene) -> Vec<Action> {
    let terminating = || {
        let source = scene.master().filter(|&master| scene.view.members[master].is_terminating())?;
        Some((source, best_in_sync(scene, source)?))
    };
    let requested = wanted_by_request(scene).map(|wanted| (wanted.source, wanted.target));
    let pairs = requested.into_iter().chain(terminating());
    pairs.map(|(source, target)| handover(&scene.view, source, target)).collect()
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
        // A handover that is undone costs clients some milliseconds, and a preference is worth one a minute.
        target != master
            && is_ready(scene, target, master)
            && !scene.view.members[target].is_terminating()
            && refused_handover(&scene.view, target).is_none()
            && refuses_writes(&scene.view.members[target]).is_none()
    })?;
    let why = format!("{}, for which the last failover was meant, has caught up", scene.id(target));
    hand_over(scene, PRIORITY_HANDOVER, Wanted { source: master, target, why })
}

/// None: it was refused, and it is too soon to try it again.
fn hand_over(scene: &Scene, reason: Reason, wanted: Wanted) -> Option<Ruling> {
    let Wanted { source, target, why } = wanted;
    if refused_handover(&scene.view, target).is_some_and(|refusal| refusal.holds()) {
        return None;
    }
    let (from, to) = (scene.id(source), scene.id(target));
    let action = handover(&scene.view, source, target);
    let stages = stage(format!("hand over from {from} to {to}"), vec![action]).into_iter().collect();
    let text = format!("{why}; {from} hands over to {to} without loss");
    Some(Ruling::act(reason, text, target, stages).losing(Some(0)))
}

/// For a copy of some GiB, and what a person waits for.
const DEADLINE_US: u64 = 60_000_000;
/// A request is refused after so many attempts: 15 s, by the pace of refusals.
const REFUSALS_MAX: usize = 5;
/// Disks that fill and empty in turns move the master at most twice a minute.
const BETWEEN_DISK_HANDOVERS_US: u64 = 30_000_000;

const NONE_IN_SYNC: &str = "no eligible replica is in sync";
