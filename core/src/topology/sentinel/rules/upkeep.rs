//! Rules that keep the Sentinels right while the group has a master: whom they name, what they know, how they
//! are set, and which replicas they may prefer.

use crate::contract::{Action, Instance, Restart};
use crate::facts::{Relation, Watched};
use crate::health::{Life, duration};
use crate::rules::{CHANGING_LOOK_US, Ruling, STEADY_LOOK_US, stage};
use crate::topology::replication::actions::configure;
use crate::topology::replication::in_sync::{emptied, not_in_sync};
use crate::topology::replication::refused::refusal;
use crate::topology::replication::view::Member;
use crate::topology::sentinel::actions::{announce, rewrite, set_option};
use crate::topology::sentinel::reasons::*;
use crate::topology::sentinel::scene::Scene;
use crate::topology::sentinel::sentinels::{Names, SETTLED_MS, Sentinel, Sentinels, named};

use super::changes::allowed;

/// The Sentinels, and the master that answers.
fn settled<'s, 'a>(scene: &'s Scene<'a>) -> Option<(&'s Sentinels<'a>, usize)> {
    scene.sentinels.as_ref().zip(scene.group.master())
}

/// A Sentinel sorts by replica-priority first, and looks at no history: a replica that was never in sync is
/// as good to it as any. Such a one is put behind all others, and back when it is in sync.
///
/// The value says both that it was put there and what it was before. 0 would say neither: a person may have
/// set it, and nothing remembers the other one. Nor would it do while the operator is away: a group whose
/// replicas all have 0 is not failed over by Sentinels at all.
pub fn unfit_for_sentinels(scene: &Scene) -> Option<Ruling> {
    let (_, master) = settled(scene)?;
    let view = scene.view();
    let mut actions = Vec::new();
    for (index, member) in view.answering().filter(|(index, _)| *index != master) {
        let Some(priority) = member.replication.priority.filter(|_| takes_settings(member)) else { continue };
        let is_back = not_in_sync(view, index, master).is_none();
        let to = match priority.checked_sub(BEHIND) {
            Some(own) if own > 0 && is_back => own,
            None if priority > 0 && priority < BEHIND_MAX && lacks_data(member, &view.members[master]) => {
                priority + BEHIND
            }
            Some(_) | None => continue,
        };
        let action = configure(view, index, "replica-priority", to.to_string());
        if refusal(view, &action).is_none_or(|refusal| !refusal.holds()) {
            actions.push(action);
        }
    }
    let names = named_targets(&actions);
    let text = format!(
        "{} is a working master; the priority of {names} for the Sentinels follows from whether it is in sync",
        view.id(master)
    );
    stage(format!("set the priority of {names}"), actions)
        .map(|stage| Ruling::act(UNFIT_FOR_SENTINELS, text, master, vec![stage]))
}

fn takes_settings(member: &Member) -> bool {
    member.is_replica() && member.server.run_id.is_some() && !member.replication.in_failover
}

/// It has nothing of the master's data for certain: none yet, or other data.
fn lacks_data(member: &Member, master: &Member) -> bool {
    let is_foreign = master.history().is_some() && member.relation(master) == Relation::Unrelated;
    member.is_loading() || member.replication.is_syncing || is_foreign || emptied(member, master).is_some()
}

/// One that names another member is told by hello, so that it keeps what it knows. One that names no member
/// begins anew: hello would leave what it named as a replica, and a Sentinel makes a replica of whatever it
/// finds there.
pub fn sentinel_elsewhere(scene: &Scene) -> Option<Ruling> {
    let (sentinels, master) = settled(scene)?;
    // The host told them just now.
    if scene.view().last_failover().is_some_and(|last| last.age_us < TELLING_US) {
        return None;
    }
    let is_wrong = |sentinel: &Sentinel| match sentinel.names {
        Names::Nothing | Names::Outsider(_) => true,
        Names::Member(_) => false,
    };
    let anew = sentinels.all.iter().filter(|sentinel| sentinel.answers && is_wrong(sentinel));
    let anew = anew.filter_map(|sentinel| rewrite(scene, sentinel, master));
    let actions: Vec<Action> = announcements(scene, sentinels, master).into_iter().chain(anew).collect();
    let names = named_targets(&actions);
    let id = scene.view().id(master);
    let text = format!("{id} is master, and {names} names another server, or none");
    stage(format!("tell {names} that {id} is master"), actions)
        .map(|stage| allowed(scene, Ruling::act(SENTINEL_ELSEWHERE, text, master, vec![stage])))
}

