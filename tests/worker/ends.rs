//! A worker process ends or hangs: one fault, the next policy in line decides on the same observation, and
//! another process is ready soon.

use super::loaded;
use redis_model::World;
use redis_operator::contract::{Instance, Observation, same};
use redis_operator::group::{Answer, Decided, Effect, Event, Group, Member, Moment, Reply, Report, Settings};
use redis_operator::policy::{EMBEDDED, Loaded, Policy, PolicyChain, PolicyFault, healthy_group};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::policies::hostile;
use tests::real::build_program;

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

fn ready_again(policy: &Loaded, before: u32) {
    let begun = Instant::now();
    while !policy.is_ready() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not started again");
        std::thread::sleep(Duration::from_millis(1));
    }
    let now = policy.process().unwrap();
    assert_ne!(now, before);
}

#[test]
fn a_process_that_is_killed_costs_one_fault_and_is_started_again() {
    let policy = loaded(&hostile(""));
    let observation = healthy_group(3);
    let before = policy.process().unwrap();
    signal("-KILL", before);
    let fault = policy.decide(&observation).unwrap_err();
    assert!(fault.to_string().contains("its worker process ended: killed by SIGKILL"), "{fault}");
    ready_again(&policy, before);
    assert!(policy.decide(&observation).is_ok());
}

#[test]
fn a_process_that_is_killed_in_the_middle_of_a_call_costs_one_fault() {
    let policy = loaded(&hostile("spins"));
    let before = policy.process().unwrap();
    let fault = std::thread::scope(|scope| {
        let asked = scope.spawn(|| policy.decide(&healthy_group(3)).unwrap_err());
        std::thread::sleep(Duration::from_millis(10));
        signal("-KILL", before);
        asked.join().unwrap()
    });
    // On a busy machine the call is over before.
    assert!(matches!(fault, PolicyFault::Worker(_) | PolicyFault::Time { .. }), "{fault}");
    if matches!(fault, PolicyFault::Worker(_)) {
        ready_again(&policy, before);
    }
}

#[test]
fn a_process_that_is_stopped_is_replaced_within_a_fraction_of_a_second() {
    let policy = loaded(&hostile(""));
    let before = policy.process().unwrap();
    signal("-STOP", before);
    let begun = Instant::now();
    let fault = policy.decide(&healthy_group(3)).unwrap_err();
    assert!(fault.to_string().contains("gave no answer within"), "{fault}");
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    ready_again(&policy, before);
    assert!(policy.decide(&healthy_group(3)).is_ok());
}

#[test]
fn a_process_that_ends_again_and_again_is_started_at_a_pace() {
    let policy = loaded(&hostile(""));
    let observation = healthy_group(3);
    let mut readies = Vec::new();
    for _ in 0..3 {
        let before = policy.process().unwrap();
        signal("-KILL", before);
        assert!(policy.decide(&observation).is_err());
        let begun = Instant::now();
        ready_again(&policy, before);
        readies.push(begun.elapsed());
    }
    assert!(readies[1] >= Duration::from_secs(1) && readies[2] >= Duration::from_secs(2), "{readies:?}");
}

#[test]
fn a_slow_policy_takes_a_tenth_of_the_time_and_is_passed_over_for_the_rest() {
    let policy = loaded(&hostile("is-slow"));
    let observation = healthy_group(3);
    let (begun, mut taken, mut calls, mut longest) = (Instant::now(), Duration::ZERO, 0, Duration::ZERO);
    // As the thread of many groups asks: whenever one of them is to be decided on.
    while begun.elapsed() < Duration::from_secs(3) {
        if policy.is_ready() {
            let asked = Instant::now();
            // A slow machine may make a fault of it.
            drop(policy.decide(&observation));
            (taken, calls, longest) = (taken + asked.elapsed(), calls + 1, longest.max(asked.elapsed()));
        }
        std::thread::yield_now();
    }
    println!("{calls} calls took {taken:?} of {:?}, the longest {longest:?}", begun.elapsed());
    assert!(calls >= 2 && taken <= begun.elapsed() / 10 + Duration::from_millis(100) + longest, "{taken:?}");
}

/// A healthy group of three whose live policy is a foreign one.
struct Harness {
    group: Group,
    world: World,
    now: Moment,
    chain: PolicyChain,
}

impl Harness {
    fn new(live: &Arc<Loaded>) -> Self {
        let chain = PolicyChain::new(Arc::new(loaded(EMBEDDED)));
        chain.swap(Arc::clone(live) as Arc<dyn Policy>).unwrap();
        let world = World::healthy(3);
        let observation: Observation = same(&world.observe());
        let settings = Settings {
            wanted: observation.group,
            parameters: "{}".into(),
            interval_us: 25_000,
            records: vec![],
        };
        let now = Moment(1_000_000);
        let mut harness = Self { group: Group::new(settings, now), world, now, chain };
        harness.on(Event::Authority { may_act: true, silent_groups_permille: 0 });
        let member = |at: Instance| Member {
            id: at.id,
            kind: at.kind,
            shard: at.shard,
            address: at.address,
            aliases: at.aliases,
            pod: at.pod,
            is_former: false,
        };
        let members = observation.instances.into_iter().map(member).collect();
        harness.on(Event::Members(members));
        harness
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.group.on(self.now, event, &self.chain)
    }

