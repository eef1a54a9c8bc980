//! What servers refused within the last minute, and when the same is tried again: a right may be granted
//! meanwhile. Never decides by the words of a refusal: they are for people.
//!
//! ```text
//! refusals of one action by one process within the minute:  1    2    3    4    5 and more
//! until it is tried again, since the newest of them:        1 s  2 s  4 s  8 s  10 s
//! ```
//!
//! Six refusals at a distance of ten seconds fit into the minute, so the pace stays where it is.

use super::view::View;
use crate::contract::{Action, Handover, Promote, Promotion, SentinelChange};

/// An action that was refused within the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The server's own words, of the newest refusal.
    pub text: &'a str,
    /// How often, 1 or more.
    pub count: usize,
    /// Until it may be tried again. 0: now.
    pub wait_us: u64,
}

impl Refusal<'_> {
    /// It is too soon to try the same again.
    pub fn holds(&self) -> bool {
        self.wait_us > 0
    }
}

/// The refusals of this action. None: there were none, or the process that refused it is gone.
pub fn refusal<'a>(view: &View<'a>, action: &Action) -> Option<Refusal<'a>> {
    let key = key(action);
    matching(view, &|refused| self::key(refused) == key)
}

/// The refusals of this member's promotion. One for want of votes is no word of the member.
pub fn refused_promotion<'a>(view: &View<'a>, index: usize) -> Option<Refusal<'a>> {
    let id = view.id(index);
    let is_its = |promote: &Promote| promote.id == id && promote.how != Promotion::Votes;
    matching(view, &|refused| matches!(refused, Action::Promote(promote) if is_its(promote)))
}

/// The refusals of a handover to this member.
pub fn refused_handover<'a>(view: &View<'a>, index: usize) -> Option<Refusal<'a>> {
    let id = view.id(index);
    matching(view, &|refused| matches!(refused, Action::Handover(Handover { target, .. }) if target == id))
}

/// Whether all of these actions were refused before: then a plan of them only tries again.
pub fn are_refused(view: &View, actions: &[Action]) -> bool {
    !actions.is_empty() && actions.iter().all(|action| refusal(view, action).is_some())
}

fn matching<'a>(view: &View<'a>, is_same: &dyn Fn(&Action) -> bool) -> Option<Refusal<'a>> {
    let mut found = view
        .observation
        .refused
        .iter()
        .filter(|refused| is_same(&refused.action) && is_of_present_processes(view, &refused.action));
    let first = found.next()?;
    let (count, newest) = found.fold((1, first), |(count, newest), refused| {
        (count + 1, if refused.age_us <= newest.age_us { refused } else { newest })
    });
    let wait_us = (FIRST_WAIT_US << (count - 1).min(WAIT_DOUBLINGS_MAX)).min(WAIT_MAX_US);
    Some(Refusal { text: &newest.text, count, wait_us: wait_us.saturating_sub(newest.age_us) })
}

/// The processes that refused are those that answer now: another one may have other rights.
fn is_of_present_processes(view: &View, action: &Action) -> bool {
    let is_present = |id: &str, run_id: &str| {
        view.find(id).is_some_and(|index| view.members[index].server.run_id == Some(run_id))
    };
    match action {
        Action::Promote(action) => is_present(&action.id, &action.expect.run_id),
        Action::Follow(action) => is_present(&action.id, &action.expect.run_id),
        Action::Demote(action) => is_present(&action.id, &action.expect.run_id),
        Action::Handover(action) => {
            is_present(&action.source, &action.expect_source.run_id)
                && is_present(&action.target, &action.expect_target.run_id)
        }
        Action::Fence(action) => is_present(&action.id, &action.expect.run_id),
        Action::Unfence(action) => is_present(&action.id, &action.expect.run_id),
        Action::KickClients(action) => is_present(&action.id, &action.expect.run_id),
        Action::Configure(action) => is_present(&action.id, &action.expect.run_id),
        Action::Restart(_) | Action::Sentinel(_) | Action::Cluster(_) => true,
    }
}

/// What makes two actions the same for the server that refused one of them: the command, the server, and for
/// CONFIG SET and SENTINEL SET the name of what is set.
fn key(action: &Action) -> (u8, &str, &str) {
    match action {
        // Without votes, the member itself was not asked.
        Action::Promote(action) if action.how == Promotion::Votes => (13, &action.id, ""),
        Action::Promote(action) => (0, &action.id, ""),
        Action::Follow(action) => (1, &action.id, ""),
        Action::Handover(action) => (2, &action.target, ""),
        Action::Fence(action) => (3, &action.id, ""),
        Action::Unfence(action) => (4, &action.id, ""),
        Action::KickClients(action) => (5, &action.id, ""),
        Action::Configure(action) => (6, &action.id, &action.directive),
        Action::Restart(action) => (7, &action.id, ""),
        Action::Sentinel(action) => match &action.change {
            SentinelChange::Announce(_) => (8, &action.id, ""),
            SentinelChange::Rewrite(_) => (11, &action.id, ""),
            SentinelChange::SetOption(set) => (12, &action.id, &set.name),
        },
        Action::Cluster(action) => (9, &action.id, ""),
        Action::Demote(action) => (10, &action.id, ""),
    }
}

const FIRST_WAIT_US: u64 = 1_000_000;
const WAIT_DOUBLINGS_MAX: usize = 4;
const WAIT_MAX_US: u64 = 10_000_000;
