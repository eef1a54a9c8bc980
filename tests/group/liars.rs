//! Policies that lie, through the loop with the real guard: what each lie costs, and that it changes nothing.

use super::{Harness, policies, promoted};
use redis_operator::contract::{
    Action, Configure, Decision, Expectation, Fence, KickClients, Observation, Role, Stage, Topology,
    Verdict, Want, same,
};
use redis_operator::group::{Effect, Event, Outcome, Report};
use redis_operator::policy::{Policy, PolicyChain, PolicyFault};
use std::sync::Arc;

/// The engine, whose decisions a lie changes.
struct Liar(fn(&Observation, Decision) -> Decision);

impl Policy for Liar {
    fn title(&self) -> &str {
        "liar 1"
    }

    fn digest(&self) -> &str {
        "liar"
    }

    fn serves(&self, _: Topology) -> bool {
        true
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        Vec::new()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        let honest = same(&failover_core::decide(&same(observation)));
        Ok((self.0)(observation, honest))
    }
}

/// The liar decides, with the embedded policy behind it.
fn chain(lie: fn(&Observation, Decision) -> Decision) -> Arc<PolicyChain> {
    let chain = policies();
    chain.swap(Arc::new(Liar(lie))).expect("no policy is in quarantine yet");
    chain
}

impl Harness {
    fn under(lie: fn(&Observation, Decision) -> Decision) -> Self {
        Self::healthy_under(chain(lie), true)
    }

    fn faults(&self) -> Vec<String> {
        let fault = |effect: &Effect| match effect {
            Effect::Report(Report::Fault { fault, .. }) => Some(fault.to_string()),
            _ => None,
        };
        self.effects.iter().filter_map(fault).collect()
    }

    /// A round in which the dead master is refused, until something is sent.
    fn round_without_master(&mut self) {
        self.after(25_000).on(Event::Tick);
        for member in ["redis-2", "redis-3", "redis-1"] {
            if !self.orders().is_empty() {
                return;
            }
            if member == "redis-1" { self.refuse(member) } else { self.answer(member) }
        }
    }

    /// Each server confirms at once what was sent to it.
    fn confirm(&mut self) -> usize {
        let orders = self.orders();
        for order in &orders {
            let outcome = Outcome::Done { note: String::new(), pause_us: None };
            self.after(100).on(Event::Finished { order: order.number, outcome });
        }
        orders.len()
    }

