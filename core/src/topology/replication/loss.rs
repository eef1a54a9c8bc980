//! Rules for a role that is lost, contested, or held by a stranger.

use super::actions::takeover as plan_takeover;
use super::proof::Proof;
use crate::contract::{Action, Evidence};
use crate::election::{Elected, Election, elect, elect_first};
use crate::health::{Life, duration, life};
use crate::mastership::Mastership;
use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Ruling, Scene};

pub fn external_master(scene: &Scene) -> Option<Ruling> {
    let Mastership::External { follower, place } = &scene.mastership else { return None };
    let id = scene.id(*follower);
    Some(Ruling::refuse(format!(
        "{id} follows {place}, which is not of this group: add {place} to the group, or detach {id} by \
         REPLICAOF NO ONE"
    )))
}

pub fn unrelated_masters(scene: &Scene) -> Option<Ruling> {
    let contested = match (&scene.mastership, election(scene)) {
        (Mastership::Contested(masters), _) => masters.clone(),
        (_, Some(Election::Contested(holders))) => holders,
        (
            _,
            Some(Election::Elected(_) | Election::TooEarly | Election::Awaited(_) | Election::NobodyEligible)
            | None,
        ) => return None,
    };
    let held: Vec<String> = contested
        .iter()
        .map(|&index| format!("{} ({} keys)", scene.id(index), scene.view.members[index].keys.unwrap_or(0)))
        .collect();
    Some(Ruling::refuse(format!(
        "{} hold unrelated data, and no record tells which is right: empty the wrong ones, or list them in \
         `discard`",
        held.join(", ")
    )))
}

/// A role that is not proven lost.
pub fn pending(scene: &Scene, wanted: Reason) -> Option<Ruling> {
    match scene.proof.as_ref()? {
        Proof::Pending { reason, text, next_look_us } if *reason == wanted => Some(match wanted {
            Reason::MasterLocked | Reason::SilentUnfenced => {
                Ruling::refuse(format!("{text}: {}", wanted.why()))
            }
            _ => Ruling::wait(text.clone(), *next_look_us),
        }),
        Proof::Pending { .. } | Proof::Proven { .. } => None,
    }
}

pub fn below_minimum_size(scene: &Scene) -> Option<Ruling> {
    let (answering, min) = (scene.view.answering_count(), scene.view.answering_min());
    let is_settled = scene
        .master()
        .is_some_and(|master| scene.view.members.len() == 1 || super::order::nobody_to_tell(scene, master));
    (answering < min && !is_settled).then(|| {
        let text = format!(
            "{answering} of {} members answer, and nothing is done with fewer than {min}: start members, or \
             lower the minimum size",
            scene.view.group().members_desired
        );
        Ruling::wait(text, CHANGING_LOOK_US)
    })
}

/// A promotion that timed out still happens when its target wakes: its target is a possible master until seen
/// again.
pub fn action_in_doubt(scene: &Scene) -> Option<Ruling> {
    scene.proof.as_ref()?;
    scene.observation().in_doubt.iter().find_map(|doubt| {
        let target = match &doubt.action {
            Action::Promote(promote) => &promote.id,
            Action::Handover(handover) => &handover.target,
            Action::Follow(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Sentinel(_)
            | Action::Cluster(_) => return None,
        };
        let member = &scene.view.members[scene.view.find(target)?];
        let is_settled = match life(scene.view, member) {
            Life::Answers => member.sample_age_us.is_some_and(|age| age < doubt.age_us),
            Life::Gone(_) | Life::Silent { .. } => true,
            Life::Occupied(_) | Life::Locked | Life::Suspect { .. } => false,
        };
        (!is_settled).then(|| {
            Ruling::wait(
                format!(
                    "{target} was told {} ago to become master and has not answered",
                    duration(doubt.age_us)
                ),
                CHANGING_LOOK_US / 10,
            )
        })
    })
}

pub fn nobody_eligible(scene: &Scene) -> Option<Ruling> {
    matches!(election(scene)?, Election::NobodyEligible).then(|| {
        let text = match &scene.proof {
            Some(Proof::Proven { text, .. }) => text.as_str(),
            Some(Proof::Pending { .. }) | None => "there is no master",
        };
        Ruling::refuse(format!(
            "{text}; no member may take over, see their verdicts: start the old master, or make one eligible"
        ))
    })
}

pub fn restart_waiting(scene: &Scene) -> Option<Ruling> {
    scene.lost()?;
    if let Some(Proof::Pending { reason: Reason::RestartWaiting, text, .. }) = &scene.proof {
        return Some(waiting_for_members(scene, text));
    }
    match election(scene)? {
        Election::TooEarly => Some(waiting_for_members(scene, "every history is new")),
        Election::Awaited(heir) => Some(waiting_for_members(
            scene,
            &format!("{} alone has the history that was lost", scene.id(heir)),
        )),
        Election::Elected(_) | Election::Contested(_) | Election::NobodyEligible => None,
    }
}

/// A member that is still to come may have the data.
pub fn waiting_for_members(scene: &Scene, why: &str) -> Ruling {
    let (answering, desired) = (scene.view.answering_count(), scene.view.group().members_desired);
    let wait_s = scene.view.parameters.bootstrap_wait_s;
    let text = format!(
        "{why}; {answering} of {desired} members answer, the others get {wait_s} s, and who loads its data \
         is waited for"
    );
    Ruling::wait(text, CHANGING_LOOK_US)
}

pub fn takeover(scene: &Scene, wanted: Reason) -> Option<Ruling> {
    let (lost, Some(Proof::Proven { evidence, text })) = (scene.lost()?, &scene.proof) else { return None };
    let reason = match evidence {
        Evidence::Dead => Reason::MasterDead,
        Evidence::Abdicated => Reason::MasterAbdicated,
        Evidence::Amnesic => Reason::MasterAmnesic,
        Evidence::Silent => Reason::MasterSilent,
        Evidence::Requested | Evidence::Replaced | Evidence::Elected | Evidence::Bootstrap => return None,
    };
    let Some(Election::Elected(elected)) = election(scene) else { return None };
    let Elected { winner, meant_for, known_loss_bytes } = elected;
    let bridge = if meant_for == winner {
        String::new()
    } else {
        format!(", until {} has caught up", scene.id(meant_for))
    };
    let loss = match known_loss_bytes {
        Some(0) => ", nothing known to be lost".into(),
        Some(bytes) => format!(", {bytes} bytes known to be lost"),
        None => String::new(),
    };
    (reason == wanted).then(|| {
        Ruling::act(
            format!("{text}; {} takes over{bridge}{loss}", scene.id(winner)),
            meant_for,
            plan_takeover(scene.view, elected, lost.id.clone(), *evidence),
        )
        .losing(elected)
    })
}

/// Only a role that nobody has had, or that is proven lost, has an election.
pub fn election(scene: &Scene) -> Option<Election> {
    match (&scene.mastership, &scene.proof) {
        (Mastership::Vacant, _) => Some(elect_first(scene.view)),
        (Mastership::Lost(lost), Some(Proof::Proven { .. })) => Some(elect(scene.view, lost)),
        (Mastership::Lost(_), Some(Proof::Pending { .. }) | None) => None,
        (Mastership::Held(_) | Mastership::Contested(_) | Mastership::External { .. }, _) => None,
    }
}
