//! Whether a group has not been what it is to be for longer than any policy may leave it so: one master, and
//! all others that answer its replicas. Knows no policy.
//!
//! A decision that waits is right for a while: a death must be confirmed, a cool-down must pass, members that
//! may have more must come back. A policy that waits for ever is not told from an honest one by any single
//! decision. What tells them apart: the group has been so for [`HANG_LIMITS`] hang limits, nothing that would
//! change it was sent in that time, and the next policy in line would change it on the same Observation.

use super::Moment;
use crate::contract::{Action, Decision, Observation};
use crate::guard::Picture;

/// How long a group has not been what it is to be.
#[derive(Default)]
pub struct Watchdog {
    /// Since then. None: it is.
    since: Option<Moment>,
    /// When something that changes it was sent last.
    acted: Option<Moment>,
}

impl Watchdog {
    /// Takes in what the guard sees. True: a decision that changes nothing must be checked against the next
    /// policy in line.
    pub fn is_due(&mut self, now: Moment, observation: &Observation, picture: &Picture) -> bool {
        // Nothing is to be done, or not by this operator.
        let is_idle = observation.group.paused || !observation.authority || observation.instances.is_empty();
        let is_well = picture.master.is_some() && !picture.has_second_master && !picture.has_misplaced;
        if is_idle || is_well {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let since = self.acted.map_or(since, |acted| acted.max(since));
        since.age_us(now) >= HANG_LIMITS * u64::from(observation.group.hang_limit_ms) * 1000
    }

    /// The first stage of this decision is sent.
    pub fn note_sent(&mut self, now: Moment, decision: &Decision, picture: &Picture) {
        if changes_roles(decision, picture) {
            self.acted = Some(now);
        }
    }
}

/// True if the first stage makes a master, ends the role of one, or gives a member another master.
pub fn changes_roles(decision: &Decision, picture: &Picture) -> bool {
    let changes_role = |action: &Action| match action {
        Action::Promote(_) | Action::Handover(_) | Action::Demote(_) => true,
        Action::Follow(follow) => !picture.followers.contains(&follow.id),
        Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Sentinel(_)
        | Action::Cluster(_) => false,
    };
    decision.stages.first().is_some_and(|stage| stage.actions.iter().any(changes_role))
}

/// Two more than the guard's own cool-down between failovers for silence.
pub const HANG_LIMITS: u64 = 5;
