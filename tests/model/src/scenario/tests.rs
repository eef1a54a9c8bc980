//! Each word, each field, and what an error says.

use super::*;
use crate::has::id40;
use failover_core::contract::{FailureKind, Instance, LinkState};
use failover_core::facts::{INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER, ReplicationFacts, ServerFacts};

/// The observation of a short file with these fields.
fn short(fields: &str) -> Result<Observation, String> {
    let text = format!(
        r#"{{ "why": "a test", {fields}, "expect": {{ "verdict": "Wait", "reason": "any", "master": null }} }}"#
    );
    Scenario::parse("it.json", &text).map(|scenario| scenario.observation).map_err(|error| error.to_string())
}

/// A healthy group of three of which one is otherwise.
fn given(id: &str, value: &str) -> Observation {
    short(&format!(r#""base": "healthy-3", "given": {{ "{id}": {value} }}"#)).expect("it is valid")
}

fn at<'a>(observation: &'a Observation, id: &str) -> &'a Instance {
    observation.instances.iter().find(|instance| instance.id == id).expect("it is in the group")
}

fn info<'a>(observation: &'a Observation, id: &str, command: &str) -> &'a str {
    let reply = at(observation, id).replies.iter().find(|reply| reply.command == command);
    match &reply.and_then(|reply| reply.newest.as_ref()).expect("it answered").value {
        failover_core::contract::Value::Text(text) => &text.text,
        other => panic!("{other:?} is no text"),
    }
}

fn facts<'a>(observation: &'a Observation, id: &str) -> ReplicationFacts<'a> {
    ReplicationFacts::parse(info(observation, id, INFO_REPLICATION))
}

#[test]
fn a_file_names_a_base_and_what_differs() {
    let scenario = Scenario::parse(
        "two-ends.json",
        r#"{ "why": "a test", "base": "healthy-3",
             "given": { "redis-1": "dead", "redis-2": { "offset": 900, "priority": 10 } },
             "expect": { "verdict": "Act", "reason": "master-dead", "master": null, "goal": "redis-2", "loss": 0,
               "plan": ["promote redis-3 for redis-2, redis-1 dead", "redis-2 follows redis-3",
                        "redis-3 hands over to redis-2 within 1000 ms"] } }"#,
    )
    .expect("it is valid");
    assert_eq!((scenario.name.as_str(), scenario.why.as_str()), ("two-ends", "a test"));
    assert_eq!(scenario.expected.difference(&failover_core::decide(&scenario.observation)), None);
}

