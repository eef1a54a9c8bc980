//! A decision as the status of its resource.

use super::crd::{Condition, InstanceStatus, LastFailover, PublishedMaster, Redis, RedisStatus};
use super::objects::GROUP_LABEL;
use crate::group::Record;
use crate::policy::contract::{Decision, Health, Role, Verdict};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

/// The status after a decision. `now` is when it was made.
pub fn decided(before: RedisStatus, redis: &Redis, decision: &Decision, policy: &str, now: Timestamp) -> RedisStatus {
    let answers = |health: Health| !matches!(health, Health::Dead | Health::Silent | Health::Suspect);
    let instances = decision.members.iter().map(|member| InstanceStatus {
        name: member.id.clone(),
        role: word(&member.role),
        health: word(&member.health),
        ineligible: member.ineligible.clone().filter(|_| member.role != Role::Master),
    });
    RedisStatus {
        observed_generation: redis.metadata.generation,
        master: decision.master.clone(),
        replicas: i32::try_from(decision.members.iter().filter(|member| answers(member.health)).count()).unwrap_or(i32::MAX),
        selector: format!("{GROUP_LABEL}={}", redis.name_any()),
        reason: decision.reason.clone(),
        message: decision.explanation.clone(),
        policy: policy.to_owned(),
        conditions: conditions(&before.conditions, redis, decision, now),
        instances: instances.collect(),
        ..before
    }
}

/// The status after the group's truth was made known.
pub fn published(before: RedisStatus, record: &Record, now: Timestamp) -> RedisStatus {
    let at = |age_us: u64| text(now - SignedDuration::from_micros(i64::try_from(age_us).unwrap_or(i64::MAX)));
    let last_failover = record.last_failover.as_ref().map(|last| LastFailover {
        at: at(last.age_us),
        from: last.source.clone(),
        to: last.target.clone(),
        meant_for: last.meant_for.clone(),
        evidence: word(&last.evidence),
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
    // The same change as before keeps the moment that it was first told with.
    let is_known = |new: &LastFailover| {
        before.last_failover.as_ref().is_some_and(|old| (&old.from, &old.to, &old.evidence) == (&new.from, &new.to, &new.evidence))
    };
    let same_epoch = before.published.as_ref().is_some_and(|old| old.epoch == master.epoch);
    let last_failover = match last_failover {
        Some(new) if same_epoch && is_known(&new) => before.last_failover.clone(),
        other => other,
    };
    RedisStatus { published: Some(master), last_failover, ..before }
}

fn conditions(before: &[Condition], redis: &Redis, decision: &Decision, now: Timestamp) -> Vec<Condition> {
    let is_syncing = decision.reason == "replica-syncing";
    let is_progressing = decision.verdict == Verdict::Act || decision.verdict == Verdict::Wait && (is_syncing || decision.master.is_none());
    let is_degraded = decision.verdict == Verdict::Refuse || decision.verdict == Verdict::Wait && !is_syncing;
    let all = [("Ready", decision.master.is_some()), ("Progressing", is_progressing), ("Degraded", is_degraded), ("Paused", redis.spec.paused)];
    all.into_iter()
        .map(|(type_, holds)| {
            let status = if holds { "True" } else { "False" };
            let unchanged = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
            Condition {
                type_: type_.into(),
                status: status.into(),
                reason: camel(&decision.reason),
                message: decision.explanation.clone(),
                last_transition_time: unchanged.map_or_else(|| text(now), |condition| condition.last_transition_time.clone()),
                observed_generation: redis.metadata.generation,
            }
        })
        .collect()
}

/// A reason as conditions and events write it: `master-dead` is `MasterDead`.
pub fn camel(reason: &str) -> String {
    let capital = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect::<String>();
    reason.split('-').map(capital).collect()
}

/// Whole seconds, as Kubernetes writes them.
fn text(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// An enum's case, as it stands in JSON.
fn word(case: &impl serde::Serialize) -> String {
    serde_json::to_value(case).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Changed, Moment};
    use crate::kubernetes::crd::parse;
    use crate::policy::contract::{Evidence, Member, Published};
    use serde_json::json;

    fn redis() -> Redis {
        let spec = json!({ "replicas": 2, "redis": { "image": "redis:7" } });
        parse(json!({ "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis", "metadata": { "name": "example", "generation": 4 }, "spec": spec }))
            .unwrap()
    }

    fn decision(verdict: Verdict, reason: &str, master: Option<&str>) -> Decision {
        let member =
            |id: &str, role, health| Member { id: id.into(), role, health, proof: String::new(), rank: None, ineligible: None, lag_bytes: None };
        Decision {
            verdict,
            reason: reason.into(),
            explanation: "because".into(),
            master: master.map(Into::into),
            master_goal: None,
            members: vec![member("a", Role::Master, Health::InSync), member("b", Role::Unknown, Health::Dead)],
            stages: vec![],
            known_loss_bytes: None,
            next_look_us: 0,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_decision_is_told_with_its_reason_and_conditions_keep_the_time_of_their_change() {
        let first = decided(RedisStatus::default(), &redis(), &decision(Verdict::Wait, "replica-missing", Some("a")), "default", at(10));
        assert_eq!(
            (first.master.as_deref(), first.replicas, first.selector.as_str(), first.observed_generation),
            (Some("a"), 1, "redis=example", Some(4))
        );
        let told = |status: &RedisStatus| {
            status.conditions.iter().map(|of| (of.type_.clone(), of.status == "True", of.last_transition_time.clone())).collect::<Vec<_>>()
        };
        let time = |second| at(second).to_string();
        let row = |type_: &str, holds, second| (type_.to_owned(), holds, time(second));
        assert_eq!(told(&first), [row("Ready", true, 10), row("Progressing", false, 10), row("Degraded", true, 10), row("Paused", false, 10)]);
        assert_eq!(first.conditions[0].reason, "ReplicaMissing");
        let later = decided(first, &redis(), &decision(Verdict::Healthy, "healthy", Some("a")), "default", at(20));
        assert_eq!(told(&later), [row("Ready", true, 10), row("Progressing", false, 10), row("Degraded", false, 20), row("Paused", false, 10)]);
    }

    #[test]
    fn what_was_published_can_be_read_back() {
        let changed = Changed {
            at: Moment::default(),
            age_us: 2_000_000,
            source: Some("b".into()),
            target: "a".into(),
            meant_for: "a".into(),
            evidence: Evidence::Dead,
        };
        let published_master = Published { master: "a".into(), run_id: "r".into(), replid: "i".into(), offset: 7, epoch: 2, age_us: 0 };
        let record = Record { published: published_master, last_failover: Some(changed) };
        let status = published(RedisStatus::default(), &record, at(100));
        let read = crate::kubernetes::wishes::settings(&Redis { status: Some(status), ..redis() }, at(100)).record;
        assert_eq!(read, Some(record));
    }
}
