//! Which objects of a resource to apply, which to leave to others, and what must happen before: from facts
//! alone.

use super::super::snapshot::ObjectKey;
use crate::kubernetes::objects::MARK_ANNOTATION;
use crate::kubernetes::ownership::Sighting;
use crate::kubernetes::status::Problem;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Plans the steps, in this order:
///
/// 1. Each object that should be otherwise is applied. One that was never seen is created only if its name is
///    known to be free: to apply over another's object would take it over, and delete it with the resource.
/// 2. The StatefulSet is created after all others, and not while one of them is another's: no Pod starts on
///    what is not as it should be. One that exists is updated all the same, since its Pods run.
/// 3. The Secret goes when its password is not wanted and no Pod needs it any more.
/// 4. A Service or NetworkPolicy that is not wanted any more goes.
/// 5. A master that would go with a scale-down is asked to hand over to an instance that stays.
pub fn plan(view: &ObjectsView<'_>) -> Vec<ObjectStep> {
    let mut steps = Vec::new();
    let mut are_all_ours = true;
    for (key, object) in view.wanted.iter().filter(|(key, object)| !view.is_so(key, object)) {
        let (is_seen, is_foreign) = (view.seen.contains_key(key), view.is_foreign.get(key));
        let starts_pods = key.0 == "StatefulSet" && !is_seen;
        match is_foreign {
            Some(true) if !is_seen => {
                are_all_ours = false;
                steps.push(ObjectStep::Leave(name_taken(view, key, object)));
            }
            // The call that failed is a problem of its own already.
            None if !is_seen => are_all_ours = false,
            Some(_) | None if starts_pods && !are_all_ours => {}
            Some(_) | None => steps.push(ObjectStep::Apply {
                key: key.clone(),
                object: object.clone(),
                uid: view.seen.get(key).map(|seen| seen.uid.clone()),
                needs_all_before: starts_pods,
            }),
        }
    }
    let surplus = view.secret_to_delete().into_iter().chain(view.surplus());
    steps.extend(surplus.map(|(key, uid)| ObjectStep::Delete { key, uid }));
    steps.extend(view.hands_over_to.iter().filter(|_| view.may_hand_over).cloned().map(ObjectStep::HandOver));
    steps
}

/// The objects of which a plan must know whether another's stands in their place.
pub fn unclaimed<'v>(view: &'v ObjectsView<'_>) -> Vec<&'v (ObjectKey, Value)> {
    let is_due = |key: &ObjectKey, object: &Value| !view.is_so(key, object) && !view.seen.contains_key(key);
    view.wanted.iter().filter(|(key, object)| is_due(key, object)).collect()
}

/// As many as are wanted; as many as there are while the master is among those that would go: it hands over
/// first. Where none is wanted, none stays to take over: the group hibernates.
pub fn plan_replicas<'a>(
    wanted: i32,
    master: Option<&str>,
    pods: impl Iterator<Item = &'a str> + Clone,
) -> Replicas {
    let ordinal = |pod: &str| pod.rsplit('-').next().and_then(|ordinal| ordinal.parse::<i32>().ok());
    let last = pods.clone().filter_map(ordinal).max();
    let master = pods.into_iter().find(|pod| Some(*pod) == master).and_then(ordinal);
    match (master, last) {
        (Some(master), Some(last)) if master >= wanted && wanted > 0 => {
            Replicas { count: last + 1, is_master_in_the_way: true }
        }
        (Some(_) | None, _) => Replicas { count: wanted, is_master_in_the_way: false },
    }
}

/// What the steps rest on.
pub struct ObjectsView<'a> {
    /// The kind of the resource.
    pub kind: String,
    /// The uid of the resource.
    pub uid: String,
    /// The operator's Secret with its password.
    pub secret: String,
    /// All objects, in the order in which they are applied.
    pub wanted: Vec<(ObjectKey, Value)>,
    pub applied: &'a BTreeMap<ObjectKey, (Value, u64)>,
    /// The objects of the resource as they were seen last.
    pub seen: &'a BTreeMap<ObjectKey, Arc<Sighting>>,
    /// Objects that were there and are not, or are another's.
    pub missing: &'a BTreeSet<ObjectKey>,
    /// Whether a name is another's, of those that [`unclaimed`] lists. Absent: that is not known.
    pub is_foreign: BTreeMap<ObjectKey, bool>,
    /// The master's Pod would go, so it hands over to this one first.
    pub hands_over_to: Option<String>,
    pub may_hand_over: bool,
    /// The password is not wanted any more, and no Pod needs the Secret that has it.
    pub is_secret_over: bool,
}

