//! The verdicts of a decision, one per instance, in the status. Numbers that change with every write stay
//! out, so that a steady group writes nothing; `kubectl redis status` asks the operator for them.

use super::{shortened, text};
use crate::contract::{Decision, Health, Role};
use crate::kubernetes::crd::InstanceStatus;
use k8s_openapi::jiff::Timestamp;

/// The verdicts of a decision made at that time.
pub fn instances(before: &[InstanceStatus], decision: &Decision, at: Timestamp) -> Vec<InstanceStatus> {
    let verdicts = decision.members.iter().map(|member| {
        let health = health_word(member.health);
        let known = before
            .iter()
            .find(|known| known.name == member.id && known.health == health && !known.since.is_empty());
        InstanceStatus {
            name: member.id.clone(),
            role: role_word(member.role).into(),
            health: health.into(),
            since: known.map_or_else(|| text(at), |known| known.since.clone()),
            proof: shortened(&member.proof, PROOF_BYTES_MAX),
            rank: member.rank,
            ineligible: member.ineligible.clone().filter(|_| member.role != Role::Master),
        }
    });
    verdicts.collect()
}

/// Whether the status shows the other decision otherwise: its verdict, reason, masters, plan or answer to a
/// request differ, or the role or health of an instance. Ages and offsets make every sentence new, so
/// sentences are not compared.
pub fn differs(one: &Decision, other: &Decision) -> bool {
    let counts = |decision: &Decision| {
        (decision.stages.len(), decision.shards.len(), decision.members.len(), decision.request.is_some())
    };
    let (mut shards, mut members) =
        (one.shards.iter().zip(&other.shards), one.members.iter().zip(&other.members));
    (one.verdict, &one.reason, one.progress) != (other.verdict, &other.reason, other.progress)
        || counts(one) != counts(other)
        || shards.any(|(one, other)| {
            (one.index, &one.master, &one.master_goal) != (other.index, &other.master, &other.master_goal)
        })
        || members
            .any(|(one, other)| (&one.id, one.role, one.health) != (&other.id, other.role, other.health))
        || one.request.as_ref().map(|answer| (answer.state, &answer.reason))
            != other.request.as_ref().map(|answer| (answer.state, &answer.reason))
}

/// A role, as written in the status.
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Master => "Master",
        Role::Replica => "Replica",
        Role::Unknown => "Unknown",
    }
}

/// A health, as written in the status.
pub fn health_word(health: Health) -> &'static str {
    match health {
        Health::InSync => "InSync",
        Health::Syncing => "Syncing",
        Health::Alive => "Alive",
        Health::Suspect => "Suspect",
        Health::Silent => "Silent",
        Health::Dead => "Dead",
        Health::Abdicated => "Abdicated",
        Health::Amnesic => "Amnesic",
        Health::Blank => "Blank",
        Health::Stranger => "Stranger",
        Health::Isolated => "Isolated",
    }
}

/// About a sentence. The status of 500 instances then stays well below the limit of the API server.
const PROOF_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Member, Progress, ShardVerdict, Verdict};

    fn decision() -> Decision {
        let member = |id: &str, role, health| Member {
            id: id.into(),
            role,
            assigned: None,
            health,
            proof: "it is so ".repeat(50),
            rank: None,
            ineligible: None,
            lag_bytes: None,
        };
        Decision {
            verdict: Verdict::Healthy,
            reason: "healthy".into(),
            explanation: "because".into(),
            progress: Progress::Settled,
            shards: vec![ShardVerdict { index: 0, master: Some("a".into()), master_goal: None, loss: None }],
            request: None,
            members: vec![
                member("a", Role::Master, Health::InSync),
                member("b", Role::Replica, Health::InSync),
            ],
            stages: vec![],
            next_look_us: 0,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_instance_keeps_the_time_of_its_health_and_its_proof_is_bounded() {
        let (mut decision, first) = (decision(), instances(&[], &decision(), at(10)));
        decision.members[1].health = Health::Syncing;
        let second = instances(&first, &decision, at(20));
        let since: Vec<&str> = second.iter().map(|instance| instance.since.as_str()).collect();
        assert_eq!(since, [at(10).to_string(), at(20).to_string()]);
        assert!(second.iter().all(|instance| instance.proof.len() <= PROOF_BYTES_MAX));
        // Decided again, nothing has changed.
        assert_eq!(instances(&second, &decision, at(30)), second);
    }

    #[test]
    fn a_role_or_a_health_makes_a_difference_and_what_changes_with_every_write_does_not() {
        let (one, mut other) = (decision(), decision());
        (other.members[1].rank, other.members[1].lag_bytes, other.members[1].proof) =
            (Some(1), Some(9), "other words".into());
        assert!(!differs(&one, &other));
        other.members[1].health = Health::Dead;
        assert!(differs(&one, &other));
        other.members.pop();
        assert!(differs(&one, &other));
        let changes: [fn(&mut Decision); 6] = [
            |decision| decision.verdict = Verdict::Wait,
            |decision| decision.reason = "replica-syncing".into(),
            |decision| decision.progress = Progress::Hindered,
            |decision| decision.shards[0].master = None,
            |decision| decision.shards[0].master_goal = Some("b".into()),
            |decision| decision.members[0].id = "c".into(),
        ];
        for change in changes {
            let mut other = decision();
            change(&mut other);
            assert!(differs(&one, &other));
        }
        assert!(!differs(&one, &Decision { explanation: "3 ms later".into(), ..decision() }));
    }

    #[test]
    fn words_are_those_of_the_contract() {
        let of = |case: serde_json::Value| case.as_str().unwrap().to_owned();
        assert_eq!(role_word(Role::Replica), of(serde_json::to_value(Role::Replica).unwrap()));
        for health in [Health::InSync, Health::Amnesic] {
            assert_eq!(health_word(health), of(serde_json::to_value(health).unwrap()));
        }
    }
}
