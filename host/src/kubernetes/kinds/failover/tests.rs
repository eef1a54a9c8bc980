//! What a RedisFailover answers to the controllers: settings, references, status.

use super::*;
use crate::kubernetes::status::Problem;

fn managed(spec: &Value) -> Box<dyn Managed> {
    let metadata = json!({ "name": "cart", "namespace": "shop", "uid": "u", "generation": 2 });
    let (api_version, kind) = ("databases.spotahome.com/v1", "RedisFailover");
    read(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec })).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn condition_of(status: &RedisFailoverStatus, type_: &str) -> (String, String) {
    let found = status.group.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn status(spec: &Value, known: &Known<'_>) -> RedisFailoverStatus {
    serde_json::from_value(managed(spec).status(known, at(10))).unwrap()
}

#[test]
fn settings_and_references_are_those_of_the_spec() {
    let spec = json!({
        "auth": { "secretPath": "login" }, "policy": { "name": "mine" },
        "failover": { "prefer": "Consistency", "selfFenceLagSeconds": 4 },
        "switchover": { "id": "one" },
        "redis": {
            "replicas": 5, "port": 7000, "preventMasterEviction": true, "disableMasterRollout": true,
            "customConfig": ["hz 50"], "storage": { "persistentVolumeClaim": { "metadata": { "name": "d" } } }
        }
    });
    let managed = managed(&spec);
    let settings = managed.settings(at(0));
    assert_eq!((settings.replicas, settings.port, settings.group.members_desired), (5, 7000, 5));
    assert_eq!(settings.family.set_name("cart"), "rfr-cart");
    assert!(
        settings.marks_eviction
            && settings.keeps_master_pod
            && settings.claim.is_some()
            && !settings.has_directives_file
    );
    assert_eq!((settings.group.self_fence_lag_s, settings.switchover.unwrap().id), (Some(4), "one".into()));
    assert_eq!(settings.directive_names.into_iter().collect::<Vec<_>>(), ["hz"]);
    assert_eq!(settings.replication_user.as_deref(), Some("group-u"));
    let references = managed.references();
    assert_eq!(references.secrets().collect::<Vec<_>>(), ["login"]);
    assert_eq!(
        (references.password.unwrap().key.as_str(), references.policy.name.as_deref()),
        ("password", Some("mine"))
    );
}

#[test]
fn the_status_has_a_phase_the_endpoints_and_what_cannot_be_done() {
    let pods: Vec<Pod> = vec![Pod::default(); 3];
    let known = Known { pods: pods.iter().collect(), sentinels: Some(2), ..Known::default() };
    let first = status(&json!({}), &known);
    assert_eq!((first.phase.as_str(), first.sentinels), ("Creating", Some(2)));
    assert_eq!(condition_of(&first, "SentinelsReady"), ("False".into(), "Served".into()));
    assert_eq!(condition_of(&first, "Adopted"), ("True".into(), "Own".into()));
    assert_eq!(condition_of(&first, "Degraded").0, "False");
    let spec = json!({ "sentinel": { "mode": "Assisted", "replicas": 2 } });
    let assisted = status(&spec, &known);
    assert_eq!(condition_of(&assisted, "Degraded").0, "False");
    assert_eq!(condition_of(&assisted, "SentinelsReady"), ("True".into(), "Assisted".into()));
    assert_eq!(condition_of(&assisted, "SentinelsAgree"), ("False".into(), "Unknown".into()));
    assert_eq!(status(&json!({ "paused": true }), &known).phase, "Paused");
    let unknown = status(&json!({}), &Known { sentinels: None, ..known.clone() });
    let message = &unknown.group.conditions.iter().find(|one| one.type_ == "SentinelsReady").unwrap().message;
    assert!(message.starts_with("unknown of 3 endpoints ready"), "{message}");
    let problem = Problem { reason: "NotAdopted", message: "StatefulSet rfr-cart exists".into() };
    let foreign = status(&json!({}), &Known { problems: vec![problem], ..known });
    assert_eq!(condition_of(&foreign, "Adopted"), ("False".into(), "NotAdopted".into()));
}

#[test]
fn a_status_that_was_written_is_what_the_next_operator_starts_from() {
    let pods: Vec<Pod> = vec![Pod::default(); 3];
    let known = Known { pods: pods.iter().collect(), sentinels: Some(3), ..Known::default() };
    let first = managed(&json!({})).status(&known, at(10));
    let again = managed(&json!({})).status(&Known { before: Some(&first), ..known }, at(99));
    assert_eq!(first, again, "the same facts give the same status at any later time");
    let metadata = json!({ "name": "cart", "namespace": "shop" });
    let read = read(json!({
        "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "metadata": metadata,
        "spec": {}, "status": first
    }));
    assert_eq!(read.unwrap().settings(at(0)).recorded.status, Some(first));
}

#[test]
fn a_group_with_sentinels_has_their_topology_and_the_settings_of_the_resource() {
    let group = |sentinel: Value| managed(&json!({ "sentinel": sentinel })).settings(at(0)).group;
    let served = group(json!({}));
    assert_eq!((served.topology, served.sentinel), (Topology::Replication, None));
    let watched = |sentinel: Value| {
        let group = group(sentinel);
        assert_eq!(group.topology, Topology::Sentinel);
        group.sentinel.unwrap()
    };
    let by_default = watched(json!({ "mode": "Assisted", "replicas": 5 }));
    assert_eq!((by_default.master_name.as_str(), by_default.sentinels_desired), ("mymaster", 5));
    assert_eq!((by_default.quorum, by_default.parallel_syncs), (3, 2));
    assert_eq!((by_default.down_after_ms, by_default.failover_timeout_ms), (5_000, 10_000));
    let lines =
        json!(["down-after-milliseconds 1000", "failover-timeout 3000", "quorum 1", "parallel-syncs 9"]);
    let deferred = watched(json!({ "mode": "Deferred", "disableMyMaster": true, "customConfig": lines }));
    assert_eq!((deferred.master_name.as_str(), deferred.quorum, deferred.parallel_syncs), ("cart", 1, 9));
    assert_eq!((deferred.down_after_ms, deferred.failover_timeout_ms), (1_000, 3_000));
    let assisted = json!({ "mode": "Assisted", "customConfig": lines });
    assert_eq!(watched(assisted.clone()).down_after_ms, 1_500, "a told Sentinel needs that long");
    let degraded = status(&json!({ "sentinel": assisted }), &Known::default());
    assert_eq!(condition_of(&degraded, "Degraded"), ("True".into(), "DirectiveRefused".into()));
    let other = json!({ "mode": "Deferred", "customConfig": ["auth-pass x"] });
    let degraded = status(&json!({ "sentinel": other }), &Known::default());
    assert_eq!(condition_of(&degraded, "Degraded"), ("True".into(), "DirectiveRefused".into()));
}

#[test]
fn sentinels_agree_when_as_many_as_there_should_be_name_the_master_and_no_other_does_otherwise() {
    let spec = json!({ "sentinel": { "mode": "Assisted" } });
    let of = |named: &[(&str, Option<&str>)]| {
        let named = named.iter().map(|(id, to)| ((*id).to_owned(), to.map(str::to_owned)));
        let picture =
            Picture { master: Some("rfr-cart-0".into()), sentinels: named.collect(), ..Picture::default() };
        let status = status(&spec, &Known { picture: Some(&picture), ..Known::default() });
        let found = status.group.conditions.into_iter().find(|one| one.type_ == "SentinelsAgree").unwrap();
        (found.status == "True", found.message)
    };
    let (master, other) = (Some("rfr-cart-0"), Some("rfr-cart-1"));
    assert!(of(&[("a", master), ("b", master), ("c", master)]).0);
    let (holds, text) = of(&[("a", master), ("b", other)]);
    assert!(!holds && text.ends_with("; b takes rfr-cart-1 for the master; 1 did not answer"), "{text}");
    let (holds, text) = of(&[("a", master), ("b", master), ("c", master), ("d", None)]);
    assert!(!holds && text.ends_with("; d watches no instance of this group"), "{text}");
}

#[test]
fn sentinels_that_run_on_in_mode_served_are_watched_until_the_last_has_ended() {
    let served = managed(&json!({ "sentinel": { "mode": "Served", "replicas": 3 } }));
    let pod = |name: &str, container: Value| -> Pod {
        let spec = json!({ "containers": [container] });
        let status = json!({ "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }] });
        let metadata = json!({ "name": name, "namespace": "shop", "uid": name });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
    };
    let left =
        pod("rfs-cart-a", json!({ "name": "sentinel", "command": ["redis-server", "x", "--sentinel"] }));
    let face = pod("rfs-cart-b", json!({ "name": "sentinel", "args": ["face", "--name", "cart"] }));
    let ids = |pods: &[&Pod]| served.sentinels(pods, at(10)).into_iter().map(|at| at.id).collect::<Vec<_>>();
    assert_eq!(ids(&[&left, &face]), ["rfs-cart-a"]);
    assert!(served.group_beside(0).is_none(), "it is a group of replication");
    let group = served.group_beside(1).unwrap();
    let settings = group.sentinel.unwrap();
    assert_eq!(
        (group.topology, settings.mode, settings.sentinels_desired),
        (Topology::Sentinel, crate::contract::SentinelMode::Assisted, 1)
    );
    let watched = managed(&json!({ "sentinel": { "mode": "Deferred" } }));
    assert!(watched.group_beside(3).is_none(), "those that it asks for");
}
