//! Rules for the shape of a group: a first master, one master, a star around it, its fence.

use super::loss::waiting_for_members;
use super::refused::{due, is_due};
use crate::contract::{Action, Evidence, InDoubt, Preference};
use crate::facts::Relation;
use crate::reason::Reason;
use crate::rules::{CHANGING_LOOK_US, Ruling, stage};
use crate::topology::replication::actions::{configure, demote, follow, takeover};
use crate::topology::replication::claims::is_recorded_name;
use crate::topology::replication::fence::{MAX_LAG, TO_WRITE, seen, wanted_to_write};
use crate::topology::replication::reasons::*;
use crate::topology::replication::refused::refusal;
use crate::topology::replication::role::{Election, Mastership};
use crate::topology::replication::scene::Scene;
use crate::topology::replication::view::{Follows, Member};

/// A first master by claim: no replica follows it, no record knows it, and there are others.
fn is_first_master(scene: &Scene, master: usize) -> bool {
    let view = &scene.view;
    let follows_a_member = |member: &Member| match member.follows {
        Follows::Member(followed) => followed == master || member.is_replica(),
        Follows::NoMaster | Follows::Outsider(_) => false,
    };
    let has_a_copy =
        |member: &Member| member.has_data() && member.relation(&view.members[master]) != Relation::Unrelated;
    view.published().is_none()
        && view.group().members_desired > 1
        && !view.answering().any(|(_, member)| follows_a_member(member))
        && !view.answering().any(|(index, member)| index != master && has_a_copy(member))
}

/// A master that claims the role while other members have their time to appear is not named, so that it is
/// not published.
pub fn bootstrap_waiting(scene: &Scene) -> Option<Ruling> {
    let waits = match &scene.mastership {
        Mastership::Vacant => {
            matches!(
                scene.election,
                Some(Election::TooEarly | Election::Recovering(_) | Election::Awaited(_))
            )
        }
        Mastership::Held(master) => is_first_master(scene, *master) && !scene.view.has_waited_for_members(),
        Mastership::Contested(_) | Mastership::Lost(_) | Mastership::External { .. } => false,
    };
    waits.then(|| {
        let text = waiting_for_members(scene, "no master is known yet");
        Ruling { names_master: false, ..Ruling::wait(BOOTSTRAP_WAITING, text, CHANGING_LOOK_US) }
    })
}

pub fn bootstrap(scene: &Scene) -> Option<Ruling> {
    match &scene.mastership {
        Mastership::Vacant => {
            let Some(Election::Elected(elected)) = scene.election else { return None };
            let text =
                format!("no member follows another; {} becomes the first master", scene.id(elected.winner));
            let plan = takeover(&scene.view, elected, None, Evidence::Bootstrap);
            let ruling = Ruling::act(BOOTSTRAP, text, elected.meant_for, plan);
            // A first master replaces none. What a better copy has that refused is lost all the same.
            Some(match elected.known_loss_bytes {
                Some(bytes) if bytes > 0 => ruling.losing(Some(bytes)),
                None if !scene.observation().refused.is_empty() => ruling.losing(None),
                Some(_) | None => ruling,
            })
        }
        Mastership::Held(master) if is_first_master(scene, *master) => {
            let id = scene.id(*master);
            let text =
                format!("no member follows another; {id} reports role master and becomes the first one");
            stage(format!("point the others to {id}"), due(scene, repoint_actions(scene, *master)))
                .map(|stage| Ruling::act(BOOTSTRAP, text, *master, vec![stage]))
        }
        Mastership::Held(_)
        | Mastership::Contested(_)
        | Mastership::Lost(_)
        | Mastership::External { .. } => None,
    }
}

/// The loser of two masters stops taking writes on first contact, whatever becomes of its data: one that may
/// not follow the master yet is demoted, and keeps its data.
pub fn second_master(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    if let Some(ruling) = refusing_second_master(scene, master) {
        return Some(ruling);
    }
    let may_not_follow =
        |index: usize| scene.view.members[index].is_master() && follow(&scene.view, index, master).is_err();
    let kept: Vec<usize> = misplaced(scene, master).filter(|&index| may_not_follow(index)).collect();
    if kept.is_empty() || !is_recorded_name(&scene.view, master) {
        return repoint(scene, SECOND_MASTER, |member| member.is_master(), "reports role master, too");
    }
    let names: Vec<&str> = kept.iter().map(|&index| scene.id(index)).collect();
    let text = format!(
        "{} is master, and {} reports role master, too, with data of its own: it takes no more writes and \
         keeps its data",
        scene.id(master),
        names.join(", ")
    );
    let mut actions: Vec<Action> = kept.iter().map(|&index| demote(&scene.view, index)).collect();
    actions.extend(repoint_actions(scene, master));
    stage(format!("stop the writes of {}", names.join(", ")), due(scene, actions))
        .map(|stage| Ruling::act(SECOND_MASTER, text, master, vec![stage]))
}

