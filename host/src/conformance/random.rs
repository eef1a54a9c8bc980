//! Seeded observations: a small coherent world, something wrong with its servers, then something wrong with
//! what is known.
//!
//! Coherent first, because a policy shows its mistakes in worlds that could be true; broken afterwards,
//! because it must survive those that could not. Must not depend on anything but the dice.

use super::dice::Dice;
use super::world::{Dialect, Server, observe};
use crate::contract::{
    Action, Evidence, Expectation, Failover, Handover, InDoubt, Link, LinkState, Observation, Pod,
    Preference, Promote, Promotion, Published, Refusals, Role, Switchover,
};

/// One observation, all of whose parts have ids of its own instances or of nobody.
pub fn observation(dice: &mut Dice) -> Observation {
    let size = if dice.chance(20) { 50 } else { 1 + dice.below(7) };
    let mut world = World::new(dice, size);
    for index in 0..world.servers.len() {
        world.afflict_server(dice, index);
    }
    world.afflict_master(dice);
    let mut observation = observe(&world.servers);
    describe_group(dice, &mut observation);
    describe_past(dice, &world, &mut observation);
    if dice.chance(400) {
        super::noise::corrupt(dice, &mut observation);
    }
    observation
}

/// Servers of one true history, which grew through promotions.
struct World {
    servers: Vec<Server>,
    /// Index of the true master.
    master: usize,
    /// Replication ids, oldest first, and the offset up to which each was the truth.
    lineage: Vec<(String, u64)>,
    /// Run id of the true master, before anything happened to it.
    run_id: String,
    hang_limit_us: u64,
}

impl World {
    fn new(dice: &mut Dice, size: u64) -> Self {
        let start = if dice.chance(50) { (1 << 63) - 5_000 } else { dice.below(1 << 40) };
        let mut lineage: Vec<(String, u64)> = Vec::new();
        for generation in 0..1 + dice.below(3) {
            lineage.push((replication_id(dice), start + generation * 1_000 + dice.below(1_000)));
        }
        let ipv6 = dice.chance(100);
        let local = !ipv6 && dice.chance(200);
        let dialect = *dice
            .pick(&[Dialect::Redis5, Dialect::Redis6, Dialect::Redis7, Dialect::Redis8, Dialect::Valkey8])
            .unwrap_or(&Dialect::Redis7);
        let mut servers: Vec<Server> =
            (0..size).filter_map(|number| u16::try_from(number).ok()).map(Server::new).collect();
        for (number, server) in servers.iter_mut().enumerate() {
            let name = format!("redis-{number}.redis.shop.svc");
            match (ipv6, local) {
                (true, _) => server.place.0 = format!("fd00::{number:x}"),
                (false, true) => {
                    server.place = ("127.0.0.1".into(), 7_000 + u16::try_from(number).unwrap_or(0))
                }
                (false, false) => {}
            }
            server.aliases.push((name, server.place.1));
            server.dialect = dialect;
            (server.run_id, server.uptime_s, server.age_us) =
                (replication_id(dice), 60 + dice.below(100_000), 100 + dice.below(5_000));
        }
        let master = dice.index(servers.len());
        let run_id = servers[master].run_id.clone();
        let mut world = Self { servers, master, lineage, run_id, hang_limit_us: 1_000_000 };
        let keys = if dice.chance(100) { 0 } else { 10 + dice.below(1_000) };
        world.place_on_lineage(dice, keys);
        world
    }

    /// The master at the head, everybody else its replica, most of them at the head, too.
    fn place_on_lineage(&mut self, dice: &mut Dice, keys: u64) {
        let (replid, head) = self.lineage[self.lineage.len() - 1].clone();
        let former = self.lineage.len().checked_sub(2).map(|before| self.lineage[before].clone());
        let place = self.servers[self.master].place.clone();
        for (index, server) in self.servers.iter_mut().enumerate() {
            (server.replid, server.former, server.offset, server.keys) =
                (replid.clone(), former.clone(), head, keys);
            if index != self.master {
                (server.role, server.master, server.link_up, server.last_io_s) =
                    (Role::Replica, Some(place.clone()), true, Some(dice.below(2)));
                server.offset -= if dice.chance(500) { 0 } else { dice.below(200) };
                server.priority = Some(*dice.pick(&[100, 100, 100, 1, 10, 0]).unwrap_or(&100));
            }
        }
    }

