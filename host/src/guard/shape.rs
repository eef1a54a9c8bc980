//! The shape of a plan: who changes its role, and who follows whom, stage by stage. Must not look at offsets
//! or evidence.

use super::{Case, ensure};
use crate::contract::Action;
use failover_core::facts::Speaks;
use std::collections::BTreeSet;

/// An action that changes somebody's role or master.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    Promote { id: &'a str },
    Follow { id: &'a str, master: &'a str },
    Handover { source: &'a str, target: &'a str },
}

/// What the action changes. None: nobody's role.
pub(super) fn change(action: &Action) -> Option<Change<'_>> {
    match action {
        Action::Promote(promote) => Some(Change::Promote { id: &promote.id }),
        Action::Follow(follow) => Some(Change::Follow { id: &follow.id, master: &follow.master }),
        Action::Handover(handover) => {
            Some(Change::Handover { source: &handover.source, target: &handover.target })
        }
        Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Command(_) => None,
    }
}

pub(super) fn one_promotion(case: &Case<'_>) -> Result<(), String> {
    let (mut promoted, mut following) = (BTreeSet::new(), BTreeSet::new());
    for stage in &case.decision.stages {
        let (mut changes, mut moved, mut handed) = (0, BTreeSet::new(), Vec::new());
        for change in stage.actions.iter().filter_map(change) {
            match change {
                Change::Promote { id } => {
                    changes += 1;
                    promoted.insert(id);
                }
                Change::Handover { source, target } => {
                    changes += 1;
                    handed.extend([source, target]);
                }
                Change::Follow { id, master: _ } => {
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

pub(super) fn star(case: &Case<'_>) -> Result<(), String> {
    let observed = case.scene.answering().filter(|instance| instance.facts.role == Speaks::AsMaster);
    let mut masters: BTreeSet<&str> = observed.map(|instance| instance.id).collect();
    for stage in &case.decision.stages {
        let (mut center, mut leaving) = (None, BTreeSet::new());
        for change in stage.actions.iter().filter_map(change) {
            match change {
                Change::Promote { id } => _ = masters.insert(id),
                Change::Handover { source, target } => {
                    ensure(source != target, || format!("{source} would hand over to itself"))?;
                    leaving.insert(source);
                    masters.insert(target);
                }
                Change::Follow { id, master } => {
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