#[test]
fn what_is_decided_otherwise_is_named() {
    let expect = r#""expect": { "verdict": "Act", "reason": "master-dead", "master": "redis-1" }"#;
    let text = format!(r#"{{ "why": "a test", "base": "healthy-3", {expect} }}"#);
    let scenario = Scenario::parse("it", &text).expect("it is valid");
    let difference = scenario.expected.difference(&failover_core::decide(&scenario.observation));
    assert_eq!(difference.as_deref(), Some(r#"reason is "healthy", expected "master-dead""#));
}

#[test]
fn bases_have_any_size() {
    let sizes = |base: &str| short(&format!(r#""base": "{base}""#)).map(|seen| seen.instances.len());
    for (base, size) in [("healthy-1", 1), ("healthy-500", 500), ("strangers-2", 2), ("own-replicas-4", 4)] {
        assert_eq!(sizes(base), Ok(size), "{base}");
    }
    assert_eq!(sizes("aof-restarted-3"), Ok(3));
    for base in ["healthy", "healthy-0", "healthy-501", "sick-3", "healthy-x"] {
        let error = sizes(base).expect_err("it is none");
        assert!(
            error.starts_with("it is no scenario: base: ") && error.contains("own-replicas-N"),
            "{error}"
        );
    }
}

#[test]
fn a_dead_master_is_refused_and_its_replicas_links_are_down() {
    for (value, age_us) in [(r#""dead""#, 2_000), (r#"{ "is": "dead", "for_us": 61000 }"#, 61_000)] {
        let seen = given("redis-1", value);
        let link = at(&seen, "redis-1").link;
        assert_eq!((link.state, link.closed_age_us), (LinkState::Refused, Some(age_us)));
        assert_eq!(facts(&seen, "redis-2").link_up, Some(false));
    }
    assert_eq!(facts(&given("redis-2", r#""dead""#), "redis-3").link_up, Some(true));
}

#[test]
fn a_hung_master_leaves_links_up_and_offsets_still() {
    let seen = given("redis-1", r#"{ "is": "hung", "for_us": 300000 }"#);
    assert_eq!(at(&seen, "redis-1").link.state_age_us, 300_000);
    assert_eq!(facts(&seen, "redis-2").link_up, Some(true));
    let replication = at(&seen, "redis-2").replies.iter().find(|reply| reply.command == INFO_REPLICATION);
    assert_eq!(replication.and_then(|reply| reply.earlier.as_ref()).map(|at| at.age_us), Some(301_000));
}

#[test]
fn words_for_connections_set_link_and_failure() {
    for (word, state, kind) in [
        ("hung", LinkState::TimedOut, FailureKind::TimedOut),
        ("unreachable", LinkState::Unreachable, FailureKind::Unreachable),
        ("locked", LinkState::Unauthorized, FailureKind::Unauthorized),
        ("busy", LinkState::Busy, FailureKind::Busy),
        ("reloading", LinkState::Loading, FailureKind::Loading),
        ("closed", LinkState::Closed, FailureKind::Reset),
        ("dead", LinkState::Refused, FailureKind::Refused),
        ("terminated", LinkState::TimedOut, FailureKind::TimedOut),
    ] {
        let seen = given("redis-2", &format!(r#""{word}""#));
        let instance = at(&seen, "redis-2");
        let failure = instance.replies[0].failure.as_ref().map(|failure| failure.kind);
        assert_eq!((instance.link.state, failure), (state, Some(kind)), "{word}");
    }
    let never = given("redis-1", r#""never-seen""#);
    assert!(at(&never, "redis-1").replies.iter().all(|reply| reply.newest.is_none()));
    assert_eq!(at(&never, "redis-1").link.alive_age_us, None);
}

#[test]
fn one_that_is_gone_is_no_instance_and_its_replicas_links_are_down() {
    let seen = given("redis-1", r#""gone""#);
    assert_eq!(seen.instances.len(), 2);
    assert_eq!(facts(&seen, "redis-2").link_up, Some(false));
    assert_eq!(seen.group.members_desired, 3);
}

#[test]
fn words_for_processes_change_run_id_history_and_data() {
    let history = |word: &str| {
        let seen = given("redis-1", &format!(r#""{word}""#));
        let history = facts(&seen, "redis-1").history.map(|at| (at.replid.to_owned(), at.offset));
        let run_id = ServerFacts::parse(info(&seen, "redis-1", INFO_SERVER)).run_id.map(str::to_owned);
        (history, run_id == Some(id40("run-1")))
    };
    assert_eq!(history("restarted"), (Some((id40("own redis-1+"), 0)), false));
    assert_eq!(history("restarted-with-aof"), (Some((id40("own redis-1+"), 1)), false));
    assert_eq!(history("restarted-with-rdb"), (Some((id40("a"), 1000)), false));
    assert_eq!(history("empty"), (Some((id40("own-1"), 0)), true));
    assert_eq!(history("never-synced"), (Some((id40("own-1"), 1)), true));
    let loading = given("redis-1", r#""loading""#);
    assert!(info(&loading, "redis-1", INFO_PERSISTENCE).contains("\r\nloading:1\r\n"));
}

#[test]
fn words_for_roles_and_pods() {
    let seen = given("redis-2", r#"["master", "terminating"]"#);
    assert!(info(&seen, "redis-2", INFO_REPLICATION).contains("role:master"));
    assert!(at(&seen, "redis-2").pod.as_ref().is_some_and(|pod| pod.terminating));
    let seen = given("redis-1", r#""own-replica""#);
    assert_eq!(
        facts(&seen, "redis-1").master.map(|place| place.to_string()).as_deref(),
        Some("10.0.0.1:6379")
    );
    let seen = given("redis-1", r#""terminated""#);
    assert!(at(&seen, "redis-1").pod.as_ref().is_some_and(|pod| !pod.running));
}

#[test]
fn fields_say_what_differs() {
    let seen = given(
        "redis-2",
        r#"{ "follows": "redis-3", "history": "b", "former": "a@700", "offset": 720, "priority": 0, "keys": 7,
             "version": "Valkey8", "announced": false, "uptime_s": 5, "run": "again", "aof": true,
             "fence": [1, 2], "aliases": ["other:1"], "age_us": 9, "still_us": 99, "pod": { "ready": false },
             "rows": { "slave_read_only": null, "slave_repl_offset": "-5" } }"#,
    );
    let text = info(&seen, "redis-2", INFO_REPLICATION);
    let end = format!("master_replid2:{}\r\nmaster_repl_offset:720\r\nsecond_repl_offset:701", id40("a"));
    for row in
        ["master_host:10.0.0.3", "slave_priority:0", "slave_repl_offset:-5", "replica_announced:0", &end]
    {
        assert!(text.contains(row), "{row} in {text}");
    }
    assert!(!text.contains("slave_read_only"));
    let instance = at(&seen, "redis-2");
    assert_eq!(instance.replies[0].command, "CONFIG GET min-replicas-*");
    assert_eq!((instance.aliases[0].host.as_str(), instance.aliases[0].port), ("other", 1));
    assert!(instance.pod.as_ref().is_some_and(|pod| !pod.ready && pod.started_age_us == Some(5_000_000)));
    assert!(instance.replies.iter().all(|reply| reply.newest.as_ref().is_some_and(|at| at.age_us == 9)));
}

#[test]
fn links_are_up_down_never_or_syncing() {
    for (value, status, row) in [
        (r#"{ "link": "down" }"#, "down", "master_link_down_since_seconds:0"),
        (r#"{ "link": "never" }"#, "down", "master_link_down_since_seconds:-1"),
        (r#"{ "link": "syncing" }"#, "down", "master_sync_in_progress:1"),
        (r#"{ "link_down_s": 4 }"#, "down", "master_link_down_since_seconds:4"),
        (r#"{ "last_io_s": 7 }"#, "up", "master_last_io_seconds_ago:7"),
    ] {
        let seen = given("redis-2", value);
        let text = info(&seen, "redis-2", INFO_REPLICATION);
        assert!(
            text.contains(&format!("master_link_status:{status}")) && text.contains(row),
            "{value}: {text}"
        );
    }
    let up = short(r#""base": "healthy-2", "given": { "redis-1": "dead", "redis-2": { "link": "up" } }"#);
    assert_eq!(facts(&up.expect("it is valid"), "redis-2").link_up, Some(true));
}

#[test]
fn rows_of_others_stand_first_and_replace_those_of_members() {
    let seen =
        given("redis-1", r#"{ "attached": ["10.9.9.9:0 wait_bgsave 0 0", "10.0.0.3:6379 online 4 47"] }"#);
    let text = info(&seen, "redis-1", INFO_REPLICATION);
    assert!(text.contains("slave0:ip=10.9.9.9,port=0,state=wait_bgsave,offset=0,lag=0"), "{text}");
    assert!(text.contains("slave1:ip=10.0.0.3,port=6379,state=online,offset=4,lag=47"), "{text}");
    assert!(text.contains("connected_slaves:3") && text.contains("slave2:ip=10.0.0.2"), "{text}");
}

#[test]
fn the_rest_of_the_observation_is_overridden_by_its_fields() {
    let seen = short(
        r#""base": "healthy-3", "group": { "prefer": "Consistency", "members_min": 1 },
           "record": { "master": "redis-2", "replid": "b", "age_us": 5 },
           "last_failover": { "age_us": 7, "target": "redis-2" }, "no_master_age_us": 3,
           "switchover": "best", "in_doubt": { "promote": "redis-3", "age_us": 8 },
           "silent_groups_permille": 400, "authority": false, "parameters": { "order": "priority-first" }"#,
    )
    .expect("it is valid");
    let shard = &seen.shards[0];
    let published = shard.published.as_ref().expect("it has a record");
    assert_eq!((published.master.as_str(), published.epoch, published.age_us), ("redis-2", 2, 5));
    assert_eq!((&published.replid, &published.run_id), (&id40("b"), &id40("run-2")));
    assert!(shard.last_failover.as_ref().is_some_and(|last| last.meant_for == "redis-2" && last.age_us == 7));
    assert_eq!((shard.no_master_age_us, seen.group.members_min), (3, Some(1)));
    assert!(seen.switchover.as_ref().is_some_and(|request| request.target.is_none()));
    assert_eq!((seen.in_doubt.len(), seen.silent_groups_permille, seen.authority), (1, 400, false));
    assert_eq!(seen.parameters, r#"{"order":"priority-first"}"#);
    let without = short(r#""base": "healthy-3", "record": null"#).expect("it is valid");
    assert_eq!(without.shards[0].published, None);
}

#[test]
fn an_error_names_the_file_the_field_and_what_may_stand_there() {
    for (fields, parts) in [
        (r#""base": "healthy-3", "givn": {}"#, &["unknown field `givn`", "given"][..]),
        (r#""base": "healthy-3", "given": { "redis-9": "dead" }"#, &["given: redis-9", "redis-1, redis-2"]),
        (r#""base": "healthy-3", "given": { "redis-1": "ded" }"#, &["given.redis-1: ", "`ded`", "`dead`"]),
        (r#""base": "healthy-3", "given": { "redis-1": { "ofset": 1 } }"#, &["given.redis-1: ", "`offset`"]),
        (r#""base": "healthy-3", "given": { "redis-2": { "link": "bad" } }"#, &["`bad`", "`syncing`"]),
        (r#""base": "healthy-3", "given": { "redis-1": { "link": "up" } }"#, &["link: it follows no master"]),
        (r#""base": "healthy-3", "given": { "redis-2": { "follows": "x" } }"#, &["follows: x is neither"]),
        (r#""base": "healthy-3", "given": { "redis-2": { "former": "a" } }"#, &["former: it is TAG@OFFSET"]),
        (
            r#""base": "healthy-3", "given": { "redis-2": { "pod": { "redy": 1 } } }"#,
            &["pod: ", "`redy`", "ready"],
        ),
        (r#""base": "healthy-3", "group": { "prefers": 1 }"#, &["group: unknown field `prefers`", "prefer"]),
        (r#""base": "healthy-3", "group": { "prefer": "Fun" }"#, &["group: ", "`Fun`", "`Consistency`"]),
        (r#""base": "healthy-3", "record": "redis-9""#, &["record: redis-9 is no server"]),
        (r#""base": "healthy-3", "in_doubt": { "demote": 1 }"#, &["in_doubt: ", "`demote`", "`promote`"]),
        (r#""base": "healthy-3", "authority": 1"#, &["authority: ", "boolean"]),
    ] {
        let error = short(fields).expect_err("it is invalid");
        assert!(error.starts_with("it is no scenario: ") && !error.contains('\n'), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
    }
    let parse = |text: &str| Scenario::parse("it", text).map(|_| ()).expect_err("it is invalid").to_string();
    let error =
        parse(r#"{ "why": "a test", "base": "healthy-3", "expect": { "verdict": "Ok", "reason": "" } }"#);
    assert!(error.contains("expect: unknown variant `Ok`, expected one of `Healthy`"), "{error}");
    assert_eq!(
        parse(r#"{ "why": "a test", "base": "healthy-3" }"#),
        "it is no scenario: missing field `expect`"
    );
    assert!(parse("{").starts_with("it is no scenario: EOF"));
    assert_eq!(parse("[]"), "it is no scenario: a scenario is an object");
}

#[test]
fn the_full_form_is_read_and_its_texts_are_not_compared() {
    let observation = given("redis-1", r#""dead""#);
    let mut decision = failover_core::decide(&observation);
    decision.explanation = "in other words".into();
    let text = |decision: &Decision| {
        serde_json::json!({ "why": "a test", "observation": observation, "decision": decision }).to_string()
    };
    let scenario = Scenario::parse("it", &text(&decision)).expect("it is valid");
    assert_eq!(scenario.observation, observation);
    assert_eq!(scenario.expected.difference(&failover_core::decide(&observation)), None);
    decision.next_look_us += 1;
    let scenario = Scenario::parse("it", &text(&decision)).expect("it is valid");
    let difference = scenario.expected.difference(&failover_core::decide(&observation)).expect("it differs");
    assert!(difference.starts_with("next_look_us is "), "{difference}");
}

/// A file of contract 0.1: no shards, the master at the top, and a promotion without its way.
#[test]
fn an_incident_of_contract_0_1_is_read() {
    let mut observation = serde_json::to_value(given("redis-1", r#""dead""#)).expect("it has a JSON form");
    let shard = observation["shards"][0].clone();
    let fields = observation.as_object_mut().expect("a record");
    fields.insert("published".into(), shard["published"].clone());
    fields.insert("last_failover".into(), Value::Null);
    fields.remove("shards");
    fields.remove("refused");
    let group = fields["group"].as_object_mut().expect("a record");
    group.retain(|field, _| field != "sentinel" && field != "cluster");
    for instance in fields["instances"].as_array_mut().expect("a list") {
        instance.as_object_mut().expect("a record").remove("shard");
    }
    let expect = serde_json::json!({ "run_id": id40("run-2"), "role": "Replica", "replid": id40("a") });
    let text = |reason: &str, loss: u64| {
        let promote = serde_json::json!({ "Promote": { "id": "redis-2", "source": "redis-1", "evidence": "Dead",
            "meant_for": "redis-2", "expect": expect } });
        let follow = serde_json::json!({ "Follow": { "id": "redis-3", "master": "redis-2", "discards_bytes": 0,
            "expect": expect } });
        serde_json::json!({ "why": "a test", "observation": observation, "decision": {
            "verdict": "Act", "reason": reason, "explanation": "", "master": null, "master_goal": "redis-2",
            "members": [], "known_loss_bytes": loss, "next_look_us": 50000,
            "stages": [{ "summary": "", "actions": [promote] }, { "summary": "", "actions": [follow] }] } })
        .to_string()
    };
    let difference = |text: &str| {
        let scenario = Scenario::parse("it", text).expect("it is valid");
        scenario.expected.difference(&failover_core::decide(&scenario.observation))
    };
    assert_eq!(difference(&text("master-dead", 0)), None);
    assert_eq!(difference(&text("master-dead", 5)).as_deref(), Some("loss is 0, expected 5"));
    // A paused group had a reason of its own; now only its plan is compared.
    assert_eq!(difference(&text("paused", 0)).as_deref(), Some("it acts on a paused group"));
}

#[test]
fn what_is_laid_out_is_read_again() {
    let file = serde_json::json!({ "expect": { "master": null, "verdict": "Wait", "reason": "any" }, "why": "a test",
        "base": "healthy-3", "given": { "redis-2": { "offset": 5, "is": "dead" } } });
    let text = format(file.as_object().expect("a record"));
    assert_eq!(
        text,
        "{\n  \"why\": \"a test\",\n  \"base\": \"healthy-3\",\n  \"given\": { \"redis-2\": { \"is\": \"dead\", \
         \"offset\": 5 } },\n  \"expect\": { \"verdict\": \"Wait\", \"reason\": \"any\", \"master\": null }\n}\n"
    );
    assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), file);
}
