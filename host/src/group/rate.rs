//! How often an action that stops clients or restarts instances is sent, whatever a policy asks for. Must not
//! choose an action.
//!
//! | action | sent again no sooner than |
//! |--|--|
//! | `fence` | ten times its pause after the last fence of the group, and three hang limits |
//! | `kick-clients` | three hang limits after the last one of that member |
//! | `demote` | a second after the last one of that process |
//! | `restart` | a minute after the last one of the group |
//! | `follow` | 0.2 s after the last one of that process to that master |
//! | `configure` | 0.2 s after the last one of that directive of that member |
//! | `sentinel` announce, set-option | 0.2 s after the last one of the same of that Sentinel |
//! | `sentinel` rewrite | ten seconds after the last one of that Sentinel |
//!
//! Nothing else is limited here: promotions and handovers need evidence each time, and what they change is no
//! evidence for the next.

use super::Moment;
use crate::contract::{Action, Configure, Fence, Follow, SentinelChange};
use std::collections::BTreeMap;

/// The last limited actions of a group.
#[derive(Default)]
pub struct Rate {
    /// By limit: until when nothing of it is sent.
    until: BTreeMap<Limit, Moment>,
}

/// What a limit is counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    Fence,
    Kick(String),
    /// By member and run id.
    Demote(String, String),
    Restart,
    /// By member, run id and master.
    Follow(String, String, String),
    /// By member and directive.
    Configure(String, String),
    /// By Sentinel, and what is changed at it.
    Sentinel(String, String),
}

impl Rate {
    /// Why the action is not sent now. Ok: it may be.
    pub fn check(&self, now: Moment, action: &Action) -> Result<(), String> {
        let Some(limit) = limit(action) else { return Ok(()) };
        match self.until.get(&limit).filter(|until| **until > now) {
            Some(until) => Err(format!(
                "{} was sent a moment ago; the next one may follow in {} ms",
                action.name(),
                now.age_us(*until).div_ceil(1_000)
            )),
            None => Ok(()),
        }
    }

    /// An action was sent.
    pub fn note_sent(&mut self, now: Moment, action: &Action, hang_limit_ms: u32) {
        self.until.retain(|_, until| *until > now);
        if let Some(limit) = limit(action) {
            self.until.insert(limit, now.after_us(rest_us(action, hang_limit_ms)));
        }
    }
}

fn limit(action: &Action) -> Option<Limit> {
    match action {
        Action::Fence(_) => Some(Limit::Fence),
        Action::KickClients(kick) => Some(Limit::Kick(kick.id.clone())),
        Action::Demote(demote) => Some(Limit::Demote(demote.id.clone(), demote.expect.run_id.clone())),
        Action::Restart(_) => Some(Limit::Restart),
        Action::Follow(Follow { id, master, expect, .. }) => {
            Some(Limit::Follow(id.clone(), expect.run_id.clone(), master.clone()))
        }
        Action::Configure(Configure { id, directive, .. }) => {
            Some(Limit::Configure(id.clone(), directive.clone()))
        }
        Action::Sentinel(sentinel) => {
            Some(Limit::Sentinel(sentinel.id.clone(), action.part().unwrap_or_default().to_owned()))
        }
        Action::Promote(_) | Action::Handover(_) | Action::Unfence(_) | Action::Cluster(_) => None,
    }
}

fn rest_us(action: &Action, hang_limit_ms: u32) -> u64 {
    let cool_down_us = COOL_DOWN * u64::from(hang_limit_ms) * 1_000;
    match action {
        // So clients are stopped a tenth of the time at most.
        Action::Fence(Fence { max_ms, .. }) => cool_down_us.max(u64::from(*max_ms) * 1_000 * FENCE_SHARE),
        Action::Demote(_) => DEMOTE_US,
        Action::Restart(_) => RESTART_US,
        Action::Follow(_) | Action::Configure(_) => REPEAT_US,
        Action::Sentinel(sentinel) => match &sentinel.change {
            SentinelChange::Rewrite(_) => REWRITE_US,
            SentinelChange::Announce(_) | SentinelChange::SetOption(_) => REPEAT_US,
        },
        Action::KickClients(_)
        | Action::Promote(_)
        | Action::Handover(_)
        | Action::Unfence(_)
        | Action::Cluster(_) => cool_down_us,
    }
}

