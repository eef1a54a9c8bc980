//! What a snapshot says of Pods, records and decisions.

use super::super::fixture;
use super::*;
use crate::contract::{RequestAnswer, RequestState};
use crate::group::Report;
use crate::kubernetes::kinds::sample::sample;
use crate::report::script;
use serde_json::json;

/// Of a group whose second instance has that health.
fn decision(reason: &str, health: Health) -> Decision {
    match script::decided(Verdict::Wait, reason, "cart-0000", vec![]) {
        Report::Decided(decided) => {
            let mut decision = Decision::clone(&decided.decision);
            decision.members[1].health = health;
            decision
        }
        other => panic!("no decision: {other:?}"),
    }
}

fn refused(text: &str) -> Decision {
    let (state, reason) = (RequestState::Refused, "no-replica".into());
    let request = Some(RequestAnswer { state, reason, text: text.into() });
    Decision { request, ..decision("healthy", Health::InSync) }
}

fn observe(snapshot: &mut Snapshot, decision: Decision, digest: &str, is_switching: bool) -> bool {
    let ruling = Arc::new(DecisionRef { decision: Arc::new(decision), digest: digest.into() });
    snapshot.observe_decision(&ruling, is_switching, || digest.to_owned(), Timestamp::UNIX_EPOCH)
}

#[test]
fn a_decision_that_the_status_shows_otherwise_is_news_and_a_look_without_a_change_is_not() {
    let mut snapshot = fixture::snapshot(&[]);
    let known = || decision("replica-syncing", Health::Alive);
    assert!(observe(&mut snapshot, known(), "one", false), "the first");
    assert!(!observe(&mut snapshot, Decision { explanation: "2 ms later".into(), ..known() }, "one", false));
    let rows = [
        ("another reason", decision("master-dead", Health::Alive), "one", false),
        ("another health", decision("replica-syncing", Health::Dead), "one", false),
        ("another policy", known(), "two", false),
        ("a switchover began", known(), "one", true),
    ];
    for (fact, decision, digest, is_switching) in rows {
        let mut snapshot = snapshot.clone();
        assert!(observe(&mut snapshot, decision, digest, is_switching), "{fact}");
        let (shown, title, _) = snapshot.decided.as_ref().unwrap();
        assert_eq!(
            (shown.digest.as_str(), title.as_str(), snapshot.is_switching),
            (digest, digest, is_switching)
        );
    }
}

#[test]
fn health_is_what_the_guard_saw_of_these_very_pods_whatever_the_policy_says() {
    let pods = ["cart-0000", "cart-0001", "cart-0002"];
    let mut snapshot = fixture::snapshot(&pods);
    for (name, pod) in &mut snapshot.pods {
        Arc::make_mut(pod).metadata.uid = Some(format!("uid of {name}"));
    }
    let healthy = Decision { verdict: Verdict::Healthy, ..decision("healthy", Health::InSync) };
    observe(&mut snapshot, healthy, "one", false);
    let seen = |uids: &[&str], is_whole| {
        let pods = uids.iter().map(|name| format!("uid of {name}")).collect();
        Arc::new(Picture { pods, is_whole, ..Picture::default() })
    };
    let told = |snapshot: &mut Snapshot, picture| {
        snapshot.observe_picture(picture);
        (snapshot.is_healthy(), snapshot.health("cart-0001"))
    };
    assert_eq!(told(&mut snapshot, Arc::default()), (false, None), "only the policy says so");
    assert_eq!(told(&mut snapshot, seen(&pods, false)), (false, Some(Health::InSync)));
    assert!(!told(&mut snapshot, seen(&["cart-0000", "cart-0001", "old"], true)).0);
    assert_eq!(told(&mut snapshot, seen(&pods, true)), (true, Some(Health::InSync)));
    assert!(!snapshot.observe_picture(seen(&pods, true)), "the same");
}

#[test]
fn a_pod_is_a_member_with_the_revision_that_it_should_have_and_its_node() {
    let mut snapshot = fixture::snapshot(&["redis-cart-0"]);
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "redis-cart-1", "namespace": "shop" },
        "spec": { "containers": [], "nodeName": "n1" },
        "status": { "podIP": "10.0.0.7" }
    }));
    snapshot.pods.insert("redis-cart-1".into(), Arc::new(pod.unwrap()));
    snapshot.nodes.insert("n1".into(), Place { is_ready: Some(true), zone: Some("a".into()) });
    snapshot.revision = "new".into();
    let members = snapshot.resource.managed.members(&snapshot.observed_pods(), Timestamp::UNIX_EPOCH);
    assert_eq!(members.len(), 1, "a Pod without address is none");
    let facts = members[0].pod.as_ref().unwrap();
    assert_eq!((members[0].id.as_str(), facts.revision_target.as_str()), ("redis-cart-1", "new"));
    assert_eq!((facts.node_ready, facts.zone.as_deref()), (Some(true), Some("a")));
}

