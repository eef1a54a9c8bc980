//! x
pub mod world;