/// In hang limits: the guard's cool-down between failovers for silence.
const COOL_DOWN: u64 = 3;
const FENCE_SHARE: u64 = 10;
/// A demoted process is a master again only if another program made it one.
const DEMOTE_US: u64 = 1_000_000;
/// An instance is back and in sync, or it is no use to restart the next.
const RESTART_US: u64 = 60_000_000;
/// A Sentinel knows its replicas again 20 to 60 ms after it, and is blind until then: a replica that comes
/// and goes must not keep it so.
const REWRITE_US: u64 = 10_000_000;
/// Both show in the next reply; a replica that is sent the same master again and again never gets in sync.
const REPEAT_US: u64 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Demote, Expectation, KickClients, Restart, Role, Unfence};

    fn expect(run_id: &str) -> Expectation {
        Expectation { run_id: run_id.into(), role: Role::Master, replid: None, node: None }
    }

    fn fence(id: &str, max_ms: u32) -> Action {
        Action::Fence(Fence { id: id.into(), max_ms, expect: expect("a") })
    }

    fn kick(id: &str) -> Action {
        Action::KickClients(KickClients { id: id.into(), expect: expect("a") })
    }

    fn demote(run_id: &str) -> Action {
        Action::Demote(Demote { id: "redis-1".into(), expect: expect(run_id) })
    }

    fn restart(id: &str) -> Action {
        Action::Restart(Restart { id: id.into(), uid: "u".into() })
    }

    fn follow(run_id: &str, master: &str) -> Action {
        let (id, master) = ("redis-1".into(), master.into());
        Action::Follow(Follow { id, master, discards_bytes: Some(0), expect: expect(run_id) })
    }

    fn configure(directive: &str) -> Action {
        let (id, directive) = ("redis-1".into(), directive.into());
        Action::Configure(Configure { id, directive, to: "1".into(), expect: expect("a") })
    }

    #[test]
    fn each_action_has_its_own_limit() {
        let unfence = || Action::Unfence(Unfence { id: "redis-1".into(), expect: expect("a") });
        // What was sent, what is asked for next, and from when on that is sent. Hang limit: a second.
        let rows = [
            (fence("redis-1", 100), fence("redis-2", 100), 3_000_000),
            (fence("redis-1", 2_000), fence("redis-1", 1), 20_000_000),
            (kick("redis-1"), kick("redis-1"), 3_000_000),
            (kick("redis-1"), kick("redis-2"), 0),
            (demote("a"), demote("a"), 1_000_000),
            (demote("a"), demote("b"), 0),
            (restart("redis-1"), restart("redis-2"), 60_000_000),
            (follow("a", "redis-2"), follow("a", "redis-2"), 200_000),
            (follow("a", "redis-2"), follow("b", "redis-2"), 0),
            (follow("a", "redis-2"), follow("a", "redis-3"), 0),
            (configure("replica-priority"), configure("replica-priority"), 200_000),
            (configure("replica-priority"), configure("min-replicas-to-write"), 0),
            (fence("redis-1", 100), unfence(), 0),
            (unfence(), unfence(), 0),
        ];
        for (sent, next, from_us) in rows {
            let mut rate = Rate::default();
            let start = Moment(5);
            assert_eq!(rate.check(start, &sent), Ok(()));
            rate.note_sent(start, &sent, 1_000);
            if from_us > 0 {
                let why = rate.check(start.after_us(from_us - 1), &next).unwrap_err();
                assert!(why.contains(next.name()) && why.contains("in 1 ms"), "{why}");
            }
            assert_eq!(rate.check(start.after_us(from_us), &next), Ok(()), "{next:?}");
        }
    }
}
