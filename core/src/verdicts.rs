//! A verdict per instance: role, health with its proof, and its place in the order of succession.

use crate::contract::{Assignment, Health, InstanceKind, Member as Verdict, Role};
use crate::election::{succession, unfit};
use crate::facts::Relation;
use crate::health::{Life, duration, life};
use crate::mastership::How;
use crate::rules::Scene;
use crate::topology::replication::{lacks, lag_bytes, role};
use crate::view::{View, sorted};

/// One verdict for every instance, sorted by id.
pub fn verdicts(scene: &Scene, goal: Option<usize>) -> Vec<Verdict> {
    let view = scene.view;
    let reference = scene
        .master()
        .or_else(|| scene.lost().and_then(|lost| lost.index))
        .and_then(|index| view.members[index].history().copied());
    let is_foreign = |index: usize| {
        let related = |other: &crate::facts::History| {
            view.members[index]
                .history()
                .is_some_and(|history| history.relation(other) != Relation::Unrelated)
        };
        reference.as_ref().is_some_and(|reference| !related(reference))
    };
    let ineligible =
        |index: usize| unfit(&view.members[index]).or_else(|| is_foreign(index).then_some("foreign-history"));
    let heirs: Vec<usize> = (0..view.members.len())
        .filter(|&index| scene.master() != Some(index) && ineligible(index).is_none())
        .collect();
    let heirs = succession(view, reference.as_ref(), &heirs);
    let mut ranks = vec![None; view.members.len()];
    for (place, &index) in heirs.iter().enumerate() {
        ranks[index] = u16::try_from(place + 1).ok();
    }
    let mut verdicts: Vec<Option<Verdict>> = (0..view.members.len())
        .map(|index| {
            let member = &view.members[index];
            let (health, proof) = health(scene, index);
            let is_master = scene.master() == Some(index);
            Some(Verdict {
                id: view.id(index).to_owned(),
                role: if member.answers { role(member) } else { Role::Unknown },
                assigned: goal.map(|goal| assignment(view, goal, index)),
                health,
                proof,
                rank: ranks[index],
                ineligible: if is_master { None } else { ineligible(index).map(str::to_owned) },
                lag_bytes: scene.master().and_then(|master| lag_bytes(member, &view.members[master])),
            })
        })
        .collect();
    let others = view.observation.instances.iter().filter(|instance| instance.kind != InstanceKind::Redis);
    verdicts.extend(others.map(|instance| {
        Some(Verdict {
            id: instance.id.clone(),
            role: Role::Unknown,
            assigned: None,
            health: Health::Suspect,
            proof: "this policy does not judge sentinels".into(),
            rank: None,
            ineligible: Some("not-redis".into()),
            lag_bytes: None,
        })
    }));
    let order = sorted(verdicts.len(), &|one, other| {
        verdicts[one]
            .as_ref()
            .map(|verdict| &verdict.id)
            .cmp(&verdicts[other].as_ref().map(|verdict| &verdict.id))
    });
    order.into_iter().filter_map(|index| verdicts[index].take()).collect()
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
    match life(scene.view, member) {
        Life::Gone(gone) => (Health::Dead, gone.proof),
        Life::Silent { for_us } => (Health::Silent, format!("no reply for {}", duration(for_us))),
        Life::Suspect { for_us } => (Health::Suspect, format!("no good reply for {}", duration(for_us))),
        Life::Occupied(word) => (Health::Alive, format!("it answers only {word}")),
        Life::Locked => (Health::Suspect, "it does not accept the operator's credentials".into()),
        Life::Answers if scene.master() == Some(index) => (Health::InSync, "it is the master".into()),
        Life::Answers => match (scene.lost().filter(|lost| lost.index == Some(index)), scene.master()) {
            (Some(lost), _) => match lost.how {
                How::Amnesic { .. } => {
                    (Health::Amnesic, "it came back without the data that its replicas have".into())
                }
                How::Bare => (
                    Health::Amnesic,
                    "it came back without data, and who may have it is still to come".into(),
                ),
                How::Abdicated | How::OutOfSight | How::Vanished => {
                    (Health::Abdicated, "the others name it as their master, and it is none".into())
                }
            },
            (None, Some(master)) => match lacks(scene.view, index, master) {
                None => (Health::InSync, "its master's row says online, and its lag is bounded".into()),
                Some(_) if member.is_master() => {
                    (Health::Alive, "it answers as a master and is not the group's".into())
                }
                Some(why) => (Health::Syncing, why),
            },
            (None, None) => (Health::Alive, "it answers".into()),
        },
    }
}
