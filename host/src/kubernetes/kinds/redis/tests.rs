//! What a Redis answers to the controllers: its references, and its status from what is known.

use super::*;
use crate::contract::{Evidence, Published};
use crate::group::{Changed, Moment, Record};
use crate::kubernetes::crd::parse;
use crate::kubernetes::status::Problem;
use k8s_openapi::api::core::v1::Pod;

/// A Redis called `cart` with three replicas, and more in its spec.
fn redis(more: &Value) -> Redis {
    let mut spec = json!({ "replicas": 3, "redis": { "image": "redis:7" } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({ "name": "cart", "namespace": "shop", "uid": "u" });
    let (api_version, kind) = ("k8s.amaiz.com/v1alpha1", "Redis");
    parse(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec })).unwrap()
}

fn pods(names: &[&str]) -> Vec<Pod> {
    let pod = |name: &&str| serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    names.iter().map(pod).collect()
}

fn record(master: &str, epoch: u64) -> Record {
    let (run_id, replid) = ("r".into(), "i".into());
    let published =
        Published { master: master.into(), run_id, replid, offset: 7, epoch, age_us: 0, node: None };
    Record { shard: 0, published, lineage: Vec::new(), position: None, last_failover: None }
}

/// After a change of master.
fn changed(source: &str, target: &str, epoch: u64) -> Record {
    let changed = Changed {
        at: Moment::default(),
        age_us: 0,
        source: Some(source.into()),
        target: target.into(),
        meant_for: target.into(),
        evidence: Evidence::Dead,
    };
    Record { last_failover: Some(changed), ..record(target, epoch) }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The status after the one before.
fn status(before: Option<&RedisStatus>, known: &Known<'_>, second: i64) -> RedisStatus {
    let before = before.map(|before| json!(before));
    let known = Known { before: before.as_ref(), ..known.clone() };
    serde_json::from_value(redis(&json!({})).status(&known, at(second))).unwrap()
}

fn condition(status: &RedisStatus, type_: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.last_transition_time.clone())
}

#[test]
fn a_redis_names_its_secrets_and_policies() {
    assert_eq!(redis(&json!({})).references(), References::default());
    let references = redis(&json!({
        "password": { "secretKeyRef": { "name": "users", "key": "password" } },
        "tls": { "secretName": "cert" },
        "policy": { "name": "mine", "shadow": "next" },
        "policyParameters": { "discard": ["redis-cart-2"] }
    }))
    .references();
    assert_eq!(references.secrets().collect::<Vec<_>>(), ["users", "cert"]);
    assert_eq!(references.tls.unwrap().server_name, "redis-cart-master.shop.svc");
    let parameters = Some(json!({ "discard": ["redis-cart-2"] }));
    let (name, shadow) = (Some("mine".into()), Some("next".into()));
    assert_eq!(references.policy, PolicyReference { name, shadow, parameters });
    let named = redis(&json!({ "tls": { "secretName": "cert", "serverName": "cart.example" } })).references();
    assert_eq!(named.tls.unwrap().server_name, "cart.example");
}

#[test]
fn before_the_first_decision_the_status_says_so_and_problems_come_first() {
    let pods = pods(&["redis-cart-0", "redis-cart-1", "redis-cart-2"]);
    let known = Known { pods: pods.iter().collect(), ..Known::default() };
    let first = status(None, &known, 10);
    let since = at(10).to_string();
    assert_eq!(condition(&first, "Ready"), ("False".into(), "Starting".into(), since.clone()));
    let problem = Problem { reason: "SecretMissing", message: "create it".into() };
    let next = status(Some(&first), &Known { problems: vec![problem], ..known }, 20);
    assert_eq!(condition(&next, "Ready"), ("False".into(), "SecretMissing".into(), since));
    assert_eq!(condition(&next, "Degraded"), ("True".into(), "SecretMissing".into(), at(20).to_string()));
}

