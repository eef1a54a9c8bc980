//! One thing wrong, one rule breached: each row would get through without its rule.

use super::*;

/// The rule, what is wrong, and the play.
fn plays() -> Vec<(Rule, &'static str, Play)> {
    let mut plays = plans();
    plays.extend(states::lies());
    plays.extend(seen::rejected());
    plays.extend(sentinels::rejected());
    plays
}

fn plans() -> Vec<(Rule, &'static str, Play)> {
    vec![
        (Rule::PlanMatchesVerdict, "paused", with(dead(), |play| play.observation.group.paused = true)),
        (
            Rule::PlanMatchesVerdict,
            "a wait with a plan",
            with(dead(), |play| play.decision.verdict = Verdict::Wait),
        ),
        (Rule::PlanMatchesVerdict, "act without a plan", with(dead(), |play| play.decision.stages.clear())),
        (
            Rule::Members,
            "one is missing",
            with(dead(), |play| play.decision.members = vec![member("redis-0"), member("redis-1")]),
        ),
        (
            Rule::KnownIds,
            "a stranger is to be master in the end",
            with(dead(), |play| play.promote().meant_for = "ghost".into()),
        ),
        (
            Rule::FinalOffsets,
            "a cluster node answers at the master's address, and a replica still receives from the master",
            with(dead(), |play| {
                play.servers[0] = Server { mode: "cluster".into(), ..master(0, "b", 900) };
                link(&mut play.servers[2]).up = true;
            }),
        ),
        (
            Rule::Evidence,
            "a proxy in front of the master restarts: connections are refused, and the replicas' too",
            with(dead(), |play| play.servers[0].own_end = Some("172.17.0.2:6379".into())),
        ),
        (
            Rule::FinalOffsets,
            "an idle master out of the host's sight, whose next heartbeat is not due",
            with(silent(), |play| play.servers[0].heartbeat_s = Some(10)),
        ),
        (
            Rule::OnePromotion,
            "two at once",
            with(dead(), |play| {
                play.decision.stages.truncate(1);
                play.act(promote("redis-2", Evidence::Dead));
            }),
        ),
        (
            Rule::OnePromotion,
            "promoted, then sent a follow",
            with(dead(), |play| {
                play.decision.stages[1].actions = vec![promote("redis-2", Evidence::Dead)];
                let stage = Stage {
                    summary: String::new(),
                    actions: vec![follow("redis-1", "redis-2", Role::Master)],
                };
                play.decision.stages.push(stage);
            }),
        ),
        (
            Rule::Star,
            "a replica is followed in a later stage",
            with(dead(), |play| {
                play.decision.stages[1].actions = vec![follow("redis-2", "redis-0", Role::Replica)]
            }),
        ),
        (
            Rule::Star,
            "follows itself",
            with(dead(), |play| {
                play.decision.stages[1].actions = vec![follow("redis-2", "redis-2", Role::Replica)]
            }),
        ),
        (
            Rule::Expectation,
            "another run",
            with(dead(), |play| play.promote().expect.run_id = "other".into()),
        ),
        (Rule::Expectation, "another role", with(dead(), |play| play.promote().expect.role = Role::Master)),
        (
            Rule::Expectation,
            "another history",
            with(dead(), |play| play.promote().expect.replid = Some("b".into())),
        ),
        (Rule::Freshness, "a target that is gone is kicked", {
            with(dead(), |play| {
                play.act(Action::KickClients(KickClients {
                    id: "redis-0".into(),
                    expect: expect(Role::Master),
                }))
            })
        }),
        (Rule::MostAdvanced, "a loss that is smaller than the passed-over surplus", passed_over(7, Some(6))),
        (
            Rule::MostAdvanced,
            "an earlier process refused",
            with(passed_over(7, Some(7)), |play| play.servers[2].run_id = "again".into()),
        ),
        (
            Rule::HandoverInSync,
            "a full disk hands over to another one",
            with(disk_full(), |play| {
                play.servers[1].aof = true;
                play.servers[1].rows.insert("aof_last_write_status".into(), Some("err".into()));
            }),
        ),
        (
            Rule::HandoverInSync,
            "nothing is wrong with the disk",
            with(disk_full(), |play| play.servers[0].rows.clear()),
        ),
        (Rule::AllowList, "a foreign directive", {
            with(dead(), |play| {
                play.act(Action::Configure(Configure {
                    id: "redis-2".into(),
                    directive: "dir".into(),
                    to: "0".into(),
                    expect: expect(Role::Replica),
                }));
            })
        }),
        (Rule::AllowList, "what only a Sentinel does", {
            with(dead(), |play| {
                let change = SentinelChange::Rewrite(Rewrite { master: "redis-1".into() });
                play.act(Action::Sentinel(SentinelAction {
                    id: "redis-2".into(),
                    change,
                    expect: expect(Role::Replica),
                }));
            })
        }),
        (Rule::AllowList, "what only a node of Redis Cluster does", {
            with(dead(), |play| {
                let change = ClusterChange::Reset(Reset { discards_keys: 0 });
                play.act(Action::Cluster(ClusterAction {
                    id: "redis-2".into(),
                    change,
                    expect: expect(Role::Replica),
                }));
            })
        }),
        (Rule::AllowList, "a promotion by votes", with(dead(), |play| play.promote().how = Promotion::Votes)),
        (Rule::Members, "a shard without a verdict", with(dead(), |play| play.decision.shards.clear())),
        (Rule::Members, "a request without an answer", with(handover(), |play| play.decision.request = None)),
        (
            Rule::Abdication,
            "a gap of a handover",
            with(ring(), |play| play.observation.shards[0].no_master_age_us = 99_999),
        ),
        (
            Rule::AllowList,
            "another topology",
            with(dead(), |play| play.observation.group.topology = Topology::Cluster),
        ),
        (Rule::BoundedPause, "an hour", {
            with(dead(), |play| {
                play.act(Action::Fence(Fence {
                    id: "redis-2".into(),
                    max_ms: 3_600_000,
                    expect: expect(Role::Replica),
                }))
            })
        }),
        (Rule::Evidence, "on request", with(dead(), |play| play.promote().evidence = Evidence::Requested)),
        (
            Rule::Evidence,
            "a minority misses a master that no record names",
            with(dead(), |play| {
                play.servers.remove(0);
                (play.observation.shards[0].published, play.promote().source) = (None, None);
                play.observation.group.members_desired = 4;
            }),
        ),
        (
            Rule::Evidence,
            "closed, and not refused",
            with(dead(), |play| {
                (play.servers[0].seen.link.state, play.servers[0].seen.link.refusals) =
                    (LinkState::Closed, None)
            }),
        ),
        (
            Rule::Evidence,
            "refused once, by an observer without a connection",
            with(dead(), |play| play.servers[0].seen.link.closed_age_us = None),
        ),
        (
            Rule::Evidence,
            "silent for less than the limit",
            with(silent(), |play| play.servers[0].seen.link.alive_age_us = Some(900_000)),
        ),
        (
            Rule::Evidence,
            "busy is life",
            with(silent(), |play| play.servers[0].seen.link.state = LinkState::Busy),
        ),
        (
            Rule::Evidence,
            "silent, and called dead",
            with(silent(), |play| play.promote().evidence = Evidence::Dead),
        ),
        (
            Rule::FinalOffsets,
            "a replica still hears it",
            with(dead(), |play| link(&mut play.servers[2]).up = true),
        ),
        (
            Rule::FinalOffsets,
            "a replica was asked before",
            with(dead(), |play| play.servers[1].seen.age_us = Some(2_500)),
        ),
        (
            Rule::FinalOffsets,
            "no replica names the old master, and all follow a stranger",
            with(dead(), |play| {
                for replica in &mut play.servers[1..] {
                    replica.follow("192.0.2.7", 6379);
                }
            }),
        ),
        (
            Rule::FinalOffsets,
            "the stream still moves",
            with(silent(), |play| play.servers[2].seen.still_us = None),
        ),
        (
            Rule::SelfFence,
            "no fence",
            with(silent(), |play| play.observation.group.prefer = Preference::Consistency),
        ),
        (
            Rule::SelfFence,
            "too early",
            with(silent(), |play| {
                (play.observation.group.prefer, play.observation.group.self_fence_lag_s) =
                    (Preference::Consistency, Some(1));
            }),
        ),
        (
            Rule::CoolDown,
            "just after another",
            with(silent(), |play| {
                play.observation.shards[0].last_failover = last_failover("x", "redis-0", 2_000_000)
            }),
        ),
        (
            Rule::SelfDoubt,
            "all fell silent",
            with(silent(), |play| play.observation.silent_groups_permille = 600),
        ),
        (
            Rule::ReachableMaster,
            "another master answers",
            with(dead(), |play| play.servers.push(Server { keys: 10, ..master(3, "a", 90) })),
        ),
        (
            Rule::ReachableMaster,
            "a master is to follow a replica that is promoted",
            with(dead(), |play| {
                play.servers.push(Server { keys: 10, ..master(3, "a", 90) });
                play.act(follow("redis-3", "redis-1", Role::Master));
            }),
        ),
        (Rule::Bootstrap, "one names a master", {
            with(bootstrap(), |play| link(&mut play.servers[2]).host = "10.0.0.1".into())
        }),
        (
            Rule::Bootstrap,
            "the empty one of two",
            with(bootstrap(), |play| play.promote().id = "redis-2".into()),
        ),
        (Rule::Bootstrap, "the one on record is only out of sight", {
            with(bootstrap(), |play| {
                play.observation.shards[0].published = dead().observation.shards.remove(0).published;
                play.servers[0].seen.link = Link {
                    state: LinkState::Closed,
                    state_age_us: 100,
                    alive_age_us: Some(9_000),
                    ..play.servers[0].seen.link
                };
            })
        }),
        (Rule::Fit, "priority 0", with(dead(), |play| play.servers[1].priority = 0)),
        (
            Rule::Fit,
            "no priority",
            with(dead(), |play| _ = play.servers[1].rows.insert("slave_priority".into(), None)),
        ),
        (Rule::Fit, "loading", with(dead(), |play| play.servers[1].loading = true)),
        (Rule::Fit, "mid-sync", with(dead(), |play| link(&mut play.servers[1]).syncing = true)),
        (Rule::Fit, "not announced", with(dead(), |play| play.servers[1].announced = false)),
        (Rule::Fit, "in a FAILOVER", with(dead(), |play| play.servers[1].in_failover = true)),
        (
            Rule::Lineage,
            "foreign, and further",
            with(dead(), |play| (play.servers[1].replid, play.servers[1].offset) = ("foreign".into(), 9_999)),
        ),
        (Rule::MostAdvanced, "the other has more", with(dead(), |play| play.servers[2].offset = 101)),
        (
            Rule::Restart,
            "a copy from its files, and one that may have more is missing",
            with(dead(), |play| {
                for server in &mut play.servers[1..] {
                    server.uptime_s = 5;
                    link(server).down_s = None;
                }
            }),
        ),
        (Rule::Demotion, "the only master", {
            let first = master(0, "a", 100);
            let copy = replica(1, &first);
            let demote = Demote { id: "redis-0".into(), expect: expect(Role::Master) };
            Play::new(vec![first, copy], Verdict::Act, vec![vec![Action::Demote(demote)]])
        }),
        (
            Rule::Quorum,
            "a minimum of three",
            with(dead(), |play| play.observation.group.members_min = Some(3)),
        ),
        (
            Rule::Quorum,
            "silence without a majority",
            with(silent(), |play| play.observation.group.members_desired = 5),
        ),
        (Rule::InDoubt, "another may be promoted already", {
            with(dead(), |play| {
                play.servers.push(replica(3, &play.servers[0]));
                play.servers[3].seen.link = Link {
                    state: LinkState::TimedOut,
                    alive_age_us: Some(50_000),
                    ..play.servers[3].seen.link
                };
                play.observation.in_doubt =
                    vec![InDoubt { action: promote("redis-3", Evidence::Dead), age_us: 20_000 }];
            })
        }),
        (Rule::NoDestructiveFollow, "a foreign history with data", rejoin(|_| {})),
        (
            Rule::NoDestructiveFollow,
            "a number for what a server took before its first replica, of which its offset counts nothing",
            with(rejoin(|last| last.offset = 0), |play| {
                play.observation.shards[0].last_failover = last_failover("redis-2", "redis-0", 9_000_000);
            }),
        ),
        (
            Rule::NoDestructiveFollow,
            "a surplus that is no fork",
            rejoin(|last| {
                (last.replid, last.offset, last.former) = ("b".into(), 130, Some(("a".into(), 110)))
            }),
        ),
        (
            Rule::NoDestructiveFollow,
            "a fork that is not reported",
            rejoin(|last| (last.replid, last.offset) = ("z".into(), 80)),
        ),
        (
            Rule::NoDestructiveFollow,
            "a master that loads",
            with(rejoin(|last| last.keys = 0), |play| play.servers[0].loading = true),
        ),
        (Rule::Amnesia, "follows the empty return", {
            with(amnesic(), |play| {
                play.servers.push(server(3));
                play.decision.stages = vec![Stage {
                    summary: String::new(),
                    actions: vec![follow("redis-3", "redis-0", Role::Master)],
                }];
            })
        }),
        (Rule::TwoMasters, "the one on record is to follow", {
            with(
                rejoin(|last| {
                    (last.replid, last.offset, last.former) = ("b".into(), 95, Some(("a".into(), 90)))
                }),
                |play| {
                    let follow = Follow {
                        id: "redis-0".into(),
                        master: "redis-2".into(),
                        discards_bytes: Some(10),
                        expect: expect(Role::Master),
                    };
                    play.decision.stages[0].actions = vec![Action::Follow(follow)];
                },
            )
        }),
        (Rule::TwoMasters, "a replica leaves a master that is only out of sight", {
            with(rejoin(|_| {}), |play| {
                let mut lost = master(3, "a", 100);
                (lost.seen.link.state, lost.seen.link.alive_age_us) = (LinkState::TimedOut, Some(40_000));
                play.servers[2].follow(&lost.host, lost.port);
                (play.servers[2].replid, play.servers[2].offset) = ("a".into(), 100);
                play.servers.push(lost);
                play.decision.stages[0].actions = vec![follow("redis-2", "redis-0", Role::Replica)];
            })
        }),
        (
            Rule::NoDestructiveFollow,
            "a copy of another life of the group, for a master that is not on record",
            with(
                rejoin(|last| {
                    last.follow_itself().offset = 90;
                }),
                |play| play.observation.shards[0].published = None,
            ),
        ),
        (Rule::Lineage, "the master on record, back empty before its copies answer", {
            with(ring(), |play| {
                let old = &mut play.servers[0];
                (old.run_id, old.replid, old.offset, old.keys) = ("again".into(), "new".into(), 1, 0);
                old.follow_itself();
                *play.promote() = Promote {
                    id: "redis-0".into(),
                    source: None,
                    meant_for: "redis-0".into(),
                    ..play.promote().clone()
                };
                play.decision.stages.truncate(1);
                play.observation.group.members_min = Some(1);
                for copy in &mut play.servers[1..] {
                    (copy.seen.link.state, copy.seen.age_us) = (LinkState::TimedOut, Some(1_900_000));
                }
            })
        }),
        (Rule::Lineage, "the master on record, back with no more than its heirs", {
            with(ring(), |play| {
                let old = &mut play.servers[0];
                (old.run_id, old.replid, old.offset, old.keys) = ("again".into(), "new".into(), 1, 10);
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
        (Rule::SafeRestart, "a master", {
            with(handover(), |play| {
                play.servers[0].seen.pod = Some(pod("u"));
                play.decision.stages[0].actions =
                    vec![Action::Restart(Restart { id: "redis-0".into(), uid: "u".into() })];
            })
        }),
        (
            Rule::HandoverInSync,
            "no switchover was requested",
            with(handover(), |play| {
                (play.observation.switchover, play.decision.request) = (None, None);
            }),
        ),
        (Rule::HandoverInSync, "another was asked for", {
            with(handover(), |play| {
                play.observation.switchover =
                    Some(Switchover { shard: 0, target: Some("redis-2".into()), age_us: 1 })
            })
        }),
        (
            Rule::HandoverInSync,
            "the link is down",
            with(handover(), |play| link(&mut play.servers[1]).up = false),
        ),
    ]
}

#[test]
fn the_same_plans_with_one_thing_wrong() {
    let outcomes = plays().into_iter().map(|(rule, name, play)| (rule, name, play.breached()));
    let wrong: Vec<_> = outcomes.filter(|(rule, _, breached)| breached[..] != [*rule]).collect();
    assert_eq!(wrong, []);
}

#[test]
fn every_rule_has_its_counterexample() {
    let covered: Vec<_> = plays().into_iter().map(|(rule, ..)| rule).collect();
    let missing: Vec<_> = Rule::ALL.into_iter().filter(|rule| !covered.contains(rule)).collect();
    assert_eq!(missing, []);
}
