//! The failover engine: an [`contract::Observation`] in, a [`contract::Decision`] out. Pure: no I/O, clock,
//! randomness, logging, threads or hash maps.
//!
//! ```text
//! component.rs   the generated types; with arena.rs the only file that knows WebAssembly
//! facts/         reply text to typed facts; replication positions, only partially ordered
//! observed.rs    reading an Observation: replies, ids, sorting
//! health.rs      one instance: alive, suspect, silent, dead, each with its proof
//! places.rs      which instance an address means
//! json.rs        JSON text to values
//! mutant.rs      what `make mutants` leaves out; nothing in the product
//! reason.rs      what a reason is
//! text.rs        sentences for people, bounded
//! rules.rs       what a rule is: the first that applies decides
//! topology/      the course of a decision, and a folder for each topology
//! ```
//!
//! A file knows those above it, and not those below; nothing outside of its folder knows a topology, but for
//! the list of this file.

pub mod facts;
pub mod mutant;
pub mod reason;
pub mod topology;

#[cfg(target_arch = "wasm32")]
mod arena;
mod component;
mod health;
mod json;
mod observed;
mod places;
mod rules;
mod text;

/// The types of `wit/failover.wit`, as wit-bindgen makes them. Documented there.
pub use component::contract;

use contract::{Decision, Description, Observation};
use reason::{Reason, UNSUPPORTED_TOPOLOGY};
use topology::Served;
use topology::replication::Replication;
use topology::sentinel::Sentinel;

/// The topologies that this policy decides for.
const SERVED: &[Served] = &[Served::of::<Replication>(), Served::of::<Sentinel>()];

/// What this policy is.
pub fn describe() -> Description {
    Description {
        name: "default".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        summary: "Proof before promotion, lineage before offsets, data before priority.".into(),
        parameters_schema: parameters_schema(),
        topologies: SERVED.iter().map(|served| served.topology).collect(),
        wants: SERVED.iter().flat_map(|served| (served.wants)()).collect(),
    }
}

/// What should be done now. Total: every observation gets an answer.
pub fn decide(observation: &Observation) -> Decision {
    match SERVED.iter().find(|served| served.topology == observation.group.topology) {
        Some(served) => (served.decide)(observation),
        None => {
            let names: Vec<&str> = SERVED.iter().map(|served| served.name).collect();
            let text = format!("this policy decides for {} only", names.join(" and "));
            topology::refuse::<Replication>(observation, UNSUPPORTED_TOPOLOGY, text)
        }
    }
}

/// Every reason that a decision may have, in the order of the rules.
pub fn reasons() -> impl Iterator<Item = Reason> {
    reason::ALL.iter().chain(SERVED.iter().flat_map(|served| served.reasons)).copied()
}

/// The rules, by the first reason of each, in their order.
pub fn rules() -> impl Iterator<Item = &'static str> {
    // A section of another topology's table has no name of its own.
    SERVED.iter().flat_map(|served| (served.rules)()).filter(|name| !name.is_empty())
}

/// The schema of every topology, once; of several, one of theirs.
fn parameters_schema() -> String {
    let mut schemas: Vec<String> = SERVED.iter().map(|served| (served.parameters_schema)()).collect();
    schemas.dedup();
    match &schemas[..] {
        [only] => only.clone(),
        several => format!("{{\"anyOf\": [{}]}}", several.join(", ")),
    }
}