#[test]
fn a_problem_that_was_found_comes_before_those_of_the_pods() {
    let problem = Problem { reason: "LabelsRefused", message: "pods is forbidden".into() };
    let known = Known { problems: vec![problem], ..Known::default() };
    let status = status(None, &known, 10);
    let degraded = status.conditions.iter().find(|condition| condition.type_ == "Degraded").unwrap();
    assert_eq!(degraded.reason, "LabelsRefused");
    assert!(degraded.message.starts_with("pods is forbidden; 0 of 3 Pods exist"), "{}", degraded.message);
}

/// A claim, and away.
fn asleep() -> Value {
    let claim =
        json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    json!({ "hibernate": true, "dataVolumeClaimTemplate": { "spec": claim } })
}

#[test]
fn a_group_that_hibernates_wants_no_pods_and_does_not_act() {
    let settings = |more: &Value| redis(more).settings(at(10));
    let (asleep, without) = (settings(&asleep()), settings(&json!({ "hibernate": true })));
    assert_eq!((asleep.replicas, asleep.group.paused, asleep.group.members_desired), (0, true, 3));
    assert_eq!((without.replicas, without.group.paused), (3, false), "it would lose its data");
}

#[test]
fn a_group_that_hibernates_is_ready_once_all_pods_are_away_and_keeps_its_record() {
    let status = |is_settled, pods: &[Pod], before: Option<&RedisStatus>| -> RedisStatus {
        let record = record("redis-cart-0", 3);
        let before = before.map(|before| json!(before));
        let (record, pods) = (Some((&record, at(5))), pods.iter().collect());
        let known = Known { record, pods, is_settled, before: before.as_ref(), ..Known::default() };
        serde_json::from_value(redis(&asleep()).status(&known, at(10))).unwrap()
    };
    let ending = status(false, &pods(&["redis-cart-0"]), None);
    let of = |status: &RedisStatus, type_| {
        let (holds, reason, _) = condition(status, type_);
        (holds, reason)
    };
    let row = |holds: &str, reason: &str| (holds.to_owned(), reason.to_owned());
    assert_eq!(of(&ending, "Ready"), row("False", "Hibernating"));
    assert_eq!(of(&ending, "Reconciling"), row("True", "Hibernating"));
    let away = status(true, &[], Some(&ending));
    assert_eq!(
        (away.reason.as_str(), away.published.as_ref().unwrap().name.as_str()),
        ("hibernated", "redis-cart-0")
    );
    assert_eq!(of(&away, "Ready"), row("True", "Hibernated"));
    for type_ in ["Reconciling", "Degraded", "Progressing", "Stalled", "Paused"] {
        assert_eq!(of(&away, type_).0, "False", "{type_}: {away:#?}");
    }
}

#[test]
fn the_same_facts_give_the_same_status_at_any_later_time() {
    let (pods, record) = (pods(&["redis-cart-0", "redis-cart-1", "redis-cart-2"]), record("redis-cart-0", 1));
    let known = Known { record: Some((&record, at(5))), pods: pods.iter().collect(), ..Known::default() };
    let first = status(None, &known, 10);
    assert_eq!(first.published.as_ref().unwrap().name, "redis-cart-0");
    assert_eq!(status(Some(&first), &known, 99), first);
}

#[test]
fn what_is_not_known_any_more_leaves_the_status() {
    let known =
        |id, refusal| Known { switchover_id: Some(id), switchover_refused: refusal, ..Known::default() };
    let refused = status(None, &known("one", Some("no")), 10);
    assert_eq!(refused.switchover_refused.as_deref(), Some("no"));
    let asked = status(Some(&refused), &known("two", None), 20);
    assert_eq!((asked.switchover_id.as_deref(), asked.switchover_refused), (Some("two"), None));
}

#[test]
fn labels_of_the_epoch_say_how_long_they_took() {
    let record = changed("redis-cart-0", "redis-cart-1", 2);
    let published = |epoch| {
        let record = Some((&record, at(5)));
        let known = Known { record, labelled: Some((epoch, 1500)), ..Known::default() };
        status(None, &known, 10).last_failover.unwrap().publish_microseconds
    };
    assert_eq!((published(2), published(1)), (Some(1500), None));
}
