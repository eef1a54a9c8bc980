//! Every rule, against plans that a careful engine makes (all accepted) and against the same plans with one thing wrong (one
//! rule breached, and no other).

use super::{Rule, judge};
use crate::policy::check::world::{Server, observe};
use crate::policy::contract::*;
// The name is also that of the world, which hides the record.
use crate::policy::contract::Failover;

/// Servers, what else the host knows, and a plan. `""` as an expected run id is filled in with the true one.
struct Play {
    servers: Vec<Server>,
    observation: Observation,
    decision: Decision,
}

impl Play {
    fn new(servers: Vec<Server>, verdict: Verdict, stages: Vec<Vec<Action>>) -> Self {
        let mut observation = observe(&servers);
        observation.published =
            Some(Published { master: "redis-0".into(), run_id: "run-0".into(), replid: "a".into(), offset: 100, epoch: 3, age_us: 60_000_000 });
        let stages = stages.into_iter().map(|actions| Stage { summary: String::new(), actions }).collect();
        let decision = Decision {
            verdict,
            reason: "test".into(),
            explanation: String::new(),
            master: None,
            master_goal: None,
            members: vec![],
            stages,
            known_loss_bytes: None,
            next_look_us: 1_000,
        };
        Self { servers, observation, decision }
    }

    fn breached(mut self) -> Vec<Rule> {
        self.observation.instances = observe(&self.servers).instances;
        if self.decision.members.is_empty() {
            self.decision.members = self.observation.instances.iter().map(|instance| member(&instance.id)).collect();
        }
        let runs: Vec<_> = self.servers.iter().map(|server| (server.id.clone(), server.run_id.clone())).collect();
        let fill = |id: &str, expect: &mut Expectation| {
            if let Some((_, run_id)) = runs.iter().find(|(known, _)| known == id).filter(|_| expect.run_id.is_empty()) {
                expect.run_id.clone_from(run_id);
            }
        };
        for action in self.decision.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
            match action {
                Action::Promote(it) => fill(&it.id, &mut it.expect),
                Action::Follow(it) => fill(&it.id, &mut it.expect),
                Action::Handover(it) => {
                    fill(&it.source, &mut it.expect_source);
                    fill(&it.target, &mut it.expect_target);
                }
                Action::Fence(it) => fill(&it.id, &mut it.expect),
                Action::Unfence(it) => fill(&it.id, &mut it.expect),
                Action::KickClients(it) => fill(&it.id, &mut it.expect),
                Action::Configure(it) => fill(&it.id, &mut it.expect),
                Action::Restart(_) => {}
                Action::Command(it) => fill(&it.id, &mut it.expect),
            }
        }
        judge(&self.observation, &self.decision).err().unwrap_or_default().into_iter().map(|breach| breach.rule).collect()
    }

    fn promote(&mut self) -> &mut Promote {
        match &mut self.decision.stages[0].actions[0] {
            Action::Promote(promote) => promote,
            _ => panic!("the first action of this play is a promotion"),
        }
    }

    fn act(&mut self, action: Action) {
        self.decision.stages[0].actions.push(action);
    }
}

fn member(id: &str) -> Member {
    Member { id: id.into(), role: Role::Unknown, health: Health::Alive, proof: String::new(), rank: None, ineligible: None, lag_bytes: None }
}

fn expect(role: Role) -> Expectation {
    Expectation { run_id: String::new(), role, replid: None }
}

fn promote(id: &str, evidence: Evidence) -> Action {
    Action::Promote(Promote { id: id.into(), source: Some("redis-0".into()), meant_for: id.into(), evidence, expect: expect(Role::Replica) })
}

fn follow(id: &str, master: &str, role: Role) -> Action {
    Action::Follow(Follow { id: id.into(), master: master.into(), discards_bytes: 0, expect: expect(role) })
}

