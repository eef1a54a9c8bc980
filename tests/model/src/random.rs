//! Seeded observations: a small coherent group, something wrong with its servers, then something wrong with
//! what is known.
//!
//! Coherent first, because a policy shows its mistakes in worlds that could be true; broken afterwards,
//! because it must survive those that could not. Must not depend on anything but the dice.

mod noise;
mod refused;

pub use noise::mutated;

use crate::dice::Dice;
use crate::group::World;
use crate::has::{Dialect, MasterLink, Role, Row, Server};
use failover_core::contract::{
    Action, Evidence, Expectation, Failover, Generation, Handover, InDoubt, Link, LinkState, Observation,
    Pod, Position, Preference, Promote, Promotion, Published, Refusals, Role as ReportedRole, Shard,
    Switchover,
};

/// One observation, all of whose parts have ids of its own instances or of none.
pub fn observation(dice: &mut Dice) -> Observation {
    let size = if dice.chance(20) { 50 } else { 1 + dice.index(7) };
    let mut past = Past::new(dice, size);
    for index in 0..past.servers.len() {
        past.afflict_server(dice, index);
    }
    past.afflict_master(dice);
    let mut observation = World::of(past.servers.clone()).observe();
    describe_group(dice, &mut observation);
    describe_past(dice, &past, &mut observation);
    if dice.chance(400) {
        noise::corrupt(dice, &mut observation);
    }
    if dice.chance(300) {
        refused::afflict(dice, &mut observation);
    }
    observation
}

/// Servers of one true history, which grew through promotions.
struct Past {
    servers: Vec<Server>,
    /// Index of the true master.
    master: usize,
    /// Replication ids, oldest first, and the offset up to which each was the truth.
    lineage: Vec<(String, u64)>,
    /// Run id of the true master, before anything happened to it.
    run_id: String,
    hang_limit_us: u64,
}

impl Past {
    fn new(dice: &mut Dice, size: usize) -> Self {
        let start = if dice.chance(50) { (1 << 63) - 5_000 } else { dice.below(1 << 40) };
        let mut lineage: Vec<(String, u64)> = Vec::new();
        for generation in 0..1 + dice.below(3) {
            lineage.push((replication_id(dice), start + generation * 1_000 + dice.below(1_000)));
        }
        let ipv6 = dice.chance(100);
        let local = !ipv6 && dice.chance(200);
        let dialect = dice.one_of([
            Dialect::Redis5,
            Dialect::Redis6,
            Dialect::Redis7,
            Dialect::Redis8,
            Dialect::Valkey8,
        ]);
        let mut servers: Vec<Server> = (1..=size).map(Server::new).collect();
        for (number, server) in servers.iter_mut().enumerate() {
            let name = format!("redis-{number}.redis.shop.svc");
            match (ipv6, local) {
                (true, _) => server.host = format!("fd00::{number:x}"),
                (false, true) => {
                    (server.host, server.port) =
                        ("127.0.0.1".into(), 7_000 + u16::try_from(number).unwrap_or(0));
                }
                (false, false) => {}
            }
            server.aliases.push((name, server.port));
            (server.dialect, server.run_id, server.uptime_s) =
                (dialect, replication_id(dice), 60 + dice.below(100_000));
            server.seen.age_us = Some(100 + dice.below(5_000));
            let small = |dice: &mut Dice, most: u64| u32::try_from(dice.below(most)).unwrap_or(0);
            server.fence = dice.chance(600).then(|| (small(dice, 3), small(dice, 6)));
        }
        let master = dice.index(servers.len());
        let run_id = servers[master].run_id.clone();
        let mut past = Self { servers, master, lineage, run_id, hang_limit_us: 1_000_000 };
        let keys = if dice.chance(100) { 0 } else { 10 + dice.below(1_000) };
        past.place_on_lineage(dice, keys);
        past
    }

    /// The master at the head, all others its replicas, most of them at the head, too.
    fn place_on_lineage(&mut self, dice: &mut Dice, keys: u64) {
        let (replid, head) = self.lineage[self.lineage.len() - 1].clone();
        let former = self.lineage.len().checked_sub(2).map(|before| self.lineage[before].clone());
        let (host, port) = self.place(self.master);
        for (index, server) in self.servers.iter_mut().enumerate() {
            (server.replid, server.former, server.offset, server.keys) =
                (replid.clone(), former.clone(), head, keys);
            if index != self.master {
                server.follow(&host, port).last_io_s = Some(dice.below(2));
                server.offset -= if dice.chance(500) { 0 } else { dice.below(200) };
                server.priority = dice.one_of([100, 100, 100, 1, 10, 0]);
            }
        }
    }

