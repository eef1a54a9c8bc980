//! What may happen to a group: seeded starting points, from quiet to hopeless.

use crate::dice::Dice;
use crate::group::World;
use crate::has::Role;
use crate::sentinel::Sentinel;
use crate::truth::{Life, Model};
use failover_core::contract::{Preference, SentinelMode};

/// Anything that may have happened to a group.
pub fn broken(dice: &mut Dice) -> Model {
    let count = 1 + dice.index(5);
    let mut model = Model::healthy(count, 1000);
    model.world.rest.group.prefer =
        dice.one_of([Preference::Availability, Preference::Availability, Preference::Consistency]);
    for index in 1..count {
        model.nodes[index].server.priority = dice.one_of([100, 100, 100, 10, 0]);
        let lag = dice.one_of([0, 0, 14, 300]);
        let node = &mut model.nodes[index];
        (node.data.at, node.server.offset, node.server.keys) = (1000 - lag, 1000 - lag, 1000 - lag);
        node.server.announced = !dice.chance(50);
    }
    if dice.chance(100) {
        restart_all(&mut model, dice);
    }
    for _ in 0..1 + dice.index(3) {
        fault(&mut model, dice);
    }
    if dice.chance(200) {
        model.world.shard().published = None;
    }
    model.settle(&[]);
    let age_us = dice.one_of([1_500, 40_000, 2_500_000]);
    model.pass(age_us);
    model
}

/// Sentinels watch it, and anything may have happened to them.
pub fn watched(world: &mut World, dice: &mut Dice) {
    let count = dice.one_of([3, 3, 3, 1, 2, 5]);
    let mode = dice.one_of([
        SentinelMode::Assisted,
        SentinelMode::Assisted,
        SentinelMode::Deferred,
        SentinelMode::Served,
    ]);
    world.watch(count, mode);
    let places: Vec<(String, u16)> =
        world.servers.iter().map(|server| (server.host.clone(), server.port)).collect();
    let agreed = dice.chance(300).then(|| dice.one_of([0, 1, 2]).min(places.len() - 1));
    for number in 0..world.sentinels.len() {
        let sentinel = &mut world.sentinels[number];
        if let Some(index) = agreed {
            (sentinel.master, sentinel.epoch) = (Some(places[index].clone()), 2);
        }
        if dice.chance(400) {
            (sentinel.flags, sentinel.down_ms) =
                (vec!["s_down".into(), "o_down".into()], Some(dice.below(20_000)));
        }
        sentinel.role_ms = dice.one_of([500, 4_000, 3_600_000]);
        sentinel.epoch += dice.one_of([0, 0, 0, 1]);
        sentinel.voted_epoch = dice.one_of([0, 0, 3]);
        afflict(sentinel, &places, dice);
    }
}

fn afflict(sentinel: &mut Sentinel, places: &[(String, u16)], dice: &mut Dice) {
    match dice.index(18) {
        0 | 1 => sentinel.seen.dead(),
        2 => sentinel.seen.hung(dice.one_of([300_000, 1_500_000, 12_000_000])),
        3 => sentinel.is_barred = true,
        4 => sentinel.seen.is_listed = false,
        5 => sentinel.tilt_s = Some(dice.one_of([3, 40])),
        6 => sentinel.master = None,
        7 => sentinel.master = Some(("127.0.0.1".into(), 6_379)),
        8 => sentinel.master = Some(("10.9.9.9".into(), 6_379)),
        9 => sentinel.master = Some(places[dice.index(places.len())].clone()),
        10 => sentinel.failover_state = Some("wait_start".into()),
        11 => sentinel.ghosts = vec![("10.9.9.8".into(), 6_379)],
        12 => sentinel.claims = Some(dice.below(7)),
        13 => sentinel.seen.age_us = Some(dice.one_of([150_000, 300_000, 3_000_000])),
        14 => sentinel.settings.quorum = 7,
        _ => {}
    }
}

fn restart_all(model: &mut Model, dice: &mut Dice) {
    let has_aof = dice.chance(500);
    for index in 0..model.nodes.len() {
        let server = &mut model.nodes[index].server;
        let (offset, keys) = (server.offset, server.keys);
        server.restart_with_aof(1).follow_itself();
        if !has_aof {
            server.history("a", offset).keys = keys;
        }
    }
}

fn fault(model: &mut Model, dice: &mut Dice) {
    let index = dice.index(model.nodes.len());
    let other = dice.index(model.nodes.len());
    let now_us = model.now_us;
    match dice.index(14) {
        0..=2 => model.nodes[index].life = Life::Dead(now_us),
        3 => model.nodes[index].life = Life::Hung(now_us),
        4 => {
            // Empty, as a master or as a replica of itself; its data is gone, which is the fault's doing.
            let node = &mut model.nodes[index];
            node.server.restart(1);
            node.server.role = Role::Master;
            if dice.chance(500) {
                node.server.follow_itself();
            }
            (node.data.branch, node.data.at) = (0, 0);
            model.fork(index);
            cut_off(model, index);
        }
        5 if index != other => model.follow(index, other),
        6 if model.nodes[index].server.role != Role::Master
            && !model.nodes.iter().any(|node| node.server.aof) =>
        {
            model.promote(index);
            model.write(index, dice.one_of([0, 20, 500]));
        }
        7 if model.nodes[0].server.role == Role::Master => model.write(0, 50),
        8 => model.nodes[index].server.in_pod().terminating = true,
        9 => {
            let target = dice.chance(500).then(|| model.nodes[index].server.id.clone());
            model.world.ask(target.as_deref());
        }
        // Somebody else's data under this address; under that of the recorded master nothing tells it from a
        // restart.
        10 if index > 0 && !model.nodes[index].server.aof => {
            let node = &mut model.nodes[index];
            node.server.restart(1).history(&format!("z{index}"), 500).keys = 500;
            node.server.role = Role::Master;
            if dice.chance(500) {
                node.server.follow("10.9.9.9", 6379).up = dice.chance(500);
            }
            (node.data.branch, node.data.at) = (0, 0);
            model.fork(index);
            model.nodes[index].data.at = 500;
            cut_off(model, index);
        }
        // Bytes of its own and then a restart with AOF leave no trace of where they came from: no
        // policy can distinguish them.
        11 if model.nodes.iter().all(|node| node.server.former.is_none())
            && model.nodes[index].data.branch == 0 =>
        {
            let server = &mut model.nodes[index].server;
            server.restart_with_aof(1);
            if server.role != Role::Master || dice.chance(500) {
                server.follow_itself();
            } else {
                model.fork(index);
            }
            cut_off(model, index);
        }
        12 => model.nodes[index].server.loading = true,
        13 => model.world.rest.parameters = r#"{"order":"priority-first"}"#.into(),
        _ => {}
    }
}

fn cut_off(model: &mut Model, index: usize) {
    for replica in (0..model.nodes.len()).filter(|&replica| replica != index) {
        if model.named_by(replica) == Some(index) {
            model.nodes[replica].server.link_down(0);
        }
    }
}
