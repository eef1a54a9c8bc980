//! The shape of a plan: role changes and the replicas' masters, stage by stage. Must not read offsets or
//! evidence.

use crate::contract::{Action, RoleChange};
use crate::guard::{Case, ensure};
use failover_core::facts::ReportedRole;
use std::collections::BTreeSet;

pub(in crate::guard) fn one_promotion(case: &Case<'_>) -> Result<(), String> {
    let (mut promoted, mut following) = (BTreeSet::new(), BTreeSet::new());
    for stage in &case.decision.stages {
        let (mut changes, mut moved, mut handed) = (0, BTreeSet::new(), Vec::new());
        for change in stage.actions.iter().filter_map(Action::role_change) {
            match change {
                RoleChange::Promote { id } => {
                    changes += 1;
                    promoted.insert(id);
                }
                RoleChange::Handover { source, target } => {
                    changes += 1;
                    handed.extend([source, target]);
                }
                RoleChange::Demote { id } => {
                    following.insert(id);
                    ensure(moved.insert(id), || format!("{id} changes its role twice in one stage"))?;
                }
                RoleChange::Follow { id, master: _ } => {
                    following.insert(id);
                    ensure(moved.insert(id), || format!("{id} gets two masters to follow in one stage"))?;
                }
            }
        }
        ensure(changes <= 1, || format!("a stage changes the master {changes} times"))?;
        ensure(!handed.iter().any(|id| moved.contains(id)), || {
            "a stage has a handover, and lets its source or target follow another instance".into()
        })?;
    }
    match promoted.intersection(&following).next() {
        Some(id) => Err(format!("{id} is to be promoted and to become a replica, in one plan")),
        None => Ok(()),
    }
}

pub(in crate::guard) fn star(case: &Case<'_>) -> Result<(), String> {
    let observed = case.scene.answering().filter(|instance| instance.facts.role == ReportedRole::Master);
    let mut masters: BTreeSet<&str> = observed.map(|instance| instance.id).collect();
    for stage in &case.decision.stages {
        let (mut center, mut leaving) = (None, BTreeSet::new());
        for change in stage.actions.iter().filter_map(Action::role_change) {
            match change {
                RoleChange::Promote { id } => _ = masters.insert(id),
                RoleChange::Handover { source, target } => {
                    ensure(source != target, || format!("{source} would hand over to itself"))?;
                    leaving.insert(source);
                    masters.insert(target);
                }
                RoleChange::Demote { id } => _ = leaving.insert(id),
                RoleChange::Follow { id, master } => {
                    ensure(id != master, || format!("{id} would follow itself"))?;
                    let center = *center.get_or_insert(master);
                    ensure(center == master, || {
                        format!("a stage lets replicas follow two masters, {center} and {master}")
                    })?;
                    leaving.insert(id);
                }
            }
        }
        if let Some(center) = center {
            ensure(masters.contains(center), || {
                format!("{center} is to be followed, but is no master by then")
            })?;
            ensure(!leaving.contains(center), || {
                format!("{center} is to be followed, but gives up its role in the same stage")
            })?;
        }
        masters.retain(|id| !leaving.contains(id));
    }
    Ok(())
}
