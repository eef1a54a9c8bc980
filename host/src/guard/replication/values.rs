//! Which values `configure` may set. Each bound says what a value beyond it would take from the group.

use super::demotion::is_second;
use crate::contract::{Action, Configure, Preference};
use crate::guard::scene::{Instance, Scene};
use crate::guard::{Case, ensure};
use crate::topology::allowed::Directive;
use std::collections::BTreeMap;

pub(in crate::guard) fn allowed_values(case: &Case<'_>) -> Result<(), String> {
    let mut priorities: BTreeMap<&str, u64> = BTreeMap::new();
    for configure in configures(case) {
        // Another name, or no number: a breach of the rule `allow-list`.
        let (Ok(directive), Ok(to)) = (Directive::parse(&configure.directive), configure.to.parse::<u64>())
        else {
            continue;
        };
        match directive {
            Directive::MinReplicasToWrite => check_replicas_to_write(case, &configure.id, to)?,
            Directive::MinReplicasMaxLag => check_lag(case.scene, &configure.id, to)?,
            Directive::ReplPingReplicaPeriod => {
                // A longer heartbeat hides a master that hangs while it is idle.
                ensure((1..=HEARTBEAT_MAX_S).contains(&to), || {
                    out_of(&configure.id, directive, to, &format!("1 to {HEARTBEAT_MAX_S}"))
                })?;
            }
            Directive::ReplicaPriority => {
                ensure(to <= PRIORITY_MAX, || {
                    out_of(&configure.id, directive, to, &format!("0 to {PRIORITY_MAX}"))
                })?;
                priorities.insert(&configure.id, to);
            }
        }
    }
    check_candidate_stays(case.scene, &priorities)
}

/// One more replica than may be on the small side of a cut: more would stop the writes of a group that lost
/// one, fewer take the self-fence away. What stops all writes is for a second master that refuses to be
/// demoted.
fn check_replicas_to_write(case: &Case<'_>, id: &str, to: u64) -> Result<(), String> {
    let scene = case.scene;
    let group = &scene.observation.group;
    let is_fence_kept = group.self_fence_lag_s.is_some() && group.prefer == Preference::Consistency;
    let wanted = (u64::from(group.members_desired.saturating_sub(1)) / 2).max(1);
    let min = if is_fence_kept { wanted } else { 0 };
    let words = if is_fence_kept {
        format!("{wanted}, the self-fence of the group")
    } else {
        format!("0 to {wanted}")
    };
    // Whether the named one has the better claim is the rule `named-master`.
    let names_another = || {
        let named = case.decision.master().and_then(|named| scene.instance(named));
        named.is_some_and(|named| named.id != id && named.answers_as_master())
    };
    let is_second = scene.instance(id).is_some_and(|instance| {
        is_second(scene, instance) || instance.answers_as_master() && names_another()
    });
    let is_stop = to == STOP && is_second;
    ensure(is_stop || (min..=wanted).contains(&to), || out_of(id, Directive::MinReplicasToWrite, to, &words))
}

/// The lag is that of the group's self-fence; promotions of silent masters count on it.
fn check_lag(scene: &Scene<'_>, id: &str, to: u64) -> Result<(), String> {
    let own_s = scene.observation.group.self_fence_lag_s.map(u64::from);
    let (min, max) = own_s.map_or((1, LAG_MAX_S), |own_s| (own_s, own_s));
    ensure((min..=max).contains(&to), || {
        out_of(id, Directive::MinReplicasMaxLag, to, &format!("{min} to {max}"))
    })
}

/// A member of priority 0 takes no role: not the policies that decide next, nor a person, could fail over.
fn check_candidate_stays(scene: &Scene<'_>, priorities: &BTreeMap<&str, u64>) -> Result<(), String> {
    let priority = |instance: &Instance<'_>| priorities.get(instance.id).copied().or(instance.facts.priority);
    let is_candidate = |instance: &Instance<'_>| {
        !instance.answers_as_master() && priority(instance).is_some_and(|priority| priority > 0)
    };
    let sets_zero = priorities.iter().find(|(_, to)| **to == 0);
    match sets_zero {
        Some((id, _)) if !scene.answering().any(is_candidate) => {
            Err(format!("{id} would get replica-priority 0, and no replica could take over"))
        }
        Some(_) | None => Ok(()),
    }
}

fn configures<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c Configure> {
    case.decision
        .stages
        .iter()
        .flat_map(|stage| &stage.actions)
        .filter_map(|action| if let Action::Configure(configure) = action { Some(configure) } else { None })
}

fn out_of(id: &str, directive: Directive, to: u64, allowed: &str) -> String {
    format!("{id} would get {} {to}; allowed is {allowed}", directive.name())
}

/// More replicas than any group has: a master with it refuses all writes.
const STOP: u64 = 1_000_000;
/// The default of Redis (`repl-ping-replica-period`).
const HEARTBEAT_MAX_S: u64 = 10;
/// Redis reads it as a C `int`.
const PRIORITY_MAX: u64 = 2_147_483_647;
/// An hour: a replica that acknowledged nothing for longer is none.
const LAG_MAX_S: u64 = 3_600;