/// One step.
#[derive(Debug, PartialEq)]
pub enum ObjectStep {
    /// Requests that the master moves to that instance.
    HandOver(String),
    Apply {
        key: ObjectKey,
        object: Value,
        /// Of the object that is changed. None: it is created.
        uid: Option<String>,
        /// Nothing starts on what is another's or was refused: left out when a step before it failed.
        needs_all_before: bool,
    },
    /// Left alone: it is another's.
    Leave(Problem),
    Delete {
        key: ObjectKey,
        uid: String,
    },
}

/// How many replicas the StatefulSet gets, and whether the master must move first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub count: i32,
    pub is_master_in_the_way: bool,
}

impl ObjectsView<'_> {
    /// Whether it is as it was applied, and nothing has touched it since.
    fn is_so(&self, key: &ObjectKey, object: &Value) -> bool {
        let is_touched = |version: u64| {
            self.missing.contains(key) || self.seen.get(key).is_some_and(|seen| seen.version > version)
        };
        self.applied.get(key).is_some_and(|(before, version)| before == object && !is_touched(*version))
    }

    /// It and its uid.
    fn secret_to_delete(&self) -> Option<(ObjectKey, String)> {
        let key = ("Secret", self.secret.clone());
        let seen = self.seen.get(&key).filter(|_| self.is_secret_over)?;
        Some((key, seen.uid.clone()))
    }

    /// They and their uids. Of the objects that a resource may cease to want, only these hold no data.
    fn surplus(&self) -> impl Iterator<Item = (ObjectKey, String)> {
        let is_wanted = |key: &ObjectKey| self.wanted.iter().any(|(wanted, _)| wanted == key);
        let surplus = self.seen.iter().filter(move |(key, _)| DELETED.contains(&key.0) && !is_wanted(key));
        surplus.map(|(key, seen)| (key.clone(), seen.uid.clone()))
    }
}

/// The kinds of objects that go when they are not wanted any more.
const DELETED: &[&str] = &["Service", "NetworkPolicy"];

