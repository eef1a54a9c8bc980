//! Rules for what servers refused: it waits for its pace, and keeps nothing else waiting.

use super::requests::wanted_handovers;
use super::shape::{fence_actions, pause_actions, repoint_actions};
use crate::contract::Action;
use crate::health::duration;
use crate::rules::Ruling;
use crate::topology::replication::actions::words;
use crate::topology::replication::reasons::COMMAND_REFUSED;
use crate::topology::replication::refused::refusal;
use crate::topology::replication::scene::Scene;

/// Those that may be tried now.
pub fn due(scene: &Scene, actions: Vec<Action>) -> Vec<Action> {
    actions.into_iter().filter(|action| is_due(scene, action)).collect()
}

/// It was not refused within the last minute, or its pace allows another attempt.
pub fn is_due(scene: &Scene, action: &Action) -> bool {
    refusal(&scene.view, action).is_none_or(|refusal| !refusal.holds())
}

/// Says what is held back, with the server's own words.
pub fn command_refused(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let wanted =
        [repoint_actions(scene, master), pause_actions(scene), fence_actions(scene), wanted_handovers(scene)];
    let held: Vec<_> = wanted
        .iter()
        .flatten()
        .filter_map(|action| Some((action, refusal(&scene.view, action).filter(|refusal| refusal.holds())?)))
        .collect();
    let (action, first) = held.first()?;
    let next_look_us = held.iter().map(|(_, refusal)| refusal.wait_us).min()?;
    let more = match held.len() {
        1 => String::new(),
        count => format!("; {} more are held back", count - 1),
    };
    let others = scene.view.answering().filter(|(index, member)| *index != master && member.is_master());
    let others: Vec<&str> = others.map(|(index, _)| scene.id(index)).collect();
    let second = match &others[..] {
        [] => String::new(),
        ids => format!(", and {} takes writes as a second one, which will be lost", ids.join(", ")),
    };
    let text = format!(
        "{} is a working master{second}; {} was refused: \"{}\"; it is tried again in {}{more}: grant the \
         operator the command, or undo its renaming",
        scene.id(master),
        words(action),
        first.text,
        duration(first.wait_us)
    );
    Some(Ruling { next_look_us, ..Ruling::refuse(COMMAND_REFUSED, text) })
}