fn pod(uid: &str) -> Pod {
    Pod {
        uid: uid.into(),
        ready: true,
        terminating: false,
        running: true,
        restarts: 0,
        started_age_us: None,
        node: None,
        node_ready: None,
        zone: None,
        revision: String::new(),
        revision_target: String::new(),
    }
}

/// The master's process is gone; both replicas were asked afterwards. The first is promoted, then the other follows.
fn dead() -> Play {
    let mut master = Server::master(0, "a", 100);
    let mut replicas = [Server::replica(1, &master), Server::replica(2, &master)];
    master.age_us = 700_000;
    master.link = Link {
        state: LinkState::Refused,
        state_age_us: 2_000,
        closed_age_us: Some(3_000),
        refusals: Some(Refusals { count: 1, first_age_us: 2_000, last_age_us: 2_000 }),
        alive_age_us: Some(400_000),
    };
    for replica in &mut replicas {
        (replica.link_up, replica.last_io_s, replica.link_down_s) = (false, None, Some(0));
    }
    let [one, two] = replicas;
    let stages = vec![vec![promote("redis-1", Evidence::Dead)], vec![follow("redis-2", "redis-1", Role::Replica)]];
    Play::new(vec![master, one, two], Verdict::Act, stages)
}

/// The master hangs: nobody has heard of it for 1.2 s.
fn silent() -> Play {
    let mut play = dead();
    play.servers[0].link =
        Link { state: LinkState::TimedOut, state_age_us: 900_000, closed_age_us: None, refusals: None, alive_age_us: Some(1_200_000) };
    for replica in &mut play.servers[1..] {
        (replica.link_up, replica.last_io_s, replica.earlier) = (true, Some(1), Some((100, 1_100_000)));
    }
    play.promote().evidence = Evidence::Silent;
    play
}

/// A crash in the middle of a handover: old and new follow each other.
fn ring() -> Play {
    let mut play = dead();
    play.servers[0] = Server { master: Some(play.servers[1].place.clone()), ..Server::replica(0, &play.servers[1]) };
    play.servers[1].link_up = true;
    play.promote().evidence = Evidence::Abdicated;
    play
}

/// The master came back empty, its replicas not yet.
fn amnesic() -> Play {
    let mut play = dead();
    play.servers[0] = Server { run_id: "again".into(), uptime_s: 1, ..Server::new(0) };
    play.promote().evidence = Evidence::Amnesic;
    play
}

/// Three new servers, nobody's replicas; the first has data.
fn bootstrap() -> Play {
    let mut servers: Vec<_> = (0..3).map(Server::new).collect();
    for server in &mut servers {
        (server.role, server.master) = (Role::Replica, Some(("127.0.0.1".into(), 6379)));
    }
    servers[1].keys = 7;
    let mut play = Play::new(servers, Verdict::Act, vec![vec![promote("redis-1", Evidence::Bootstrap)]]);
    play.observation.published = None;
    play.promote().source = None;
    play
}

/// All is well but for one server, the last, which is to follow.
fn rejoin(with: impl FnOnce(&mut Server)) -> Play {
    let master = Server { former: Some(("z".into(), 50)), ..Server::master(0, "a", 100) };
    let mut last = Server { keys: 10, ..Server::new(2) };
    with(&mut last);
    let role = last.role;
    Play::new(vec![master.clone(), Server::replica(1, &master), last], Verdict::Act, vec![vec![follow("redis-2", "redis-0", role)]])
}

/// A person asked for a switchover to the first replica.
fn handover() -> Play {
    let master = Server::master(0, "a", 100);
    let action = Action::Handover(Handover {
        source: "redis-0".into(),
        target: "redis-1".into(),
        meant_for: "redis-1".into(),
        pause_max_ms: 2_000,
        expect_source: expect(Role::Master),
        expect_target: expect(Role::Replica),
    });
    let servers = vec![master.clone(), Server::replica(1, &master), Server::replica(2, &master)];
    let mut play = Play::new(servers, Verdict::Act, vec![vec![action]]);
    play.observation.switchover = Some(Switchover { target: Some("redis-1".into()), age_us: 5_000 });
    play
}

