//! Whether the Sentinels can still fail the group over, and until when they are waited for.

use super::scene::Scene;
use super::sentinels::{Names, Sentinel, Sentinels};
use crate::contract::{Preference, SentinelSettings};
use crate::health::{Life, duration};
use crate::topology::replication::heard::{replicas_of, unacknowledged_us};

/// For how long the Sentinels may have known that the master is lost: no longer than the decisions have named
/// none, than it has shown no sign of life, and than each of its replicas has heard nothing from it.
pub fn lost_us(scene: &Scene) -> u64 {
    let (view, named_none_us) = (scene.view(), scene.view().no_master_age_us());
    let Some(index) = scene.group.lost().and_then(|lost| lost.index) else { return named_none_us };
    let member = &view.members[index];
    if member.answers {
        return named_none_us;
    }
    let silent_us = member.instance.link.alive_age_us.unwrap_or(member.instance.link.state_age_us);
    replicas_of(view, index)
        .map(|(_, replica)| unacknowledged_us(replica))
        .fold(named_none_us.min(silent_us), u64::min)
}

/// How long the Sentinels are given: their own view of a death, an attempt, and a margin for its random start
/// and their periods.
pub fn bound_us(settings: &SentinelSettings) -> u64 {
    ms(settings.down_after_ms) + ms(settings.failover_timeout_ms) + MARGIN_US
}

/// For as long a Sentinel goes on with a failover, whatever becomes of it (`sentinel.c`: ten seconds until it
/// is elected, then failover-timeout to promote, to see the promotion, and to re-point the others).
pub fn attempt_max_us(settings: &SentinelSettings) -> u64 {
    ELECTION_US + 3 * ms(settings.failover_timeout_ms) + MARGIN_US
}

/// Why the Sentinels will not replace the lost master, in words. None: they may.
///
/// (a) Fewer can act than any of them needs for a majority, and the others are gone: ended, or silent for the
///     hang limit. Silence is not enough with `prefer` = consistency: the operator may be cut off from
///     Sentinels that reach each other. One that takes a server of another group for the master, or
///     none, fails that one over.
/// (b) One of them calls the master down for longer than it takes to begin, has asked the others for their
///     votes for a later epoch than the configuration's, and does nothing: an attempt ended in vain. It has
///     asked in this incident or in an earlier one; in both it now waits for twice failover-timeout.
/// (c) They had their time ([`bound_us`]).
///
/// Those in TILT may act when it ends: for them only (c) counts.
pub fn powerless(scene: &Scene, sentinels: &Sentinels) -> Option<String> {
    too_few(scene, sentinels).or_else(|| tried_in_vain(scene, sentinels)).or_else(|| {
        let bound_us = bound_us(sentinels.settings);
        (lost_us(scene) >= bound_us)
            .then(|| format!("the Sentinels have not replaced it within {}", duration(bound_us)))
    })
}

fn too_few(scene: &Scene, sentinels: &Sentinels) -> Option<String> {
    let needed = sentinels.smallest_majority();
    let is_elsewhere = |sentinel: &Sentinel| match sentinel.names {
        Names::Nothing | Names::Outsider(_) => sentinel.answers,
        Names::Member(_) => false,
    };
    let is_gone = |sentinel: &&Sentinel| matches!(sentinel.life, Life::Gone(_)) || is_elsewhere(sentinel);
    let is_silent = |sentinel: &&Sentinel| sentinel.silent_us().is_some();
    let gone = sentinels.all.iter().filter(is_gone).count();
    let silent = sentinels.all.iter().filter(is_silent).count();
    // One that is no instance is as good as silent: its process may run on a node that is cut off.
    let absent = sentinels.desired().saturating_sub(sentinels.all.len());
    let may_act = sentinels.all.len() - gone - silent;
    let may_act_unseen = may_act + silent + absent;
    let is_proven = may_act_unseen < needed;
    let is_likely =
        may_act < needed && scene.view().group().prefer == Preference::Availability && !is_moved(scene);
    (is_proven || is_likely)
        .then(|| format!("{may_act} of {} Sentinels can act, and {needed} are needed", sentinels.desired()))
}

/// A replica follows another master already: the Sentinels that are out of sight are at work.
fn is_moved(scene: &Scene) -> bool {
    let view = scene.view();
    let lost = scene.group.lost().and_then(|lost| lost.index);
    (0..view.members.len())
        .filter(|&master| Some(master) != lost && view.members[master].is_master())
        .any(|master| replicas_of(view, master).next().is_some())
}

fn tried_in_vain(scene: &Scene, sentinels: &Sentinels) -> Option<String> {
    let tried = |sentinel: &&Sentinel| {
        let Some(row) = sentinel.master.as_ref().filter(|_| sentinel.is_capable()) else { return false };
        let is_later = |epoch: u64| row.config_epoch.is_some_and(|configured| epoch > configured);
        row.has_flag("o_down")
            && row.down_ms.is_some_and(|down_ms| down_ms >= START_MAX_MS)
            && !row.is_in_failover
            && sentinel.peers.iter().flatten().any(|peer| peer.voted_epoch.is_some_and(is_later))
    };
    let sentinel = sentinels.all.iter().find(tried).filter(|_| lost_us(scene) >= START_MAX_MS * 1_000)?;
    Some(format!("{} was voted for and ended its failover without a new master", sentinel.id()))
}

fn ms(ms: u32) -> u64 {
    u64::from(ms) * 1_000
}

const MARGIN_US: u64 = 2_000_000;
/// `SENTINEL_ELECTION_TIMEOUT`.
const ELECTION_US: u64 = 10_000_000;
/// A Sentinel begins within a second of the death that it agrees upon (`SENTINEL_MAX_DESYNC`), and looks ten
/// times a second: one that has not begun after two will not.
const START_MAX_MS: u64 = 2_000;
