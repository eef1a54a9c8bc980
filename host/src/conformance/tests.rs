//! The kit finds what it looks for, and only that.

use super::*;
use crate::contract::{
    Action, Evidence, Expectation, Health, Member, Progress, Promote, Promotion, RequestAnswer, RequestState,
    Role, Shard, ShardVerdict, Stage, Topology, Verdict, Want,
};
use crate::policy::PolicyFault;
use std::sync::atomic::{AtomicU64, Ordering};

/// A policy out of a function and a number that grows with every call.
struct Scripted<F>(F, AtomicU64);

impl<F: Fn(&Observation, u64) -> Result<Decision, PolicyFault> + Send + Sync> Policy for Scripted<F> {
    fn title(&self) -> &str {
        "scripted 1"
    }

    fn digest(&self) -> &str {
        "none"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        Vec::new()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        (self.0)(observation, self.1.fetch_add(1, Ordering::Relaxed))
    }
}

fn failed(
    script: impl Fn(&Observation, u64) -> Result<Decision, PolicyFault> + Send + Sync,
    scenarios: &[Scenario],
    strict: bool,
) -> Vec<&'static str> {
    let report = check(
        &Scripted(script, AtomicU64::new(0)),
        &Trial { scenarios, random: 40, seed: 7, strict },
        |_| {},
    );
    let failed: Vec<_> =
        report.rows.iter().filter(|row| row.is_required && row.failed > 0).map(|row| row.claim).collect();
    assert_eq!(report.is_passed(), failed.is_empty());
    assert!(report.rows.iter().all(|row| (row.failed > 0) == row.first.is_some()));
    failed
}

/// Does nothing, and says so of everybody.
fn idle(observation: &Observation) -> Decision {
    let mut ids: Vec<_> = observation.instances.iter().map(|instance| instance.id.clone()).collect();
    ids.sort();
    let member = |id| Member {
        id,
        role: Role::Unknown,
        assigned: None,
        health: Health::Alive,
        proof: String::new(),
        rank: None,
        ineligible: None,
        lag_bytes: None,
    };
    let verdict =
        |shard: &Shard| ShardVerdict { index: shard.index, master: None, master_goal: None, loss: None };
    Decision {
        verdict: Verdict::Wait,
        reason: "idle".into(),
        explanation: String::new(),
        progress: Progress::Hindered,
        shards: observation.shards.iter().map(verdict).collect(),
        members: ids.into_iter().map(member).collect(),
        request: observation.switchover.as_ref().map(|_| RequestAnswer {
            state: RequestState::Waiting,
            reason: "idle".into(),
            text: "nothing is done".into(),
        }),
        stages: vec![],
        next_look_us: 1_000_000,
    }
}

/// Waits for ever, but acts as the engine does where a master was lost for long.
fn lazy(observation: &Observation) -> Decision {
    let decision: Decision = same(&failover_core::decide(&same(observation)));
    let is_long = observation.shards.iter().any(|shard| shard.no_master_age_us >= 600_000_000);
    let is_first = observation.shards.iter().all(|shard| shard.published.is_none());
    if is_long || is_first { decision } else { idle(observation) }
}

#[test]
fn a_policy_that_does_nothing_keeps_every_invariant_and_never_takes_over() {
    assert_eq!(failed(|observation, _| Ok(idle(observation)), &[], false), ["takes-over"]);
    assert_eq!(failed(|observation, _| Ok(lazy(observation)), &[], false), Vec::<&str>::new());
}

#[test]
fn a_trap_fails() {
    assert_eq!(failed(|_, _| Err(PolicyFault::Trap("unreachable".into())), &[], false), ["answers"]);
}

#[test]
fn a_policy_that_calls_the_dead_healthy_or_finds_no_member_eligible_is_refused() {
    let engine = |observation: &Observation| -> Decision { same(&failover_core::decide(&same(observation))) };
    // Whatever happens, the first member is master, and all is well.
    let content = move |observation: &Observation, _| {
        let mut decision = Decision { verdict: Verdict::Healthy, stages: vec![], ..engine(observation) };
        let first = observation.instances.iter().map(|instance| instance.id.clone()).min();
        decision.shards.iter_mut().for_each(|shard| shard.master = first.clone());
        Ok(decision)
    };
    let found = failed(content, &[], false);
    assert!(["named-master", "healthy", "takes-over"].iter().all(|rule| found.contains(rule)), "{found:?}");
    let hopeless = move |observation: &Observation, _| {
        let decision = engine(observation);
        let promotes = decision.stages.iter().flat_map(|stage| &stage.actions);
        Ok(match promotes.into_iter().any(|action| matches!(action, Action::Promote(_))) {
            true => Decision { verdict: Verdict::Refuse, stages: vec![], ..decision },
            false => decision,
        })
    };
    assert_eq!(failed(hopeless, &[], false), ["takes-over"]);
}

