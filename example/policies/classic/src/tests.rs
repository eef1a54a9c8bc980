//! The original's tables, and its known faults, as facts.

use super::*;

fn address(host: &str) -> Address {
    Address { host: host.into(), port: 6379 }
}

/// An instance whose id is its host.
fn instance(id: &str, replication: &str) -> Instance {
    let reply = |command: &str, text: String| Reply {
        command: command.into(),
        newest: Some(Sample { value: Value::Text(Text { text, truncated: false }), age_us: 100 }),
        earlier: None,
        failure: None,
    };
    Instance {
        id: id.into(),
        kind: InstanceKind::Redis,
        shard: Some(0),
        address: address(id),
        aliases: vec![],
        link: Link {
            state: LinkState::Answering,
            state_age_us: 0,
            closed_age_us: None,
            refusals: None,
            alive_age_us: Some(0),
        },
        replies: vec![
            reply("INFO replication", format!("# Replication\r\n{replication}\r\n")),
            reply("INFO server", format!("# Server\r\nrun_id:run-{id}\r\n")),
        ],
        pod: None,
        extras: vec![],
    }
}

fn master(id: &str, replicas: &[&str]) -> Instance {
    let rows: String = replicas
        .iter()
        .enumerate()
        .map(|(n, ip)| format!("slave{n}:ip={ip},port=6379,state=online,offset=7,lag=0,type=replica\r\n"))
        .collect();
    instance(id, &format!("role:master\r\nconnected_slaves:{}\r\n{rows}master_repl_offset:7", replicas.len()))
}

fn replica(id: &str, priority: u64, offset: u64) -> Instance {
    let rest = "master_host:gone\r\nmaster_port:6379\r\nmaster_link_status:down";
    instance(
        id,
        &format!(
            "role:slave\r\n{rest}\r\nslave_repl_offset:{offset}\r\nslave_priority:{priority}\r\n\
             connected_slaves:0"
        ),
    )
}

fn observation(instances: Vec<Instance>) -> Observation {
    Observation {
        group: Group {
            namespace: String::new(),
            name: "cart".into(),
            topology: Topology::Replication,
            members_desired: 3,
            members_min: None,
            prefer: Preference::Availability,
            paused: false,
            hang_limit_ms: 1000,
            self_fence_lag_s: None,
            sentinel: None,
            cluster: None,
        },
        instances,
        shards: vec![Shard {
            index: 0,
            published: None,
            lineage: vec![],
            position: None,
            last_failover: None,
            no_master_age_us: 0,
        }],
        switchover: None,
        in_doubt: vec![],
        refused: vec![],
        silent_groups_permille: 0,
        authority: true,
        parameters: "{}".into(),
        extras: vec![],
    }
}

/// Verdict and reason, then the stages as `promote A`, `A follows B`.
fn plan(observation: Observation) -> (String, Vec<Vec<String>>) {
    let decision = Classic::decide(observation);
    let line = |action: &Action| match action {
        Action::Promote(promote) => format!("promote {}", promote.id),
        Action::Follow(follow) => format!("{} follows {}", follow.id, follow.master),
        other => panic!("the original has no {other:?}"),
    };
    let stages = decision.stages.iter().map(|stage| stage.actions.iter().map(line).collect()).collect();
    (format!("{:?} {}", decision.verdict, decision.reason), stages)
}

fn assert_plan(instances: Vec<Instance>, reason: &str, stages: &[&[&str]]) {
    let backwards = instances.iter().rev().cloned().collect();
    for instances in [instances, backwards] {
        assert_eq!(
            plan(observation(instances)),
            (
                reason.into(),
                stages.iter().map(|stage| stage.iter().map(ToString::to_string).collect()).collect()
            )
        );
    }
}

#[test]
fn a_master_that_lists_all_others_is_healthy() {
    assert_plan(
        vec![master("a", &["b", "c"]), replica("b", 100, 7), replica("c", 100, 7)],
        "Verdict::Healthy healthy",
        &[],
    );
}

#[test]
fn instances_that_the_master_does_not_list_follow_it_all_at_once() {
    let instances = vec![master("a", &["b"]), replica("b", 100, 7), replica("c", 100, 7), master("d", &[])];
    assert_plan(instances, "Verdict::Act replicas-stray", &[&["c follows a", "d follows a"]]);
}

#[test]
fn a_row_counts_under_an_alias_too_and_not_on_another_port() {
    let mut known = replica("b", 100, 7);
    known.aliases = vec![address("10.0.0.2")];
    let instances = vec![master("a", &["10.0.0.2"]), known.clone()];
    assert_plan(instances, "Verdict::Healthy healthy", &[]);
    known.aliases[0].port = 6380;
    assert_plan(vec![master("a", &["10.0.0.2"]), known], "Verdict::Act replicas-stray", &[&["b follows a"]]);
}