/// One that refuses to be demoted (REPLICAOF renamed, or denied) refuses writes by its own directive until it
/// follows, or is the master.
fn refusing_second_master(scene: &Scene, master: usize) -> Option<Ruling> {
    let stopped: Vec<usize> = unruly(scene, master).filter(|&index| !has_pause_value(scene, index)).collect();
    let stops = stopped.iter().map(|&index| configure(&scene.view, index, TO_WRITE, PAUSE_VALUE.to_owned()));
    let stops = due(scene, stops.collect());
    let names: Vec<&str> = stopped.iter().map(|&index| scene.id(index)).collect();
    let names = names.join(", ");
    let text = format!(
        "{} is master, and {names} reports role master, too, and refused to be demoted: {TO_WRITE} \
         {PAUSE_VALUE} stops its writes until it follows",
        scene.id(master)
    );
    stage(format!("stop the writes of {names}"), stops)
        .map(|stage| Ruling::act(SECOND_MASTER, text, master, vec![stage]))
}

/// Second masters that refused to be demoted or to follow within the last minute, and show the directive that
/// stops their writes.
fn unruly<'s>(scene: &'s Scene, master: usize) -> impl Iterator<Item = usize> + 's {
    let refused = |action: &Action| refusal(&scene.view, action).is_some();
    misplaced(scene, master).filter(move |&index| {
        let follow = follow(&scene.view, index, master);
        scene.view.members[index].is_master()
            && seen(&scene.view.members[index]).is_some()
            && (refused(&demote(&scene.view, index)) || follow.is_ok_and(|action| refused(&action)))
    })
}

fn has_pause_value(scene: &Scene, index: usize) -> bool {
    seen(&scene.view.members[index]).is_some_and(|fence| fence.to_write.to_string() == PAUSE_VALUE)
}

pub fn replica_elsewhere(scene: &Scene) -> Option<Ruling> {
    repoint(scene, REPLICA_ELSEWHERE, |member| member.is_replica(), "does not follow it")
}

fn repoint(scene: &Scene, reason: Reason, which: fn(&Member) -> bool, what: &str) -> Option<Ruling> {
    let master = scene.master()?;
    let is_wrong = |index: usize, member: &Member| {
        index != master
            && which(member)
            && !member.is_replica_of(master)
            && follow(&scene.view, index, master).is_ok_and(|action| is_due(scene, &action))
    };
    let (first, _) = scene.view.answering().find(|(index, member)| is_wrong(*index, member))?;
    // All that are wrong are re-pointed at once: there is nothing to gain from an order.
    let actions = due(scene, repoint_actions(scene, master));
    let cost = cost(&actions);
    let text = format!("{} is master, and {} {what}{cost}", scene.id(master), scene.id(first));
    stage(format!("re-point to {}", scene.id(master)), actions)
        .map(|stage| Ruling::act(reason, text, master, vec![stage]))
}

/// What the members give up, in words.
fn cost(actions: &[Action]) -> String {
    let follows = || {
        actions
            .iter()
            .filter_map(|action| if let Action::Follow(follow) = action { Some(follow) } else { None })
    };
    let unknown: Vec<&str> =
        follows().filter(|follow| follow.discards_bytes.is_none()).map(|follow| follow.id.as_str()).collect();
    let bytes = follows().filter_map(|follow| follow.discards_bytes).fold(0, u64::saturating_add);
    let known = if bytes == 0 { String::new() } else { format!("; re-pointing drops {bytes} bytes") };
    if unknown.is_empty() {
        return known;
    }
    format!("{known}; what {} loses that the master has not, is unknown", unknown.join(", "))
}

/// Members that answer, accept commands, and are no replicas of the master.
fn misplaced<'s, 'a>(scene: &'s Scene<'a>, master: usize) -> impl Iterator<Item = usize> + use<'s, 'a> {
    scene
        .view
        .answering()
        .filter(move |(index, member)| {
            *index != master && member.accepts_commands() && !member.is_replica_of(master)
        })
        .map(|(index, _)| index)
}