/// Hello for each that names another member, by old news: one that changed its mind just now may be the first
/// of a majority to say what the Sentinels decided.
pub fn announcements(scene: &Scene, sentinels: &Sentinels, master: usize) -> Vec<Action> {
    let is_old = |sentinel: &Sentinel| {
        let row = sentinel.master.as_ref();
        let is_settled = row.and_then(|row| row.role_ms).is_none_or(|role_ms| role_ms >= SETTLED_MS);
        is_settled || row.and_then(|row| row.config_epoch).is_none_or(|epoch| epoch < sentinels.epoch())
    };
    let is_elsewhere = |sentinel: &Sentinel| match sentinel.names {
        Names::Member(member) => member != master,
        Names::Nothing | Names::Outsider(_) => false,
    };
    sentinels
        .voters()
        .filter(|sentinel| is_elsewhere(sentinel) && is_old(sentinel))
        .filter_map(|sentinel| announce(scene, sentinels, sentinel, master))
        .collect()
}

/// What a Sentinel does not know, it learns by itself, from the master and by hello. What it knows too much,
/// it never forgets, and would act on: a replica of its own at an address that is another server's by now
/// gets REPLICAOF, and a Sentinel that is gone counts in every majority.
///
/// One at a time, and none twice within ten seconds: the row of the master is as old as the last beginning.
/// Not while replicas are not in sync, Pods start, or too few other Sentinels could act.
///
/// A replica of its own that *answers* it and is none of the group is a server of somebody else's, at an
/// address that was a member's. Nothing of that holds the rewrite up, because the Sentinel destroys what
/// it finds there:
///
/// 1. The Pod of redis-3 is replaced, at another address; the new one reads a full copy for a minute.
/// 2. The master of another group starts at the former address.
/// 3. Eight seconds later a Sentinel that knows the address as a replica's makes it one
///    (`+convert-to-slave`), and what that master has is gone.
///
/// What it costs is some milliseconds in which the Sentinels may be too few, while the master lives.
pub fn sentinel_ghosts(scene: &Scene) -> Option<Ruling> {
    let (sentinels, master) = settled(scene)?;
    let is_starting = |instance: &Instance| instance.pod.as_ref().is_some_and(|pod| !pod.ready);
    let is_unsettled = scene
        .view()
        .answering()
        .any(|(index, _)| index != master && not_in_sync(scene.view(), index, master).is_some());
    let is_calm = !is_unsettled && !scene.view().observation.instances.iter().any(is_starting);
    let haunted = |index: usize, sentinel: &Sentinel| {
        if !sentinel.answers || sentinel.names != Names::Member(master) {
            return None;
        }
        let age_ms = sentinel.master.as_ref().and_then(|row| row.role_ms).unwrap_or(0);
        let is_spared = sentinels.can_spare(index) || !sentinel.is_capable();
        let (ghost, is_stranger) = ghost(scene, sentinels, sentinel, master)?;
        let is_due = if is_stranger {
            age_ms >= STRANGER_AGAIN_MS
        } else {
            age_ms >= REWRITE_AGAIN_MS && is_calm && is_spared
        };
        (is_due && rewrite(scene, sentinel, master).is_some()).then_some((is_stranger, ghost))
    };
    let all = sentinels.all.iter().enumerate();
    let mut due = all.filter_map(|(index, sentinel)| Some((sentinel, haunted(index, sentinel)?)));
    let first = due.next()?;
    let is_stranger = |(_, (is_stranger, _)): &(&Sentinel, (bool, String))| *is_stranger;
    let urgent = if is_stranger(&first) { None } else { due.find(is_stranger) };
    let (sentinel, (_, ghost)) = urgent.unwrap_or(first);
    let text = format!(
        "{} is a working master; {} knows {ghost}, which is none of this group",
        scene.view().id(master),
        sentinel.id()
    );
    stage(format!("set up {} anew", sentinel.id()), rewrite(scene, sentinel, master).into_iter().collect())
        .map(|stage| allowed(scene, Ruling::act(SENTINEL_GHOSTS, text, master, vec![stage])))
}

