//! Every rule, against plans that a careful engine makes (all accepted) and against the same plans with one
//! thing wrong (one rule breached, and no other).

mod accepts;
mod rejects;
mod seen;
mod sentinels;
mod states;

use super::{Rule, judge};
use crate::contract::*;
use failover_core::contract::{Link, LinkState, Pod, Refusals};
use redis_model::sentinel::Sentinel;
use redis_model::{MasterLink, Role as Says, Server, World};

/// Servers, what else the host knows, and a plan. `""` as an expected run id is filled in with the true one.
struct Play {
    servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
    observation: Observation,
    decision: Decision,
}

/// An empty master of its own history `own-N`, at 10.0.0.(N + 1).
fn server(number: usize) -> Server {
    Server {
        id: format!("redis-{number}"),
        run_id: format!("run-{number}"),
        replid: format!("own-{number}"),
        ..Server::new(number + 1)
    }
}

/// The master of a history with ten keys.
fn master(number: usize, replid: &str, offset: u64) -> Server {
    Server { replid: replid.into(), offset, keys: 10, ..server(number) }
}

/// A replica of `master` with its link up, at the same offset.
fn replica(number: usize, master: &Server) -> Server {
    let mut replica = server(number);
    (replica.replid, replica.former) = (master.replid.clone(), master.former.clone());
    (replica.offset, replica.keys) = (master.offset, master.keys);
    replica.follow(&master.host, master.port);
    replica
}

/// A replica's link to its master.
fn link(server: &mut Server) -> &mut MasterLink {
    server.master_link().expect("it is a replica")
}

fn observe(servers: &[Server], sentinels: &[Sentinel]) -> Observation {
    let world = World { sentinels: sentinels.to_vec(), ..World::of(servers.to_vec()) };
    same(&world.observe())
}

impl Play {
    fn new(servers: Vec<Server>, verdict: Verdict, stages: Vec<Vec<Action>>) -> Self {
        let mut observation = observe(&servers, &[]);
        observation.shards[0].published = Some(Published {
            master: "redis-0".into(),
            run_id: "run-0".into(),
            replid: "a".into(),
            offset: 100,
            epoch: 3,
            age_us: 60_000_000,
            node: None,
        });
        let stages = stages.into_iter().map(|actions| Stage { summary: String::new(), actions }).collect();
        let decision = Decision {
            verdict,
            reason: "test".into(),
            explanation: String::new(),
            progress: Progress::Changing,
            shards: vec![ShardVerdict {
                index: 0,
                master: None,
                master_goal: None,
                loss: Some(Loss { bytes: None }),
            }],
            members: vec![],
            request: None,
            stages,
            next_look_us: 1_000,
        };
        Self { servers, sentinels: vec![], observation, decision }
    }

    fn breached(mut self) -> Vec<Rule> {
        self.observation.instances = observe(&self.servers, &self.sentinels).instances;
        if self.decision.members.is_empty() {
            self.decision.members =
                self.observation.instances.iter().map(|instance| member(&instance.id)).collect();
        }
        let sentinels = self.sentinels.iter().map(|sentinel| (sentinel.id.clone(), sentinel.run_id.clone()));
        let servers = self.servers.iter().map(|server| (server.id.clone(), server.run_id.clone()));
        let runs: Vec<_> = servers.chain(sentinels).collect();
        let fill = |id: &str, expect: &mut Expectation| {
            if let Some((_, run_id)) =
                runs.iter().find(|(known, _)| known == id).filter(|_| expect.run_id.is_empty())
            {
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
                Action::Demote(it) => fill(&it.id, &mut it.expect),
                Action::Fence(it) => fill(&it.id, &mut it.expect),
                Action::Unfence(it) => fill(&it.id, &mut it.expect),
                Action::KickClients(it) => fill(&it.id, &mut it.expect),
                Action::Configure(it) => fill(&it.id, &mut it.expect),
                Action::Restart(_) => {}
                Action::Sentinel(it) => fill(&it.id, &mut it.expect),
                Action::Cluster(it) => fill(&it.id, &mut it.expect),
            }
        }
        judge(&self.observation, &self.decision)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|breach| breach.rule)
            .collect()
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
    Member {
        id: id.into(),
        role: Role::Unknown,
        assigned: None,
        health: Health::Alive,
        proof: String::new(),
        rank: None,
        ineligible: None,
        lag_bytes: None,
    }
}

fn expect(role: Role) -> Expectation {
    Expectation { run_id: String::new(), role, replid: None, node: None }
}

fn promote(id: &str, evidence: Evidence) -> Action {
    Action::Promote(Promote {
        id: id.into(),
        source: Some("redis-0".into()),
        meant_for: id.into(),
        evidence,
        how: Promotion::ReplicaofNoOne,
        completes: vec![],
        expect: expect(Role::Replica),
    })
}

