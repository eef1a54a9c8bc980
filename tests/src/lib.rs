//! What the tests and benchmarks of this crate share: real servers, simulated ones that can be dialled, a
//! cluster, and policies that misbehave. The model of Redis is a crate of its own, `redis-model`.

pub mod cluster;
pub mod members;
pub mod policies;
pub mod real;
pub mod registry;
