//! Whether a group has been without a master, or with two, for longer than any policy may leave it so.
//! Knows no policy.
//!
//! A decision that waits is right for a while: a death must be confirmed, a cool-down must pass, members
//! that may have more must come back. A policy that waits for ever is not told from an honest one by any
//! single decision. What tells them apart: the group has not had exactly one master for [`HANG_LIMITS`]
//! hang limits, nothing that changes a role was sent in that time, and the next policy in line would change
//! one on the same Observation.

use super::Moment;
use crate::contract::{Action, Decision, Observation, Role};
use crate::guard::Picture;

/// How long a group has not had exactly one master.
#[derive(Default)]
pub struct Watchdog {
    /// Since then. None: one member answers as a master, by right.
    since: Option<Moment>,
    /// When a change of role was sent last.
    acted: Option<Moment>,
}

impl Watchdog {
    /// Takes in what the guard sees. True: a decision that changes no role must be checked against the next
    /// policy in line.
    pub fn is_due(&mut self, now: Moment, observation: &Observation, picture: &Picture) -> bool {
        // Nothing is to be done, or not by this operator.
        let is_idle = observation.group.paused || !observation.authority || observation.instances.is_empty();
        if is_idle || picture.master.is_some() && !picture.has_second_master {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let since = self.acted.map_or(since, |acted| acted.max(since));
        since.age_us(now) >= HANG_LIMITS * u64::from(observation.group.hang_limit_ms) * 1000
    }

    /// An action was sent.
    pub fn note_sent(&mut self, now: Moment, action: &Action) {
        if changes_role(action) {
            self.acted = Some(now);
        }
    }
}

/// True if the first stage makes a master, or ends the role of one.
pub fn changes_roles(decision: &Decision) -> bool {
    decision.stages.first().is_some_and(|stage| stage.actions.iter().any(changes_role))
}

fn changes_role(action: &Action) -> bool {
    match action {
        Action::Promote(_) | Action::Handover(_) | Action::Demote(_) => true,
        Action::Follow(follow) => follow.expect.role == Role::Master,
        Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Sentinel(_)
        | Action::Cluster(_) => false,
    }
}

/// Two more than the guard's own cool-down between failovers for silence.
pub const HANG_LIMITS: u64 = 5;
