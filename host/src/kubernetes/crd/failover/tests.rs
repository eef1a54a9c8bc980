//! Manifests of both operators as resources: defaults, fields, and what is said of those that cannot be done.

use super::*;
use crate::kubernetes::crd::failover::SentinelMode;
use crate::kubernetes::kinds::{ADOPTED_ANNOTATION, AdoptionState, OBSERVING};
use serde_json::json;

fn object(api_version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": "RedisFailover", "spec": spec,
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": "u-1",
            "labels": { "team": "a", "app.kubernetes.io/part-of": "b" }
        }
    })
}

fn failover(spec: Value) -> Failover {
    Failover::read(object("databases.spotahome.com/v1", &spec)).unwrap()
}

fn reasons(failover: &Failover) -> Vec<&'static str> {
    failover.problems().into_iter().map(|problem| problem.reason).collect()
}

#[test]
fn an_empty_spec_has_the_defaults_of_the_other_operator() {
    let failover = failover(json!({}));
    assert_eq!((failover.replicas(Role::Redis), failover.replicas(Role::Sentinel)), (3, 3));
    assert_eq!(
        (failover.port(), failover.image(), failover.master_name()),
        (6379, "redis:6.2.6-alpine", "mymaster")
    );
    assert_eq!((failover.hang_limit_ms(), failover.is_paused()), (1500, false));
    assert!(reasons(&failover).is_empty() && failover.directives().is_empty());
    assert_eq!(failover.copied_labels().len(), 2, "all labels are copied");
    let owner = failover.owner.unwrap();
    assert_eq!(
        (owner.api_version.as_str(), owner.kind.as_str(), owner.uid.as_str(), owner.controller),
        ("databases.spotahome.com/v1", "RedisFailover", "u-1", Some(true))
    );
}

#[test]
fn zero_replicas_null_fields_and_numbers_for_quantities_are_taken_as_the_other_operator_takes_them() {
    let failover = failover(json!({
        "redis": { "replicas": 0, "customConfig": null, "resources": { "limits": { "cpu": 1 } }, "later": { "a": 1 } },
        "sentinel": { "replicas": 5, "affinity": null }, "auth": null, "standalone": false
    }));
    assert_eq!((failover.replicas(Role::Redis), failover.replicas(Role::Sentinel)), (3, 5));
    assert_eq!(failover.pods(Role::Redis).resources, Some(json!({ "limits": { "cpu": "1" } })));
}

