//! The status of a Redis resource, made from decisions and records.

mod conditions;
pub mod failover;
pub mod instances;
pub mod write;

use super::crd::{
    Binding, Condition, GenerationStatus, LastFailover, PositionStatus, PublishedMaster, RedisStatus,
};
use super::kinds::Known;
use super::watch::Key;
use crate::contract::{Decision, Health};
use crate::group::Record;
use instances::instances;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};

use conditions::ALL_AWAY;
pub use conditions::{
    About, HIBERNATED, State, condition, pod_problems, settled_generation, with_conditions,
};

/// An obstacle to the desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word, as in a condition.
    pub reason: &'static str,
    /// One sentence that names the object and the way out.
    pub message: String,
}

/// The status after `before`.
pub fn next(about: &About, before: RedisStatus, known: &Known<'_>, now: Timestamp) -> RedisStatus {
    let before = RedisStatus {
        switchover_id: known.switchover_id.map(str::to_owned),
        switchover_refused: known.switchover_refused.map(str::to_owned),
        replication_user: known.replication_user.map(str::to_owned),
        shadow: known.shadow.cloned(),
        binding: about.binding.clone().map(|name| Binding { name }),
        ..before
    };
    let before = match known.record {
        Some((record, at)) => with_record(before, record, at),
        None => before,
    };
    let before = match known.decided {
        Some((decision, title, at)) => with_decision(before, about, decision, title, at),
        None => before,
    };
    let before = match known.master_change {
        Some(master_change) => failover::with_master_change(before, master_change),
        None => before,
    };
    let before = match known.labelled {
        Some((epoch, us)) => failover::with_publish_time(before, epoch, us),
        None => before,
    };
    let before = match about.desired == 0 && known.is_settled {
        true => RedisStatus {
            master: None,
            replicas: 0,
            reason: HIBERNATED.into(),
            message: ALL_AWAY.into(),
            instances: Vec::new(),
            ..before
        },
        false => before,
    };
    let of_pods = pod_problems(about, known.pods.iter().copied());
    let state = State {
        about,
        decision: known.decided.map(|(decision, ..)| decision),
        is_settled: known.is_settled,
        awaits: known.awaits,
        is_switching: known.is_switching,
        problems: known.problems.iter().cloned().chain(of_pods).collect(),
    };
    with_conditions(before, &state, now)
}

/// The status after a decision made at that time.
pub fn with_decision(
    before: RedisStatus,
    about: &About,
    decision: &Decision,
    policy: &str,
    at: Timestamp,
) -> RedisStatus {
    let answers = |health: Health| !matches!(health, Health::Dead | Health::Silent | Health::Suspect);
    // Sentinels have verdicts, too, and are no instances of the StatefulSet.
    let is_sentinel =
        |id: &str| about.sentinels.as_ref().is_some_and(|deployment| id.starts_with(deployment));
    let instances_of_set = decision.members.iter().filter(|member| !is_sentinel(&member.id));
    let answering = instances_of_set.filter(|member| answers(member.health)).count();
    RedisStatus {
        master: decision.master().map(str::to_owned),
        replicas: i32::try_from(answering).unwrap_or(i32::MAX),
        selector: about.selector.clone(),
        reason: decision.reason.clone(),
        message: decision.explanation.clone(),
        policy: policy.to_owned(),
        instances: instances(&before.instances, decision, at),
        ..before
    }
}