/// A replica or Sentinel that it has known for a while and that is none of this group, and whether that is a
/// replica that answers. A replica outside of the group that the master itself lists exists: the
/// Sentinel would find it again.
fn ghost(scene: &Scene, sentinels: &Sentinels, sentinel: &Sentinel, master: usize) -> Option<(String, bool)> {
    let view = scene.view();
    let is_listed = |replica: &Watched| {
        let rows = &view.members[master].replication.attached;
        rows.iter().any(|row| Some(&row.place) == replica.place.as_ref())
    };
    let is_ghost_replica = |replica: &&Watched| {
        !matches!(named(view, replica), Names::Member(_))
            && !is_listed(replica)
            && replica.role_ms.is_some_and(|role_ms| role_ms >= KNOWN_MS)
    };
    let is_ghost_peer = |peer: &&Watched| {
        !sentinels.is_one(peer) && peer.is_lost() && peer.hello_ms.is_none_or(|hello_ms| hello_ms >= KNOWN_MS)
    };
    let name = |row: &Watched| row.place.as_ref().map_or_else(|| row.name.to_owned(), ToString::to_string);
    let replicas = || sentinel.replicas.iter().flatten().filter(is_ghost_replica);
    let replica = replicas().find(|row| !row.is_lost()).or_else(|| replicas().next());
    let peer = || sentinel.peers.iter().flatten().find(is_ghost_peer);
    replica
        .map(|row| (format!("replica {}", name(row)), !row.is_lost()))
        .or_else(|| peer().map(|row| (format!("Sentinel {}", name(row)), false)))
}

pub fn sentinel_settings(scene: &Scene) -> Option<Ruling> {
    let (sentinels, master) = settled(scene)?;
    let settings = sentinels.settings;
    let mut actions = Vec::new();
    for sentinel in sentinels.voters() {
        let Some(row) = &sentinel.master else { continue };
        for (name, is, to) in [
            ("quorum", row.quorum, u64::from(settings.quorum)),
            ("down-after-milliseconds", row.down_after_ms, u64::from(settings.down_after_ms)),
            ("failover-timeout", row.failover_timeout_ms, u64::from(settings.failover_timeout_ms)),
            ("parallel-syncs", row.parallel_syncs, u64::from(settings.parallel_syncs)),
        ] {
            if is.is_some_and(|is| is != to) {
                actions.extend(set_option(scene, sentinel, name, to));
            }
        }
    }
    let names = named_targets(&actions);
    let id = scene.view().id(master);
    let text = format!("{id} is a working master; {names} is not set as the group is");
    stage(format!("set {names}"), actions)
        .map(|stage| Ruling::act(SENTINEL_SETTINGS, text, master, vec![stage]))
}

/// One at a time, and not one that has just started: the container's age is the pace.
pub fn sentinel_stuck(scene: &Scene) -> Option<Ruling> {
    let (sentinels, master) = settled(scene)?;
    let is_hung = |sentinel: &Sentinel| sentinel.silent_us().is_some_and(|for_us| for_us >= HUNG_US);
    let stuck = sentinels.all.iter().enumerate().find_map(|(index, sentinel)| {
        let pod = sentinel.instance.pod.as_ref().filter(|pod| pod.running && !pod.terminating)?;
        let is_old = pod.started_age_us.is_some_and(|age_us| age_us >= RESTART_AGAIN_US);
        let is_stuck = sentinel.is_stuck_in_tilt() || is_hung(sentinel);
        (is_stuck && is_old && sentinels.can_spare(index)).then(|| (sentinel, pod.uid.clone()))
    });
    let (sentinel, uid) = stuck?;
    let why = if is_hung(sentinel) { "gives no reply" } else { "does not leave TILT" };
    let text = format!("{} is a working master; {} {why}", scene.view().id(master), sentinel.id());
    let action = Action::Restart(Restart { id: sentinel.id().to_owned(), uid });
    stage(format!("restart {}", sentinel.id()), vec![action])
        .map(|stage| Ruling::act(SENTINEL_STUCK, text, master, vec![stage]))
}

