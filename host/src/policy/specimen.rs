//! A healthy group of any size, with what real servers say: Redis 7.0.15's INFO, about 1.9 KB a member. For
//! benchmarks, tests and as an example of an observation; no decision is carried out on it.

use crate::contract::{Observation, same};
use redis_model::World;

/// An observation of one master and `members - 1` replicas, all in sync. The master is `cart-0000`.
pub fn healthy_group(members: u16) -> Observation {
    let mut world = World::healthy(members.into());
    for (index, server) in world.servers.iter_mut().enumerate() {
        server.id = format!("cart-{index:04}");
        (server.offset, server.keys) = (OFFSET, 10_000);
        server.priority = 100 + index as u64 % 3;
    }
    if let Some(published) = &mut world.shard().published {
        (published.master, published.offset) = ("cart-0000".into(), OFFSET - 1_000_000);
    }
    world.shard().no_master_age_us = 0;
    same(&world.observe())
}

/// Nine digits, as of a server that has run for a while.
const OFFSET: u64 = 987_654_321;
