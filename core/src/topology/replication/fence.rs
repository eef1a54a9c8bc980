//! The self-fence that `prefer = consistency` rests on: with `min-replicas-to-write` and
//! `min-replicas-max-lag` a master refuses writes by itself once too few replicas acknowledge. It is a fact
//! only as far as a member showed it, and only against replicas that cannot be on its side of a cut.

use super::view::{Member, View};
use crate::facts::config_pairs;
use crate::health::Life;
use crate::observed::nested;

/// The wanted command that shows the fence.
pub const FENCE_COMMAND: &str = "CONFIG GET min-replicas-*";
/// The directive that says how many replicas must have acknowledged.
pub const TO_WRITE: &str = "min-replicas-to-write";
/// The directive that says within how many seconds.
pub const MAX_LAG: &str = "min-replicas-max-lag";

/// The fence of a member, as it last showed it. Redis has none where either is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// `min-replicas-to-write`.
    pub to_write: u64,
    /// `min-replicas-max-lag`.
    pub lag_s: u64,
}

/// What a member last showed. None: nothing, as where CONFIG is renamed or denied.
pub fn seen(member: &Member) -> Option<Fence> {
    let shown = config_pairs(nested(member.instance, FENCE_COMMAND)?);
    let value = |name: &str| shown.iter().find(|(known, _)| *known == name)?.1.parse().ok();
    Some(Fence { to_write: value(TO_WRITE)?, lag_s: value(MAX_LAG)? })
}

/// How many replicas a master must hear from, so that none takes writes on the small side of a cut.
///
/// Let N be the desired members. A silent master is replaced by a majority, more than N/2 that answer. So at
/// most (N-1)/2 members are on the master's side, itself included, and (N-1)/2 - 1 replicas: one more than
/// these are never there. Of two or three members that is one.
///
/// Counterexample to a constant of 1: five members, and a cut with the master and one replica on one side.
/// That replica goes on acknowledging, the fence stays open, and the other three elect a second master.
pub fn wanted_to_write(view: &View) -> u64 {
    (view.members_desired().saturating_sub(1) as u64 / 2).max(1)
}

/// Why the fence of a master that does not answer may be open for good. None: it closes, once no replica that
/// answers here has acknowledged for its lag.
pub fn open(view: &View, index: usize) -> Option<String> {
    let member = &view.members[index];
    let Some(Fence { to_write, lag_s }) = seen(member) else {
        return Some(format!(
            "its self-fence was never seen (no reply to {FENCE_COMMAND}: renamed, denied, or not asked yet)"
        ));
    };
    if to_write == 0 || lag_s == 0 {
        return Some(format!("it has no self-fence ({TO_WRITE} {to_write}, {MAX_LAG} {lag_s})"));
    }
    let unlisted = view.unlisted(index);
    let may_acknowledge = |other: &usize| {
        *other != index && !view.members[*other].answers && !matches!(view.life(*other), Life::Gone(_))
    };
    let unseen = (0..view.members.len()).filter(may_acknowledge).count();
    let unknown = usize::from(view.group().members_desired).saturating_sub(view.members.len());
    let others = unlisted + unseen + unknown;
    (others as u64 >= to_write).then(|| {
        let listed = if unlisted == 0 { String::new() } else { format!(", {unlisted} of them not listed") };
        format!(
            "{others} replicas that do not answer here{listed} may acknowledge to it, and {TO_WRITE} is {to_write}"
        )
    })
}

/// What keeps the fence of a group from being one, said before it matters. None: every member that answers
/// has shown it.
pub fn missing(view: &View, master: usize) -> Option<String> {
    let unseen = view.answering().find(|(_, member)| member.accepts_commands() && seen(member).is_none());
    if let Some((index, _)) = unseen {
        return Some(format!(
            "{} does not show its self-fence ({FENCE_COMMAND} is renamed or denied), so a master that is cut off is \
             not replaced: grant the operator CONFIG, or prefer availability",
            view.id(index)
        ));
    }
    let unlisted = view.unlisted(master);
    (unlisted > 0).then(|| {
        format!(
            "{unlisted} replicas that are not listed are attached to {} and may keep its self-fence open where it is \
             cut off, so it is not replaced then: list them, or prefer availability",
            view.id(master)
        )
    })
}