/// The status after a record was published.
pub fn with_record(before: RedisStatus, record: &Record, now: Timestamp) -> RedisStatus {
    let at = |age_us: u64| text(now - SignedDuration::from_micros(i64::try_from(age_us).unwrap_or(i64::MAX)));
    let last_failover = record.last_failover.as_ref().map(|last| LastFailover {
        at: at(last.age_us),
        from: last.source.clone(),
        to: last.target.clone(),
        meant_for: last.meant_for.clone(),
        evidence: word(&last.evidence),
        timeline: None,
        publish_microseconds: None,
    });
    let published = &record.published;
    let master = PublishedMaster {
        name: published.master.clone(),
        run_id: published.run_id.clone(),
        replication_id: published.replid.clone(),
        offset: i64::try_from(published.offset).unwrap_or(i64::MAX),
        epoch: i64::try_from(published.epoch).unwrap_or(i64::MAX),
        at: at(published.age_us),
    };
    // An unchanged last failover keeps its first time.
    let is_known = |new: &LastFailover| {
        before
            .last_failover
            .as_ref()
            .is_some_and(|old| (&old.from, &old.to, &old.evidence) == (&new.from, &new.to, &new.evidence))
    };
    let same_epoch = before.published.as_ref().is_some_and(|old| old.epoch == master.epoch);
    let last_failover = match last_failover {
        Some(new) if same_epoch && is_known(&new) => before.last_failover.clone(),
        other => other,
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let lineage = record.lineage.iter().map(|generation| GenerationStatus {
        replication_id: generation.replid.clone(),
        master: generation.master.clone(),
        end_offset: generation.end_offset.map(number),
        since: at(generation.age_us),
    });
    let position = record.position.as_ref().map(|position| PositionStatus {
        replication_id: position.replid.clone(),
        offset: number(position.offset),
        acknowledged_by: position.acknowledged_by.clone(),
        at: at(position.age_us),
    });
    RedisStatus { published: Some(master), lineage: lineage.collect(), position, last_failover, ..before }
}

/// Writes the conditions of a resource that no reconciler runs for, and why. Tried once, and again when the
/// resource changes.
pub async fn refuse(client: Client, kind: ApiResource, (namespace, name): Key, why: Problem) {
    let condition = |type_: &str, status: &str| {
        let (reason, message) = (why.reason.into(), why.message.clone());
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason,
            message,
            last_transition_time: text(Timestamp::now()),
            observed_generation: None,
        }
    };
    // Merged, not applied: an apply would take away all that it does not name, and the record of the
    // published master is the most precious of it.
    let conditions = [condition("Ready", "False"), condition("Degraded", "True")];
    let patch = serde_json::json!({ "status": { "conditions": conditions } });
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    if let Err(error) = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        tracing::warn!(namespace, name, %error, "status not written");
    }
}

/// At most so many bytes, with an ellipsis where some are left out.
pub fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// A reason as conditions and events write it: `master-dead` is `MasterDead`.
pub fn camel(reason: &str) -> String {
    let capital = |word: &str| {
        word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect::<String>()
    };
    reason.split('-').map(capital).collect()
}

