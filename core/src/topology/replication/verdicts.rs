//! A verdict per instance: role, health with its proof, and its place in the order of succession.

use super::absence::plight;
use super::actions::reported_role;
use super::election::succession;
use super::in_sync::{lag_bytes, not_in_sync};
use super::ineligible::{Ineligible, unfit};
use super::refused::refused_promotion;
use super::role::LossKind;
use super::scene::Scene;
use super::view::{Member, View};
use crate::contract::{Assignment, Health, Instance, InstanceKind, Member as Verdict, Role};
use crate::facts::{History, Relation};
use crate::health::{Life, duration};
use crate::observed::sorted;

/// One verdict for every instance, sorted by id.
pub fn verdicts(scene: &Scene, goal: Option<usize>) -> Vec<Verdict> {
    let view = &scene.view;
    let ineligible = ineligible(scene, goal);
    let ranks = ranks(scene, &ineligible);
    let mut verdicts: Vec<Option<Verdict>> = (0..view.members.len())
        .map(|index| {
            let member = &view.members[index];
            let (health, proof) = health(scene, index);
            let is_master = scene.master() == Some(index);
            Some(Verdict {
                id: view.id(index).to_owned(),
                role: if member.answers { reported_role(member) } else { Role::Unknown },
                assigned: goal.map(|goal| assignment(view, goal, index)),
                health,
                proof,
                rank: ranks[index],
                ineligible: ineligible[index].filter(|_| !is_master).map(|why| why.name().to_owned()),
                lag_bytes: scene.master().and_then(|master| lag_bytes(member, &view.members[master])),
            })
        })
        .collect();
    let others = view.observation.instances.iter().filter(|instance| instance.kind != InstanceKind::Redis);
    verdicts.extend(others.map(|instance| Some(not_judged(instance))));
    let order = {
        let id = |index: usize| verdicts[index].as_ref().map(|verdict| &verdict.id);
        sorted(verdicts.len(), &|one, other| id(one).cmp(&id(other)))
    };
    order.into_iter().filter_map(|index| verdicts[index].take()).collect()
}

fn not_judged(instance: &Instance) -> Verdict {
    Verdict {
        id: instance.id.clone(),
        role: Role::Unknown,
        assigned: None,
        health: Health::Suspect,
        proof: "this policy does not judge sentinels".into(),
        rank: None,
        ineligible: Some(Ineligible::NotRedis.name().into()),
        lag_bytes: None,
    }
}

/// Per member, what keeps it from becoming master.
fn ineligible(scene: &Scene, goal: Option<usize>) -> Vec<Option<Ineligible>> {
    let reference = reference(scene);
    let is_foreign = |member: &Member| {
        let is_related = |other: &History| {
            member.history().is_some_and(|history| history.relation(other) != Relation::Unrelated)
        };
        reference.as_ref().is_some_and(|reference| !is_related(reference))
    };
    // The goal of a plan may have refused, and is asked again.
    let refuses = |index: usize| goal != Some(index) && refused_promotion(&scene.view, index).is_some();
    let members = scene.view.members.iter().enumerate();
    members
        .map(|(index, member)| {
            unfit(member)
                .or_else(|| is_foreign(member).then_some(Ineligible::ForeignHistory))
                .or_else(|| refuses(index).then_some(Ineligible::PromotionRefused))
        })
        .collect()
}

/// Per member, its place in the order of succession, from 1.
fn ranks(scene: &Scene, ineligible: &[Option<Ineligible>]) -> Vec<Option<u16>> {
    let heirs: Vec<usize> = (0..ineligible.len())
        .filter(|&index| scene.master() != Some(index) && ineligible[index].is_none())
        .collect();
    let mut ranks = vec![None; ineligible.len()];
    for (place, index) in succession(&scene.view, reference(scene).as_ref(), &heirs).into_iter().enumerate() {
        ranks[index] = u16::try_from(place + 1).ok();
    }
    ranks
}

/// The history of the master, or of the one that lost the role.
fn reference<'a>(scene: &Scene<'a>) -> Option<History<'a>> {
    let index = scene.master().or_else(|| scene.lost().and_then(|lost| lost.index))?;
    scene.view.members[index].history().copied()
}

/// Every member of a replication group replicates the one that is to be master.
fn assignment(view: &View, goal: usize, index: usize) -> Assignment {
    let is_master = index == goal;
    Assignment {
        shard: 0,
        role: if is_master { Role::Master } else { Role::Replica },
        master: (!is_master).then(|| view.id(goal).to_owned()),
    }
}

fn health(scene: &Scene, index: usize) -> (Health, String) {
    let member = &scene.view.members[index];
    let why = || plight(&scene.view, index).map(|why| format!(": {why}")).unwrap_or_default();
    if member.twin.is_some() {
        return (Health::Alive, plight(&scene.view, index).unwrap_or_default());
    }
    match scene.view.life(index) {
        Life::Gone(gone) => (Health::Dead, gone.proof),
        Life::Silent { for_us } => (Health::Silent, format!("no reply for {}{}", duration(for_us), why())),
        Life::Suspect { for_us } => {
            (Health::Suspect, format!("no good reply for {}{}", duration(for_us), why()))
        }
        Life::Occupied(word) => (Health::Alive, format!("it answers only {word}")),
        Life::Locked => (Health::Suspect, "it does not accept the operator's credentials".into()),
        Life::Answers if scene.master() == Some(index) => (Health::InSync, "it is the master".into()),
        Life::Answers => match (scene.lost().filter(|lost| lost.index == Some(index)), scene.master()) {
            (Some(lost), _) => match lost.kind {
                LossKind::Amnesic { .. } => {
                    (Health::Amnesic, "it restarted without the data that its replicas have".into())
                }
                LossKind::CameBackEmpty => (
                    Health::Amnesic,
                    "it restarted without data, and members that may have the data do not answer yet".into(),
                ),
                LossKind::Abdicated | LossKind::OutOfSight | LossKind::Vanished => {
                    (Health::Abdicated, "the others follow it, but it is no valid master".into())
                }
            },
            (None, Some(master)) => match not_in_sync(&scene.view, index, master) {
                None => {
                    (Health::InSync, "its master lists it as online, and its lag is within the limit".into())
                }
                Some(_) if member.is_master() => {
                    (Health::Alive, "it reports role master, but is not the group's master".into())
                }
                Some(why) => (Health::Syncing, why),
            },
            (None, None) => (Health::Alive, "it answers".into()),
        },
    }
}