pub fn sentinels_not_ready(scene: &Scene) -> Option<Ruling> {
    let (sentinels, master) = settled(scene)?;
    let id = scene.view().id(master);
    let in_tilt: Vec<&str> = sentinels
        .all
        .iter()
        .filter(|sentinel| sentinel.answers && sentinel.own.is_in_tilt == Some(true))
        .map(Sentinel::id)
        .collect();
    let lacks =
        |sentinel: &Sentinel| Some(format!("{} {}", sentinel.id(), lack(sentinels, sentinel, master)?));
    let absent = sentinels.all.iter().filter(|sentinel| !sentinel.answers).find_map(lacks);
    let lacking = absent.or_else(|| sentinels.all.iter().find_map(lacks));
    let missing = sentinels.desired().saturating_sub(sentinels.all.len());
    let lacking = lacking.or_else(|| {
        (missing > 0).then(|| format!("{missing} of {} Sentinels do not exist", sentinels.desired()))
    });
    match (lacking, &in_tilt[..]) {
        (Some(lacking), _) => {
            let text = format!("{id} is a working master; {lacking}");
            Some(Ruling::wait(SENTINELS_INCOMPLETE, text, STEADY_LOOK_US))
        }
        (None, []) => None,
        (None, names) => {
            let text = format!("{id} is a working master; in TILT: {}", names.join(", "));
            Some(Ruling::wait(SENTINELS_IN_TILT, text, CHANGING_LOOK_US))
        }
    }
}

/// What it lacks to be one of the group's Sentinels.
fn lack(sentinels: &Sentinels, sentinel: &Sentinel, master: usize) -> Option<String> {
    if !sentinel.answers {
        return Some(match &sentinel.life {
            Life::Locked => "does not let the operator ask it: correct its credentials".into(),
            Life::Gone(gone) => format!("is gone: {}", gone.proof),
            Life::Silent { for_us } | Life::Suspect { for_us } => {
                format!("has not answered for {}", duration(*for_us))
            }
            Life::Answers | Life::Occupied(_) => "does not answer".into(),
        });
    }
    if sentinel.names != Names::Member(master) {
        return Some("names another master, or none".into());
    }
    let known = sentinel.peers.iter().flatten().filter(|peer| !peer.is_lost()).count();
    let wanted = sentinels.desired().saturating_sub(1);
    (known < wanted).then(|| format!("reaches {known} of {wanted} other Sentinels"))
}

/// The targets of these actions, each once.
fn named_targets(actions: &[Action]) -> String {
    let mut names: Vec<&str> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Sentinel(action) => Some(action.id.as_str()),
            Action::Configure(action) => Some(action.id.as_str()),
            Action::Promote(_)
            | Action::Follow(_)
            | Action::Demote(_)
            | Action::Handover(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Restart(_)
            | Action::Cluster(_) => None,
        })
        .collect();
    names.dedup();
    names.join(", ")
}

/// On top of a replica's own priority. Both are 32-bit numbers to Redis.
const BEHIND: u64 = 2_000_000_000;
/// The own priorities that leave room for it.
const BEHIND_MAX: u64 = 147_483_647;
/// After a change of master the host's own hello reaches each within some milliseconds.
const TELLING_US: u64 = 1_000_000;
/// What it has known for a second is no race with what the host sees.
const KNOWN_MS: u64 = 1_000;
const REWRITE_AGAIN_MS: u64 = 10_000;
/// Less than a Sentinel waits before it makes a replica of a master (8 s), and more than it needs to
/// know its own replicas again.
const STRANGER_AGAIN_MS: u64 = 3_000;
/// A Sentinel does nothing that takes this long.
const HUNG_US: u64 = 10_000_000;
const RESTART_AGAIN_US: u64 = 60_000_000;
