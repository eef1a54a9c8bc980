//! The failover engine: an [`contract::Observation`] in, a [`contract::Decision`] out. Pure: no I/O, clock,
//! randomness, logging, threads or hash maps.
//!
//! ```text
//! component.rs   the generated types; with arena.rs the only file that knows WebAssembly
//! facts/         reply text to typed facts; replication positions, only partially ordered
//! view.rs        an Observation indexed once
//! parameters.rs  what a user may set
//! health.rs      one instance: alive, suspect, silent, dead, each with its proof
//! mastership.rs  the group: who is master, by proof
//! election.rs    who takes over: eligibility, a total order
//! surrender.rs   what following a master would cost a member
//! rules.rs       the first rule that applies decides
//! topology/      the ordered rules, one module a topology
//! reason.rs      the documented list of reasons
//! verdicts.rs    a verdict per instance
//! ```

pub mod facts;
pub mod reason;

#[cfg(target_arch = "wasm32")]
mod arena;
mod component;
mod election;
mod health;
mod mastership;
mod parameters;
mod rules;
mod surrender;
mod topology;
mod verdicts;
mod view;

/// The types of `wit/failover.wit`, as wit-bindgen makes them. Documented there.
pub use component::contract;

use contract::{
    Decision, Description, InstanceKind, Loss, Observation, Progress, Shard, ShardVerdict, Topology, Verdict,
    Want,
};
use parameters::Parameters;
use reason::Reason;
use rules::{Ruling, Scene, first};
use view::View;

/// What this policy is.
pub fn describe() -> Description {
    Description {
        name: "default".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        summary: "Proof before promotion, lineage before offsets, data before priority.".into(),
        parameters_schema: parameters::SCHEMA.into(),
        topologies: vec![Topology::Replication],
        wants: vec![Want {
            topology: Topology::Replication,
            kind: InstanceKind::Redis,
            arguments: topology::replication::FENCE_COMMAND.split(' ').map(str::to_owned).collect(),
        }],
    }
}

/// What should be done now. Total: every observation gets an answer.
pub fn decide(observation: &Observation) -> Decision {
    let defaults = Parameters::default();
    if let Some(fault) = invalid(observation) {
        return answer(&View::new(observation, &defaults), Reason::InvalidObservation, Ruling::refuse(fault));
    }
    let parameters = match Parameters::parse(&observation.parameters) {
        Ok(parameters) => parameters,
        Err(error) => {
            return answer(
                &View::new(observation, &defaults),
                Reason::InvalidParameters,
                Ruling::refuse(format!("the parameters are wrong: {error}")),
            );
        }
    };
    let view = View::new(observation, &parameters);
    match observation.group.topology {
        Topology::Replication => {}
        Topology::Sentinel | Topology::Cluster => {
            return answer(
                &view,
                Reason::UnsupportedTopology,
                Ruling::refuse("this policy decides for replication only".into()),
            );
        }
    }
    let scene = Scene::new(&view);
    let (reason, ruling) = first(topology::replication::RULES, &scene).unwrap_or_else(|| {
        let text = "no master could be made out yet".into();
        (Reason::MasterSuspect, Ruling::wait(text, rules::CHANGING_LOOK_US))
    });
    assemble(&scene, reason, ruling)
}

fn invalid(observation: &Observation) -> Option<String> {
    let is_one_shard = matches!(&observation.shards[..], [Shard { index: 0, .. }]);
    if observation.group.topology == Topology::Replication && !is_one_shard {
        return Some(format!(
            "a replication group has one shard, of index 0, and not {}",
            observation.shards.len()
        ));
    }
    let id = |index: usize| observation.instances[index].id.as_str();
    let order = view::sorted(observation.instances.len(), &|one, other| id(one).cmp(id(other)));
    if order.first().is_some_and(|&first| id(first).is_empty()) {
        return Some("an instance has an empty id".into());
    }
    order
        .windows(2)
        .find(|pair| id(pair[0]) == id(pair[1]))
        .map(|pair| format!("two instances have the id {}", id(pair[0])))
}

fn answer(view: &View, reason: Reason, ruling: Ruling) -> Decision {
    assemble(&Scene::new(view), reason, ruling)
}

fn assemble(scene: &Scene, reason: Reason, ruling: Ruling) -> Decision {
    let request = topology::replication::answer(scene, (reason, &ruling.explanation));
    let Ruling { verdict, explanation, goal, stages, loss, next_look_us } = ruling;
    let is_paused = scene.observation().group.paused;
    let acts = verdict == Verdict::Act;
    let (explanation, progress) = match (is_paused, acts) {
        (true, true) => (format!("the group is paused; otherwise: {explanation}"), Progress::Hindered),
        (true, false) => (format!("the group is paused; {explanation}"), reason.progress(verdict)),
        (false, _) => (explanation, reason.progress(verdict)),
    };
    // A member that claims the role while others have their time to appear must not be published.
    let master = scene.master().filter(|_| reason != Reason::BootstrapWaiting);
    let goal = if is_paused { master } else { goal.or(master) };
    Decision {
        verdict,
        reason: reason.name().into(),
        explanation,
        progress,
        shards: shards(scene, (master, goal), loss.filter(|_| !is_paused)),
        members: verdicts::verdicts(scene, goal),
        request,
        stages: if acts && !is_paused { stages } else { Vec::new() },
        next_look_us: if is_paused { next_look_us.max(rules::STEADY_LOOK_US) } else { next_look_us },
    }
}

/// What is true of each shard. A replication group has one; of others nothing is known here.
fn shards(
    scene: &Scene,
    (master, goal): (Option<usize>, Option<usize>),
    loss: Option<Loss>,
) -> Vec<ShardVerdict> {
    let name = |index: Option<usize>| index.map(|index| scene.id(index).to_owned());
    let is_one = scene.observation().shards.len() == 1;
    let verdict = |shard: &Shard| ShardVerdict {
        index: shard.index,
        master: name(master.filter(|_| is_one)),
        master_goal: name(goal.filter(|_| is_one)),
        loss: loss.filter(|_| is_one),
    };
    scene.observation().shards.iter().map(verdict).collect()
}