    fn withheld(&self) -> Vec<String> {
        let withheld = |effect: &Effect| match effect {
            Effect::Report(Report::Withheld { why, .. }) => Some(why.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(withheld).collect()
    }
}

fn idle(decision: Decision, verdict: Verdict) -> Decision {
    Decision { verdict, stages: vec![], reason: "so-it-is".into(), ..decision }
}

#[test]
fn who_calls_a_dead_master_healthy_delays_its_replacement_by_nothing() {
    let mut harness = Harness::under(|observation, decision| {
        let mut decision = idle(decision, Verdict::Healthy);
        decision.shards[0].master = observation.published().map(|record| record.master.clone());
        decision
    });
    // Before the first record it names no master: the embedded policy decides.
    assert_eq!(harness.published(), [("redis-1".to_owned(), 1)]);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert!(harness.faults()[0].contains("named-master"), "{:?}", harness.faults());
    assert_eq!(harness.orders().iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
}

/// Seconds from the death of the master to the promotion by the next policy in line, at a hang limit of one.
fn idled_s(verdict: Verdict) -> u64 {
    let mut harness = match verdict {
        Verdict::Refuse => Harness::under(|_, decision| idle(decision, Verdict::Refuse)),
        Verdict::Healthy | Verdict::Act | Verdict::Wait => {
            Harness::under(|_, decision| idle(decision, Verdict::Wait))
        }
    };
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let died = harness.now;
    while harness.orders().is_empty() && died.age_us(harness.now) < 60_000_000 {
        assert_eq!(harness.faults(), Vec::<String>::new(), "it has its time");
        harness.round_without_master();
    }
    assert_eq!(harness.orders().iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
    let faults = harness.faults();
    assert!(
        faults.len() == 1 && faults[0].contains("for 5 hang limits") && faults[0].contains("so-it-is"),
        "{faults:?}"
    );
    died.age_us(harness.now) / 1_000_000
}

#[test]
fn who_waits_or_refuses_for_ever_is_passed_over_after_five_hang_limits() {
    assert_eq!((idled_s(Verdict::Wait), idled_s(Verdict::Refuse)), (5, 5));
}

#[test]
fn who_waits_where_the_next_would_wait_too_is_not_at_fault() {
    let mut harness = Harness::under(|_, decision| idle(decision, Verdict::Wait));
    harness.kill_master();
    for replica in ["redis-2", "redis-3"] {
        harness.world.at(replica).priority = 0;
    }
    harness.survivors_answer();
    harness.refuse("redis-1");
    let died = harness.now;
    while died.age_us(harness.now) < 10_000_000 {
        harness.round_without_master();
        assert_eq!((harness.faults(), harness.orders().len()), (vec![], 0));
    }
    assert_eq!(harness.verdict().map(|(_, reason)| reason), Some("so-it-is".into()));
}

#[test]
fn who_is_busy_with_something_else_is_passed_over_as_well() {
    let mut harness = Harness::under(|_, decision| {
        let Some(Action::Promote(promote)) = decision.stages.first().map(|stage| stage.actions[0].clone())
        else {
            return decision;
        };
        let directive = "repl-ping-replica-period".to_owned();
        let configure = Configure { id: promote.id, directive, to: "1".into(), expect: promote.expect };
        let stages = vec![Stage { summary: String::new(), actions: vec![Action::Configure(configure)] }];
        Decision { stages, ..decision }
    });
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let died = harness.now;
    let is_promotion =
        |harness: &Harness| harness.orders().iter().any(|order| matches!(order.action, Action::Promote(_)));
    while !is_promotion(&harness) && died.age_us(harness.now) < 60_000_000 {
        harness.confirm();
        harness.round_without_master();
    }
    assert!((5_000_000..6_000_000).contains(&died.age_us(harness.now)), "{}", died.age_us(harness.now));
}

#[test]
fn the_record_stays_with_the_master_whatever_a_policy_names() {
    let mut harness = Harness::under(|_, decision| {
        let mut decision = idle(decision, Verdict::Wait);
        decision.shards[0].master = Some("redis-3".into());
        decision
    });
    // A stale server answers as a second master, with one key.
    let stale = harness.world.at("redis-3");
    stale.role = redis_model::Role::Master;
    stale.history("stale", 500).keys = 1;
    for _ in 0..5 {
        harness.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
        }
        assert!(harness.published().iter().all(|(master, _)| master == "redis-1"));
    }
    let record = harness.group.observation(harness.now).shards.remove(0).published.expect("published");
    assert_eq!((record.master.as_str(), record.epoch), ("redis-1", 1));
    assert!(!harness.policies.policies().iter().any(|policy| policy.digest() == "liar"), "three faults");
}

fn expected(observation: &Observation, id: &str) -> Option<Expectation> {
    let instance = observation.instances.iter().find(|instance| instance.id == id)?;
    let server = instance.replies.iter().find(|reply| reply.command == "INFO server")?.newest.as_ref()?;
    let redis_operator::contract::Value::Text(text) = &server.value else { return None };
    let run_id = text.text.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(Expectation { run_id: run_id.trim().into(), role: Role::Master, replid: None, node: None })
}

fn acting(observation: &Observation, decision: Decision, action: fn(Expectation) -> Action) -> Decision {
    let Some(expect) = expected(observation, "redis-1") else { return decision };
    let stages = vec![Stage { summary: String::new(), actions: vec![action(expect)] }];
    Decision { verdict: Verdict::Act, stages, ..decision }
}

/// The actions that were sent within a minute, and the last word of why others were not.
fn sent_in_a_minute(mut harness: Harness) -> (usize, String) {
    let (begun, mut sent, mut why) = (harness.now, harness.confirm(), String::new());
    while begun.age_us(harness.now) < 60_000_000 {
        harness.after(100_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
            assert_eq!(harness.faults(), Vec::<String>::new());
            why = harness.withheld().pop().unwrap_or(why);
            sent += harness.confirm();
        }
    }
    (sent, why)
}

#[test]
fn fences_and_kicks_have_a_pace_whatever_a_policy_asks_for() {
    let fences = Harness::under(|observation, decision| {
        acting(observation, decision, |expect| {
            Action::Fence(Fence { id: "redis-1".into(), max_ms: 2_000, expect })
        })
    });
    let (sent, why) = sent_in_a_minute(fences);
    assert!((3..=4).contains(&sent) && why.contains("fence was sent a moment ago"), "{sent}: {why}");
    let kicks = Harness::under(|observation, decision| {
        acting(observation, decision, |expect| {
            Action::KickClients(KickClients { id: "redis-1".into(), expect })
        })
    });
    let (sent, why) = sent_in_a_minute(kicks);
    assert!((19..=21).contains(&sent) && why.contains("kick-clients was sent a moment ago"), "{sent}: {why}");
}

/// A policy that sets one directive of the master in every decision.
fn configuring() -> Harness {
    Harness::under(|observation, decision| {
        acting(observation, decision, |expect| {
            let (id, directive) = ("redis-1".into(), "repl-ping-replica-period".into());
            Action::Configure(Configure { id, directive, to: "1".into(), expect })
        })
    })
}

#[test]
fn a_server_that_has_not_answered_an_action_is_sent_no_other_one_whatever_a_policy_asks_for() {
    let mut harness = configuring();
    assert_eq!(harness.orders().len(), 1);
    // Longer than the group waits for an answer, and shorter than the executor does.
    for _ in 0..20 {
        harness.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
            assert!(harness.orders().is_empty(), "{:?}", harness.orders());
        }
    }
}

#[test]
fn what_a_process_refused_is_not_sent_again_within_a_second_whatever_a_policy_asks_for() {
    let mut harness = configuring();
    let (begun, mut sent, mut why) = (harness.now, 0, String::new());
    while begun.age_us(harness.now) < 5_000_000 {
        for order in harness.orders() {
            sent += 1;
            let outcome = Outcome::Failed("config set: refused: NOPERM".into());
            harness.after(100).on(Event::Finished { order: order.number, outcome });
        }
        why = harness.withheld().pop().unwrap_or(why);
        harness.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            if harness.orders().is_empty() {
                harness.answer(id);
                why = harness.withheld().pop().unwrap_or(why);
            }
        }
    }
    assert!((4..=6).contains(&sent) && why.contains("less than a second ago"), "{sent}: {why}");
}

/// Decides for groups with Sentinels alone.
struct Elsewhere;

impl Policy for Elsewhere {
    fn title(&self) -> &str {
        "elsewhere 1"
    }

    fn digest(&self) -> &str {
        "elsewhere"
    }

    fn serves(&self, topology: Topology) -> bool {
        topology == Topology::Sentinel
    }

    fn wants(&self, _: Topology) -> Vec<Want> {
        Vec::new()
    }

    fn decide(&self, _: &Observation) -> Result<Decision, PolicyFault> {
        Err(PolicyFault::Trap("it was asked".into()))
    }
}

#[test]
fn a_policy_that_does_not_know_the_topology_is_passed_over_without_a_fault() {
    let chain = policies();
    chain.swap(Arc::new(Elsewhere)).expect("no policy is in quarantine yet");
    let embedded = chain.policies()[1].digest().to_owned();
    let harness = Harness::healthy_under(chain, true);
    let decided = harness.effects.iter().find_map(|effect| match effect {
        Effect::Report(Report::Decided(decided)) => Some((decided.digest.clone(), decided.decision.verdict)),
        _ => None,
    });
    assert_eq!((harness.faults(), decided), (vec![], Some((embedded, Verdict::Healthy))));
}
