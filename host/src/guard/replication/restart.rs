//! Whether a copy that restarted from its files may take the role: it may be older than what it had, and
//! another member may come back with more. Must not judge who has more.

use crate::guard::scene::{Instance, Scene};
use crate::guard::{Case, ensure};

pub(in crate::guard) fn restart(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for promote in case.promotes() {
        let Some(candidate) = scene.instance(&promote.id) else { continue };
        ensure(!is_from_file(scene, candidate) || is_wait_over(scene), || {
            format!(
                "{} restarted from its files, and members that may have newer data are missing",
                candidate.id
            )
        })?;
    }
    Ok(())
}

/// True if its process started while the recorded master was master, or after the record, was linked to no
/// master since, and never reached a position on record. The age of the record is that of its newest part:
/// the master, or the position that replicas reached.
pub(in crate::guard) fn is_from_file(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let Some(shard) = scene.observation.shard() else { return false };
    let Some(record) = &shard.published else { return false };
    let position = shard.position.as_ref();
    let record_us = position.map_or(record.age_us, |position| position.age_us.min(record.age_us));
    let newest = shard.lineage.first().filter(|generation| generation.replid == record.replid);
    let since_us = newest.map_or(record_us, |generation| generation.age_us.max(record_us));
    let is_known_run = record.master == instance.id && instance.run_id == Some(record.run_id.as_str());
    let is_younger =
        |age_us: u64| instance.uptime_s.is_some_and(|uptime_s| uptime_s.saturating_mul(1_000_000) <= age_us);
    let was_linked = instance.facts.link_up == Some(true) || instance.facts.link_down_s.is_some();
    let was_in_sync = scene.position_reached(instance).is_some_and(|position| !is_younger(position.age_us));
    is_younger(since_us) && !was_linked && !was_in_sync && !is_known_run
}

/// True if every desired member answers with its data, or the first that answered has been up for the time
/// that the user set.
fn is_wait_over(scene: &Scene<'_>) -> bool {
    let desired = usize::from(scene.observation.group.members_desired);
    let answering = || scene.answering().filter(|instance| !instance.is_loading);
    let wait_s = scene.parameter("restart_wait_s").and_then(|value| value.as_u64()).unwrap_or(WAIT_S);
    let oldest_s = scene.answering().filter_map(|instance| instance.uptime_s).max();
    answering().count() >= desired || oldest_s.is_some_and(|uptime_s| uptime_s >= wait_s)
}

/// What the default policy waits, unless the user says otherwise.
const WAIT_S: u64 = 60;
