//! Whether a master may be demoted without a successor: one that lost its data, or a second one that the
//! record does not know. Its data stays; what a wrong demotion costs is a group without a master.

use crate::guard::scene::{Instance, Scene};
use crate::guard::{Case, ensure};
use failover_core::facts::Relation;

pub(in crate::guard) fn demotion(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for demote in case.demotes() {
        let Some(instance) = scene.instance(&demote.id) else { continue };
        ensure(instance.answers_as_master(), || {
            format!("{} is to be demoted, and is no master", instance.id)
        })?;
        // One that lost its data must not take writes, and must not be copied.
        if scene.is_amnesic(instance) || instance.keys == Some(0) && !scene.is_published(instance) {
            continue;
        }
        let is_rightful = |other: &Instance<'_>| other.id != instance.id && is_better(scene, other, instance);
        let is_demoted = |id: &str| case.demotes().any(|demote| demote.id == id);
        let rightful = scene.answering().find(|other| is_rightful(other) && !is_demoted(other.id));
        ensure(rightful.is_some(), || {
            format!("{} is to be demoted, and no other master answers that the record knows", instance.id)
        })?;
    }
    Ok(())
}

/// True for an answering master that the record speaks for, and not for `other`: as the very process, by its
/// history, or by its name.
fn is_better(scene: &Scene<'_>, master: &Instance<'_>, other: &Instance<'_>) -> bool {
    let Some(record) = scene.observation.published() else { return false };
    let is_named = |instance: &Instance<'_>| record.master == instance.id;
    let claims = |instance: &Instance<'_>| {
        (scene.is_published(instance), scene.has_recorded_history(instance), is_named(instance))
    };
    let has_all = matches!(master.relation(other), Some(Relation::Equal | Relation::Ahead(_)));
    master.answers_as_master() && !scene.is_amnesic(master) && (claims(master) > claims(other) || has_all)
}
