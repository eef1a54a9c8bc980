//! What the tests and benchmarks of this crate share: servers as they are seen, as they behave, and as they
//! are, and policies that misbehave.

pub mod cluster;
pub mod faults;
pub mod info;
pub mod members;
pub mod model;
pub mod policies;
pub mod real;
pub mod registry;
pub mod seeds;
pub mod world;
