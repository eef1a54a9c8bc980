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
        if scene.is_amnesic(instance) || has_started_empty(scene, instance) || is_untimely(scene, instance) {
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

/// True if all that it can have, it took since its start: it is empty, or its process loaded nothing, is
/// young, and has none of the history on record.
fn has_started_empty(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let is_young = instance.uptime_s.is_some_and(|uptime_s| uptime_s < YOUNG_S);
    let is_another = scene.observation.published().is_some() && !scene.has_recorded_history(instance);
    !scene.is_published(instance)
        && (instance.keys == Some(0) || instance.loaded_nothing() && is_young && is_another)
}

/// True for a young process with data of its files, of which the record knows neither name nor history, while
/// the recorded master does not answer as one: those that may have newer data are still to come.
fn is_untimely(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let Some(record) = scene.observation.published() else { return false };
    let position = scene.observation.shard().and_then(|shard| shard.position.as_ref());
    let known_us = position.map_or(record.age_us, |position| position.age_us.min(record.age_us));
    let up_us = instance.uptime_s.map(|uptime_s| uptime_s.saturating_mul(1_000_000));
    let is_young = up_us.is_some_and(|up_us| up_us <= known_us);
    let master_answers = scene.instance(&record.master).is_some_and(Instance::answers_as_master);
    is_young && !master_answers && record.master != instance.id && !scene.has_recorded_history(instance)
}

/// The default time that members get after a restart of many.
const YOUNG_S: u64 = 60;

/// True for a master while another one answers that the record speaks for.
pub(in crate::guard) fn is_second(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let is_rightful = |other: &Instance<'_>| other.id != instance.id && is_better(scene, other, instance);
    instance.answers_as_master() && scene.answering().any(is_rightful)
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
