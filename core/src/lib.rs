//! The failover engine: an [`contract::Observation`] in, a [`contract::Decision`] out. Pure: no I/O, clock, randomness,
//! logging, threads or hash maps.
//!
//! ```text
//! component.rs   the generated types; the only file that knows WebAssembly
//! facts/         reply text to typed facts; replication positions, only partially ordered
//! ```

pub mod facts;

mod component;

/// The types of `wit/failover.wit`, as wit-bindgen makes them. Documented there.
pub use component::contract;
