//! Rules for a role that is lost, contested, or held by a server outside of the group.

use super::refused::due;
use super::shape::has_nothing_to_repoint;
use crate::contract::{Action, Evidence, InDoubt, Role};
use crate::facts::{History, Relation};
use crate::health::{Life, duration};
use crate::rules::{CHANGING_LOOK_US, Ruling, stage};
use crate::topology::replication::actions::{demote, takeover};
use crate::topology::replication::claims::{
    is_recorded_name, is_untimely, knows_recorded_history, loaded_nothing,
};
use crate::topology::replication::reasons::*;
use crate::topology::replication::recorded::is_from_file;
use crate::topology::replication::refused::refused_promotion;
use crate::topology::replication::role::{Elected, Election, LossKind, Mastership, Proof};
use crate::topology::replication::scene::Scene;
use crate::topology::replication::view::{Member, View};

pub fn external_master(scene: &Scene) -> Option<Ruling> {
    let Mastership::External { follower, place } = &scene.mastership else { return None };
    let id = scene.id(*follower);
    let text = format!(
        "{id} follows {place}, which is not of this group: add {place} to the group, or detach {id} by \
         REPLICAOF NO ONE"
    );
    Some(Ruling::refuse(EXTERNAL_MASTER, text))
}

pub fn unrelated_masters(scene: &Scene) -> Option<Ruling> {
    let contested = match (&scene.mastership, &scene.election) {
        (Mastership::Contested(masters), _) => masters,
        (_, Some(Election::Contested(holders))) => holders,
        (
            _,
            Some(
                Election::Elected(_)
                | Election::TooEarly
                | Election::Recovering(_)
                | Election::Awaited(_)
                | Election::NobodyEligible,
            )
            | None,
        ) => return None,
    };
    let held = |&index: &usize| {
        let member = &scene.view.members[index];
        let replid = member.history().map_or("unknown", |history| history.replid);
        format!("{} ({} keys, replication id {replid})", scene.id(index), member.keys.unwrap_or(0))
    };
    let held: Vec<String> = contested.iter().map(held).collect();
    let text = format!(
        "{} hold unrelated data, and no record says which is the group's: empty the others, or add \
         their replication ids to `discard`",
        held.join(", ")
    );
    Some(Ruling::refuse(UNRELATED_MASTERS, text))
}

/// The loss is not proven: the reason is what is missing.
pub fn unproven_loss(scene: &Scene) -> Option<Ruling> {
    match scene.proof.as_ref()? {
        Proof::Pending { reason, text, next_look_us } => {
            Some(Ruling::wait(*reason, text.clone(), *next_look_us))
        }
        Proof::Blocked { reason, text } => Some(Ruling::refuse(*reason, text.clone())),
        Proof::Proven { .. } | Proof::Unsure { .. } => None,
    }
}

pub fn below_minimum_size(scene: &Scene) -> Option<Ruling> {
    let (answering, min) = (scene.view.answering_count(), scene.view.answering_min());
    let is_settled = scene
        .master()
        .is_some_and(|master| scene.view.members.len() == 1 || has_nothing_to_repoint(scene, master));
    (answering < min && !is_settled).then(|| {
        let text = format!(
            "{answering} of {} members answer, and the minimum size is {min}: start members, or lower the \
             minimum size",
            scene.view.group().members_desired
        );
        Ruling::wait(BELOW_MINIMUM_SIZE, text, CHANGING_LOOK_US)
    })
}

