//! Properties of the guard and of the facts that it reads. Seeded: a failure names its seed.

use failover_core::facts::{
    INFO_REPLICATION, INFO_SERVER, PersistenceFacts, Relation, ReplicationFacts, ServerFacts, config_pairs,
    keys,
};
use redis_model::faults::{broken, watched};
use redis_model::says;
use redis_model::{Dialect, Server};
use redis_operator::conformance::{Dice, Trial, check, mutated, random_observation};
use redis_operator::contract::*;
use redis_operator::guard::{Rule, judge};
use redis_operator::policy::{Policy, PolicyFault};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

/// The engine, called natively: the two families of generated types meet as JSON.
struct Native;

impl Policy for Native {
    fn title(&self) -> &str {
        "default, native"
    }

    fn digest(&self) -> &str {
        "native"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        vec![]
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let same = serde_json::to_value(observation)
            .and_then(serde_json::from_value)
            .expect("both are generated from one WIT");
        let decision = failover_core::decide(&same);
        Ok(serde_json::to_value(decision)
            .and_then(serde_json::from_value)
            .expect("both are generated from one WIT"))
    }
}

#[test]
fn the_engine_keeps_every_invariant_on_seeded_observations() {
    let random = std::env::var("CHECK_RANDOM").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000);
    let report = check(&Native, &Trial { scenarios: &[], random, seed: 1, strict: true }, |_| {});
    assert!(report.is_passed(), "{report}");
}

#[test]
fn the_guard_never_panics_and_its_breaches_do_not_depend_on_the_order_of_instances() {
    let (mut promotions, mut follows) = (0, 0);
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let mut observation = random_observation(&mut dice);
        if dice.chance(300) {
            let mut world = broken(&mut dice).seen_world();
            watched(&mut world, &mut dice);
            observation = same(&world.observe());
        }
        let decision = any_decision(&mut dice, &observation);
        let judgement = judge(&observation, &decision);
        let first = decision.stages.first().map_or(&[][..], |stage| &stage.actions);
        match &judgement {
            Ok(()) => {
                promotions += first.iter().filter(|action| matches!(action, Action::Promote(_))).count();
                follows += first.iter().filter(|action| matches!(action, Action::Follow(_))).count();
            }
            Err(breaches) => {
                assert!(
                    !breaches.is_empty() && breaches.iter().all(|breach| !breach.text.is_empty()),
                    "seed {seed}: {breaches:?}"
                );
            }
        }
        dice.shuffle(&mut observation.instances);
        let rules = |judgement: Result<(), Vec<redis_operator::guard::Breach>>| -> Vec<Rule> {
            judgement.err().unwrap_or_default().into_iter().map(|breach| breach.rule).collect()
        };
        assert_eq!(rules(judge(&observation, &decision)), rules(judgement), "seed {seed}");
    }
    // A guard that accepts nothing would pass everything above.
    assert!(promotions > 10 && follows > 10, "accepted: {promotions} promotions, {follows} follows");
}

#[test]
fn facts_of_mutated_replies_never_panic_and_stay_within_bounds() {
    let server = RealRedis::start();
    let mut texts = vec![
        server.ask("INFO"),
        server.ask("INFO replication"),
        server.ask("INFO persistence"),
        server.ask("INFO keyspace"),
    ];
    assert!(
        ServerFacts::parse(&texts[0]).run_id.is_some_and(|run_id| run_id.len() == 40),
        "a real server has a run id: {}",
        texts[0]
    );
    for dialect in [Dialect::Redis5, Dialect::Redis6, Dialect::Redis7, Dialect::Redis8, Dialect::Valkey8] {
        let mut server = Server { dialect, former: Some(("b".into(), u64::MAX)), ..Server::new(1) };
        (server.offset, server.keys) = (u64::MAX, 10);
        texts.extend([says::server(&server), says::persistence(&server), says::keyspace(&server)]);
        texts.push(says::replication(&server));
        server.follow("10.0.0.2", 6379);
        texts.push(says::replication(&server));
    }
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let mut text = dice.pick(&texts).expect("there are texts").clone();
        for _ in 0..1 + dice.below(6) {
            text = mutated(&mut dice, &text);
        }
        within_bounds(&text, seed);
        assert!(config_pairs(&text).is_empty() || text.starts_with('*'), "seed {seed}");
    }
}

/// Properties of the facts of any text.
fn within_bounds(text: &str, seed: u64) {
    let facts = ReplicationFacts::parse(text);
    assert_eq!(facts, ReplicationFacts::parse(text), "seed {seed}");
    assert!(facts.attached.len() <= text.matches("slave").count(), "seed {seed}");
    if let Some(history) = facts.history {
        assert_eq!(history.relation(&history), Relation::Equal, "seed {seed}");
        assert!(
            text.contains(history.replid) && history.replid.bytes().any(|byte| byte != b'0'),
            "seed {seed}"
        );
    }
    for place in facts.master.iter().chain(facts.attached.iter().map(|row| &row.place)) {
        let (host, port) = place
            .to_string()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.parse()))
            .expect("it prints with a port");
        assert_eq!(
            failover_core::facts::Place::new(&host, port.expect("of 16 bits")),
            *place,
            "seed {seed}: it reads what it prints"
        );
    }
    assert_eq!(ServerFacts::parse(text), ServerFacts::parse(text), "seed {seed}");
    assert_eq!(PersistenceFacts::parse(text), PersistenceFacts::parse(text), "seed {seed}");
    assert!(
        keys(text).is_none() || text.contains("db") || text.to_ascii_lowercase().contains("# keyspace"),
        "seed {seed}"
    );
}

