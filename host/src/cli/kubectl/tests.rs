//! The printed texts for given data, without a cluster.

use super::cluster::View;
use super::explain::explanation;
use super::facts::Facts;
use super::group::Group;
use super::status::{gist, lines, screen, summary};
use super::text::Paint;
use crate::kubernetes::kinds::KINDS;
use crate::policy::healthy_group;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

fn redis() -> Value {
    let instance = |name: &str, role: &str, health: &str, rank: Value, ineligible: Value| {
        let (since, proof) = ("2026-01-01T00:00:00Z", "from the status");
        json!({
            "name": name, "role": role, "health": health, "since": since, "proof": proof, "rank": rank,
            "ineligible": ineligible
        })
    };
    let condition = |type_: &str, status: &str| {
        let at = "2026-01-01T00:00:10Z";
        json!({
            "type": type_, "status": status, "reason": "Healthy", "message": "", "lastTransitionTime": at,
            "observedGeneration": 2
        })
    };
    let timeline = json!({
        "detectMicroseconds": null, "decideMicroseconds": 612, "promoteMicroseconds": 287,
        "repointMicroseconds": 1904,
        "pauseMicroseconds": null, "knownLossBytes": 42
    });
    json!({
        "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis",
        "metadata": { "name": "example", "namespace": "shop", "generation": 2 },
        "spec": { "replicas": 3, "redis": { "image": "redis:7" } },
        "status": {
            "observedGeneration": 2, "master": "redis-example-0", "replicas": 3, "selector": "redis=example",
            "reason": "healthy", "message": "All is well.", "policy": "default 0.1.0 0123456789ab",
            "conditions": [condition("Ready", "True"), condition("Degraded", "False")],
            "instances": [
                instance("redis-example-0", "Master", "InSync", Value::Null, Value::Null),
                instance("redis-example-1", "Replica", "InSync", 1.into(), Value::Null),
                instance("redis-example-2", "Replica", "InSync", Value::Null, "priority-zero".into()),
            ],
            "published": {
                "name": "redis-example-0", "runId": "r", "replicationId": "i", "offset": 7, "epoch": 2,
                "at": "2026-01-01T00:00:05Z"
            },
            "lastFailover": {
                "at": "2026-01-01T00:00:05Z", "from": "redis-example-1", "to": "redis-example-0",
                "meantFor": "redis-example-0",
                "evidence": "Dead", "timeline": timeline, "publishMicroseconds": 6210
            }
        }
    })
}

fn group(redis: Value) -> Group {
    Group::of(&KINDS[0], serde_json::from_value(redis).unwrap()).unwrap()
}

fn pods() -> Vec<Pod> {
    let pod = |name: &str, ready: &str| {
        json!({
            "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "containers": [], "nodeName": "node-0" },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] }
        })
    };
    let pods = [
        ("redis-example-0", "True"),
        ("redis-example-1", "True"),
        ("redis-example-2", "False"),
        ("redis-example-3", "False"),
    ];
    pods.map(|(name, ready)| serde_json::from_value(pod(name, ready)).unwrap()).into()
}

fn view() -> View {
    let observation = serde_json::to_string(&healthy_group(3)).unwrap().replace("cart-000", "redis-example-");
    let member = |name: &str, role: &str, rank: Value, ineligible: Value| {
        json!({
            "id": name, "role": role, "health": "InSync", "proof": "as observed", "rank": rank,
            "ineligible": ineligible, "lag_bytes": 12
        })
    };
    serde_json::from_value(json!({
        "age_ms": 8, "policy": "0123456789abcdef", "operator": "operator-1",
        "observation": serde_json::from_str::<Value>(&observation).unwrap(),
        "decision": {
            "verdict": "Wait", "reason": "replica-syncing", "explanation": "One is not in sync yet.",
            "progress": "Changing", "request": null, "stages": [], "next_look_us": 1000,
            "shards": [{
                "index": 0, "master": "redis-example-0", "master_goal": "redis-example-0", "loss": null
            }],
            "members": [
                member("redis-example-0", "Master", Value::Null, Value::Null),
                member("redis-example-1", "Replica", 1.into(), Value::Null),
                member("redis-example-2", "Replica", Value::Null, "priority-zero".into()),
            ]
        }
    }))
    .unwrap()
}

/// With the operator's view.
pub(super) fn facts() -> Facts {
    Facts::new(group(redis()), &pods()[..3], Ok(view()))
}

/// From the status alone.
pub(super) fn no_view() -> Facts {
    Facts::new(group(redis()), &[], Err("the right to get pods/proxy in namespace there is missing".into()))
}

fn now() -> Timestamp {
    "2026-01-01T00:01:05Z".parse().unwrap()
}

