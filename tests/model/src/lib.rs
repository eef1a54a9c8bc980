//! One model of Redis, for conformance checks, scenarios, properties, load and simulation.
//!
//! | module | owns |
//! |--|--|
//! | [`has`] | the state of one server: role, history, offset, keys |
//! | [`says`] | what a server in that state replies: INFO, ROLE, CONFIG GET, in the words of each version |
//! | [`does`] | what a command does to that state: REPLICAOF, partial and full copies, a restart |
//! | [`sentinel`] | a Sentinel and what it says |
//! | [`seen`] | how a host sees a server: its connection, the age of its replies, its Pod |
//! | [`group`] | several servers, and what their host remembers: an Observation |
//! | [`dice`] | seeded choices: equal seeds give equal worlds |
//! | [`live`] | servers that live: processes, links, disks, connections and clients, on a caller's clock |
//! | [`truth`] | what servers truly have beside what they report; they carry out plans |
//! | [`faults`] | seeded groups in which something has happened |
//! | [`wire`] | requests out of bytes |
//! | [`random`] | seeded observations, for the check of a policy |
//! | [`scenario`] | files of situations and of what is to be decided |
//!
//! Pure but for the reading of scenario files: no I/O, no clock, no threads. Time is a number in the state,
//! so that the same model answers under a real clock and under a virtual one. It never judges and never
//! decides.

pub mod dice;
pub mod does;
pub mod faults;
pub mod group;
pub mod has;
pub mod live;
pub mod random;
pub mod says;
pub mod scenario;
pub mod seen;
pub mod sentinel;
pub mod truth;
pub mod wire;

pub use dice::Dice;
pub use group::World;
pub use has::{Dialect, MasterLink, Role, Row, Server, id40};