fn text_of(reply: &Reply) -> Option<String> {
    match reply.newest.as_ref().map(|sample| &sample.value) {
        Some(Value::Text(text)) => Some(text.text.clone()),
        Some(Value::Integer(_) | Value::Nil(_) | Value::Nested(_)) | None => None,
    }
}

/// Mostly a plausible decision, sometimes an invalid one.
fn any_decision(dice: &mut Dice, observation: &Observation) -> Decision {
    let mut members: Vec<Member> =
        observation.instances.iter().map(|instance| member(&instance.id)).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    if dice.chance(30) {
        members.push(member("ghost"));
    }
    let stages: Vec<_> = (0..dice.below(3))
        .map(|_| Stage {
            summary: String::new(),
            actions: (0..1 + dice.below(2)).map(|_| any_action(dice, observation)).collect(),
        })
        .collect();
    let verdict = if stages.is_empty() != dice.chance(50) { Verdict::Wait } else { Verdict::Act };
    Decision {
        verdict,
        reason: "any".into(),
        explanation: String::new(),
        progress: Progress::Changing,
        shards: vec![ShardVerdict {
            index: u16::from(dice.chance(30)),
            master: dice.chance(500).then(|| any_id(dice, observation)),
            master_goal: None,
            loss: Some(Loss { bytes: None }),
        }],
        members,
        request: observation.switchover.as_ref().filter(|_| !dice.chance(30)).map(|_| RequestAnswer {
            state: RequestState::Waiting,
            reason: "any".into(),
            text: "any".into(),
        }),
        stages,
        next_look_us: dice.number(),
    }
}

fn any_action(dice: &mut Dice, observation: &Observation) -> Action {
    let (id, other) = (any_id(dice, observation), any_id(dice, observation));
    let (expect, of_other) =
        (any_expectation(dice, observation, &id), any_expectation(dice, observation, &other));
    match dice.below(16) {
        0..5 => {
            let reasons = [
                Evidence::Dead,
                Evidence::Silent,
                Evidence::Abdicated,
                Evidence::Amnesic,
                Evidence::Bootstrap,
                Evidence::Requested,
            ];
            let evidence = *dice.pick(&reasons).expect("there are reasons");
            Action::Promote(Promote {
                meant_for: id.clone(),
                id,
                source: dice.chance(200).then_some(other),
                evidence,
                how: Promotion::ReplicaofNoOne,
                completes: vec![],
                expect,
            })
        }
        5..10 => Action::Follow(Follow {
            id,
            master: other,
            discards_bytes: *dice.pick(&[Some(0), Some(u64::MAX), None]).expect("there are three"),
            expect,
        }),
        10 => Action::Handover(Handover {
            source: id,
            meant_for: other.clone(),
            target: other,
            pause_max_ms: 1_000,
            expect_source: expect,
            expect_target: of_other,
        }),
        11 if dice.chance(300) => Action::Demote(Demote { id, expect }),
        11 => Action::Fence(Fence { id, max_ms: 1_000 << dice.below(9), expect }),
        12 => Action::Unfence(Unfence { id, expect }),
        13 => Action::KickClients(KickClients { id, expect }),
        14 => Action::Configure(Configure {
            id,
            directive: "replica-priority".into(),
            to: (*dice.pick(&["5", "05", "x"]).expect("some")).into(),
            expect,
        }),
        _ if dice.chance(500) => Action::Restart(Restart { id, uid: "uid-0".into() }),
        _ if dice.chance(500) => Action::Sentinel(SentinelAction {
            id,
            change: SentinelChange::Rewrite(Rewrite { master: other }),
            expect,
        }),
        _ => Action::Cluster(ClusterAction {
            id,
            change: ClusterChange::Reset(Reset { discards_keys: 0 }),
            expect,
        }),
    }
}

fn any_id(dice: &mut Dice, observation: &Observation) -> String {
    if dice.chance(30) {
        "ghost".into()
    } else {
        dice.pick(&observation.instances).map_or("unknown".into(), |instance| instance.id.clone())
    }
}

fn any_expectation(dice: &mut Dice, observation: &Observation, id: &str) -> Expectation {
    let shown = |command: &str| {
        let instance = observation.instances.iter().find(|instance| instance.id == id)?;
        instance.replies.iter().find(|reply| reply.command == command).and_then(text_of)
    };
    let run_id = shown(INFO_SERVER)
        .and_then(|text| ServerFacts::parse(&text).run_id.map(str::to_owned))
        .filter(|_| !dice.chance(30));
    let is_master = shown(INFO_REPLICATION).is_some_and(|text| text.contains("role:master"));
    Expectation {
        run_id: run_id.unwrap_or_default(),
        role: if is_master { Role::Master } else { Role::Replica },
        replid: None,
        node: None,
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

/// A real server on a loopback port of its own, without persistence; it ends with its owner.
struct RealRedis {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl RealRedis {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let process = Process::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { process, port, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen on port {port}");
            std::thread::yield_now();
        }
        server
    }

    /// The bulk reply to an inline command.
    fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout above zero");
        write!(stream, "{command}\r\nQUIT\r\n").expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers and closes");
        let (_, rest) = reply.split_once("\r\n").expect("a bulk reply has its length first");
        rest.trim_end_matches("+OK\r\n").to_owned()
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