fn last_failover(source: &str, target: &str, age_us: u64) -> Option<Failover> {
    Some(Failover { age_us, source: Some(source.into()), target: target.into(), meant_for: target.into(), evidence: Evidence::Dead })
}

fn with(mut play: Play, change: impl FnOnce(&mut Play)) -> Play {
    change(&mut play);
    play
}

mod accepts {
    use super::*;

    #[test]
    fn what_a_careful_engine_plans() {
        let plays: Vec<(&str, Play)> = vec![
            ("a dead master is replaced", dead()),
            ("at once with its replica", with(dead(), |play| play.act(follow("redis-2", "redis-1", Role::Replica)))),
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
            ("the orchestrator says that it ended", {
                with(dead(), |play| {
                    play.servers[0].pod = Some(Pod { running: false, ..pod("u") });
                    play.servers[0].link.refusals = None;
                })
            }),
            (
                "refused twice by an observer that had no connection",
                with(dead(), |play| {
                    play.servers[0].link.closed_age_us = None;
                    play.servers[0].link.refusals = Some(Refusals { count: 2, first_age_us: 7_000, last_age_us: 1_500 });
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
                    play.observation.published = dead().observation.published;
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
                        discards_bytes: 30,
                        expect: expect(Role::Master),
                    })];
                })
            }),
            ("of two masters the one not on record follows", rejoin(|last| (last.replid, last.offset) = ("z".into(), 40))),
            ("a chain is flattened while the stream flows", {
                rejoin(|last| {
                    (last.role, last.master, last.link_up) = (Role::Replica, Some(("10.0.0.2".into(), 6379)), true);
                    (last.replid, last.offset) = ("a".into(), 120);
                })
            }),
            ("nothing", Play::new(vec![], Verdict::Healthy, vec![])),
        ];
        for (name, play) in plays {
            assert_eq!(play.breached(), [], "{name}");
        }
    }
}

mod rejects {
    use super::*;