    /// What may be wrong with any server: another history, another master, a state of its own, a link that is
    /// not well.
    fn afflict_server(&mut self, dice: &mut Dice, index: usize) {
        let peer = self.servers[dice.index(self.servers.len())].place.clone();
        let own_place = self.servers[index].place.clone();
        let old = self.lineage[dice.index(self.lineage.len())].clone();
        let server = &mut self.servers[index];
        match dice.below(30) {
            // A straggler of a former history, some with a surplus beyond the fork.
            0 | 1 => {
                (server.replid, server.former, server.offset) =
                    (old.0, None, (old.1 + dice.below(60)).saturating_sub(30))
            }
            // A foreign history, further than ours, or never synced.
            2 => {
                (server.replid, server.former, server.offset, server.keys) =
                    (replication_id(dice), None, dice.number() >> 1, 1 + dice.below(2_000))
            }
            3 => {
                (server.replid, server.former, server.offset, server.keys) =
                    (replication_id(dice), None, 1, 0)
            }
            // Restarted with an append-only file: all the data, a new history.
            4 => {
                (server.replid, server.former, server.offset, server.run_id, server.uptime_s) =
                    (replication_id(dice), None, 1, replication_id(dice), 1)
            }
            5 => server.is_loading = true,
            6 => (server.is_syncing, server.link_up, server.link_down_s) = (true, false, None),
            7 => (server.is_announced, server.in_failover) = (dice.chance(500), dice.chance(500)),
            8 => server.priority = None,
            // Chains, rings, strangers, nobody.
            9 if server.role == Role::Replica => server.master = Some(peer),
            10 if server.role == Role::Replica => server.master = Some(("192.0.2.7".into(), 6379)),
            11 if server.role == Role::Replica => {
                (server.master, server.link_up) = (Some(("127.0.0.1".into(), 1)), false)
            }
            12 => (server.role, server.master, server.link_up) = (Role::Replica, Some(own_place), false),
            // A promotion without anybody's knowledge; a new replication id comes with every one.
            13 | 14 => {
                let fork = server.offset.saturating_sub(dice.below(20));
                (server.role, server.master, server.former) =
                    (Role::Master, None, Some((server.replid.clone(), fork)));
                server.replid = replication_id(dice);
            }
            // A client that copies, and an answer that is old.
            15 => server.attached.push(("192.0.2.9".into(), 0, "online", 0)),
            16 => server.age_us = dice.below(3_000_000),
            17 => server.link = ill_link(dice),
            _ => {}
        }
        if dice.chance(300) {
            server.pod = Some(pod(dice, index));
        }
    }

    /// What may be wrong with the master, and what its replicas make of it.
    fn afflict_master(&mut self, dice: &mut Dice) {
        let since_us = 500 + dice.below(4_000_000);
        let fate = dice.below(6);
        let successor = self.servers[dice.index(self.servers.len())].place.clone();
        let master = &mut self.servers[self.master];
        match fate {
            0 => return,
            1 => {
                let refusals = Refusals {
                    count: 1 + u16::from(dice.chance(700)),
                    first_age_us: since_us,
                    last_age_us: dice.below(since_us),
                };
                let closed_age_us = dice.chance(700).then(|| since_us + dice.below(2_000));
                let (state_age_us, alive_age_us) = (since_us, Some(since_us + dice.below(900_000)));
                master.link = Link {
                    state: LinkState::Refused,
                    state_age_us,
                    closed_age_us,
                    refusals: Some(refusals),
                    alive_age_us,
                };
                master.age_us = since_us + 5_000;
            }
            2 => {
                master.link = Link {
                    state: LinkState::TimedOut,
                    state_age_us: since_us / 2,
                    closed_age_us: None,
                    refusals: None,
                    alive_age_us: Some(since_us),
                };
                master.age_us = since_us;
            }
            3 => {
                (master.role, master.master, master.link_up) =
                    (Role::Replica, Some(successor), dice.chance(500))
            }
            4 => {
                (master.replid, master.former, master.offset, master.keys) =
                    (replication_id(dice), None, 0, dice.below(3));
                (master.run_id, master.uptime_s) = (replication_id(dice), dice.below(4));
            }
            _ => master.link = ill_link(dice),
        }
        let since_us = if fate == 5 { master.link.state_age_us } else { since_us };
        let place = master.place.clone();
        for replica in self.servers.iter_mut().filter(|server| server.master.as_ref() == Some(&place)) {
            if dice.chance(900) {
                (replica.link_up, replica.link_down_s) = (false, Some(since_us / 1_000_000 + dice.below(2)));
                replica.age_us = dice.below(since_us.min(900_000));
            } else {
                replica.last_io_s = Some(since_us / 1_000_000 + 1);
                replica.earlier = Some((replica.offset, replica.age_us + self.hang_limit_us));
            }
        }
    }
}

