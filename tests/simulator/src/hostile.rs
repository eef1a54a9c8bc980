//! A policy that lies: most of its decisions are the engine's with one thing changed at random, so that they
//! are well-formed and wrong. What the guard lets pass of them must do no harm that an invariant would
//! notice.

use crate::lies::expectation;
use crate::policies::Native;
use redis_model::Dice;
use redis_operator::contract::{
    Action, Configure, Decision, Demote, Evidence, Fence, Follow, Handover, KickClients, Loss, Observation,
    Progress, Promote, Promotion, Stage, Topology, Unfence, Verdict, Want,
};
use redis_operator::policy::{Policy, PolicyFault};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A policy that lies, until it is told to be honest.
pub struct Hostile {
    dice: Mutex<Dice>,
    is_honest: AtomicBool,
}

impl Hostile {
    /// With these dice.
    pub fn new(seed: u64) -> Arc<Self> {
        // Other dice than those of the schedule.
        Arc::new(Self { dice: Mutex::new(Dice::new(!seed)), is_honest: AtomicBool::new(false) })
    }

    /// From now on it decides as the engine does.
    pub fn become_honest(&self) {
        self.is_honest.store(true, Ordering::Relaxed);
    }
}

impl Policy for Hostile {
    fn title(&self) -> &str {
        "hostile"
    }

    fn digest(&self) -> &str {
        "hostile"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        Native.wants(topology)
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let mut decision = Native.decide(observation)?;
        if !self.is_honest.load(Ordering::Relaxed) {
            twist(&mut self.dice.lock().unwrap_or_else(PoisonError::into_inner), observation, &mut decision);
        }
        Ok(decision)
    }
}

fn twist(dice: &mut Dice, observation: &Observation, decision: &mut Decision) {
    let ids: Vec<&str> = observation.instances.iter().map(|instance| instance.id.as_str()).collect();
    let any = |dice: &mut Dice| dice.pick(&ids).map_or_else(String::new, |id| (*id).to_owned());
    match dice.below(20) {
        0..=8 => {}
        9 => decision.shards.iter_mut().for_each(|shard| shard.master = Some(any(dice))),
        10 => decision.shards.iter_mut().for_each(|shard| shard.master = None),
        11 => {
            let bytes = dice.one_of([Some(0), Some(1), None]);
            decision.shards.iter_mut().for_each(|shard| shard.loss = Some(Loss { bytes }));
        }
        12 => decision.shards.iter_mut().for_each(|shard| shard.loss = None),
        13 => still(decision, Verdict::Healthy, Progress::Settled),
        14 => still(decision, Verdict::Wait, Progress::Changing),
        _ => {
            let (id, other) = (any(dice), any(dice));
            if let Some(action) = action(dice, observation, id, other) {
                decision.verdict = Verdict::Act;
                decision.progress = Progress::Changing;
                let stage = Stage { summary: "hostile".into(), actions: vec![action] };
                if dice.chance(500) {
                    decision.stages = vec![stage];
                } else {
                    decision.stages.insert(0, stage);
                }
            }
        }
    }
}

fn still(decision: &mut Decision, verdict: Verdict, progress: Progress) {
    (decision.verdict, decision.progress) = (verdict, progress);
    decision.stages.clear();
    decision.shards.iter_mut().for_each(|shard| shard.master_goal = None);
}

fn action(dice: &mut Dice, observation: &Observation, id: String, other: String) -> Option<Action> {
    let expect = expectation(observation, &id)?;
    Some(match dice.below(16) {
        0..=4 => Action::Promote(Promote {
            source: dice.chance(700).then_some(other),
            meant_for: id.clone(),
            id,
            evidence: dice.one_of([
                Evidence::Requested,
                Evidence::Dead,
                Evidence::Abdicated,
                Evidence::Amnesic,
                Evidence::Silent,
                Evidence::Bootstrap,
            ]),
            how: Promotion::ReplicaofNoOne,
            completes: vec![],
            expect,
        }),
        5..=8 => Action::Follow(Follow {
            id,
            master: other,
            discards_bytes: dice.one_of([Some(0), Some(0), Some(1 << 40), None]),
            expect,
        }),
        9 | 10 => Action::Demote(Demote { id, expect }),
        11 | 12 => Action::Handover(Handover {
            expect_target: expectation(observation, &other)?,
            meant_for: other.clone(),
            source: id,
            target: other,
            pause_max_ms: dice.one_of([1, 500, 3_000]),
            expect_source: expect,
        }),
        13 => Action::Fence(Fence { id, max_ms: dice.one_of([10, 2_000]), expect }),
        14 => {
            if dice.chance(500) {
                Action::Unfence(Unfence { id, expect })
            } else {
                Action::KickClients(KickClients { id, expect })
            }
        }
        _ => {
            let directives =
                [("min-replicas-to-write", "0"), ("min-replicas-to-write", "1"), ("replica-priority", "0")];
            let (directive, to) = dice.one_of(directives);
            Action::Configure(Configure { id, directive: directive.into(), to: to.into(), expect })
        }
    })
}