#[test]
fn the_status_has_master_instances_and_the_last_failover_by_phase() {
    let text = screen(&facts(), Paint(false), now());
    for line in [
        "Redis shop/example: replica-syncing",
        "Master      redis-example-0 since 2026-01-01T00:00:05Z (60s ago), epoch 2",
        "Conditions  Ready for 55s",
        "Policy      default 0.1.0 0123456789ab",
        "INSTANCE          ROLE      HEALTH   FOR   LAG   OFFSET      READY   NODE     AGE",
        "redis-example-1   replica   InSync   65s   12    987654321   yes     node-0   65s",
        "redis-example-2   replica   InSync   65s   12    987654321   no      node-0   65s",
        "  redis-example-1 was dead, and redis-example-0 took over",
        "  decide         0.6 ms   until the promotion was sent",
        "  publish        6.2 ms   from the promotion until the Pods' role labels showed it",
        "  known loss 42 bytes",
        "From operator-1, 8 ms ago.",
    ] {
        assert!(text.lines().any(|of| of == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b') && !text.contains("detect") && !text.contains("Paused"), "{text}");
    assert!(screen(&facts(), Paint(true), now()).contains("\x1b[33mreplica-syncing\x1b[0m"));
}

#[test]
fn without_the_operator_the_status_is_used_and_the_missing_right_is_named() {
    let text = screen(&no_view(), Paint(false), now());
    assert!(text.contains("Redis shop/example: healthy\nAll is well.\n"), "{text}");
    assert!(
        text.contains("redis-example-1   replica   InSync   65s   -     -        -       -      -\n"),
        "{text}"
    );
    assert!(text.contains("not known: the right to get pods/proxy in namespace there is missing."), "{text}");
}

#[test]
fn an_unobserved_pod_a_pause_and_a_request_are_shown() {
    let mut redis = redis();
    redis["spec"]["paused"] = true.into();
    redis["spec"]["switchover"] = json!({ "id": "s-1", "to": "redis-example-1" });
    let text = screen(&Facts::new(group(redis), &pods(), Err("no operator".into())), Paint(false), now());
    assert!(
        text.contains("redis-example-3   unknown   Unknown  ")
            && text.contains("kubectl redis resume example"),
        "{text}"
    );
    assert!(
        text.contains("Switchover  requested, to redis-example-1, no operator has accepted it yet\n"),
        "{text}"
    );
}

#[test]
fn every_redis_has_a_line() {
    let text = lines(&[no_view()], true, Paint(false), now());
    let expected = "\
        NAMESPACE   NAME      MASTER            SINCE   REPLICAS   REASON    LAST CHANGE\n\
        shop        example   redis-example-0   60s     3/3        healthy   60s ago, dead\n";
    assert_eq!(text, expected);
}

#[test]
fn a_fleet_says_how_many_are_well_and_a_watch_shows_what_changed() {
    let mut other = no_view();
    other.status.reason = "replica-syncing".into();
    let fleet = [no_view(), other];
    assert_eq!(summary(&fleet), "\n2 groups: 1 healthy, 1 not; kubectl redis explain says why\n");
    assert_eq!(
        (summary(&fleet[..1]), summary(&[no_view(), no_view()])),
        (String::new(), "\n2 groups, all healthy\n".into())
    );
    let mut later = no_view();
    later.instances[1].offset = Some(8);
    assert_eq!(gist(&later), gist(&no_view()), "an offset is no news");
    later.instances[1].health = "Dead".into();
    assert_ne!(gist(&later), gist(&no_view()));
}

#[test]
fn an_explanation_has_proofs_and_ways_out() {
    let text = explanation(&facts(), Paint(false), now());
    for part in [
        "Why is redis-example-0 master?\n  60s ago redis-example-1 was dead, and redis-example-0 took \
         over.\n",
        "What is the operator waiting for?\n  replica-syncing: One is not in sync yet.\n  The master \
         works; a replica is not in sync yet.\n",
        "redis-example-1          InSync: as observed, 12 bytes behind\n",
        "eligible, number 1 in the order of succession\n",
        "not eligible, priority-zero: Its replica-priority is 0, which means never. Set another in \
         spec.config.\n",
        "by policy 0123456789ab.",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn a_group_without_a_master_or_with_an_unknown_reason_is_explained_too() {
    let mut facts = no_view();
    (facts.status.master, facts.status.reason) = (None, "of-my-own".into());
    let text = explanation(&facts, Paint(false), now());
    assert!(
        text.starts_with(
            "Why is there no master?\n  The last published master is redis-example-0, 60s ago.\n"
        ),
        "{text}"
    );
    assert!(text.contains("This reason is the policy's own"), "{text}");
    (facts.status.reason, facts.status.message) = (String::new(), String::new());
    assert!(explanation(&facts, Paint(false), now()).contains("check that one runs"));
}

#[test]
fn foreign_text_cannot_colour_the_screen() {
    let mut facts = no_view();
    facts.status.message = "\x1b[31mred\n".into();
    assert!(!screen(&facts, Paint(false), now()).contains('\x1b'));
}
