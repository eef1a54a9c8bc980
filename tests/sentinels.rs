//! Real Sentinels beside the operator: votes, promotion, hello, rewrite and settings, on each version; and
//! `static --sentinels` from the command line. See `sentinels/rig.rs` for the set-up.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "tests")]

#[path = "sentinels/alone.rs"]
mod alone;
#[path = "sentinels/command_line.rs"]
mod command_line;
#[path = "sentinels/encrypted.rs"]
mod encrypted;
#[path = "sentinels/events.rs"]
mod events;
#[path = "sentinels/healing.rs"]
mod healing;
#[path = "sentinels/modes.rs"]
mod modes;
#[path = "sentinels/pace.rs"]
mod pace;
#[path = "sentinels/passwords.rs"]
mod passwords;
#[path = "sentinels/promoting.rs"]
mod promoting;
#[path = "sentinels/rig.rs"]
mod rig;
#[path = "sentinels/switching.rs"]
mod switching;
#[path = "sentinels/voting.rs"]
mod voting;
