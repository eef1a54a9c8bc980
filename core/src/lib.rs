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

use contract::{Decision, Description, InstanceKind, Observation, Topology, Verdict, Want};
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
        (
            Reason::MasterSuspect,
            Ruling::wait("no master could be made out yet".into(), rules::CHANGING_LOOK_US),
        )
    });
    if observation.group.paused {
        let text = format!("the group is paused; otherwise {}: {}", reason.name(), ruling.explanation);
        return assemble(&scene, Reason::Paused, Ruling::wait(text, rules::STEADY_LOOK_US));
    }
    assemble(&scene, reason, ruling)
}

fn invalid(observation: &Observation) -> Option<String> {
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
    let Ruling { verdict, explanation, goal, stages, known_loss_bytes, next_look_us } = ruling;
    let name = |index: usize| scene.id(index).to_owned();
    let act = verdict == Verdict::Act;
    // Whoever claims the role while others have their time to appear must not be made known.
    let master = scene.master().filter(|_| reason != Reason::BootstrapWaiting);
    Decision {
        verdict,
        reason: reason.name().into(),
        explanation,
        master: master.map(name),
        master_goal: goal.or(master).map(name),
        members: verdicts::verdicts(scene),
        stages: if act { stages } else { Vec::new() },
        known_loss_bytes,
        next_look_us,
    }
}
