//! What the tests of this crate share: servers as they are seen, and servers as they behave.

pub mod faults;
pub mod info;
pub mod model;
pub mod seeds;
pub mod world;