fn follow(id: &str, master: &str, role: Role) -> Action {
    Action::Follow(Follow {
        id: id.into(),
        master: master.into(),
        discards_bytes: Some(0),
        expect: expect(role),
    })
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

/// The master's process is gone; both replicas were asked afterwards. The first is promoted, then the other
/// follows.
fn dead() -> Play {
    let mut master = master(0, "a", 100);
    let mut replicas = [replica(1, &master), replica(2, &master)];
    master.seen.age_us = Some(700_000);
    master.seen.link = Link {
        state: LinkState::Refused,
        state_age_us: 2_000,
        closed_age_us: Some(3_000),
        refusals: Some(Refusals { count: 1, first_age_us: 2_000, last_age_us: 2_000 }),
        alive_age_us: Some(400_000),
    };
    for replica in &mut replicas {
        replica.link_down(0);
    }
    let [one, two] = replicas;
    let stages =
        vec![vec![promote("redis-1", Evidence::Dead)], vec![follow("redis-2", "redis-1", Role::Replica)]];
    Play::new(vec![master, one, two], Verdict::Act, stages)
}

/// The master hangs: its last valid reply is 1.2 s old, and its replicas' streams stand still.
fn silent() -> Play {
    let mut play = dead();
    play.servers[0].seen.link = Link {
        state: LinkState::TimedOut,
        state_age_us: 900_000,
        closed_age_us: None,
        refusals: None,
        alive_age_us: Some(1_200_000),
    };
    for replica in &mut play.servers[1..] {
        replica.seen.still_us = Some(1_150_000);
        (link(replica).up, link(replica).last_io_s) = (true, Some(1));
    }
    play.promote().evidence = Evidence::Silent;
    play
}

/// A crash in the middle of a handover: old and new follow each other.
fn ring() -> Play {
    let mut play = dead();
    play.servers[0] = replica(0, &play.servers[1]);
    link(&mut play.servers[1]).up = true;
    play.promote().evidence = Evidence::Abdicated;
    play
}

/// The master came back empty, its replicas not yet.
fn amnesic() -> Play {
    let mut play = dead();
    play.servers[0] = Server { run_id: "again".into(), uptime_s: 1, ..server(0) };
    play.promote().evidence = Evidence::Amnesic;
    play
}

/// Three new servers, replicas of no master; the second has data.
fn bootstrap() -> Play {
    let mut servers: Vec<_> = (0..3).map(server).collect();
    for server in &mut servers {
        server.replicate("127.0.0.1", 6379);
    }
    servers[1].keys = 7;
    let mut play = Play::new(servers, Verdict::Act, vec![vec![promote("redis-1", Evidence::Bootstrap)]]);
    play.observation.shards[0].published = None;
    play.promote().source = None;
    play
}

/// All is well but for one server, the last, which is to follow.
fn rejoin(with: impl FnOnce(&mut Server)) -> Play {
    let master = Server { former: Some(("z".into(), 50)), ..master(0, "a", 100) };
    let mut last = Server { keys: 10, ..server(2) };
    with(&mut last);
    let role = if last.role == Says::Master { Role::Master } else { Role::Replica };
    Play::new(
        vec![master.clone(), replica(1, &master), last],
        Verdict::Act,
        vec![vec![follow("redis-2", "redis-0", role)]],
    )
}

/// A person asked for a switchover to the first replica.
fn handover() -> Play {
    let master = master(0, "a", 100);
    let action = Action::Handover(Handover {
        source: "redis-0".into(),
        target: "redis-1".into(),
        meant_for: "redis-1".into(),
        pause_max_ms: 2_000,
        expect_source: expect(Role::Master),
        expect_target: expect(Role::Replica),
    });
    let servers = vec![master.clone(), replica(1, &master), replica(2, &master)];
    let mut play = Play::new(servers, Verdict::Act, vec![vec![action]]);
    play.observation.switchover =
        Some(Switchover { shard: 0, target: Some("redis-1".into()), age_us: 5_000 });
    play.decision.request =
        Some(RequestAnswer { state: RequestState::Waiting, reason: "test".into(), text: String::new() });
    play
}

/// The better copy refused its promotion; the other one takes over, and the difference is a known loss.
fn passed_over(surplus: u64, reported: Option<u64>) -> Play {
    with(dead(), |play| {
        play.servers[2].offset += surplus;
        let Action::Promote(mut refused) = promote("redis-2", Evidence::Dead) else { return };
        refused.expect.run_id.clone_from(&play.servers[2].run_id);
        let text = "promote: refused: NOPERM".into();
        play.observation.refused.push(Refused { action: Action::Promote(refused), text, age_us: 900 });
        play.decision.shards[0].loss = Some(Loss { bytes: reported });
    })
}

/// The master cannot write its disk, and its replica can.
fn disk_full() -> Play {
    with(handover(), |play| {
        play.observation.switchover = None;
        play.decision.request = None;
        play.servers[0].rows.insert("rdb_last_bgsave_status".into(), Some("err".into()));
    })
}

fn last_failover(source: &str, target: &str, age_us: u64) -> Option<Failover> {
    Some(Failover {
        age_us,
        source: Some(source.into()),
        target: target.into(),
        meant_for: target.into(),
        evidence: Evidence::Dead,
    })
}

fn with(mut play: Play, change: impl FnOnce(&mut Play)) -> Play {
    change(&mut play);
    play
}

#[test]
fn rules_have_distinct_kebab_names_and_a_sentence() {
    let mut names: Vec<_> = Rule::ALL.into_iter().map(Rule::name).collect();
    assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(
        Rule::ALL
            .into_iter()
            .all(|rule| rule.why().ends_with('.') && rule.why().starts_with(char::is_uppercase))
    );
}
