//! The `redis` room on real servers: what a link sees, and what each action does. See `redis_room/rig.rs` for
//! the set-up.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "redis_room/acting.rs"]
mod acting;
#[path = "redis_room/forms.rs"]
mod forms;
#[path = "redis_room/handover.rs"]
mod handover;
#[path = "redis_room/linking.rs"]
mod linking;
#[path = "redis_room/proxy.rs"]
mod proxy;
#[path = "redis_room/rig.rs"]
mod rig;
#[path = "redis_room/strangers.rs"]
mod strangers;
