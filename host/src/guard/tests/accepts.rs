//! Plans of a careful engine: a guard that rejects one leaves a group without a master.

use super::*;

#[test]
fn what_a_careful_engine_plans() {
    let plays: Vec<(&str, Play)> = vec![
        ("a dead master is replaced", dead()),
        (
            "at once with its replica",
            with(dead(), |play| play.act(follow("redis-2", "redis-1", Role::Replica))),
        ),
        ("a hung one", silent()),
        ("a ring is broken", ring()),
        ("an empty return", amnesic()),
        ("a first master", bootstrap()),
        ("a handover", handover()),
        ("an empty newcomer joins", rejoin(|last| last.keys = 0)),
        ("a straggler of the same history", rejoin(|last| (last.replid, last.offset) = ("a".into(), 90))),
        ("one of the history before", rejoin(|last| (last.replid, last.offset) = ("z".into(), 50))),
        (
            "a dead master whose record is gone with it",
            with(dead(), |play| {
                let gone = play.servers.remove(0);
                assert_eq!(gone.id, "redis-0");
            }),
        ),
        (
            "and no record was ever made",
            with(dead(), |play| {
                let gone = play.servers.remove(0);
                assert_eq!(gone.id, "redis-0");
                (play.observation.shards[0].published, play.promote().source) = (None, None);
            }),
        ),
        ("the orchestrator says that it ended", {
            with(dead(), |play| {
                play.servers[0].seen.pod = Some(Pod { running: false, ..pod("u") });
                play.servers[0].seen.link.refusals = None;
            })
        }),
        (
            "refused twice by an observer that had no connection",
            with(dead(), |play| {
                play.servers[0].seen.link.closed_age_us = None;
                play.servers[0].seen.link.refusals =
                    Some(Refusals { count: 2, first_age_us: 7_000, last_age_us: 1_500 });
            }),
        ),
        (
            "a server in cluster mode answers at the address of the dead master",
            with(dead(), |play| play.servers[0] = Server { mode: "cluster".into(), ..master(0, "b", 900) }),
        ),
        (
            "one at another member's address is no member that is out of sight",
            with(dead(), |play| {
                play.servers[2] = Server { mode: "cluster".into(), ..master(2, "b", 900) };
                play.decision.stages.pop();
            }),
        ),
        (
            "a dead one behind a proxy, silent for the hang limit",
            with(dead(), |play| {
                play.servers[0].own_end = Some("172.17.0.2:6379".into());
                play.servers[0].seen.link.alive_age_us = Some(1_200_000);
                play.promote().evidence = Evidence::Silent;
            }),
        ),
        (
            "an idle one that hangs, once its heartbeat is overdue",
            with(silent(), |play| {
                play.servers[0].heartbeat_s = Some(10);
                play.servers[0].seen.link.alive_age_us = Some(10_300_000);
                play.servers[1..].iter_mut().for_each(|replica| replica.seen.still_us = Some(10_200_000));
            }),
        ),
        (
            "one that hangs while it takes writes, whatever its heartbeat",
            with(silent(), |play| {
                play.servers[0].heartbeat_s = Some(10);
                (play.servers[0].offset, play.servers[0].seen.age_us) = (900, Some(1_200_000));
                play.observation.shards[0].position = Some(Position {
                    replid: "a".into(),
                    offset: 100,
                    acknowledged_by: vec![],
                    age_us: 3_000_000,
                });
            }),
        ),
        (
            "a dead one that was listed under two addresses",
            with(dead(), |play| {
                let again =
                    Server { id: "redis-3".into(), host: "10.0.0.9".into(), ..play.servers[0].clone() };
                play.servers.push(again);
                play.observation.group.members_desired = 4;
            }),
        ),
        (
            "a handover among servers that know each other by other addresses",
            with(handover(), |play| {
                play.servers[0].own_end = Some("172.17.0.2:6379".into());
                play.servers[1].replicate("172.17.0.2", 6379);
                let (replid, offset) = (play.servers[0].replid.clone(), play.servers[0].offset);
                (play.servers[1].replid, play.servers[1].offset) = (replid, offset);
                (link(&mut play.servers[1]).up, link(&mut play.servers[1]).last_io_s) = (true, Some(0));
            }),
        ),
        (
            "the last one of two",
            with(silent(), |play| {
                play.servers.pop();
                play.observation.group.members_desired = 2;
                play.decision.stages.pop();
            }),
        ),
        ("a restart with an append-only file, the master on record", {
            with(bootstrap(), |play| {
                play.observation.shards[0].published = dead().observation.shards.remove(0).published;
                for server in &mut play.servers {
                    (server.offset, server.keys) = (1, 10);
                }
            })
        }),
        ("a returned master gives up its provable surplus", {
            with(rejoin(|last| (last.replid, last.offset) = ("z".into(), 80)), |play| {
                play.decision.stages[0].actions = vec![Action::Follow(Follow {
                    id: "redis-2".into(),
                    master: "redis-0".into(),
                    discards_bytes: Some(30),
                    expect: expect(Role::Master),
                })];
            })
        }),
        (
            "of two masters the one not on record follows",
            rejoin(|last| (last.replid, last.offset) = ("z".into(), 40)),
        ),
        (
            "a chain is flattened while the stream flows, two samples of which differ by their ages",
            rejoin(|last| {
                last.follow("10.0.0.2", 6379);
                (last.replid, last.offset) = ("a".into(), 120);
            }),
        ),
        (
            "one that was promoted in vain, at the very end of the history",
            rejoin(|last| {
                (last.replid, last.offset, last.former) = ("b".into(), 100, Some(("a".into(), 100)));
            }),
        ),
        (
            "a person says that it may be discarded",
            with(rejoin(|_| {}), |play| play.observation.parameters = r#"{"discard":["redis-2"]}"#.into()),
        ),
        ("its role was taken in the last failover", seen::replaced()),
        ("a better copy that refused is passed over, and the loss is said", passed_over(7, Some(7))),
        ("a better copy that refused is passed over, and the loss is unknown", passed_over(7, None)),
        ("a master that cannot write its disk hands over", disk_full()),
        (
            "a pause that an interrupted handover left is put back",
            with(handover(), |play| {
                play.observation.switchover = None;
                play.decision.request = None;
                play.decision.stages[0].actions = vec![Action::Configure(Configure {
                    id: "redis-0".into(),
                    directive: "min-replicas-to-write".into(),
                    to: "0".into(),
                    expect: expect(Role::Master),
                })];
            }),
        ),
        (
            "priority first, where that is declared",
            with(dead(), |play| {
                play.servers[2].offset = 101;
                play.observation.parameters = r#"{"order":"priority-first"}"#.into();
            }),
        ),
        ("silence, once the self-fence bit", seen::fenced()),
        ("an empty stray does not stand in the way", with(dead(), |play| play.servers.push(server(3)))),
        ("a copy that restarted with an append-only file, and holds no more", {
            let play = rejoin(|last| {
                last.follow_itself().offset = 1;
                last.aof = true;
            });
            with(play, |play| {
                for action in play.decision.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
                    if let Action::Follow(follow) = action {
                        follow.discards_bytes = None;
                    }
                }
            })
        }),
        ("an old snapshot of the master on record", {
            with(amnesic(), |play| {
                (play.servers[0].former, play.servers[0].offset, play.servers[0].keys) =
                    (Some(("a".into(), 40)), 40, 10);
                play.servers[1].keys = 10;
            })
        }),
        ("a full copy of an heir, which has lost the id before", {
            with(dead(), |play| {
                play.servers[0].replid = "older".into();
                (play.servers[1].replid, play.servers[2].replid, play.servers[2].former) =
                    ("b".into(), "b".into(), Some(("a".into(), 50)));
            })
        }),
        ("the master on record, back from an append-only file with more than its copies have", {
            with(ring(), |play| {
                let old = &mut play.servers[0];
                (old.run_id, old.replid, old.offset, old.keys) = ("again".into(), "new".into(), 1, 11);
                old.follow_itself();
                link(&mut play.servers[1]).up = false;
                *play.promote() = Promote {
                    id: "redis-0".into(),
                    source: None,
                    meant_for: "redis-0".into(),
                    ..play.promote().clone()
                };
                play.decision.stages.truncate(1);
                (play.servers[1].keys, play.servers[2].keys) = (10, 10);
            })
        }),
        (
            "an older failover holds nothing back",
            with(silent(), |play| {
                play.observation.shards[0].last_failover = last_failover("x", "redis-0", 3_000_000)
            }),
        ),
        ("nothing", Play::new(vec![], Verdict::Wait, vec![])),
    ];
    for (name, play) in plays {
        assert_eq!(play.breached(), [], "{name}");
    }
}