    /// The decisions and faults of a round in which every member answers.
    fn round(&mut self) -> (Vec<Decided>, Vec<PolicyFault>) {
        self.now = self.now.after_us(2_000_000);
        let mut effects = self.on(Event::Policy);
        effects.extend(self.on(Event::Tick));
        let instances = same::<_, Observation>(&self.world.observe()).instances;
        for (link, instance) in (1..).zip(instances) {
            let replies = instance.replies.into_iter();
            let replies = replies.filter_map(|reply| Some((reply.command.into(), Ok(reply.newest?.value))));
            let answer = Ok(Answer { link, replies: replies.collect() });
            let sent = self.now;
            self.now = self.now.after_us(100);
            effects.extend(self.on(Event::Reply(Reply { member: instance.id, sent, answer })));
        }
        let (mut decisions, mut faults) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Report(Report::Decided(decided)) => decisions.push(*decided),
                Effect::Report(Report::Fault { fault, observation, .. }) => {
                    assert_eq!(observation.instances.len(), 3);
                    faults.push(fault);
                }
                _ => {}
            }
        }
        (decisions, faults)
    }
}

#[test]
fn the_next_policy_in_line_decides_on_the_same_observation_and_no_fault_is_counted_while_it_restarts() {
    for how in ["-KILL", "-STOP"] {
        let live = Arc::new(loaded(&hostile("sorts")));
        let mut harness = Harness::new(&live);
        let (decisions, faults) = harness.round();
        let of_live = |decided: &Decided| decided.digest == live.digest();
        assert!(decisions.iter().all(of_live) && !decisions.is_empty() && faults.is_empty(), "{faults:?}");
        signal(how, live.process().unwrap());
        let before = live.process().unwrap();
        let mut faults = Vec::new();
        let mut of_embedded = 0;
        for _ in 0..5 {
            let (decisions, further) = harness.round();
            faults.extend(further);
            of_embedded += decisions.iter().filter(|decided| !of_live(decided)).count();
        }
        assert!(matches!(faults[..], [PolicyFault::Worker(_)]), "{how}: {faults:?}");
        assert!(of_embedded >= 1, "{how}");
        ready_again(&live, before);
        let (decisions, faults) = harness.round();
        assert!(decisions.iter().all(of_live) && !decisions.is_empty() && faults.is_empty(), "{faults:?}");
        assert!(!harness.chain.is_quarantined(live.digest()));
    }
}

#[test]
fn a_policy_that_is_too_slow_costs_three_bounded_waits_in_all_for_however_many_groups() {
    let live = Arc::new(loaded(&hostile("spins")));
    let mut harness = Harness::new(&live);
    let begun = Instant::now();
    let faults: usize = (0..20).map(|_| harness.round().1.len()).sum();
    // The third one quarantines it. On a busy machine its process is ended, and it is passed over meanwhile.
    assert!((1..=3).contains(&faults), "{faults}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// The processes whose parent that is.
fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name in brackets: state, then parent.
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent_of == Some(parent)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}

#[test]
fn a_worker_has_no_environment_and_limits_on_everything() {
    let policy = loaded(&hostile(""));
    let of_process =
        |name: &str| std::fs::read(format!("/proc/{}/{name}", policy.process().unwrap())).unwrap();
    // Only root reads it: the process cannot be attached to, and leaves no core dump.
    match std::fs::read(format!("/proc/{}/environ", policy.process().unwrap())) {
        Ok(environment) => assert_eq!(environment, b""),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    assert!(of_process("cmdline").starts_with(b"redis-operator\0policy-worker\0decide\0"));
    let limits = String::from_utf8(of_process("limits")).unwrap();
    for (name, limit) in [
        ("Max core file size", 0),
        ("Max file size", 64 << 20),
        ("Max data size", 192 << 20),
        ("Max address space", 1 << 30),
        ("Max open files", 16),
        ("Max processes", 0),
        ("Max cpu time", 10),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let soft = line[name.len()..].split_whitespace().next().unwrap();
        assert_eq!(soft, limit.to_string(), "{line}");
    }
    assert!(String::from_utf8(of_process("status")).unwrap().contains("NoNewPrivs:\t1"));
}

#[test]
fn no_worker_outlives_the_operator_stopped_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.wasm");
    std::fs::write(&file, hostile("is-slow")).unwrap();
    for stopped in [false, true] {
        let mut command = Command::new(build_program());
        command.args(["policy", "bench", "--for-ms", "600000", "--policy", file.to_str().unwrap()]);
        let mut operator = command.stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        let is_deciding = |process: &u32| {
            let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(2) == Some(b"decide")
        };
        // One that is stopped before it asks for the signal of its parent's end cannot ask for it.
        let is_confined = |process: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.contains("NoNewPrivs:\t1")
        };
        let worker = loop {
            let mut workers = children_of(operator.id()).into_iter().filter(is_deciding);
            if let Some(worker) = workers.find(|worker| !stopped || is_confined(worker)) {
                break worker;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no worker was started");
            std::thread::sleep(Duration::from_millis(10));
        };
        if stopped {
            signal("-STOP", worker);
        }
        operator.kill().unwrap();
        operator.wait().unwrap();
        let begun = Instant::now();
        while is_deciding(&worker) {
            assert!(begun.elapsed() < Duration::from_secs(10), "it outlives the operator");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
