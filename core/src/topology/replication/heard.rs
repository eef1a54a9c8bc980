//! What a replica heard of its master, in its own words: the only witness of a master that does not answer
//! here.

use super::reasons::MASTER_STILL_HEARD;
use super::role::Proof;
use super::view::{Follows, Member, View};
use crate::facts::Relation;

/// The replicas that answer and follow this member.
pub fn replicas_of<'v, 'a>(
    view: &'v View<'a>,
    index: usize,
) -> impl Iterator<Item = (usize, &'v Member<'a>)> {
    view.answering()
        .filter(move |(_, replica)| replica.is_replica() && replica.follows == Follows::Member(index))
}

/// Where no replica follows the lost master: a replica that streams the same history from a place that is not
/// known here may have it from that master, under an address of its own.
pub fn hears_by_another_name(view: &View, index: usize) -> Option<usize> {
    if replicas_of(view, index).next().is_some() {
        return None;
    }
    let is_lost_history = |member: &Member| {
        member.relation(&view.members[index]) != Relation::Unrelated
            || member.history().is_none_or(|history| {
                view.published().is_some_and(|published| history.knows(&published.replid))
            })
    };
    let hears = |member: &Member| {
        member.is_replica()
            && matches!(member.follows, Follows::Outsider(_))
            && unheard_us(member) < view.quiet_limit_us(index)
            && is_lost_history(member)
    };
    view.answering().find(|(_, member)| hears(member)).map(|(witness, _)| witness)
}

/// For how long a replica surely heard nothing from its master: by its own count of whole seconds, of which
/// up to one may be rounding, or because its offset stood still between two samples. Without limit for a link
/// that is down.
pub fn unheard_us(replica: &Member) -> u64 {
    if replica.replication.link_up == Some(false) {
        return u64::MAX;
    }
    let counted_us = replica
        .replication
        .last_io_s
        .map_or(0, |seconds| seconds.saturating_sub(1).saturating_mul(1_000_000));
    let stood_still_us = match (replica.earlier_offset, replica.history(), replica.sample_age_us) {
        (Some((offset, age_us)), Some(now), Some(now_age_us)) if offset == now.offset => {
            age_us.saturating_sub(now_age_us)
        }
        _ => 0,
    };
    counted_us.max(stood_still_us)
}

/// How long ago a replica surely acknowledged for the last time. Without limit for a link that was never up.
pub fn unacknowledged_us(replica: &Member) -> u64 {
    match (replica.replication.link_up, replica.replication.link_down_s) {
        (Some(false), Some(down_s)) => down_s.saturating_mul(1_000_000),
        (Some(_) | None, _) => unheard_us(replica),
    }
}

/// What is missing where the master cannot be reached from here, and a replica still hears it.
pub fn still_heard(view: &View, witness: usize, id: &str) -> Proof {
    Proof::Pending {
        reason: MASTER_STILL_HEARD,
        text: format!("the operator cannot reach {id}, but {} still receives from it", view.id(witness)),
        // The link of a dead master goes down within milliseconds (measured: 0.7 ms after the host's own end
        // of file).
        next_look_us: view
            .find(id)
            .and_then(|index| view.members[index].instance.link.closed_age_us)
            .unwrap_or(SUSPECT_LOOK_MAX_US)
            .clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US),
    }
}

/// One round trip.
pub const LOOK_MIN_US: u64 = 500;
/// Nothing changes by itself sooner than this, but the end of a connection, which wakes the host.
pub const SUSPECT_LOOK_MAX_US: u64 = 50_000;