pub fn repoint_actions(scene: &Scene, master: usize) -> Vec<Action> {
    misplaced(scene, master).filter_map(|index| follow(&scene.view, index, master).ok()).collect()
}

/// Every member that answers follows the master, or must not.
pub fn has_nothing_to_repoint(scene: &Scene, master: usize) -> bool {
    repoint_actions(scene, master).is_empty()
}

pub fn unrelated_data(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let (index, why) = misplaced(scene, master)
        .find_map(|index| Some((index, follow(&scene.view, index, master).err()?)))?;
    let replid = scene.view.members[index].history().map_or("its run id", |history| history.replid);
    let text = format!(
        "{why}; following the master would destroy that data: empty the member, or add {replid} to `discard`"
    );
    Some(Ruling::refuse(UNRELATED_DATA, text))
}

/// The fence that `prefer = consistency` rests on, kept on every member, because any of them may be master
/// next. A stricter one is the user's, and is kept.
pub fn self_fence(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let lag_s = scene.view.group().self_fence_lag_s?;
    let text = format!(
        "consistency is preferred: every member must refuse writes unless a replica acknowledged \
         within {lag_s} s"
    );
    stage("set the self-fence".into(), due(scene, fence_actions(scene)))
        .map(|stage| Ruling::act(SELF_FENCE, text, master, vec![stage]))
}

pub fn fence_actions(scene: &Scene) -> Vec<Action> {
    let group = scene.view.group();
    let Some(lag_s) = group.self_fence_lag_s.filter(|_| group.prefer == Preference::Consistency) else {
        return Vec::new();
    };
    let (lag_s, to_write) = (u64::from(lag_s), wanted_to_write(&scene.view));
    let mut actions = Vec::new();
    for (index, member) in scene.view.answering().filter(|(_, member)| member.accepts_commands()) {
        let Some(fence) = seen(member) else { continue };
        if !(1..=lag_s).contains(&fence.lag_s) {
            actions.push(configure(&scene.view, index, MAX_LAG, lag_s.to_string()));
        }
        // What stops all writes stays; when that ends, the fence's own value comes back.
        if fence.to_write < to_write {
            actions.push(configure(&scene.view, index, TO_WRITE, to_write.to_string()));
        }
    }
    actions
}

/// What an operator that ended within a handover left on a Redis before 6.2, whose only pause of writes does
/// not end by itself (`host/src/redis/act/write_pause.rs`), and what stopped a second master that refused to
/// be demoted and is none any more. A handover of another operator that is under way
/// loses nothing by it: its safety rests on the offset of the demotion, and not on the pause.
pub fn pause_left(scene: &Scene) -> Option<Ruling> {
    let master = scene.master()?;
    let actions = due(scene, pause_actions(scene));
    let Some(Action::Configure(first)) = actions.first() else { return None };
    let text = format!(
        "{} has {TO_WRITE} {PAUSE_VALUE}, with which a master refuses all writes and which an interrupted handover \
         or the stop of a second master left: {} is put back",
        first.id, first.to
    );
    stage(format!("put {TO_WRITE} back"), actions)
        .map(|stage| Ruling::act(PAUSE_LEFT, text, master, vec![stage]))
}

pub fn pause_actions(scene: &Scene) -> Vec<Action> {
    let is_fenced = scene.view.group().self_fence_lag_s.is_some();
    let own = if is_fenced { wanted_to_write(&scene.view) } else { 0 };
    let is_handed_over = |id: &str| {
        let is_its = |doubt: &InDoubt| matches!(&doubt.action, Action::Handover(it) if it.source == id);
        scene.observation().in_doubt.iter().any(is_its)
    };
    let is_wanted =
        |index: usize| scene.master().is_some_and(|master| unruly(scene, master).any(|it| it == index));
    let is_left =
        |index: usize| has_pause_value(scene, index) && !is_handed_over(scene.id(index)) && !is_wanted(index);
    scene
        .view
        .answering()
        .filter(|(index, member)| member.accepts_commands() && is_left(*index))
        .map(|(index, _)| configure(&scene.view, index, TO_WRITE, own.to_string()))
        .collect()
}

/// `UNREACHABLE_REPLICAS` of the host's handover: more replicas than any group has.
const PAUSE_VALUE: &str = "1000000";