/// A promotion that timed out still happens when its target wakes: its target is a possible master until seen
/// again.
pub fn action_in_doubt(scene: &Scene) -> Option<Ruling> {
    let is_without_master = scene.proof.is_some() || matches!(scene.mastership, Mastership::Vacant);
    scene.observation().in_doubt.iter().filter(|_| is_without_master).find_map(|doubt| {
        let target = promoted_by(&doubt.action)?;
        let index = scene.view.find(target)?;
        let is_settled = match scene.view.life(index) {
            Life::Answers => scene.view.members[index].sample_age_us.is_some_and(|age| age < doubt.age_us),
            Life::Gone(_) | Life::Silent { .. } => true,
            Life::Occupied(_) | Life::Locked | Life::Suspect { .. } => false,
        };
        (!is_settled).then(|| {
            let age = duration(doubt.age_us);
            let text = format!("{target} was sent a promotion {age} ago and has not replied since");
            Ruling::wait(ACTION_IN_DOUBT, text, CHANGING_LOOK_US / 10)
        })
    })
}

fn promoted_by(action: &Action) -> Option<&str> {
    match action {
        Action::Promote(promote) => Some(&promote.id),
        Action::Handover(handover) => Some(&handover.target),
        Action::Follow(_)
        | Action::Demote(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Sentinel(_)
        | Action::Cluster(_) => None,
    }
}

pub fn nobody_eligible(scene: &Scene) -> Option<Ruling> {
    matches!(scene.election.as_ref()?, Election::NobodyEligible).then(|| {
        let text = match &scene.proof {
            Some(Proof::Proven { text, .. }) => text.as_str(),
            Some(Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. }) | None => {
                "there is no master"
            }
        };
        let text = format!(
            "{text}; no member is eligible, see the verdict of each: start the old master, or make a member \
             eligible"
        );
        Ruling::refuse(NOBODY_ELIGIBLE, text)
    })
}

/// The election passes over members that refused, so its winner has only if every one that may stand has.
pub fn promotion_refused(scene: &Scene) -> Option<Ruling> {
    let Election::Elected(elected) = scene.election.as_ref()? else { return None };
    let refusal = refused_promotion(&scene.view, elected.winner).filter(|refusal| refusal.holds())?;
    let why = match &scene.proof {
        Some(Proof::Proven { text, .. }) => text.as_str(),
        Some(Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. }) | None => {
            "there is no master"
        }
    };
    let text = format!(
        "{why}; no member accepts its promotion: {} answered \"{}\" and is asked again in {}: grant the \
         operator REPLICAOF, undo its renaming, or start the old master",
        scene.id(elected.winner),
        refusal.text,
        duration(refusal.wait_us)
    );
    Some(Ruling { next_look_us: refusal.wait_us, ..Ruling::refuse(PROMOTION_REFUSED, text) })
}

pub fn restart_waiting(scene: &Scene) -> Option<Ruling> {
    scene.lost()?;
    let why = match (&scene.proof, &scene.election) {
        (Some(Proof::Unsure { text }), _) => text.clone(),
        (_, Some(Election::TooEarly)) => "no member has the former history".into(),
        (_, Some(Election::Recovering(best))) => {
            format!("{} has the most data, but restarted from its files", scene.id(*best))
        }
        (_, Some(Election::Awaited(heir))) => {
            format!("only {} has the former history, and it is not ready", scene.id(*heir))
        }
        (
            Some(Proof::Proven { .. } | Proof::Pending { .. } | Proof::Blocked { .. }) | None,
            Some(Election::Elected(_) | Election::Contested(_) | Election::NobodyEligible) | None,
        ) => return None,
    };
    Some(Ruling::wait(RESTART_WAITING, waiting_for_members(scene, &why), CHANGING_LOOK_US))
}

/// The sentence for members that are still to come and may have the data.
pub fn waiting_for_members(scene: &Scene, why: &str) -> String {
    let view = &scene.view;
    let (answering, desired) = (view.answering_count(), view.group().members_desired);
    let parameters = view.parameters;
    let wait_s =
        if view.published().is_some() { parameters.restart_wait_s } else { parameters.bootstrap_wait_s };
    let is_awaited = |member: &&Member| !member.answers || member.is_loading();
    let awaited: Vec<&str> =
        view.members.iter().filter(is_awaited).map(|member| member.instance.id.as_str()).collect();
    let whom = if awaited.is_empty() { "the others".to_owned() } else { awaited.join(", ") };
    format!("{why}; {answering} of {desired} members answer: waiting up to {wait_s} s for {whom}")
}

