//! Situations that leave no choice: a group has been without a master for ten minutes, and a member with all
//! data answers. A policy may wait for as long as it likes; one that still waits then waits for ever.
//!
//! Scenarios cannot ask this: in each of them a policy may differ from the embedded one, and the guard
//! forbids no waiting. The ages leave no doubt: longer than any cool-down, fence or wait for members.

use crate::contract::{Action, Decision, Observation, same};
use redis_model::World;

/// One situation.
pub(super) struct Drill {
    /// What happened, and in a group of how many members.
    pub name: String,
    pub observation: Observation,
    passes: fn(&Decision) -> bool,
}

impl Drill {
    /// What is wrong with a decision. None: it takes over.
    pub fn difference(&self, decision: &Decision) -> Option<String> {
        let said = || {
            let letters = decision.explanation.chars().filter(|letter| !letter.is_control());
            let explanation: String = letters.take(200).collect();
            format!("its answer is {:?}, {}: {explanation}", decision.verdict, decision.reason)
        };
        (!(self.passes)(decision)).then(said)
    }
}

/// All of them.
pub(super) fn drills() -> Vec<Drill> {
    type Kind = (&'static str, fn(&mut World));
    let kinds: [Kind; 4] = [
        ("the master's process has ended", killed),
        ("the master's container has ended", terminated),
        ("the master has hung", hung),
        ("the master has been a replica of itself", abdicated),
    ];
    let lost = kinds.iter().flat_map(|(what, breaks)| {
        SIZES.map(|size| {
            let mut world = World::healthy(size);
            world.shard().no_master_age_us = LONG_US;
            breaks(&mut world);
            drill(format!("{what} for ten minutes, {size} members"), &world, promotes)
        })
    });
    let first = SIZES.map(|size| {
        let world = World::strangers(size);
        drill(format!("{size} empty masters without a record"), &world, plans)
    });
    lost.chain(first).collect()
}

fn drill(name: String, world: &World, passes: fn(&Decision) -> bool) -> Drill {
    Drill { name, observation: same(&world.observe()), passes }
}

fn killed(world: &mut World) {
    world.kill(MASTER);
    let link = &mut world.at(MASTER).seen.link;
    (link.state_age_us, link.alive_age_us, link.closed_age_us) = (LONG_US, Some(LONG_US), Some(LONG_US));
    if let Some(refusals) = &mut link.refusals {
        (refusals.count, refusals.first_age_us) = (1_000, LONG_US);
    }
    links_down(world);
}

fn terminated(world: &mut World) {
    world.servers.iter_mut().for_each(|server| _ = server.in_pod());
    killed(world);
    let master = world.at(MASTER);
    master.seen.link.refusals = None;
    let pod = master.in_pod();
    (pod.running, pod.ready, pod.started_age_us) = (false, false, None);
}

fn hung(world: &mut World) {
    world.hang(MASTER, LONG_US);
    links_down(world);
}

fn abdicated(world: &mut World) {
    world.at(MASTER).follow_itself();
    links_down(world);
}

/// The replicas know it, too.
fn links_down(world: &mut World) {
    world.at(MASTER).seen.age_us = world.at(MASTER).seen.link.alive_age_us;
    let (host, port) = (world.at(MASTER).host.clone(), world.at(MASTER).port);
    for server in world.servers.iter_mut().filter(|server| server.id != MASTER) {
        server.follow(&host, port);
        server.link_down(LONG_US / 1_000_000);
    }
}

fn promotes(decision: &Decision) -> bool {
    let mut actions = decision.stages.first().into_iter().flat_map(|stage| &stage.actions);
    actions.any(|action| matches!(action, Action::Promote(_)))
}

fn plans(decision: &Decision) -> bool {
    decision.stages.first().is_some_and(|stage| !stage.actions.is_empty())
}

/// The first member of the model's groups.
const MASTER: &str = "redis-1";
/// Of two members a policy may demand both; five have a majority to spare.
const SIZES: [usize; 2] = [3, 5];
const LONG_US: u64 = 600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_takes_over_in_each_and_a_wait_does_not_pass() {
        let drills = drills();
        assert_eq!(drills.len(), 10);
        for drill in drills {
            let decision: Decision = same(&failover_core::decide(&same(&drill.observation)));
            assert_eq!(drill.difference(&decision), None, "{}", drill.name);
            let waits = Decision { stages: vec![], explanation: "a\nb".into(), ..decision };
            let why = drill.difference(&waits).unwrap();
            assert!(!why.contains('\n') && why.contains(&waits.reason), "{why}");
        }
    }
}
