//! Simulated members: many groups of servers in one process that speak the Redis protocol, to put load on an
//! operator. They have roles, histories, offsets and links that follow each other, and no data. What they
//! have and say is the model's (`redis-model`), and is compared with a real server.
//!
//! | file | owns |
//! |--|--|
//! | `group` | one group: who follows whom, and what a command does to that |
//! | `commands` | the commands that an operator sends, and their replies |
//! | `serve` | sockets, and what the death of a member does to them |

mod commands;
mod group;
mod serve;

pub use commands::Session;
pub use group::{Group, Member};
pub use serve::{Fleet, Told, place};

/// In each group.
pub const MEMBERS: usize = 3;
