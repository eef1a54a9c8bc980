//! What servers refused within the last minute: facts of the next Observations, and the least time between
//! two attempts, whatever a policy asks for. Must not choose an action.

use super::Moment;
use crate::contract::{Action, Refused};
use std::collections::{BTreeMap, VecDeque};

/// The refusals of a group, by action.
#[derive(Default)]
pub struct Refusals {
    by_action: BTreeMap<Key, Kept>,
}

/// What makes two actions the same for a server: the command, the server, and [`Action::part`].
type Key = (&'static str, String, String);

#[derive(Default)]
struct Kept {
    /// Oldest first.
    refused: VecDeque<(Action, String, Moment)>,
    /// Why it was withheld last, if nothing was sent since.
    withheld: Option<String>,
}

impl Refusals {
    /// A server refused an action. True: it gave the same answer within the last minute.
    pub fn note(&mut self, now: Moment, action: Action, text: String) -> bool {
        self.by_action.retain(|_, kept| {
            kept.refused.retain(|(.., at)| at.age_us(now) < REFUSED_US);
            !kept.refused.is_empty() || kept.withheld.is_some()
        });
        let kept = self.by_action.entry(key(&action)).or_default();
        let is_repeat = kept.refused.back().is_some_and(|(_, before, _)| *before == text);
        if kept.refused.len() == OF_ONE_ACTION_MAX {
            kept.refused.pop_front();
        }
        kept.refused.push_back((action, text, now));
        is_repeat
    }

    /// The action was sent. True: it was refused within the last minute.
    pub fn note_sent(&mut self, now: Moment, action: &Action) -> bool {
        let Some(kept) = self.by_action.get_mut(&key(action)) else { return false };
        kept.withheld = None;
        kept.refused.back().is_some_and(|(.., at)| at.age_us(now) < REFUSED_US)
    }

    /// The action succeeded: earlier refusals say nothing any more.
    pub fn note_done(&mut self, action: &Action) {
        self.by_action.remove(&key(action));
    }

    /// The action was withheld. True: for the same reason as the time before.
    pub fn note_withheld(&mut self, action: &Action, why: &str) -> bool {
        let before = self.by_action.entry(key(action)).or_default().withheld.replace(why.to_owned());
        before.as_deref() == Some(why)
    }

    /// The same process refused the same action less than a second ago. A policy that does not look at
    /// refusals would ask for it thousands of times a second.
    pub fn is_too_soon(&self, now: Moment, action: &Action) -> bool {
        let newest = self.by_action.get(&key(action)).and_then(|kept| kept.refused.back());
        newest.is_some_and(|(refused, _, at)| {
            at.age_us(now) < AGAIN_US && processes(refused).eq(processes(action))
        })
    }

    /// For the Observation: within the last minute, oldest first, at most [`REFUSED_MAX`]. Where there are
    /// more, the newest of each action come first: each one is worth more than the history of another.
    pub fn observed(&self, now: Moment) -> Vec<Refused> {
        let recent = |kept: &&Kept| {
            let refused = kept.refused.iter().rev().filter(|(.., at)| at.age_us(now) < REFUSED_US);
            refused.cloned().enumerate().collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.by_action.values().collect::<Vec<_>>().iter().flat_map(recent).collect();
        all.sort_by_key(|(place, (.., at))| (*place, at.age_us(now)));
        all.truncate(REFUSED_MAX);
        all.sort_by_key(|(_, (.., at))| *at);
        let refused = |(_, (action, text, at)): (usize, (Action, String, Moment))| Refused {
            action,
            text,
            age_us: at.age_us(now),
        };
        all.into_iter().map(refused).collect()
    }
}

/// The processes that the action is sent to.
fn processes(action: &Action) -> impl Iterator<Item = (&str, &str)> {
    action.expectations().into_iter().map(|(id, expect)| (id, expect.run_id.as_str()))
}

fn key(action: &Action) -> Key {
    (action.name(), action.target().to_owned(), action.part().unwrap_or_default().to_owned())
}

/// How long a refusal stays in the Observation, and how many refusals at most.
const REFUSED_US: u64 = 60_000_000;
const REFUSED_MAX: usize = 64;
/// More than a policy can pace by: six attempts a minute are its slowest.
const OF_ONE_ACTION_MAX: usize = 8;
/// Between two attempts of the same.
const AGAIN_US: u64 = 1_000_000;
