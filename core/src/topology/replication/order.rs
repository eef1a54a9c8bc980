//! Rules for the shape of a group: a first master, one master, a star around it, its fence.

use super::actions::{can_be_told, configure, follow, follows, takeover};
use super::loss::{election, waiting_for_members};
use crate::contract::{Action, Evidence, Preference};
use crate::election::Election;
use crate::facts::config_pairs;
use crate::mastership::Mastership;
use crate::rules::{Ruling, Scene, stage};
use crate::view::Names;

/// A first master by claim: nobody follows it, no record knows it, and there are others.
fn is_first_master(scene: &Scene) -> bool {
    scene.master().is_some_and(|master| {
        scene.view.published().is_none()
            && scene.view.group().members_desired > 1
            && !scene.view.answering().any(|(_, member)| member.names == Names::Member(master))
            && !scene
                .view
                .answering()
                .any(|(_, member)| member.is_replica() && matches!(member.names, Names::Member(_)))
            && !scene.view.answering().any(|(index, member)| {
                index != master
                    && member.has_data()
                    && member.relation(&scene.view.members[master]) != crate::facts::Relation::Unrelated
            })
    })
}

pub fn bootstrap_waiting(scene: &Scene) -> Option<Ruling> {
    let waits = match &scene.mastership {
        Mastership::Vacant => matches!(election(scene), Some(Election::TooEarly | Election::Awaited(_))),
        Mastership::Held(_) => is_first_master(scene) && !scene.view.has_waited_for_members(),
        Mastership::Contested(_) | Mastership::Lost(_) | Mastership::External { .. } => false,
    };
    waits.then(|| waiting_for_members(scene, "no master is known yet"))
}

pub fn bootstrap(scene: &Scene) -> Option<Ruling> {
    match &scene.mastership {
        Mastership::Vacant => {
            let Some(Election::Elected(elected)) = election(scene) else { return None };
            let text =
                format!("no member follows another; {} becomes the first master", scene.id(elected.winner));
            Some(Ruling::act(
                text,
                elected.meant_for,
                takeover(scene.view, elected, None, Evidence::Bootstrap),
            ))
        }
        Mastership::Held(master) if is_first_master(scene) => {
            let told = to_be_told(scene, *master, |_| true);
            let text =
                format!("no member follows another; {} is taken as the first master", scene.id(*master));
            stage(format!("point the others to {}", scene.id(*master)), told)
                .map(|stage| Ruling::act(text, *master, vec![stage]))
        }
        Mastership::Held(_)
        | Mastership::Contested(_)
        | Mastership::Lost(_)
        | Mastership::External { .. } => None,
    }
}

/// The loser of two masters is fenced on first contact, whatever else is wrong.
pub fn second_master(scene: &Scene) -> Option<Ruling> {
    repoint(scene, |member| member.is_master(), "answers as a second master")
}

pub fn replica_elsewhere(scene: &Scene) -> Option<Ruling> {
    repoint(scene, |member| member.is_replica(), "does not follow it")
}

fn repoint(scene: &Scene, which: fn(&crate::view::Member) -> bool, what: &str) -> Option<Ruling> {
    let master = scene.master()?;
    let first = scene
        .view
        .answering()
        .find(|(index, member)| {
            *index != master
                && which(member)
                && !follows(member, master)
                && follow(scene.view, *index, master).is_ok()
        })?
        .0;
    // All that are wrong are told at once: there is nothing to gain from an order.
    let told = to_be_told(scene, master, |_| true);
    let discards = told.iter().fold(0, |sum: u64, action| {
        if let Action::Follow(follow) = action {
            sum.saturating_add(follow.discards_bytes.unwrap_or(0))
        } else {
            sum
        }
    });
    let cost = if discards == 0 { String::new() } else { format!(", giving up {discards} bytes of its own") };
    let text = format!("{} is master, and {} {what}{cost}", scene.id(master), scene.id(first));
    stage(format!("re-point to {}", scene.id(master)), told)
        .map(|stage| Ruling::act(text, master, vec![stage]))
}

fn to_be_told(scene: &Scene, master: usize, which: fn(&crate::view::Member) -> bool) -> Vec<Action> {
    scene
        .view
        .answering()
        .filter(|(index, member)| {
            *index != master && which(member) && can_be_told(member) && !follows(member, master)
        })
        .filter_map(|(index, _)| follow(scene.view, index, master).ok())
        .collect()
}

/// Everybody that answers follows the master, or must not be told to.
pub fn nobody_to_tell(scene: &Scene, master: usize) -> bool {
    to_be_told(scene, master, |_| true).is_empty()
}

pub fn unrelated_data(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let why = scene
        .view
        .answering()
        .filter(|(index, member)| *index != master && can_be_told(member) && !follows(member, master))
        .find_map(|(index, _)| follow(scene.view, index, master).err())?;
    Some(Ruling::refuse(format!("{why}; following would destroy it: empty it, or list it in `discard`")))
}

/// The fence that `prefer = consistency` rests on, kept on every member, because any of them may be master
/// next.
pub fn self_fence(scene: &Scene) -> Option<Ruling> {
    let lag_s = scene
        .view
        .group()
        .self_fence_lag_s
        .filter(|_| scene.view.group().prefer == Preference::Consistency)?;
    let master = scene.master()?;
    let wanted = [("min-replicas-max-lag", lag_s.to_string()), ("min-replicas-to-write", "1".to_owned())];
    let actions: Vec<Action> = scene
        .view
        .answering()
        .filter(|(_, member)| can_be_told(member))
        .flat_map(|(index, member)| {
            let current =
                crate::view::nested(member.instance, FENCE_COMMAND).map(config_pairs).unwrap_or_default();
            let is_known = !current.is_empty();
            let differs = move |directive: &str, to: &str| {
                !current.iter().any(|(name, value)| *name == directive && *value == to)
            };
            wanted
                .clone()
                .into_iter()
                .filter(move |(directive, to)| is_known && differs(directive, to))
                .map(move |(directive, to)| configure(scene.view, index, directive, to))
        })
        .collect();
    let text = format!(
        "consistency is preferred: every member is to refuse writes without a replica that acknowledged \
         within {lag_s} s"
    );
    stage("set the self-fence".into(), actions).map(|stage| Ruling::act(text, master, vec![stage]))
}

/// The wanted command that shows the fence.
pub const FENCE_COMMAND: &str = "CONFIG GET min-replicas-*";