fn describe_group(dice: &mut Dice, observation: &mut Observation) {
    let group = &mut observation.group;
    if dice.chance(200) {
        group.members_desired = 1 + u16::try_from(dice.below(7)).unwrap_or(0);
    }
    group.members_min = dice.chance(100).then(|| u16::try_from(dice.below(5)).unwrap_or(0));
    group.prefer = if dice.chance(200) { Preference::Consistency } else { Preference::Availability };
    group.self_fence_lag_s = dice.chance(300).then(|| 1 + u32::try_from(dice.below(5)).unwrap_or(0));
    group.paused = dice.chance(30);
    if dice.chance(300) {
        observation.shards[0].no_master_age_us = dice.below(200_000);
    }
    observation.authority = !dice.chance(100);
    observation.silent_groups_permille = if dice.chance(80) { 900 } else { 0 };
}

/// Record, last failover, wishes and doubts: mostly true, sometimes of another time.
fn describe_past(dice: &mut Dice, world: &World, observation: &mut Observation) {
    let any = |dice: &mut Dice| {
        if dice.chance(50) {
            "redis-gone".to_owned()
        } else {
            world.servers[dice.index(world.servers.len())].id.clone()
        }
    };
    if dice.chance(850) {
        let (mut master, mut run_id) = (world.servers[world.master].id.clone(), world.run_id.clone());
        let (mut replid, mut offset) = world.lineage[world.lineage.len() - 1].clone();
        if dice.chance(150) {
            // Made known before some change that nobody made known.
            (master, run_id) = (any(dice), replication_id(dice));
            (replid, offset) = world.lineage[0].clone();
        }
        observation.shards[0].published = Some(Published {
            master,
            run_id,
            replid,
            offset,
            epoch: dice.below(9),
            age_us: dice.below(1 << 36),
            node: None,
        });
    }
    if dice.chance(250) {
        let (source, target) = (dice.chance(800).then(|| any(dice)), any(dice));
        let meant_for = if dice.chance(700) { target.clone() } else { any(dice) };
        observation.shards[0].last_failover = Some(Failover {
            age_us: dice.below(20_000_000),
            source,
            target,
            meant_for,
            evidence: Evidence::Dead,
        });
    }
    if dice.chance(150) {
        observation.switchover = Some(Switchover {
            shard: 0,
            target: dice.chance(700).then(|| any(dice)),
            age_us: dice.below(60_000_000),
        });
    }
    if dice.chance(80) {
        let expect =
            Expectation { run_id: replication_id(dice), role: Role::Replica, replid: None, node: None };
        let (id, source) = (any(dice), any(dice));
        let action = if dice.chance(700) {
            Action::Promote(Promote {
                meant_for: id.clone(),
                source: None,
                id,
                evidence: Evidence::Dead,
                how: Promotion::ReplicaofNoOne,
                completes: vec![],
                expect,
            })
        } else {
            let (expect_source, expect_target, meant_for) =
                (Expectation { role: Role::Master, ..expect.clone() }, expect, id.clone());
            Action::Handover(Handover {
                source,
                target: id,
                meant_for,
                pause_max_ms: 2_000,
                expect_source,
                expect_target,
            })
        };
        observation.in_doubt.push(InDoubt { action, age_us: dice.below(5_000_000) });
    }
}

fn ill_link(dice: &mut Dice) -> Link {
    let states = [
        LinkState::Unknown,
        LinkState::Answering,
        LinkState::Closed,
        LinkState::Refused,
        LinkState::Unreachable,
        LinkState::TimedOut,
        LinkState::Unauthorized,
        LinkState::Loading,
        LinkState::Busy,
        LinkState::ProtocolError,
    ];
    let state = *dice.pick(&states).unwrap_or(&LinkState::Unknown);
    let state_age_us = dice.below(20_000_000);
    let last_age_us = dice.below(state_age_us);
    let refusals = (state == LinkState::Refused).then_some(Refusals {
        count: 2,
        first_age_us: state_age_us,
        last_age_us,
    });
    let closed_age_us = dice.chance(400).then_some(state_age_us);
    let alive_age_us = dice.chance(800).then(|| state_age_us + dice.below(100_000));
    Link { state, state_age_us, closed_age_us, refusals, alive_age_us }
}

fn pod(dice: &mut Dice, index: usize) -> Pod {
    Pod {
        uid: format!("uid-{index}"),
        ready: dice.chance(800),
        terminating: dice.chance(100),
        running: dice.chance(850),
        restarts: u32::try_from(dice.below(3)).unwrap_or(0),
        started_age_us: dice.chance(900).then(|| dice.below(1 << 40)),
        node: Some(format!("node-{}", dice.below(3))),
        node_ready: dice.chance(900).then(|| dice.chance(900)),
        zone: None,
        revision: "one".into(),
        revision_target: if dice.chance(200) { "two".into() } else { "one".into() },
    }
}

/// Forty hexadecimal digits, as of replication ids and run ids.
fn replication_id(dice: &mut Dice) -> String {
    format!("{:016x}{:016x}{:08x}", dice.number(), dice.number(), dice.number() >> 32)
}