    /// The rule, what is wrong, and the play.
    fn plays() -> Vec<(Rule, &'static str, Play)> {
        vec![
            (Rule::Quiet, "paused", with(dead(), |play| play.observation.group.paused = true)),
            (Rule::Quiet, "healthy with a plan", with(dead(), |play| play.decision.verdict = Verdict::Healthy)),
            (Rule::Quiet, "act without a plan", with(dead(), |play| play.decision.stages.clear())),
            (Rule::Members, "one is missing", with(dead(), |play| play.decision.members = vec![member("redis-0"), member("redis-1")])),
            (Rule::KnownIds, "a stranger is to be master in the end", with(dead(), |play| play.promote().meant_for = "ghost".into())),
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
                "promoted, then told to follow",
                with(dead(), |play| {
                    play.decision.stages[1].actions = vec![promote("redis-2", Evidence::Dead)];
                    let stage = Stage { summary: String::new(), actions: vec![follow("redis-1", "redis-2", Role::Master)] };
                    play.decision.stages.push(stage);
                }),
            ),
            (
                Rule::Star,
                "a replica is followed in a later stage",
                with(dead(), |play| play.decision.stages[1].actions = vec![follow("redis-2", "redis-0", Role::Replica)]),
            ),
            (Rule::Star, "follows itself", with(dead(), |play| play.decision.stages[1].actions = vec![follow("redis-2", "redis-2", Role::Replica)])),
            (Rule::Expectation, "another run", with(dead(), |play| play.promote().expect.run_id = "other".into())),
            (Rule::Expectation, "another role", with(dead(), |play| play.promote().expect.role = Role::Master)),
            (Rule::Expectation, "another history", with(dead(), |play| play.promote().expect.replid = Some("b".into()))),
            (Rule::Freshness, "a target that is gone is kicked", {
                with(dead(), |play| play.act(Action::KickClients(KickClients { id: "redis-0".into(), expect: expect(Role::Master) })))
            }),
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
            (Rule::AllowList, "any command", {
                with(dead(), |play| {
                    let arguments = vec!["FLUSHALL".into()];
                    play.act(Action::Command(Command { id: "redis-2".into(), arguments, expect: expect(Role::Replica) }));
                })
            }),
            (Rule::AllowList, "another topology", with(dead(), |play| play.observation.group.topology = Topology::Cluster)),
            (Rule::BoundedPause, "an hour", {
                with(dead(), |play| play.act(Action::Fence(Fence { id: "redis-2".into(), max_ms: 3_600_000, expect: expect(Role::Replica) })))
            }),
            (Rule::Evidence, "on request", with(dead(), |play| play.promote().evidence = Evidence::Requested)),
            (
                Rule::Evidence,
                "closed, and not refused",
                with(dead(), |play| (play.servers[0].link.state, play.servers[0].link.refusals) = (LinkState::Closed, None)),
            ),
            (Rule::Evidence, "refused once, by an observer without a connection", with(dead(), |play| play.servers[0].link.closed_age_us = None)),
            (Rule::Evidence, "silent for less than the limit", with(silent(), |play| play.servers[0].link.alive_age_us = Some(900_000))),
            (Rule::Evidence, "busy is life", with(silent(), |play| play.servers[0].link.state = LinkState::Busy)),
            (Rule::Evidence, "silent, and called dead", with(silent(), |play| play.promote().evidence = Evidence::Dead)),
            (Rule::FinalOffsets, "a replica still hears it", with(dead(), |play| play.servers[2].link_up = true)),
            (Rule::FinalOffsets, "a replica was asked before", with(dead(), |play| play.servers[1].age_us = 2_500)),
            (Rule::FinalOffsets, "the stream still moves", with(silent(), |play| play.servers[2].earlier = Some((99, 1_100_000)))),
            (Rule::SelfFence, "no fence", with(silent(), |play| play.observation.group.prefer = Preference::Consistency)),
            (
                Rule::SelfFence,
                "too early",
                with(silent(), |play| {
                    (play.observation.group.prefer, play.observation.group.self_fence_lag_s) = (Preference::Consistency, Some(1));
                }),
            ),
            (Rule::CoolDown, "just after another", with(silent(), |play| play.observation.last_failover = last_failover("x", "redis-0", 2_000_000))),
            (Rule::SelfDoubt, "all fell silent", with(silent(), |play| play.observation.silent_groups_permille = 600)),
            (
                Rule::ReachableMaster,
                "another master answers",
                with(dead(), |play| play.servers.push(Server { keys: 10, ..Server::master(3, "a", 90) })),
            ),
            (
                Rule::ReachableMaster,
                "a master is to follow a replica that is promoted",
                with(dead(), |play| {
                    play.servers.push(Server { keys: 10, ..Server::master(3, "a", 90) });
                    play.act(follow("redis-3", "redis-1", Role::Master));
                }),
            ),
            (Rule::Bootstrap, "one names a master", { with(bootstrap(), |play| play.servers[2].master = Some(play.servers[0].place.clone())) }),
            (Rule::Bootstrap, "the empty one of two", with(bootstrap(), |play| play.promote().id = "redis-2".into())),
            (Rule::Bootstrap, "the one on record is only out of sight", {
                with(bootstrap(), |play| {
                    play.observation.published = dead().observation.published;
                    play.servers[0].link =
                        Link { state: LinkState::Closed, state_age_us: 100, alive_age_us: Some(9_000), ..play.servers[0].link.clone() };
                })
            }),
            (Rule::Fit, "priority 0", with(dead(), |play| play.servers[1].priority = Some(0))),
            (Rule::Fit, "no priority", with(dead(), |play| play.servers[1].priority = None)),
            (Rule::Fit, "loading", with(dead(), |play| play.servers[1].is_loading = true)),
            (Rule::Fit, "mid-sync", with(dead(), |play| play.servers[1].is_syncing = true)),
            (Rule::Fit, "not announced", with(dead(), |play| play.servers[1].is_announced = false)),
            (Rule::Fit, "in a FAILOVER", with(dead(), |play| play.servers[1].in_failover = true)),
            (
                Rule::Lineage,
                "foreign, and further",
                with(dead(), |play| (play.servers[1].replid, play.servers[1].offset) = ("foreign".into(), 9_999)),
            ),
            (Rule::MostAdvanced, "the other has more", with(dead(), |play| play.servers[2].offset = 101)),
            (Rule::Quorum, "a minimum of three", with(dead(), |play| play.observation.group.members_min = Some(3))),
            (Rule::Quorum, "silence without a majority", with(silent(), |play| play.observation.group.members_desired = 5)),
            (Rule::InDoubt, "another may be promoted already", {
                with(dead(), |play| {
                    play.servers.push(Server { ..Server::replica(3, &play.servers[0]) });
                    play.servers[3].link = Link { state: LinkState::TimedOut, alive_age_us: Some(50_000), ..play.servers[3].link.clone() };
                    play.observation.in_doubt = vec![InDoubt { action: promote("redis-3", Evidence::Dead), age_us: 20_000 }];
                })
            }),
            (Rule::NoDestructiveFollow, "a foreign history with data", rejoin(|_| {})),
            (
                Rule::NoDestructiveFollow,
                "a surplus that is no fork",
                rejoin(|last| (last.replid, last.offset, last.former) = ("b".into(), 130, Some(("a".into(), 110)))),
            ),
            (Rule::NoDestructiveFollow, "a fork that is not reported", rejoin(|last| (last.replid, last.offset) = ("z".into(), 80))),
            (Rule::NoDestructiveFollow, "a master that loads", with(rejoin(|last| last.keys = 0), |play| play.servers[0].is_loading = true)),
            (Rule::Amnesia, "follows the empty return", {
                with(amnesic(), |play| {
                    play.servers.push(Server::new(3));
                    play.decision.stages = vec![Stage { summary: String::new(), actions: vec![follow("redis-3", "redis-0", Role::Master)] }];
                })
            }),
            (Rule::TwoMasters, "the one on record is to follow", {
                with(rejoin(|last| (last.replid, last.offset, last.former) = ("b".into(), 95, Some(("a".into(), 90)))), |play| {
                    let follow = Follow { id: "redis-0".into(), master: "redis-2".into(), discards_bytes: 10, expect: expect(Role::Master) };
                    play.decision.stages[0].actions = vec![Action::Follow(follow)];
                })
            }),
            (Rule::SafeRestart, "a master", {
                with(handover(), |play| {
                    play.servers[0].pod = Some(pod("u"));
                    play.decision.stages[0].actions = vec![Action::Restart(Restart { id: "redis-0".into(), uid: "u".into() })];
                })
            }),
            (Rule::HandoverInSync, "nobody asked", with(handover(), |play| play.observation.switchover = None)),
            (Rule::HandoverInSync, "another was asked for", {
                with(handover(), |play| play.observation.switchover = Some(Switchover { target: Some("redis-2".into()), age_us: 1 }))
            }),
            (Rule::HandoverInSync, "the link is down", with(handover(), |play| play.servers[1].link_up = false)),
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
}

#[test]
fn rules_have_distinct_kebab_names_and_a_sentence() {
    let mut names: Vec<_> = Rule::ALL.into_iter().map(Rule::name).collect();
    assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(Rule::ALL.into_iter().all(|rule| rule.why().ends_with('.') && rule.why().starts_with(char::is_uppercase)));
}