/// A follow that a master was sent and did not answer is carried out when it is reached again: until then it
/// may take writes, and what the follow costs is not what it said.
///
/// 1. redis-2 is master, and redis-1 answers as one, too: it is to follow, which costs nothing by its offset.
/// 2. Its network is cut while the command is on its way. Clients beside it go on writing.
/// 3. The cut is mended. The command arrives, and the writes since step 1 are lost.
fn late_follow(scene: &Scene) -> Option<String> {
    let view = &scene.view;
    let is_late = |doubt: &&InDoubt| doubt.age_us >= view.hang_limit_us();
    let target = |doubt: &InDoubt| match &doubt.action {
        Action::Follow(follow) if follow.expect.role == Role::Master => view.find(&follow.id),
        _ => None,
    };
    let (index, age_us) = scene.observation().in_doubt.iter().filter(is_late).find_map(|doubt| {
        target(doubt).filter(|&index| !view.members[index].answers).map(|index| (index, doubt.age_us))
    })?;
    let may_live = !matches!(view.life(index), Life::Gone(_));
    may_live.then(|| {
        format!(
            "{} was sent a follow {} ago and did not answer: what it took since will be lost, and is unknown",
            view.id(index),
            duration(age_us)
        )
    })
}

/// Another process than the recorded one has the role, until that is on record: what was lost with the former
/// process, in words, and the bytes where the record tells them.
pub fn unseen_loss(scene: &Scene) -> Option<(String, Option<u64>)> {
    let (view, master) = (&scene.view, scene.master().filter(|_| scene.observation().authority)?);
    let (published, member) = (view.published()?, &view.members[master]);
    let id = scene.id(master);
    if let Some(text) = late_follow(scene) {
        return Some((text, None));
    }
    if view.is_recorded(master) || member.server.run_id.is_none() {
        return None;
    }
    if is_recorded_name(view, master) {
        return Some((format!("{id} restarted, and what its restart lost is unknown"), None));
    }
    if is_from_file(view, master) {
        return Some((format!("{id} has what its files had, and what is lost is unknown"), None));
    }
    let recorded = History { replid: &published.replid, offset: published.offset, former: None };
    // What the recorded process said last is younger than the record.
    let last_words = view.find(&published.master).map(|index| &view.members[index]);
    let last_words = last_words.filter(|member| !member.answers).and_then(|member| member.history());
    let lacks = |lost: &History| match member.history()?.relation(lost) {
        Relation::Equal | Relation::Ahead(_) => Some(0),
        Relation::Behind(bytes) | Relation::Forked { theirs: bytes, .. } => Some(bytes),
        Relation::Unrelated => None,
    };
    match lacks(&recorded).map(|bytes| bytes.max(last_words.and_then(lacks).unwrap_or(0))) {
        Some(0) => None,
        Some(bytes) => Some((format!("{id} lacks {bytes} bytes of the stream on record"), Some(bytes))),
        None => {
            Some((format!("the record does not know the history of {id}, and what is lost is unknown"), None))
        }
    }
}