#[test]
fn the_seed_s_manifest_means_a_resource_of_v1() {
    let spec = json!({
        "sentinel": { "replicas": 3, "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "100Mi" } } },
        "redis": { "replicas": 3, "resources": { "requests": { "cpu": "100m" } }, "exporter": true, "version": "6.2-alpine" }
    });
    let failover = Failover::read_alpha(object("spotahome.com/v1alpha1", &spec)).unwrap();
    assert_eq!((failover.image(), failover.replicas(Role::Redis)), ("redis:6.2-alpine", 3));
    assert!(failover.pods(Role::Redis).exporter.enabled && !failover.pods(Role::Sentinel).exporter.enabled);
    assert_eq!(failover.pods(Role::Sentinel).resources.as_ref().unwrap()["limits"]["memory"], "100Mi");
    assert_eq!(failover.owner.as_ref().unwrap().api_version, "spotahome.com/v1alpha1");
    let old = Failover::read_alpha(object(
        "spotahome.com/v1alpha1",
        &json!({ "redis": { "version": "3.2-alpine" } }),
    ));
    assert_eq!(reasons(&old.unwrap()), ["ImageTooOld"]);
}

#[test]
fn a_resource_of_alauda_is_recognised_by_what_only_it_has() {
    let rows = [
        json!({ "redis": { "customConfig": { "maxmemory": "1gb" } } }),
        json!({ "sentinel": { "monitorConfig": { "down-after-milliseconds": "5000" } } }),
        json!({ "sentinel": { "quorum": 2 } }),
        json!({ "sentinel": { "sentinelReference": { "nodes": [] } } }),
        json!({ "redis": { "expose": { "type": "NodePort" } } }),
        json!({ "redis": { "enableTLS": true } }),
    ];
    for spec in rows {
        let error = Failover::read(object("databases.spotahome.com/v1", &spec)).unwrap_err();
        assert!(
            error.contains("alauda/redis-operator") && error.contains("nothing of it is changed"),
            "{error}"
        );
    }
}

#[test]
fn valkey_has_its_own_image_and_the_newer_word_for_the_engine_is_understood() {
    for word in ["engine", "databaseEngine"] {
        let failover = failover(json!({ word: "Valkey" }));
        assert_eq!((failover.engine(), failover.image()), (Engine::Valkey, "valkey/valkey:7.2.11-alpine"));
    }
}

#[test]
fn lines_of_custom_config_are_directives_and_what_cannot_be_set_is_said() {
    let with = |lines: Value| failover(json!({ "redis": { "customConfig": lines } }));
    let of = with(json!([
        "maxclients 100",
        "  hz   50 ",
        "save \"\"",
        "client-output-buffer-limit normal 0 0 0",
        "client-output-buffer-limit slave 1000000000 1000000000 0",
        "hz 60",
        ""
    ]));
    let expected = [
        ("client-output-buffer-limit", "normal 0 0 0 slave 1000000000 1000000000 0"),
        ("hz", "60"),
        ("maxclients", "100"),
        ("save", ""),
    ];
    assert_eq!(of.directives(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(reasons(&of).is_empty() && !of.has_aof());
    let refused = with(json!(["databases 32", "requirepass x", "appendonly yes"]));
    assert_eq!(reasons(&refused), ["DirectiveRefused", "DirectiveRefused"]);
    assert_eq!(refused.directives().into_keys().collect::<Vec<_>>(), ["appendonly"]);
    assert!(refused.has_aof());
}

#[test]
fn maxmemory_leaves_a_part_of_the_container_s_memory_free() {
    let with = |maxmemory: &str, percent: Value| {
        let resources = json!({ "limits": { "memory": "100Mi" } });
        let line = format!("maxmemory {maxmemory}");
        let redis =
            json!({ "resources": resources, "customConfig": [line], "reservedPodMemoryPercent": percent });
        let failover = failover(json!({ "redis": redis }));
        (failover.directives().contains_key("maxmemory"), reasons(&failover).len())
    };
    assert_eq!(with("90mb", Value::Null), (true, 0));
    assert_eq!(with("91mb", Value::Null), (false, 1));
    assert_eq!(with("91mb", json!(5)), (true, 0));
    assert_eq!(with("0", json!(50)), (true, 0));
}

#[test]
fn sentinel_s_words_for_a_hang_are_understood_unless_the_resource_says_it_itself() {
    let of = |spec| failover(spec).hang_limit_ms();
    let sentinel = json!({ "customConfig": ["down-after-milliseconds 2000", "failover-timeout 3000"] });
    assert_eq!(of(json!({ "sentinel": sentinel })), 2000);
    assert_eq!(of(json!({ "sentinel": sentinel, "failover": { "downAfterMilliseconds": 1500 } })), 1500);
    assert_eq!(of(json!({ "sentinel": { "customConfig": ["down-after-milliseconds 1"] } })), 1500);
}

#[test]
fn labels_are_copied_by_the_whitelist_and_a_bad_pattern_is_said() {
    let of = |patterns: Value| failover(json!({ "labelWhitelist": patterns }));
    assert_eq!(of(json!(["^team$"])).copied_labels().into_keys().collect::<Vec<_>>(), ["team"]);
    assert_eq!(of(json!(["kubernetes"])).copied_labels().len(), 1);
    let bad = of(json!(["("]));
    assert_eq!((bad.copied_labels().len(), reasons(&bad)), (0, vec!["PatternRefused"]));
}

#[test]
fn renames_of_what_the_operator_needs_are_refused_and_others_are_not() {
    let renames = json!([{ "from": "monitor", "to": "" }, { "from": "FLUSHALL", "to": "fa" }, { "from": "config", "to": "x" }]);
    let failover = failover(json!({ "redis": { "customCommandRenames": renames } }));
    assert_eq!(failover.renames().collect::<Vec<_>>(), [("monitor", ""), ("FLUSHALL", "fa")]);
    assert_eq!(reasons(&failover), ["RenameRefused"]);
}

#[test]
fn annotations_of_both_operators_and_a_bootstrap_node_pause() {
    let paused = |spec: Value, annotations: Value| {
        let mut object = object("databases.spotahome.com/v1", &spec);
        object["metadata"]["annotations"] = annotations;
        Failover::read(object).unwrap().is_paused()
    };
    assert!(!paused(json!({}), json!({ "skip-reconcile": "false" })));
    assert!(paused(json!({}), json!({ "skip-reconcile": "true" })));
    assert!(paused(json!({}), json!({ "redis-failover.freshworks.com/skip-reconcile": "true" })));
    assert!(paused(json!({ "paused": true }), json!({})));
    assert!(paused(json!({ "bootstrapNode": { "host": "10.0.0.1" } }), json!({})));
}

#[test]
fn a_mode_is_the_one_that_is_asked_for_and_an_adopted_group_keeps_its_sentinels() {
    let of = |spec: Value, note: Option<&str>| {
        let mut object = object("databases.spotahome.com/v1", &spec);
        object["metadata"]["annotations"] = json!({ ADOPTED_ANNOTATION: note });
        let failover = Failover::read(object).unwrap();
        assert!(reasons(&failover).is_empty());
        failover.mode()
    };
    for mode in [SentinelMode::Served, SentinelMode::Assisted, SentinelMode::Deferred] {
        assert_eq!(of(json!({ "sentinel": { "mode": mode } }), Some("x")), mode);
    }
    assert_eq!(of(json!({}), None), SentinelMode::Served);
    assert_eq!(of(json!({}), Some(OBSERVING)), SentinelMode::Assisted);
    assert_eq!(of(json!({}), Some("x")), SentinelMode::Assisted);
}

#[test]
fn templates_are_left_until_what_pods_are_made_from_changes() {
    let of = |spec: Value, note: Option<&str>| {
        let mut object = object("databases.spotahome.com/v1", &spec);
        object["metadata"]["annotations"] = json!({ ADOPTED_ANNOTATION: note });
        Failover::read(object).unwrap().adoption().unwrap()
    };
    let spec = json!({ "redis": { "image": "redis:7" } });
    let before = of(spec.clone(), None);
    assert_eq!((before.state, before.observe_s), (AdoptionState::No, 10));
    assert_eq!(of(spec.clone(), Some(OBSERVING)).state, AdoptionState::Observing);
    let leaves = |spec: Value| match of(spec, Some(&before.digest)).state {
        AdoptionState::Adopted { leaves_templates } => leaves_templates,
        other => panic!("{other:?}"),
    };
    assert!(leaves(spec));
    let with = |field: &str, value: Value| leaves(json!({ "redis": { "image": "redis:7" }, field: value }));
    assert!(with("paused", json!(true)) && with("switchover", json!({ "id": "one" })));
    assert!(!with("adoption", json!({ "roll": true })));
    assert!(!with("auth", json!({ "secretPath": "login" })));
    assert!(!leaves(json!({ "redis": { "image": "redis:8" } })));
    let alpha = Failover::read_alpha(object("spotahome.com/v1alpha1", &json!({}))).unwrap();
    assert_eq!(alpha.adoption(), None, "no live objects of that version can exist");
}

#[test]
fn a_command_without_the_file_is_taken_and_its_price_is_said() {
    let of = |words: Value| reasons(&failover(json!({ "redis": { "command": words } })));
    assert!(of(json!(["redis-server", "/redis/redis.conf", "--protected-mode", "no"])).is_empty());
    assert_eq!(of(json!(["redis-server"])), ["CommandOfItsOwn"]);
}