#[test]
fn a_group_starts_from_the_later_of_the_stored_record_and_the_status() {
    let now = Timestamp::from_second(100).unwrap();
    let stored = |epoch: u64| {
        let content = Content::new(Default::default(), fixture::record("redis-cart-1", epoch), now);
        let record = Some(serde_json::to_string(&content).unwrap());
        Some(Sighting {
            version: 7,
            uid: "m".into(),
            owners: vec!["u".into()],
            record,
            mark: None,
            may_be_of_others: false,
            outside: None,
        })
    };
    let mut snapshot = fixture::snapshot(&[]);
    assert!(!snapshot.is_record_known && snapshot.records(now).is_empty());
    // The status was dropped: nothing is lost.
    snapshot.observe_stored(stored(3));
    assert_eq!(snapshot.records(now)[0].published.epoch, 3);
    assert_eq!((snapshot.master(), snapshot.recorded_epoch()), (Some("redis-cart-1"), Some(3)));
    let of_status = |epoch: u64| {
        sample(|object| object["status"] = json!({ "master": "a", "problems": [], "epoch": epoch }))
    };
    for (in_status, expected) in [(2, ("redis-cart-1", 3)), (3, ("redis-cart-1", 3)), (4, ("a", 4))] {
        snapshot.resource = Arc::new(of_status(in_status));
        let published = snapshot.records(now).remove(0).published;
        assert_eq!((published.master.as_str(), published.epoch), expected, "{in_status}");
        assert_eq!(snapshot.master(), Some(expected.0));
    }
    // Another resource's, and one that is not understood, say nothing.
    snapshot.resource = Arc::new(sample(|_| ()));
    snapshot.observe_stored(Some(Sighting { owners: vec!["another".into()], ..stored(3).unwrap() }));
    assert!(snapshot.records(now).is_empty() && snapshot.gone_record.as_deref() == Some("m"));
    snapshot.observe_stored(Some(Sighting { record: Some("{".into()), ..stored(3).unwrap() }));
    assert!(snapshot.records(now).is_empty() && snapshot.stored.is_some());
}

#[test]
fn only_a_pod_of_the_statefulset_of_this_resource_is_a_member() {
    let mut snapshot = fixture::snapshot(&[]);
    let claimant = |name: &str, set: &str| -> Arc<Pod> {
        let controller = json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis-cart", "uid": set, "controller": true
        }]);
        let metadata = json!({ "name": name, "namespace": "shop", "ownerReferences": controller });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    };
    let set = |uid: &str, owner: &str, revision: &str| {
        let owners = vec![owner.into()];
        let sighting = Sighting { version: 1, uid: uid.into(), owners, ..Sighting::default() };
        Set { sighting, revision: revision.into(), is_current: true, claims: Value::Null }
    };
    for pod in [claimant("redis-cart-0", "s-1"), claimant("redis-cart-1", "forged")] {
        snapshot.claimants.insert(pod.metadata.name.clone().unwrap(), pod);
    }
    let members = |snapshot: &Snapshot| snapshot.pods.keys().cloned().collect::<Vec<_>>();
    snapshot.admit_pods();
    assert!(members(&snapshot).is_empty(), "no StatefulSet of this resource is known");
    snapshot.observe_set(&set("forged", "another resource", "theirs"));
    assert!(members(&snapshot).is_empty() && snapshot.revision.is_empty());
    snapshot.observe_set(&set("s-1", "u", "ours"));
    assert_eq!((members(&snapshot), snapshot.revision.as_str()), (vec!["redis-cart-0".into()], "ours"));
    // It is deleted and made again: the Pods of the former one run until they have ended.
    snapshot.observe_set(&set("s-2", "u", "ours"));
    assert_eq!(members(&snapshot), ["redis-cart-0"]);
    for number in 0..2 * SETS_MAX {
        snapshot.observe_set(&set(&format!("s-{}", 3 + number), "u", "ours"));
    }
    assert_eq!((snapshot.sets.len(), members(&snapshot)), (SETS_MAX, vec![]));
}

#[test]
fn a_refused_switchover_stays_refused_when_later_decisions_say_nothing_of_it() {
    let mut snapshot = fixture::snapshot(&[]);
    assert!(!snapshot.observe_refusal(&decision("healthy", Health::InSync)));
    assert!(snapshot.observe_refusal(&refused("no replica is in sync")));
    assert!(!snapshot.observe_refusal(&refused("no replica is in sync")), "shown already");
    assert!(!snapshot.observe_refusal(&decision("healthy", Health::InSync)));
    assert_eq!(snapshot.switchover_refused.as_deref(), Some("no replica is in sync"));
}
