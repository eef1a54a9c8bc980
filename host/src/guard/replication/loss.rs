//! Whether a change of master reports what it loses. The guard counts by itself what the replies and the
//! record show: a decision may say more, or *unknown*, and never less.
//!
//! 1. The lost stream is known by the last reply of the replaced master, if its history and the promoted
//!    one's are related; else by the record.
//! 2. What that stream has beyond the promoted instance is lost at least.
//! 3. Neither is related, or the promoted instance restarted from its files: no offset shows the loss, so it
//!    is *unknown*, and a number is a guess.

use super::evidence::claimants;
use super::restart::is_from_file;
use crate::contract::{Evidence, Promote};
use crate::guard::scene::{Instance, Scene};
use crate::guard::{Case, ensure};
use failover_core::facts::{History, Relation};

/// What the facts show of a loss.
enum Shown {
    /// At least so many bytes.
    AtLeast(u64),
    /// A stream was lost, and no offset tells how much of it.
    Unknown(&'static str),
    /// No facts of an earlier master.
    Nothing,
}

pub(in crate::guard) fn reported_loss(case: &Case<'_>) -> Result<(), String> {
    // A decision without shards breaks the rule `members`.
    if case.decision.shards.is_empty() {
        return Ok(());
    }
    for promote in case.promotes().filter(|promote| promote.evidence != Evidence::Bootstrap) {
        let Some(candidate) = case.scene.instance(&promote.id) else { continue };
        let Some(loss) = case.decision.loss() else {
            return Err(format!(
                "{} replaces a master, and no loss is reported, not even unknown",
                promote.id
            ));
        };
        let Some(reported) = loss.bytes else { continue };
        check(&promote.id, reported, &shown(case.scene, promote, candidate))?;
    }
    if case.promotes().next().is_some() {
        return Ok(());
    }
    // A master that another program made, or that restarted, costs what the former process had beyond it.
    let named = case.decision.master().and_then(|id| case.scene.instance(id));
    let is_new = |named: &&Instance<'_>| {
        named.answers_as_master() && named.run_id.is_some() && !case.scene.is_published(named)
    };
    let Some(named) = named.filter(|named| case.scene.observation.authority && is_new(named)) else {
        return Ok(());
    };
    let shown = shown_in_place(case.scene, named);
    match (case.decision.loss().map(|loss| loss.bytes), &shown) {
        (None, Shown::Nothing | Shown::AtLeast(0)) | (Some(None), _) => Ok(()),
        (None, Shown::AtLeast(_) | Shown::Unknown(_)) => Err(format!(
            "{} is not the recorded process, and no loss is reported, not even unknown",
            named.id
        )),
        (Some(Some(reported)), _) => check(named.id, reported, &shown),
    }
}

fn check(id: &str, reported: u64, shown: &Shown) -> Result<(), String> {
    match shown {
        Shown::AtLeast(bytes) => ensure(reported >= *bytes, || {
            format!("{id} lacks {bytes} bytes, but a loss of {reported} is reported")
        }),
        Shown::Unknown(why) => {
            Err(format!("a loss of {reported} bytes is reported for {id}, but {why}: it is unknown"))
        }
        Shown::Nothing => Ok(()),
    }
}

fn shown(scene: &Scene<'_>, promote: &Promote, candidate: &Instance<'_>) -> Shown {
    if is_from_file(scene, candidate) {
        return Shown::Unknown("it restarted from its files");
    }
    let Some(own) = candidate.history() else { return Shown::Unknown("its history is unknown") };
    let last_words = claimants(scene, promote)
        .iter()
        .filter(|claimant| !claimant.instance.answers)
        .filter_map(|claimant| deficit(&own, &claimant.instance.history()?))
        .max();
    last_words.map_or_else(|| shown_by_record(scene, candidate), Shown::AtLeast)
}

/// What a master costs that is another process than the recorded one.
fn shown_in_place(scene: &Scene<'_>, named: &Instance<'_>) -> Shown {
    if scene.observation.published().is_some_and(|record| record.master == named.id) {
        return Shown::Unknown("its process restarted");
    }
    shown_by_record(scene, named)
}

/// By the record alone.
fn shown_by_record(scene: &Scene<'_>, instance: &Instance<'_>) -> Shown {
    let Some(record) = scene.observation.published() else { return Shown::Nothing };
    let Some(own) = instance.history() else { return Shown::Unknown("its history is unknown") };
    let recorded = History { replid: &record.replid, offset: record.offset, former: None };
    deficit(&own, &recorded).map_or(Shown::Unknown("the recorded history is not its own"), Shown::AtLeast)
}

/// Bytes that `lost` has and `own` has not. None: they are not related.
fn deficit(own: &History<'_>, lost: &History<'_>) -> Option<u64> {
    match own.relation(lost) {
        Relation::Equal | Relation::Ahead(_) => Some(0),
        Relation::Behind(bytes) | Relation::Forked { theirs: bytes, .. } => Some(bytes),
        Relation::Unrelated => None,
    }
}