    fn place(&self, index: usize) -> (String, u16) {
        (self.servers[index].host.clone(), self.servers[index].port)
    }

    /// What may be wrong with any server: another history, another master, a state of its own, a link that is
    /// not well.
    fn afflict_server(&mut self, dice: &mut Dice, index: usize) {
        let peer = self.place(dice.index(self.servers.len()));
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
                (server.aof, server.loaded) = (true, server.keys);
                (server.replid, server.former, server.offset, server.run_id, server.uptime_s) =
                    (replication_id(dice), None, 1, replication_id(dice), 1)
            }
            5 => server.loading = true,
            6 => {
                if let Some(link) = server.master_link() {
                    (link.syncing, link.up, link.down_s) = (true, false, None);
                }
            }
            7 => (server.announced, server.in_failover) = (dice.chance(500), dice.chance(500)),
            8 => _ = server.rows.insert("slave_priority".into(), None),
            // Chains, rings, strangers, addresses of no server.
            9 => point(server, peer, true),
            10 => point(server, ("192.0.2.7".into(), 6379), true),
            11 => point(server, ("127.0.0.1".into(), 1), false),
            12 => _ = server.follow_itself(),
            // A promotion that no record knows; a new replication id comes with every one.
            13 | 14 => {
                let fork = server.offset.saturating_sub(dice.below(20));
                (server.role, server.former) = (Role::Master, Some((server.replid.clone(), fork)));
                server.replid = replication_id(dice);
            }
            // A client that copies, and an answer that is old.
            15 => server.attached.push(Row {
                host: "192.0.2.9".into(),
                port: 0,
                state: "online".into(),
                offset: 0,
                lag_s: 0,
            }),
            16 => server.seen.age_us = Some(dice.below(3_000_000)),
            17 => server.seen.link = ill_link(dice),
            // Restarted a moment ago, with what an old snapshot had; its link was never up.
            18 | 19 => {
                server.offset = server.offset.saturating_sub(dice.below(400));
                (server.run_id, server.uptime_s) = (replication_id(dice), dice.below(90));
                if let Some(link) = server.master_link() {
                    (link.up, link.last_io_s, link.down_s) = (false, None, None);
                }
            }
            // Emptied by no command of its master.
            20 => server.keys = 0,
            _ => {}
        }
        if dice.chance(300) {
            server.seen.pod = Some(pod(dice, index));
        }
    }

    /// What may be wrong with the master, and what its replicas make of it.
    fn afflict_master(&mut self, dice: &mut Dice) {
        let since_us = 500 + dice.below(4_000_000);
        let fate = dice.below(6);
        let (host, port) = self.place(dice.index(self.servers.len()));
        let master = &mut self.servers[self.master];
        match fate {
            0 => return,
            1 => {
                let refusals = Refusals {
                    count: 1 + u16::from(dice.chance(700)),
                    first_age_us: since_us,
                    last_age_us: dice.below(since_us),
                };
                master.seen.link = Link {
                    state: LinkState::Refused,
                    state_age_us: since_us,
                    closed_age_us: dice.chance(700).then(|| since_us + dice.below(2_000)),
                    refusals: Some(refusals),
                    alive_age_us: Some(since_us + dice.below(900_000)),
                };
                master.seen.age_us = Some(since_us + 5_000);
            }
            2 => {
                master.seen.link = Link {
                    state: LinkState::TimedOut,
                    state_age_us: since_us / 2,
                    closed_age_us: None,
                    refusals: None,
                    alive_age_us: Some(since_us),
                };
                master.seen.age_us = Some(since_us);
            }
            3 => master.follow(&host, port).up = dice.chance(500),
            4 => {
                (master.replid, master.former, master.offset, master.keys) =
                    (replication_id(dice), None, 0, dice.below(3));
                (master.run_id, master.uptime_s) = (replication_id(dice), dice.below(4));
            }
            _ => master.seen.link = ill_link(dice),
        }
        let since_us = if fate == 5 { master.seen.link.state_age_us } else { since_us };
        let (host, port) = self.place(self.master);
        let is_there = |link: &MasterLink| (&link.host, link.port) == (&host, port);
        let follows = |server: &Server| matches!(&server.role, Role::Replica(link) if is_there(link));
        for replica in self.servers.iter_mut().filter(|server| follows(server)) {
            if dice.chance(900) {
                replica.link_down(since_us / 1_000_000 + dice.below(2));
                replica.seen.age_us = Some(dice.below(since_us.min(900_000)));
            } else {
                replica.seen.still_us = replica.seen.age_us.map(|age_us| age_us + self.hang_limit_us);
                if let Some(link) = replica.master_link() {
                    link.last_io_s = Some(since_us / 1_000_000 + 1);
                }
            }
        }
    }
}