#[test]
fn lower_priority_beats_a_larger_offset_and_equal_priority_prefers_it() {
    let lost = |replicas| observation(replicas);
    assert_eq!(
        plan(lost(vec![replica("a", 100, 9), replica("b", 10, 1)])).1,
        [["promote b"], ["a follows b"]]
    );
    assert_eq!(
        plan(lost(vec![replica("a", 100, 1), replica("b", 100, u64::MAX)])).1,
        [["promote b"], ["a follows b"]]
    );
    assert_eq!(
        plan(lost(vec![replica("a", 100, 1), replica("b", 100, 1)])).1,
        [["promote a"], ["b follows a"]]
    );
}

#[test]
fn priority_zero_is_never_promoted() {
    assert_plan(
        vec![replica("a", 0, 9), replica("b", 100, 1)],
        "Verdict::Act master-lost",
        &[&["promote b"], &["a follows b"]],
    );
    // Its known fault: the first is called master and stays read-only.
    assert_plan(
        vec![replica("a", 0, 9), replica("b", 0, 1)],
        "Verdict::Act replicas-stray",
        &[&["b follows a"]],
    );
}

#[test]
fn all_masters_is_the_initial_state() {
    assert_plan(
        vec![master("a", &[]), master("b", &[]), master("c", &[])],
        "Verdict::Act replicas-stray",
        &[&["b follows a", "c follows a"]],
    );
}

#[test]
fn fewer_than_two_are_left_alone() {
    let mut silent = replica("b", 100, 7);
    silent.link.state = LinkState::TimedOut;
    assert_plan(vec![master("a", &[]), silent], "Verdict::Wait too-few-instances", &[]);
    assert_plan(vec![], "Verdict::Wait too-few-instances", &[]);
    let mut none = observation(vec![]);
    none.group.members_min = Some(0);
    assert_eq!(plan(none), ("Verdict::Wait nobody-answers".into(), vec![]));
}

#[test]
fn the_promoted_one_is_master_until_its_pass_is_over() {
    let mut after = observation(vec![master("a", &[]), replica("b", 100, 7)]);
    let last = Failover {
        age_us: 4_999_999,
        source: None,
        target: "a".into(),
        meant_for: "a".into(),
        evidence: Evidence::Dead,
    };
    after.shards[0].last_failover = Some(last);
    assert_eq!(plan(after.clone()).1, [["b follows a"]]);
    // Its known fault: no replica attached in time, so the new master is replaced.
    after.shards[0].last_failover.as_mut().expect("set above").age_us = 5_000_000;
    assert_eq!(plan(after).1, [["promote b"], ["a follows b"]]);
}

#[test]
fn a_paused_group_and_a_foreign_topology_get_an_answer_without_a_plan() {
    let lost = observation(vec![replica("a", 100, 1), replica("b", 100, 1)]);
    let mut paused = lost.clone();
    paused.group.paused = true;
    assert_eq!(plan(paused), ("Verdict::Act master-lost".into(), vec![]));
    let mut cluster = lost;
    cluster.group.topology = Topology::Cluster;
    assert_eq!(plan(cluster), ("Verdict::Refuse topology-not-served".into(), vec![]));
}

#[test]
fn every_instance_gets_a_verdict_and_every_action_an_expectation() {
    let mut mute = replica("c", 100, 9);
    mute.replies.clear();
    let decision = Classic::decide(observation(vec![replica("a", 0, 1), mute, replica("b", 100, 1)]));
    let members: Vec<_> =
        decision.members.iter().map(|one| (one.id.as_str(), one.rank, one.ineligible.as_deref())).collect();
    assert_eq!(
        members,
        [("a", None, Some("priority-zero")), ("b", Some(1), None), ("c", None, Some("not-answering"))]
    );
    let [Action::Promote(promote)] = &decision.stages[0].actions[..] else { panic!("one promotion") };
    assert_eq!((promote.expect.run_id.as_str(), promote.expect.role), ("run-b", Role::Replica));
}

#[test]
fn no_reply_text_makes_it_trap() {
    for text in [
        "",
        "role",
        "role:",
        ":",
        "role:master\nconnected_slaves:-1\nslave0:",
        "slave0:ip=,port=\r\nrole:master\r\nconnected_slaves:1",
        "é:\0\r\r\n=,=",
    ] {
        let decision =
            Classic::decide(observation(vec![instance("a", text), instance("a", text), replica("b", 1, 1)]));
        assert_eq!(decision.members.len(), 3, "{text:?}");
    }
}