#[test]
fn a_policy_with_a_memory_is_found_out() {
    let counting =
        |observation: &Observation, calls: u64| Ok(Decision { next_look_us: calls, ..idle(observation) });
    assert_eq!(failed(counting, &[], false), ["deterministic", "order-free", "takes-over"]);
}

#[test]
fn the_first_in_the_list_must_not_win() {
    let first = |observation: &Observation, _| {
        let mut decision = idle(observation);
        decision.reason = observation.instances.first().map_or("none".into(), |first| first.id.clone());
        Ok(decision)
    };
    assert_eq!(failed(first, &[], false), ["order-free", "takes-over"]);
}

#[test]
fn a_reckless_promotion_breaches_named_rules() {
    let reckless = |observation: &Observation, _| {
        let Some(id) = observation.instances.iter().map(|instance| instance.id.clone()).min() else {
            return Ok(idle(observation));
        };
        let expect = Expectation { run_id: String::new(), role: Role::Replica, replid: None, node: None };
        let promote = Promote {
            source: None,
            meant_for: id.clone(),
            id,
            evidence: Evidence::Dead,
            how: Promotion::ReplicaofNoOne,
            completes: vec![],
            expect,
        };
        let stages = vec![Stage { summary: String::new(), actions: vec![Action::Promote(promote)] }];
        Ok(Decision { verdict: Verdict::Act, stages, ..idle(observation) })
    };
    let failed = failed(reckless, &[], false);
    assert!(
        ["expectation", "evidence", "reachable-master"].iter().all(|rule| failed.contains(rule)),
        "{failed:?}"
    );
}

#[test]
fn another_decision_than_the_scenario_fails_only_when_strict() {
    let observation = random_observation(&mut Dice::new(3));
    let decision = Decision { reason: "other".into(), ..idle(&observation) };
    let text =
        serde_json::json!({ "why": "because", "observation": observation, "decision": decision }).to_string();
    let scenario = Scenario::parse("two-masters.json", &text).expect("it was just written");
    assert_eq!(scenario.name, "two-masters");
    let idle = |observation: &Observation, _| Ok(idle(observation));
    assert_eq!(failed(idle, std::slice::from_ref(&scenario), false), ["takes-over"]);
    assert_eq!(failed(idle, &[scenario], true), ["as-expected", "takes-over"]);
}

#[test]
fn a_file_that_is_no_scenario_is_named() {
    let error = Scenario::parse("broken.json", "{\"why\": 1}").expect_err("why is text");
    assert!(error.to_string().starts_with("broken is no scenario: "), "{error}");
    let error =
        read_scenarios(std::path::Path::new("/nowhere/at/all")).expect_err("there is no such directory");
    assert!(error.to_string().starts_with("scenarios /nowhere/at/all: "), "{error}");
}

/// The engine in a process where each decision takes so much CPU time.
struct Elsewhere {
    decision_ms: u64,
    decisions: AtomicU64,
}

impl Policy for Elsewhere {
    fn title(&self) -> &str {
        "elsewhere 1"
    }

    fn digest(&self) -> &str {
        "none"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        Vec::new()
    }

    fn cpu(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.decision_ms * self.decisions.load(Ordering::Relaxed))
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        self.decisions.fetch_add(1, Ordering::Relaxed);
        Ok(same(&failover_core::decide(&same(observation))))
    }
}

#[test]
fn a_proof_ends_by_the_cpu_time_of_wherever_the_policy_runs() {
    let proven = |decision_ms| prove(&Elsewhere { decision_ms, decisions: AtomicU64::new(0) });
    assert_eq!(proven(1), Ok(()));
    assert!(proven(100).unwrap_err().contains("30 s of CPU time were not enough"));
}

/// The engine, which traps on what it does not say that it decides for.
struct Replicating;

impl Policy for Replicating {
    fn title(&self) -> &str {
        "replicating 1"
    }

    fn digest(&self) -> &str {
        "none"
    }

    fn serves(&self, topology: Topology) -> bool {
        topology == Topology::Replication
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        Vec::new()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        if !self.serves(observation.group.topology) {
            return Err(PolicyFault::Trap("it was asked".into()));
        }
        Ok(same(&failover_core::decide(&same(observation))))
    }
}

#[test]
fn a_policy_is_proven_by_the_topologies_that_it_decides_for() {
    let scenarios = embedded_scenarios().unwrap();
    let others = scenarios.iter().filter(|it| it.observation.group.topology != Topology::Replication).count();
    assert!(others > 20, "there are such: {others}");
    assert_eq!(prove(&Replicating), Ok(()));
}