/// Lets a replica name another master; a master stays one.
fn point(server: &mut Server, (host, port): (String, u16), up: bool) {
    if let Some(link) = server.master_link() {
        (link.host, link.port, link.up) = (host, port, link.up && up);
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

/// Record, last failover, requests and doubts: mostly true, sometimes of another time.
fn describe_past(dice: &mut Dice, past: &Past, observation: &mut Observation) {
    let any = |dice: &mut Dice| {
        if dice.chance(50) {
            "redis-gone".to_owned()
        } else {
            past.servers[dice.index(past.servers.len())].id.clone()
        }
    };
    if dice.chance(850) {
        let (mut master, mut run_id) = (past.servers[past.master].id.clone(), past.run_id.clone());
        let (mut replid, mut offset) = past.lineage[past.lineage.len() - 1].clone();
        if dice.chance(150) {
            // Published before some change that was not.
            (master, run_id) = (any(dice), replication_id(dice));
            (replid, offset) = past.lineage[0].clone();
        }
        observation.shards[0].published = Some(Published {
            master,
            run_id,
            replid,
            offset,
            epoch: dice.below(9),
            age_us: if dice.chance(500) { dice.below(5_000_000) } else { dice.below(1 << 36) },
            node: None,
        });
        remember(dice, past, &mut observation.shards[0]);
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
        let (id, source) = (any(dice), any(dice));
        let action = doubtful(dice, id, source);
        observation.in_doubt.push(InDoubt { action, age_us: dice.below(5_000_000) });
    }
}

/// The generations, and the last position that replicas were seen to reach: what the record has beside the
/// master.
fn remember(dice: &mut Dice, past: &Past, shard: &mut Shard) {
    let Some(published) = &shard.published else { return };
    let (record_us, newest) = (published.age_us, past.lineage.len() - 1);
    if dice.chance(700) {
        let mut age_us = record_us + dice.below(1 << 33);
        for (number, (replid, end)) in past.lineage.iter().enumerate().rev() {
            shard.lineage.push(Generation {
                replid: replid.clone(),
                master: past.servers[dice.index(past.servers.len())].id.clone(),
                end_offset: (number < newest).then_some(*end),
                age_us,
            });
            age_us += dice.below(1 << 33);
        }
    }
    if dice.chance(600) {
        let (replid, head) = past.lineage[newest].clone();
        let is_replica = |&(index, _): &(usize, &Server)| index != past.master;
        let replicas = past.servers.iter().enumerate().filter(is_replica);
        let mut acknowledged_by: Vec<String> =
            replicas.filter(|_| dice.chance(700)).map(|(_, server)| server.id.clone()).collect();
        acknowledged_by.sort();
        shard.position = Some(Position {
            replid,
            offset: head.saturating_sub(dice.below(200)),
            acknowledged_by,
            age_us: record_us + dice.below(8_000_000),
        });
    }
}

/// A promotion or a handover that was never answered.
fn doubtful(dice: &mut Dice, id: String, source: String) -> Action {
    let expect =
        Expectation { run_id: replication_id(dice), role: ReportedRole::Replica, replid: None, node: None };
    let meant_for = id.clone();
    if dice.chance(700) {
        return Action::Promote(Promote {
            id,
            source: None,
            meant_for,
            evidence: Evidence::Dead,
            how: Promotion::ReplicaofNoOne,
            completes: vec![],
            expect,
        });
    }
    let expect_source = Expectation { role: ReportedRole::Master, ..expect.clone() };
    let (target, expect_target) = (id, expect);
    Action::Handover(Handover {
        source,
        target,
        meant_for,
        pause_max_ms: 2_000,
        expect_source,
        expect_target,
    })
}

fn ill_link(dice: &mut Dice) -> Link {
    let state = dice.one_of([
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
    ]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_observations_and_different_ones_do_not() {
        let of = |seed| observation(&mut Dice::new(seed));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn seeded_observations_keep_what_the_contract_promises() {
        for seed in 0..500 {
            let observation = observation(&mut Dice::new(seed));
            let ids: Vec<_> = observation.instances.iter().map(|instance| instance.id.as_str()).collect();
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {ids:?}");
            for instance in &observation.instances {
                let commands = instance.replies.windows(2);
                assert!(
                    commands.into_iter().all(|pair| pair[0].command < pair[1].command),
                    "seed {seed}: {}",
                    instance.id
                );
            }
        }
    }
}
