//! That enough Sentinels stay able to act: a Sentinel that begins anew knows no other one for a moment, and
//! one that restarts is away for longer.

use super::told::sentinel_actions;
use crate::contract::{Action, SentinelChange};
use crate::guard::{Case, ensure};

/// One that cannot act loses nothing by beginning anew. Of those that can, one at a time; and while
/// others can act, unless it takes a server of another group for its own: to wait for them would cost
/// that one its data.
pub(in crate::guard) fn rewrites(case: &Case<'_>) -> Result<(), String> {
    let rewritten: Vec<&str> = sentinel_actions(case)
        .filter(|action| matches!(action.change, SentinelChange::Rewrite(_)))
        .map(|action| action.id.as_str())
        .collect();
    let losing: Vec<_> = case.scene.capable().filter(|sentinel| rewritten.contains(&sentinel.id)).collect();
    let is_allowed = match losing[..] {
        [] => true,
        [sentinel] => is_majority_left(case, &rewritten) || sentinel.takes_stranger,
        [_, _, ..] => false,
    };
    ensure(is_allowed, || {
        format!("{} would be set up anew, and too few other Sentinels could act", rewritten.join(", "))
    })
}

pub(in crate::guard) fn restarts(case: &Case<'_>) -> Result<(), String> {
    let restarted: Vec<&str> = case
        .first()
        .filter_map(|action| if let Action::Restart(restart) = action { Some(&restart.id) } else { None })
        .map(String::as_str)
        .filter(|id| case.scene.sentinel(id).is_some())
        .collect();
    let is_safe = restarted.is_empty() || restarted.len() == 1 && is_majority_left(case, &restarted);
    ensure(is_safe, || {
        format!("{} would be restarted, and too few other Sentinels could act", restarted.join(", "))
    })
}

/// Of fewer than three no other majority is left, whatever is done.
fn is_majority_left(case: &Case<'_>, touched: &[&str]) -> bool {
    let others = case.scene.capable().filter(|sentinel| !touched.contains(&sentinel.id)).count() as u64;
    let desired = case.scene.sentinels_desired();
    desired < 3 || others > desired / 2
}
