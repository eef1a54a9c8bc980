//! Checks that need no judgement of an instance's state: verdict, names, expectations, allow-lists, bounds.
//! They cover every stage. Must not read offsets or evidence.

use super::sentinel::reading::watched_by;
use super::{Case, Rule, ensure};
use crate::contract::{Action, Promotion, Role, RoleChange, SentinelChange, Stage, Verdict};
use crate::topology::allowed::{Directive, SentinelOption};
use failover_core::facts::ReportedRole;
use std::collections::BTreeMap;

/// A fence covers the time until the next stages of its plan; every client waits that long.
const FENCE_MAX_MS: u32 = 10_000;
/// Of a handover. It takes twice as long when it is undone, and must end within the authority that it began
/// with: see `kubernetes/lease.rs`.
const HANDOVER_PAUSE_MAX_MS: u32 = 3_000;

pub(super) fn plan_matches_verdict(case: &Case<'_>) -> Result<(), String> {
    let stages = &case.decision.stages;
    let is_paused = case.scene.observation.group.paused;
    ensure(!is_paused || stages.is_empty(), || "the group is paused, but the decision has a plan".into())?;
    match case.decision.verdict {
        Verdict::Act => {
            let acts = stages.first().is_some_and(|stage| !stage.actions.is_empty());
            ensure(acts || is_paused, || "the verdict is act, but the first stage has no action".into())
        }
        Verdict::Healthy | Verdict::Wait | Verdict::Refuse => ensure(stages.is_empty(), || {
            format!("the verdict is {:?}, but the decision has a plan", case.decision.verdict).to_lowercase()
        }),
    }
}

pub(super) fn members(case: &Case<'_>) -> Result<(), String> {
    let Case { scene, decision } = case;
    let mut expected: Vec<_> =
        scene.observation.instances.iter().map(|instance| instance.id.as_str()).collect();
    expected.sort_unstable();
    let judged: Vec<_> = decision.members.iter().map(|member| member.id.as_str()).collect();
    ensure(expected == judged, || {
        format!("the instances are {}, but the verdicts are on {}", expected.join(", "), judged.join(", "))
    })?;
    let shards: Vec<_> = scene.observation.shards.iter().map(|shard| shard.index).collect();
    let judged: Vec<_> = decision.shards.iter().map(|shard| shard.index).collect();
    ensure(shards == judged, || format!("the shards are {shards:?}, but the verdicts are on {judged:?}"))?;
    ensure(scene.observation.switchover.is_some() == decision.request.is_some(), || {
        "the switchover request has no answer, or an answer has no request".into()
    })
}

