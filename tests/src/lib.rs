//! What the tests of this crate share: servers as they are seen, servers as they behave, and policies that misbehave.

pub mod faults;
pub mod info;
pub mod model;
pub mod policies;
pub mod seeds;
pub mod world;
