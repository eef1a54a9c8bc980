//! Whether the Sentinels can still replace a lost master, and for how long they have known of it. A promotion
//! without a majority of votes rests on that alone.

use super::reading::{Sentinel, watched_by};
use crate::contract::{LinkState, Preference, Promote, SentinelSettings};
use crate::guard::scene::{Instance, Scene};

/// Random start, periods of `sentinel.c`.
const MARGIN_US: u64 = 2_000_000;
/// `SENTINEL_ELECTION_TIMEOUT`.
const ELECTION_US: u64 = 10_000_000;
/// One that has not begun within this of calling a master down will not.
const START_MS: u64 = 2_000;
/// A connection refused, and refused again this much later: no process listens.
const REFUSALS_APART_US: u64 = 5_000;

/// No longer than any witness has missed the replaced master.
pub(super) fn lost_us(scene: &Scene<'_>, promote: Option<&Promote>) -> u64 {
    let none_us = scene.observation.shard().map_or(0, |shard| shard.no_master_age_us);
    let source = promote.and_then(|promote| scene.instance(promote.source.as_deref()?));
    let Some(lost) = source.filter(|lost| !lost.answers) else { return none_us };
    let witnesses = scene.followers(lost.id).map(apart_us);
    witnesses.fold(none_us.min(lost.silence_us()), u64::min)
}

/// For how long a replica surely heard nothing. Without limit for a link that was never up.
fn apart_us(witness: &Instance<'_>) -> u64 {
    let us = |seconds: u64| seconds.saturating_mul(1_000_000);
    match (witness.facts.link_up, witness.facts.link_down_s) {
        (Some(false), Some(down_s)) => us(down_s),
        (Some(false), None) => u64::MAX,
        (Some(true) | None, _) => {
            let counted_s = witness.facts.last_io_s.map_or(0, |seconds| seconds.saturating_sub(1));
            us(counted_s).max(witness.standstill_us())
        }
    }
}

/// The longest that one goes on with a failover: elected, promoted, seen, re-pointed.
pub(super) fn attempt_us(settings: &SentinelSettings) -> u64 {
    ELECTION_US + 3 * u64::from(settings.failover_timeout_ms) * 1_000 + MARGIN_US
}

/// True if they cannot act, tried in vain, or had their time.
pub(super) fn are_powerless(scene: &Scene<'_>, promote: &Promote) -> bool {
    let Some(settings) = watched_by(scene) else { return true };
    let ms = |ms: u32| u64::from(ms) * 1_000;
    let bound_us = ms(settings.down_after_ms) + ms(settings.failover_timeout_ms) + MARGIN_US;
    let lost_us = lost_us(scene, Some(promote));
    let tried = lost_us >= START_MS * 1_000 && scene.capable().any(has_tried_in_vain);
    lost_us >= bound_us || tried || are_too_few(scene, promote)
}

fn has_tried_in_vain(sentinel: &Sentinel<'_>) -> bool {
    sentinel.row.as_ref().is_some_and(|row| {
        let is_later = |epoch: u64| row.config_epoch.is_some_and(|configured| epoch > configured);
        row.has_flag("o_down")
            && !row.is_in_failover
            && row.down_ms.is_some_and(|down_ms| down_ms >= START_MS)
            && sentinel.peers.iter().any(|peer| peer.voted_epoch.is_some_and(is_later))
    })
}

/// Too few for any of them, the others gone; silent ones count as gone where availability is preferred and no
/// replica follows a new master.
fn are_too_few(scene: &Scene<'_>, promote: &Promote) -> bool {
    let known = scene.sentinels.len() as u64;
    let desired = scene.sentinels_desired();
    let needed = scene.voters().map(Sentinel::voters).min().unwrap_or(desired) / 2 + 1;
    // One that takes a server of another group for the master fails that one over.
    let is_gone =
        |sentinel: &&Sentinel<'_>| has_ended(sentinel) || sentinel.answers && sentinel.names.is_none();
    let gone = scene.sentinels.iter().filter(is_gone).count() as u64;
    let limit_us = scene.hang_limit_us();
    let silent =
        scene.sentinels.iter().filter(|sentinel| !is_gone(sentinel) && is_silent(sentinel, limit_us));
    let may_act = known - gone;
    let may_act_seen = may_act - silent.count() as u64;
    let absent = desired.saturating_sub(known);
    // One that came back without its data still has followers.
    let is_new = |master: &&Instance<'_>| promote.source.as_deref() != Some(master.id);
    let is_any_followed = scene
        .answering()
        .filter(|master| master.answers_as_master())
        .filter(is_new)
        .any(|master| scene.followers(master.id).next().is_some());
    let prefers_availability = match scene.observation.group.prefer {
        Preference::Availability => true,
        Preference::Consistency => false,
    };
    may_act + absent < needed || may_act_seen < needed && prefers_availability && !is_any_followed
}

/// Its process does not run: stated, or refused after a connection, or twice.
fn has_ended(sentinel: &Sentinel<'_>) -> bool {
    if sentinel.answers {
        return false;
    }
    if sentinel.pod.is_some_and(|pod| !pod.running) {
        return true;
    }
    let Some(refusals) = sentinel.link.refusals.as_ref().filter(|_| sentinel.is_direct) else {
        return false;
    };
    let apart_us = refusals.first_age_us.saturating_sub(refusals.last_age_us);
    sentinel.link.closed_age_us.is_some() || refusals.count >= 2 && apart_us >= REFUSALS_APART_US
}

fn is_silent(sentinel: &Sentinel<'_>, limit_us: u64) -> bool {
    let is_alive = match sentinel.link.state {
        LinkState::Loading | LinkState::Busy | LinkState::Unauthorized => true,
        LinkState::Unknown => true,
        LinkState::Answering
        | LinkState::Closed
        | LinkState::Refused
        | LinkState::Unreachable
        | LinkState::TimedOut
        | LinkState::ProtocolError => sentinel.answers || sentinel.is_barred,
    };
    !is_alive && sentinel.link.alive_age_us.unwrap_or(sentinel.link.state_age_us) >= limit_us
}