pub(super) fn known_ids(case: &Case<'_>) -> Result<(), String> {
    let observation = case.scene.observation;
    let is_member = |id: &str| case.scene.instance(id).is_some();
    let is_recorded = |id: &str| {
        is_member(id)
            || observation.published().is_some_and(|record| record.master == id)
            || observation
                .last_failover()
                .is_some_and(|last| last.target == id || last.source.as_deref() == Some(id))
    };
    let unknown = |id: &str, what: &str| Err(format!("{what} {id} is not a member"));
    for shard in &case.decision.shards {
        if let Some(id) = shard.master.as_deref().filter(|id| !is_recorded(id)) {
            return unknown(id, "the master");
        }
        if let Some(id) = shard.master_goal.as_deref().filter(|id| !is_recorded(id)) {
            return unknown(id, "the goal's master");
        }
    }
    for action in actions(&case.decision.stages) {
        let others: Vec<&str> = match action {
            Action::Promote(promote) => {
                if let Some(id) = promote.source.as_deref().filter(|id| !is_recorded(id)) {
                    return unknown(id, "the replaced master");
                }
                vec![&promote.meant_for]
            }
            Action::Follow(follow) => vec![&follow.master],
            Action::Handover(handover) => vec![&handover.source, &handover.meant_for],
            Action::Sentinel(action) => match &action.change {
                SentinelChange::Announce(announce) => vec![&announce.master],
                SentinelChange::Rewrite(rewrite) => vec![&rewrite.master],
                SentinelChange::SetOption(_) => vec![],
            },
            Action::Demote(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Cluster(_) => vec![],
        };
        let is_target = match action {
            // Where none watch the group, the rule `allow-list` refuses the action.
            Action::Sentinel(action) if watched_by(case.scene).is_some() => {
                case.scene.sentinel(&action.id).is_some()
            }
            Action::Sentinel(_) => true,
            Action::Restart(restart) => is_member(&restart.id) || case.scene.sentinel(&restart.id).is_some(),
            Action::Promote(_)
            | Action::Follow(_)
            | Action::Handover(_)
            | Action::Demote(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Cluster(_) => is_member(action.target()),
        };
        if !is_target {
            return unknown(action.target(), "the target");
        }
        if let Some(id) = others.into_iter().find(|id| !is_member(id)) {
            return unknown(id, "the target");
        }
    }
    Ok(())
}

pub(super) fn expectation(case: &Case<'_>) -> Result<(), String> {
    let mut made: BTreeMap<&str, Role> = BTreeMap::new();
    for (number, stage) in case.decision.stages.iter().enumerate() {
        for (id, expect) in stage.actions.iter().flat_map(Action::expectations) {
            if let Some(sentinel) = case.scene.sentinel(id) {
                let is_it = sentinel.run_id == Some(expect.run_id.as_str()) && expect.role == Role::Unknown;
                ensure(is_it, || {
                    format!(
                        "{id} is expected to be a Sentinel with run id {}, but reports {:?}",
                        expect.run_id, sentinel.run_id
                    )
                })?;
            }
            let Some(instance) = case.scene.instance(id) else { continue };
            let shown = match instance.facts.role {
                ReportedRole::Master => Role::Master,
                ReportedRole::Replica => Role::Replica,
                ReportedRole::Unknown => Role::Unknown,
            };
            ensure(instance.run_id == Some(expect.run_id.as_str()), || {
                format!(
                    "{id} is expected to have run id {}, but reports {:?}",
                    expect.run_id, instance.run_id
                )
            })?;
            // A later stage may expect the role that is reported now, or the one that an earlier stage gives.
            let is_role = expect.role == shown || made.get(id) == Some(&expect.role);
            ensure(is_role, || format!("{id} is expected to be {:?}, but reports {shown:?}", expect.role))?;
            // A replication id changes with every promotion, so only the first stage must match the present
            // one.
            if let Some(replid) = expect.replid.as_deref().filter(|_| number == 0) {
                let shown = instance.history().map(|history| history.replid);
                ensure(shown == Some(replid), || {
                    format!("{id} is expected to have replication id {replid}, but reports {shown:?}")
                })?;
            }
        }
        for change in stage.actions.iter().filter_map(Action::role_change) {
            match change {
                RoleChange::Promote { id } => _ = made.insert(id, Role::Master),
                RoleChange::Follow { id, .. } | RoleChange::Demote { id } => {
                    _ = made.insert(id, Role::Replica);
                }
                RoleChange::Handover { source, target } => {
                    _ = (made.insert(source, Role::Replica), made.insert(target, Role::Master))
                }
            }
        }
    }
    for action in actions(&case.decision.stages) {
        if let Action::Restart(restart) = action {
            let of_member = case.scene.instance(&restart.id).and_then(|instance| instance.pod);
            let pod = case.scene.sentinel(&restart.id).and_then(|sentinel| sentinel.pod).or(of_member);
            let shown = pod.map(|pod| pod.uid.as_str());
            ensure(shown == Some(restart.uid.as_str()), || {
                format!("{} is expected to be Pod {}, but is {shown:?}", restart.id, restart.uid)
            })?;
        }
    }
    Ok(())
}

pub(super) fn freshness(case: &Case<'_>) -> Result<(), String> {
    for (id, _) in actions(&case.decision.stages).flat_map(Action::expectations) {
        let is_deaf = case.scene.sentinel(id).is_some_and(|sentinel| !sentinel.answers);
        ensure(!is_deaf, || format!("{id} is to be changed, but does not answer now"))?;
        let Some(instance) = case.scene.instance(id) else { continue };
        ensure(instance.answers, || format!("{id} is to be acted on, but does not answer now"))?;
    }
    Ok(())
}

pub(super) fn allow_list(case: &Case<'_>) -> Result<(), String> {
    let topology = case.scene.observation.group.topology;
    let is_watched = watched_by(case.scene).is_some();
    ensure(!Rule::of(topology).is_empty() || case.decision.stages.is_empty(), || {
        format!("topology {topology:?} is not served, so it may have no plan")
    })?;
    for action in actions(&case.decision.stages) {
        match action {
            Action::Configure(configure) => {
                Directive::parse(&configure.directive)?.check(&configure.to)?;
            }
            Action::Sentinel(action) if is_watched => {
                if let SentinelChange::SetOption(set) = &action.change {
                    SentinelOption::parse(&set.name)?.check(&set.to)?;
                }
            }
            // Actions of Redis Cluster nodes come with that topology.
            Action::Sentinel(_) | Action::Cluster(_) => {
                return Err(format!(
                    "action {} on {} belongs to a topology that is not served",
                    action.name(),
                    action.target()
                ));
            }
            Action::Promote(promote) => {
                let is_served = match promote.how {
                    Promotion::ReplicaofNoOne => true,
                    Promotion::Votes | Promotion::AvailableVotes => is_watched,
                    Promotion::Takeover | Promotion::Force => false,
                };
                ensure(is_served && promote.completes.is_empty(), || {
                    format!("{} is to be promoted {:?}, where that is not served", promote.id, promote.how)
                })?;
            }
            Action::Follow(_)
            | Action::Handover(_)
            | Action::Demote(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Restart(_) => {}
        }
    }
    Ok(())
}

pub(super) fn bounded_pause(case: &Case<'_>) -> Result<(), String> {
    for action in actions(&case.decision.stages) {
        let (pause_ms, max_ms) = match action {
            Action::Fence(fence) => (fence.max_ms, FENCE_MAX_MS),
            Action::Handover(handover) => (handover.pause_max_ms, HANDOVER_PAUSE_MAX_MS),
            Action::Promote(_)
            | Action::Follow(_)
            | Action::Demote(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Sentinel(_)
            | Action::Cluster(_) => continue,
        };
        ensure((1..=max_ms).contains(&pause_ms), || {
            format!("{} would be paused for {pause_ms} ms", action.target())
        })?;
    }
    Ok(())
}

fn actions(stages: &[Stage]) -> impl Iterator<Item = &Action> {
    stages.iter().flat_map(|stage| &stage.actions)
}
