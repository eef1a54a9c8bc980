//! What changes roles, as the Sentinels allow it: none of them is at work, those that are wrong are told, and
//! a planned change has their votes.

use super::upkeep::announcements;
use crate::contract::{Action, SentinelChange};
use crate::health::duration;
use crate::rules::{CHANGING_LOOK_US, Ruling};
use crate::topology::replication::reasons::{REPLICA_ELSEWHERE, SECOND_MASTER};
use crate::topology::sentinel::reasons::*;
use crate::topology::sentinel::scene::Scene;
use crate::topology::sentinel::sentinels::FRESH_US;

/// A promotion, a handover, a follow and a rewrite are sent only while every Sentinel that answers said a
/// moment ago that it does none of it: between two rounds of probes one may have begun.
pub fn allowed(scene: &Scene, ruling: Ruling) -> Ruling {
    let first = ruling.stages.first();
    let must_ask = first.is_some_and(|stage| stage.actions.iter().any(is_theirs));
    let unheard = scene
        .sentinels
        .as_ref()
        .filter(|_| must_ask)
        .and_then(|sentinels| sentinels.all.iter().find(|sentinel| sentinel.is_asked));
    match unheard {
        Some(sentinel) => {
            let text = format!(
                "{}; {} has not said within {} that it does not fail over",
                ruling.explanation,
                sentinel.id(),
                duration(FRESH_US)
            );
            let names_master = ruling.names_master;
            Ruling { names_master, ..Ruling::wait(ASKING_SENTINELS, text, ASKING_LOOK_US) }
        }
        None => ruling,
    }
}

/// What a Sentinel does in a failover, too.
fn is_theirs(action: &Action) -> bool {
    match action {
        Action::Promote(_) | Action::Handover(_) | Action::Follow(_) => true,
        Action::Sentinel(action) => match action.change {
            SentinelChange::Rewrite(_) => true,
            SentinelChange::Announce(_) | SentinelChange::SetOption(_) => false,
        },
        Action::Demote(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Cluster(_) => false,
    }
}

/// A member that is pointed to the master is one that a Sentinel may take for the master: it is told at once,
/// or it would undo that. The reason is the Sentinels' where the master is theirs.
pub fn told(scene: &Scene, ruling: Ruling) -> Ruling {
    let is_repointing = [SECOND_MASTER, REPLICA_ELSEWHERE].contains(&ruling.reason);
    let Some((sentinels, master)) = scene.sentinels.as_ref().zip(scene.group.master()) else { return ruling };
    if !is_repointing {
        return ruling;
    }
    let mut ruling = ruling;
    if let Some(stage) = ruling.stages.first_mut() {
        stage.actions.extend(announcements(scene, sentinels, master));
    }
    if scene.view().appointed != Some(master) {
        return ruling;
    }
    let text = format!(
        "a majority of the Sentinels made {} master; {}",
        scene.view().id(master),
        ruling.explanation
    );
    Ruling { reason: SENTINELS_DECIDED, explanation: text, ..ruling }
}

/// A handover without the votes of a majority is undone by the Sentinels as soon as they call the former
/// master down, which is a replica then.
pub fn voted(scene: &Scene, ruling: Ruling) -> Ruling {
    let hands_over = |action: &Action| matches!(action, Action::Handover(_));
    let needs_votes = ruling.stages.first().is_some_and(|stage| stage.actions.iter().any(hands_over));
    match scene.sentinels.as_ref().filter(|sentinels| needs_votes && !sentinels.can_elect()) {
        Some(sentinels) => {
            let text = format!(
                "{}, but {} Sentinels answer, and a change of master takes the votes of {}",
                ruling.explanation,
                sentinels.voters().count(),
                sentinels.majority()
            );
            Ruling::wait(VOTES_MISSING, text, CHANGING_LOOK_US)
        }
        None => ruling,
    }
}

/// A round trip.
const ASKING_LOOK_US: u64 = 500;
