//! Policies that trap, lie and idle, in the place of the honest one. Each is the embedded policy, whose
//! answer a lie changes: so it is right in all that the lie does not touch.

use redis_model::Dice;
use redis_operator::contract::{
    Action, Configure, Decision, Expectation, Fence, KickClients, Loss, Observation, Stage, Topology,
    Verdict, Want,
};
use redis_operator::policy::{Policy, PolicyFault};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a policy does in place of deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// Nothing: it is honest.
    None,
    /// It traps.
    Traps,
    /// Every third answer is a trap.
    TrapsAtTimes,
    /// All is well, with the recorded master.
    Healthy,
    /// It waits.
    Waits,
    /// It finds no member eligible.
    Refuses,
    /// It names another master than the recorded one, and plans nothing.
    Names,
    /// Nothing was lost.
    NoLoss,
    /// It promotes another member than the engine would.
    Promotes,
    /// It pauses the writes of the master, again and again.
    Fences,
    /// It disconnects the clients of the master, again and again.
    Kicks,
    /// It sets directives of the master to values that stop its writes.
    Configures,
    /// It demotes the master.
    Demotes,
}

const LIES: [Lie; 12] = [
    Lie::Traps,
    Lie::TrapsAtTimes,
    Lie::Healthy,
    Lie::Waits,
    Lie::Refuses,
    Lie::Names,
    Lie::NoLoss,
    Lie::Promotes,
    Lie::Fences,
    Lie::Kicks,
    Lie::Configures,
    Lie::Demotes,
];

impl Lie {
    /// One of them, honesty included.
    pub fn any(dice: &mut Dice) -> Self {
        if dice.chance(150) { Self::None } else { dice.one_of(LIES) }
    }
}

/// A policy that lies.
pub struct Liar {
    /// The embedded policy.
    pub honest: Arc<dyn Policy>,
    /// The lie.
    pub lie: Lie,
    /// Another file each time: what was in quarantine is not this one.
    pub digest: String,
}

impl Policy for Liar {
    fn title(&self) -> &str {
        "liar 1.0.0"
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn serves(&self, topology: Topology) -> bool {
        self.honest.serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.honest.wants(topology)
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let decision = self.honest.decide(observation)?;
        let recorded = observation.published().map(|record| record.master.clone());
        let idle = |verdict, decision: Decision| Decision { verdict, stages: vec![], ..decision };
        let master = decision.master().map(str::to_owned);
        let act = |decision: Decision, action: Option<Action>| match action {
            Some(action) => {
                let stages = vec![Stage { summary: "lie".into(), actions: vec![action] }];
                Decision { verdict: Verdict::Act, stages, ..decision }
            }
            None => decision,
        };
        let expect = || expectation(observation, master.as_deref()?);
        let of_master = |make: &dyn Fn(String, Expectation) -> Action| Some(make(master.clone()?, expect()?));
        Ok(match self.lie {
            Lie::None => decision,
            Lie::Traps => return Err(PolicyFault::Trap("unreachable".into())),
            Lie::TrapsAtTimes if decision.explanation.len().is_multiple_of(3) => {
                return Err(PolicyFault::Trap("unreachable".into()));
            }
            Lie::TrapsAtTimes => decision,
            Lie::Healthy => named(idle(Verdict::Healthy, decision), recorded),
            Lie::Waits => idle(Verdict::Wait, decision),
            Lie::Refuses => idle(Verdict::Refuse, decision),
            Lie::Names => {
                let mut ids = observation.instances.iter().rev().map(|instance| instance.id.clone());
                let other = ids.find(|id| Some(id) != recorded.as_ref());
                named(idle(Verdict::Wait, decision), other)
            }
            Lie::NoLoss => {
                let shards = decision.shards.into_iter().map(|shard| {
                    let loss = shard.loss.map(|_| Loss { bytes: Some(0) });
                    redis_operator::contract::ShardVerdict { loss, ..shard }
                });
                Decision { shards: shards.collect(), ..decision }
            }
            Lie::Promotes => promoting_another(observation, decision),
            Lie::Fences => {
                let action = of_master(&|id, expect| Action::Fence(Fence { id, max_ms: 10_000, expect }));
                act(decision, action)
            }
            Lie::Kicks => {
                let action = of_master(&|id, expect| Action::KickClients(KickClients { id, expect }));
                act(decision, action)
            }
            Lie::Configures => {
                let directive = || "min-replicas-to-write".to_owned();
                let action = of_master(&|id, expect| {
                    Action::Configure(Configure { id, directive: directive(), to: "1000".into(), expect })
                });
                act(decision, action)
            }
            Lie::Demotes => {
                let action =
                    of_master(&|id, expect| Action::Demote(redis_operator::contract::Demote { id, expect }));
                act(decision, action)
            }
        })
    }
}

fn named(decision: Decision, master: Option<String>) -> Decision {
    let shards = decision.shards.into_iter();
    let shards =
        shards.map(|shard| redis_operator::contract::ShardVerdict { master: master.clone(), ..shard });
    Decision { shards: shards.collect(), ..decision }
}

/// The last member in place of the one that the engine promotes.
fn promoting_another(observation: &Observation, mut decision: Decision) -> Decision {
    let Some(stage) = decision.stages.first_mut() else { return decision };
    for action in &mut stage.actions {
        let Action::Promote(promote) = action else { continue };
        let mut others = observation.instances.iter().rev().map(|instance| instance.id.clone());
        let Some(other) = others.find(|id| *id != promote.id) else { continue };
        let Some(expect) = expectation(observation, &other) else { continue };
        (promote.id, promote.meant_for, promote.expect) = (other.clone(), other, expect);
    }
    decision.stages.truncate(1);
    decision
}

/// What the newest replies of a member show.
pub fn expectation(observation: &Observation, id: &str) -> Option<Expectation> {
    use redis_operator::contract::{Role, Value};
    let instance = observation.instances.iter().find(|instance| instance.id == id)?;
    let row = |command: &str, name: &str| {
        let reply = instance.replies.iter().find(|reply| reply.command == command)?;
        match &reply.newest.as_ref()?.value {
            Value::Text(text) => {
                let mut lines = text.text.lines();
                lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
            }
            Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
        }
    };
    let role = match row("INFO replication", "role:")?.as_str() {
        "master" => Role::Master,
        "slave" => Role::Replica,
        _ => Role::Unknown,
    };
    Some(Expectation { run_id: row("INFO server", "run_id:")?, role, replid: None, node: None })
}