fn name_taken(
    ObjectsView { kind: owner, uid, .. }: &ObjectsView<'_>,
    (kind, name): &ObjectKey,
    object: &Value,
) -> Problem {
    // Another operator makes objects of such names, for the same owner.
    if object.pointer("/metadata/annotations").is_some_and(|all| all.get(MARK_ANNOTATION).is_some()) {
        let message = format!(
            "{kind} {name} exists and this operator did not make it: nothing of it is changed. Once no other \
             operator looks after it, hand it over: kubectl annotate {} {name} {MARK_ANNOTATION}=true; or \
             rename this {owner}",
            kind.to_ascii_lowercase()
        );
        return Problem { reason: "NotAdopted", message };
    }
    let message = format!(
        "{kind} {name} exists and is not owned by this {owner}: delete it, or rename this {owner}; to hand it \
         over with all that is in it, name this {owner} in its ownerReferences, with uid {uid}"
    );
    Problem { reason: "NameTaken", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(kind: &'static str) -> ObjectKey {
        (kind, "redis-cart".into())
    }

    /// What a view is made from.
    struct Facts {
        applied: BTreeMap<ObjectKey, (Value, u64)>,
        seen: BTreeMap<ObjectKey, Arc<Sighting>>,
        missing: BTreeSet<ObjectKey>,
        is_foreign: BTreeMap<ObjectKey, bool>,
        hands_over_to: Option<String>,
        may_hand_over: bool,
        is_secret_over: bool,
    }

    fn seen(version: u64) -> Arc<Sighting> {
        Arc::new(Sighting {
            version,
            uid: "o".into(),
            owners: vec!["u".into()],
            record: None,
            mark: None,
            may_be_of_others: false,
            outside: None,
        })
    }

    /// Both objects were applied, and were seen at the version that this gave them.
    fn settled() -> Facts {
        let kinds = ["ConfigMap", "StatefulSet"];
        Facts {
            applied: kinds.iter().map(|kind| (key(kind), (json!({ "kind": kind }), 5))).collect(),
            seen: kinds.iter().map(|kind| (key(kind), seen(5))).collect(),
            missing: BTreeSet::new(),
            is_foreign: BTreeMap::new(),
            hands_over_to: None,
            may_hand_over: true,
            is_secret_over: false,
        }
    }

    /// Nothing was applied or seen, and both names are free.
    fn new() -> Facts {
        let is_foreign = ["ConfigMap", "StatefulSet"].map(|kind| (key(kind), false));
        Facts { applied: BTreeMap::new(), seen: BTreeMap::new(), is_foreign: is_foreign.into(), ..settled() }
    }

    fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
        change(&mut facts);
        facts
    }

    fn view(facts: &Facts) -> ObjectsView<'_> {
        ObjectsView {
            kind: "Redis".into(),
            uid: "u".into(),
            secret: "redis-cart".into(),
            wanted: ["ConfigMap", "StatefulSet"].map(|kind| (key(kind), json!({ "kind": kind }))).into(),
            applied: &facts.applied,
            seen: &facts.seen,
            missing: &facts.missing,
            is_foreign: facts.is_foreign.clone(),
            hands_over_to: facts.hands_over_to.clone(),
            may_hand_over: facts.may_hand_over,
            is_secret_over: facts.is_secret_over,
        }
    }

    /// A step in a few words.
    fn words(step: &ObjectStep) -> String {
        match step {
            ObjectStep::HandOver(target) => format!("hand over to {target}"),
            ObjectStep::Apply { key: (kind, _), needs_all_before: true, .. } => format!("start {kind}"),
            ObjectStep::Apply { key: (kind, _), needs_all_before: false, .. } => format!("apply {kind}"),
            ObjectStep::Leave(problem) => problem.reason.into(),
            ObjectStep::Delete { key: (kind, name), uid } => format!("delete {kind} {name} {uid}"),
        }
    }

    #[test]
    fn an_object_is_applied_when_it_should_be_otherwise_and_left_alone_when_it_is_another_s() {
        let config = || key("ConfigMap");
        let rows: Vec<(&str, Facts, &[&str])> = vec![
            ("all is as it should be", settled(), &[]),
            ("nothing is there", new(), &["apply ConfigMap", "start StatefulSet"]),
            (
                "the operator restarted: what it applied is not known",
                with(settled(), |facts| facts.applied.clear()),
                &["apply ConfigMap", "apply StatefulSet"],
            ),
            (
                "the spec changed",
                with(settled(), |facts| drop(facts.applied.insert(config(), (json!({}), 5)))),
                &["apply ConfigMap"],
            ),
            (
                "another client wrote it",
                with(settled(), |facts| _ = facts.seen.insert(config(), seen(6))),
                &["apply ConfigMap"],
            ),
            (
                "it was applied, and the watch has not shown it yet",
                with(settled(), |facts| _ = facts.seen.insert(config(), seen(4))),
                &[],
            ),
            (
                "it was deleted, and its name is free",
                with(settled(), |facts| {
                    facts.seen.remove(&config());
                    facts.missing.insert(config());
                    facts.is_foreign.insert(config(), false);
                }),
                &["apply ConfigMap"],
            ),
            (
                "another's has its name: it is left alone, and no Pod starts",
                with(new(), |facts| _ = facts.is_foreign.insert(config(), true)),
                &["NameTaken"],
            ),
            (
                "the StatefulSet's name is taken",
                with(new(), |facts| _ = facts.is_foreign.insert(key("StatefulSet"), true)),
                &["apply ConfigMap", "NameTaken"],
            ),
            (
                "whether its name is taken is not known: it is not created, and no Pod starts",
                with(new(), |facts| _ = facts.is_foreign.remove(&config())),
                &[],
            ),
            (
                "a Pod runs already: its StatefulSet is updated, whatever stands in another place",
                with(settled(), |facts| {
                    facts.applied.clear();
                    facts.seen.remove(&config());
                    facts.is_foreign.insert(config(), true);
                }),
                &["NameTaken", "apply StatefulSet"],
            ),
        ];
        for (fact, facts, expected) in rows {
            assert_eq!(plan(&view(&facts)).iter().map(words).collect::<Vec<_>>(), expected, "{fact}");
        }
    }

    #[test]
    fn an_object_that_exists_is_changed_by_its_uid_and_a_new_one_is_created() {
        let uids = |facts: &Facts| {
            let uid = |step: &ObjectStep| match step {
                ObjectStep::Apply { uid, .. } => uid.clone(),
                other => panic!("{other:?}"),
            };
            plan(&view(facts)).iter().map(uid).collect::<Vec<_>>()
        };
        let known = with(settled(), |facts| facts.applied.clear());
        assert_eq!(uids(&known), [Some("o".to_owned()), Some("o".to_owned())]);
        assert_eq!(uids(&new()), [None, None]);
    }

    #[test]
    fn a_name_is_asked_for_only_where_an_object_would_be_created() {
        let asked =
            |facts: Facts| unclaimed(&view(&facts)).iter().map(|((kind, _), _)| *kind).collect::<Vec<_>>();
        assert_eq!(asked(settled()), Vec::<&str>::new());
        assert_eq!(asked(new()), ["ConfigMap", "StatefulSet"]);
        assert_eq!(asked(with(settled(), |facts| facts.applied.clear())), Vec::<&str>::new());
    }

    #[test]
    fn a_master_that_would_go_hands_over_to_an_instance_that_stays() {
        let pods = ["redis-cart-0", "redis-cart-1", "redis-cart-2"];
        let of = |wanted, master: &str| {
            let Replicas { count, is_master_in_the_way } =
                plan_replicas(wanted, Some(master), pods.into_iter());
            (count, is_master_in_the_way)
        };
        assert_eq!(of(3, "redis-cart-2"), (3, false), "it stays");
        assert_eq!(of(1, "redis-cart-0"), (1, false), "the first stays");
        assert_eq!(of(2, "redis-cart-2"), (3, true), "the last goes");
        assert_eq!(of(1, "redis-cart-1"), (3, true), "one in the middle goes: none goes before it moved");
        assert_eq!(of(0, "redis-cart-0"), (0, false), "none stays");
        assert_eq!(of(1, "redis-cart-7"), (1, false), "a master that is no Pod any more holds nothing up");
        assert_eq!(plan_replicas(5, None, [].into_iter()).count, 5);
        let steps = |may_hand_over| {
            let target = Some("redis-cart-0".to_owned());
            let facts = Facts { hands_over_to: target, may_hand_over, ..settled() };
            plan(&view(&facts)).iter().map(words).collect::<Vec<_>>()
        };
        assert_eq!((steps(true), steps(false)), (vec!["hand over to redis-cart-0".to_owned()], vec![]));
    }

    #[test]
    fn a_secret_goes_when_no_pod_needs_it_and_only_if_it_is_there() {
        let steps = |is_secret_over, is_there: bool| {
            let mut facts = Facts { is_secret_over, ..settled() };
            facts.seen.extend(is_there.then(|| (key("Secret"), seen(5))));
            plan(&view(&facts)).iter().map(words).collect::<Vec<_>>()
        };
        assert_eq!(steps(true, true), ["delete Secret redis-cart o"]);
        assert!(steps(true, false).is_empty() && steps(false, true).is_empty());
    }

    #[test]
    fn a_service_or_network_policy_that_is_not_wanted_goes_and_nothing_that_may_hold_data() {
        let mut facts = settled();
        let other = |kind| (kind, "redis-cart-other".to_owned());
        facts.seen.extend(
            ["Service", "NetworkPolicy", "ConfigMap", "StatefulSet"].map(|kind| (other(kind), seen(5))),
        );
        let steps = plan(&view(&facts)).iter().map(words).collect::<Vec<_>>();
        assert_eq!(steps, ["delete NetworkPolicy redis-cart-other o", "delete Service redis-cart-other o"]);
    }
}
