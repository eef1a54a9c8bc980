//! Simulated members: many groups of servers in one process that speak the Redis protocol, to put load on an
//! operator. They have roles, histories, offsets and links that follow each other, and no data. What they
//! answer is compared with a real server.
//!
//! | file | owns |
//! |--|--|
//! | `group` | one group: who follows whom, and what a command does to that |
//! | `info` | INFO and ROLE, as Redis 7 prints them |
//! | `commands` | the commands that an operator sends, and their replies |
//! | `resp` | requests out of bytes |
//! | `serve` | sockets, and what the death of a member does to them |

mod commands;
mod group;
mod info;
mod resp;
mod serve;

pub use commands::Session;
pub use group::{Group, Link, Member, Role};
pub use serve::{Fleet, Told, place};

/// In each group.
pub const MEMBERS: usize = 3;
