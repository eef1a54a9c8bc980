//! The shape of a plan: who changes its role, and who follows whom, stage by stage. Must not look at offsets
//! or evidence.

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
                RoleChange::Follow { id, master: _ } => {
                    following.insert(id);
                    ensure(moved.insert(id), || format!("{id} is told twice in one stage whom to follow"))?;
                }
            }
        }
        ensure(changes <= 1, || format!("a stage changes the master {changes} times"))?;
        ensure(!handed.iter().any(|id| moved.contains(id)), || {
            "a stage hands a role over and moves one of the two elsewhere".into()
        })?;
    }
    match promoted.intersection(&following).next() {
        Some(id) => Err(format!("{id} is to be promoted and to follow")),
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
                RoleChange::Follow { id, master } => {
                    ensure(id != master, || format!("{id} would follow itself"))?;
                    let center = *center.get_or_insert(master);
                    ensure(center == master, || {
                        format!("a stage has two masters to follow, {center} and {master}")
                    })?;
                    leaving.insert(id);
                }
            }
        }
        if let Some(center) = center {
            ensure(masters.contains(center), || {
                format!("{center} is to be followed and is no master by then")
            })?;
            ensure(!leaving.contains(center), || {
                format!("{center} is to be followed and gives up its role")
            })?;
        }
        masters.retain(|id| !leaving.contains(id));
    }
    Ok(())
}