/// A master that started without its data, or with what old files had, takes writes, and replicas copy it, as
/// long as it is one. Where no member takes over at once, it is demoted first, and the question of the data
/// comes after that.
pub fn empty_master(scene: &Scene) -> Option<Ruling> {
    let lost = scene.lost()?;
    if takes_over(scene) {
        return None;
    }
    let came_back_empty = |index: usize, member: &Member| {
        lost.index == Some(index)
            && match lost.kind {
                LossKind::Amnesic { .. } => true,
                LossKind::CameBackEmpty => member.keys == Some(0),
                LossKind::OutOfSight | LossKind::Vanished | LossKind::Abdicated => false,
            }
    };
    let empty: Vec<usize> = scene
        .view
        .answering()
        .filter(|(_, member)| member.is_master() && member.accepts_commands())
        .filter(|(index, member)| {
            came_back_empty(*index, member)
                || started_empty(&scene.view, *index)
                || is_untimely(&scene.view, *index)
        })
        .map(|(index, _)| index)
        .collect();
    let names: Vec<&str> = empty.iter().map(|&index| scene.id(index)).collect();
    let names = names.join(", ");
    let text = format!(
        "{names} started without the newest data, as far as is known, and no member can take over yet: a demotion \
             stops writes"
    );
    let actions = due(scene, empty.iter().map(|&index| demote(&scene.view, index)).collect());
    stage(format!("demote {names}"), actions)
        .map(|stage| Ruling::act_without_goal(EMPTY_MASTER, text, vec![stage]))
}

/// Another server than the one on record, whose process is young, loaded nothing, and knows nothing of the
/// history on record: all that it can have, it took since its start.
fn started_empty(view: &View, index: usize) -> bool {
    let member = &view.members[index];
    let young_s = view.parameters.restart_wait_s.min(YOUNG_MAX_S);
    view.published().is_some()
        && !view.is_recorded(index)
        && !is_recorded_name(view, index)
        && !knows_recorded_history(view, index)
        && member.server.uptime_s.is_some_and(|uptime_s| uptime_s < young_s)
        && (member.keys == Some(0) || loaded_nothing(member))
}

/// As long as the default of `restart_wait_s`, at most.
const YOUNG_MAX_S: u64 = 60;

fn takes_over(scene: &Scene) -> bool {
    let is_proven = matches!(scene.proof, Some(Proof::Proven { .. }));
    is_proven && matches!(scene.election, Some(Election::Elected(_)))
}

/// The loss is proven, and a member takes over: the reason is the proof.
pub fn proven_loss(scene: &Scene) -> Option<Ruling> {
    let (lost, Some(Proof::Proven { evidence, text })) = (scene.lost()?, &scene.proof) else { return None };
    let reason = match evidence {
        Evidence::Dead => MASTER_DEAD,
        Evidence::Abdicated => MASTER_ABDICATED,
        Evidence::Amnesic => MASTER_AMNESIC,
        Evidence::Silent => MASTER_SILENT,
        Evidence::Requested | Evidence::Replaced | Evidence::Elected | Evidence::Bootstrap => return None,
    };
    let Some(Election::Elected(elected)) = &scene.election else { return None };
    let Elected { winner, meant_for, known_loss_bytes } = *elected;
    // A master that is only out of sight may have acknowledged writes since its last word, or still does.
    let is_over = !matches!(evidence, Evidence::Silent);
    let known_loss_bytes = known_loss_bytes.filter(|&bytes| is_over || bytes > 0);
    let bridge = if meant_for == winner {
        String::new()
    } else {
        format!(", until {} has caught up", scene.id(meant_for))
    };
    let loss = match known_loss_bytes {
        Some(0) => ", no known loss".into(),
        Some(bytes) => format!(", known loss {bytes} bytes"),
        None => ", loss unknown".into(),
    };
    let refusing: Vec<&str> = scene
        .view
        .answering()
        .filter(|(index, _)| *index != winner && refused_promotion(&scene.view, *index).is_some())
        .map(|(index, _)| scene.id(index))
        .collect();
    let passed_over = match &refusing[..] {
        [] => String::new(),
        ids => format!("; passed over, because of a refused promotion: {}", ids.join(", ")),
    };
    let text = format!("{text}; {} takes over{bridge}{loss}{passed_over}", scene.id(winner));
    let plan = takeover(&scene.view, *elected, lost.id.clone(), *evidence);
    Some(Ruling::act(reason, text, meant_for, plan).losing(known_loss_bytes))
}