/// In whole seconds, as Kubernetes writes times.
pub(super) fn text(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The case of an enum, as in its JSON.
fn word(case: &impl serde::Serialize) -> String {
    serde_json::to_value(case).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{
        Evidence, Generation, Member, Position, Progress, Published, Role, ShardVerdict, Verdict,
    };
    use crate::group::{Changed, Moment};
    use crate::kubernetes::crd::{Redis, parse};
    use crate::kubernetes::kinds::Managed;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn redis() -> Redis {
        let spec = json!({ "replicas": 2, "redis": { "image": "redis:7" } });
        parse(json!({
            "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis",
            "metadata": { "name": "example", "generation": 4 }, "spec": spec
        }))
        .unwrap()
    }

    fn about() -> About {
        About {
            binding: None,
            sentinels: None,
            selector: "redis=example".into(),
            set: "redis-example".into(),
            desired: 2,
            generation: Some(4),
            is_paused: false,
        }
    }

    fn decision(verdict: Verdict, reason: &str, master: Option<&str>) -> Decision {
        let member = |id: &str, role, health| Member {
            id: id.into(),
            role,
            assigned: None,
            health,
            proof: String::new(),
            rank: None,
            ineligible: None,
            lag_bytes: None,
        };
        Decision {
            verdict,
            reason: reason.into(),
            explanation: "because".into(),
            progress: if verdict == Verdict::Healthy { Progress::Settled } else { Progress::Hindered },
            shards: vec![ShardVerdict {
                index: 0,
                master: master.map(Into::into),
                master_goal: None,
                loss: None,
            }],
            request: None,
            members: vec![
                member("a", Role::Master, Health::InSync),
                member("b", Role::Unknown, Health::Dead),
            ],
            stages: vec![],
            next_look_us: 0,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_status_has_the_decisions_reason_and_conditions_keep_their_transition_times() {
        let after = |before: RedisStatus, decision: &Decision, second| {
            let state = State {
                is_settled: true,
                awaits: None,
                about: &about(),
                decision: Some(decision),
                is_switching: false,
                problems: vec![],
            };
            with_conditions(
                with_decision(before, &about(), decision, "default", at(second)),
                &state,
                at(second),
            )
        };
        let first = after(RedisStatus::default(), &decision(Verdict::Wait, "replica-missing", Some("a")), 10);
        assert_eq!(
            (first.master.as_deref(), first.replicas, first.selector.as_str(), first.observed_generation),
            (Some("a"), 1, "redis=example", Some(4))
        );
        let rows = |status: &RedisStatus| {
            status.conditions[..4]
                .iter()
                .map(|of| (of.type_.clone(), of.status == "True", of.last_transition_time.clone()))
                .collect::<Vec<_>>()
        };
        let time = |second| at(second).to_string();
        let row = |type_: &str, holds, second| (type_.to_owned(), holds, time(second));
        assert_eq!(
            rows(&first),
            [
                row("Ready", true, 10),
                row("Progressing", false, 10),
                row("Degraded", true, 10),
                row("Paused", false, 10)
            ]
        );
        assert_eq!(first.conditions[0].reason, "ReplicaMissing");
        let later = after(first, &decision(Verdict::Healthy, "healthy", Some("a")), 20);
        assert_eq!(
            rows(&later),
            [
                row("Ready", true, 10),
                row("Progressing", false, 10),
                row("Degraded", false, 20),
                row("Paused", false, 10)
            ]
        );
    }

    #[test]
    fn a_problem_is_a_condition_and_does_not_make_the_group_unready() {
        let problem = Problem { reason: "SecretMissing", message: "Secret s does not exist".into() };
        let decision = decision(Verdict::Healthy, "healthy", Some("a"));
        let of = |decision, problems| {
            let state = State {
                about: &about(),
                decision,
                is_settled: true,
                awaits: None,
                is_switching: false,
                problems,
            };
            let conditions = with_conditions(RedisStatus::default(), &state, at(10)).conditions;
            conditions
                .iter()
                .map(|of| (of.type_.clone(), of.status.clone(), of.reason.clone()))
                .filter(|(type_, ..)| type_ != "Paused")
                .collect::<Vec<_>>()
        };
        let row = |type_: &str, status: &str, reason: &str| {
            (type_.to_owned(), status.to_owned(), reason.to_owned())
        };
        let running = of(Some(&decision), vec![problem.clone()]);
        assert_eq!(
            (&running[0], &running[2]),
            (&row("Ready", "True", "Healthy"), &row("Degraded", "True", "SecretMissing"))
        );
        assert_eq!(of(None, vec![problem])[0], row("Ready", "False", "SecretMissing"));
    }

    #[test]
    fn who_waits_for_a_change_waits_until_it_runs_and_a_group_that_ran_stays_ready_meanwhile() {
        let decision = decision(Verdict::Healthy, "healthy", Some("a"));
        let after = |before: RedisStatus, generation, is_settled, reason: Option<&'static str>| {
            let about = About { generation: Some(generation), ..about() };
            let problems = reason.map(|reason| Problem { reason, message: String::new() });
            let (decision, problems) = (Some(&decision), problems.into_iter().collect());
            let state =
                State { about: &about, decision, is_settled, awaits: None, is_switching: false, problems };
            with_conditions(before, &state, at(10))
        };
        let row = |status: &RedisStatus| {
            let of = |type_| status.conditions.iter().find(|of| of.type_ == type_).unwrap();
            let holds = ["Ready", "Reconciling", "Stalled"].map(|type_| of(type_).status == "True");
            (holds, of("Ready").observed_generation, settled_generation(&status.conditions))
        };
        let made = after(RedisStatus::default(), 1, false, None);
        assert_eq!(row(&made), ([false, true, false], Some(0), None), "its Pods start");
        let ready = after(made.clone(), 1, true, None);
        assert_eq!(row(&ready), ([true, false, false], Some(1), Some(1)));
        let changing = after(ready, 2, false, None);
        assert_eq!(row(&changing), ([true, true, false], Some(1), Some(1)), "kubectl wait goes on");
        let stalled = after(changing.clone(), 2, false, Some("DirectiveRefused"));
        assert_eq!(row(&stalled), ([true, true, true], Some(1), Some(1)));
        assert_eq!(row(&after(changing, 2, true, None)), ([true, false, false], Some(2), Some(2)));
        let mut before = after(made, 1, true, None);
        before.conditions.retain(|of| of.type_ != "Reconciling" && of.type_ != "Stalled");
        assert_eq!(settled_generation(&before.conditions), Some(1), "of an operator from before");
    }

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        let pod = |status: serde_json::Value| -> Pod {
            let mut container =
                json!({ "name": "redis", "image": "", "imageID": "", "ready": false, "restartCount": 0 });
            container.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
            serde_json::from_value(
                json!({ "metadata": { "name": "p" }, "status": { "containerStatuses": [container] } }),
            )
            .unwrap()
        };
        let of = |pods: &[Pod]| pod_problems(&about(), pods.iter());
        let pulled = pod(
            json!({ "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }),
        );
        assert_eq!(
            of(&[pulled, Pod::default()]),
            [Problem { reason: "ImagePullBackOff", message: "p: no such image".into() }]
        );
        let log = "*** FATAL CONFIG FILE ERROR ***\nReading the configuration file, at line 9\n>>> \
                   'no-such 1'\nBad directive\n";
        let crashed = pod(json!({
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": { "exitCode": 1, "message": log } }
        }));
        let killed = pod(json!({
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } }
        }));
        let messages: Vec<_> = of(&[crashed, killed]).into_iter().map(|problem| problem.message).collect();
        let read = "p: back-off: Reading the configuration file, at line 9 >>> 'no-such 1' Bad directive";
        assert_eq!(
            messages,
            [
                read,
                "p: back-off: OOMKilled: raise the memory limit of its resources, or set maxmemory below it"
            ]
        );
    }

    #[test]
    fn a_missing_pod_is_a_problem_and_a_terminating_one_is_not() {
        let of = |pods: &[Pod]| {
            pod_problems(&about(), pods.iter()).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let going: Pod = serde_json::from_value(
            json!({ "metadata": { "name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z" } }),
        )
        .unwrap();
        assert_eq!((of(&[Pod::default(), Pod::default()]), of(&[going])), (vec![], vec![]));
        assert_eq!(
            of(&[]),
            ["0 of 2 Pods exist: kubectl describe statefulset redis-example shows why the others are \
              missing"]
        );
    }

    #[test]
    fn what_is_unknown_is_absent_and_long_words_are_cut() {
        // Server-side apply would own a null, and the schema may not take one.
        let last = LastFailover {
            at: String::new(),
            from: None,
            to: String::new(),
            meant_for: String::new(),
            evidence: String::new(),
            timeline: Some(super::super::crd::Timeline::default()),
            publish_microseconds: None,
        };
        let status = RedisStatus { last_failover: Some(last), ..RedisStatus::default() };
        let text = serde_json::to_string(&status).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert_eq!((shortened("abc", 3), shortened("äöü", 5)), ("abc".into(), "ä…".into()));
    }

    #[test]
    fn a_published_record_can_be_read_back() {
        let changed = Changed {
            at: Moment::default(),
            age_us: 2_000_000,
            source: Some("b".into()),
            target: "a".into(),
            meant_for: "a".into(),
            evidence: Evidence::Dead,
        };
        let published_master = Published {
            master: "a".into(),
            run_id: "r".into(),
            replid: "i".into(),
            offset: 7,
            epoch: 2,
            age_us: 0,
            node: None,
        };
        let generation = |replid: &str, end_offset| Generation {
            replid: replid.into(),
            master: "b".into(),
            end_offset,
            age_us: 3_000_000,
        };
        let record = Record {
            shard: 0,
            published: published_master,
            lineage: vec![generation("i", None), generation("h", Some(5))],
            position: Some(Position {
                replid: "i".into(),
                offset: 6,
                acknowledged_by: vec!["b".into()],
                age_us: 1_000_000,
            }),
            last_failover: Some(changed),
        };
        let status = with_record(RedisStatus::default(), &record, at(100));
        let read = Redis { status: Some(status), ..redis() }.settings(at(100)).recorded.records;
        assert_eq!(read, [record]);
    }
}
