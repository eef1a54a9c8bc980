//! Actions that Sentinels take part in. Each asks the Sentinels right before it acts, since what they say
//! changes with every event. None chooses a master or an epoch of a plan, or sends SENTINEL FAILOVER or
//! RESET.
//!
//! | action | sent to a Sentinel | confirmed by |
//! |--|--|--|
//! | elect | `SENTINEL IS-MASTER-DOWN-BY-ADDR ip port epoch OWN-ID` | the vote in the reply |
//! | tell | `PUBLISH __sentinel__:hello …` in the name of a peer | the address that it names afterwards |
//! | rewrite | REMOVE, MONITOR, SET, hello of each peer, in one write | the same |
//! | set option | `SENTINEL SET` of one listed option | the value read back |
//!
//! Sentinel has no command that says "the master moved". Its own leader says so to the others by a hello
//! message with a greater config epoch, and every Sentinel believes any client that sends one
//! (`sentinel.c`, `sentinelProcessHelloMessage`). Three rules keep such a message harmless:
//!
//! 1. The speaker is a peer that the receiver knows, by the id and the address that it knows. In its own
//!    name the receiver would add itself as a peer, in an unknown name a voter that never votes.
//! 2. The address is one of a member that has just answered as a master, in a form that the receiver
//!    resolves.
//! 3. The epoch of a switch is one that a majority has voted for, or greater than all that are known: else
//!    a Sentinel that heard of another would be right to keep it.
//!
//! # How soon a Sentinel may take the new master for down
//!
//! `sentinelResetMasterAndChangeAddress` starts the clock of `down-after-milliseconds` at the moment of
//! the hello, and forgets that votes were given (`failover_start_time = 0`). It keeps `last_reconn_time`,
//! and `sentinelReconnectInstance` dials at most once a second. So a Sentinel that has tried to reach the
//! dead master right before the hello dials the new one up to a second and a tick of its timer later, and
//! until the PONG to that the new master counts as silent. With `down-after-milliseconds` of a second or
//! less the Sentinels can find it down together, and fail over once more, with nothing that holds them
//! back: [`DOWN_AFTER_MIN_MS`].

mod elect;
mod rewrite;
mod seen;
mod set_option;
mod tell;

pub use crate::topology::allowed::DOWN_AFTER_MIN_MS;
pub use elect::{ELECTION_MAX, Elected, Votes, elect, own_id};
pub use rewrite::{Rewritten, rewrite};
pub use set_option::set_option;
pub use tell::{Told, announce, tell};

use super::ActFailure;
use super::role::Role;
use crate::contract::SentinelSettings;
use crate::redis::connection::Question;
use crate::redis::{Connection, Credentials, Endpoint};
use failover_core::facts::Place;
use std::sync::Arc;
use std::time::Instant;

/// The Sentinels of a group, as far as they can be asked.
pub struct Watch {
    /// How they watch the group.
    pub settings: SentinelSettings,
    /// Those with a connection, sorted by `id`.
    pub sentinels: Vec<Sentinel>,
    /// How Sentinels log in to the servers. None: without a password.
    pub login: Option<Credentials>,
    /// The id that votes are asked for: [`own_id`], where an operator has its process to itself.
    pub own_id: Arc<str>,
}

/// A Sentinel.
pub struct Sentinel {
    /// Its `id`.
    pub id: String,
    /// The connection that reported its run id.
    pub connection: Connection,
    /// Where its peers dial it, as far as the host knows.
    pub place: Endpoint,
}

/// The member that Sentinels are to name.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its `id`.
    pub id: String,
    /// The connection that reported its run id.
    pub connection: Connection,
    /// Its addresses, the one among servers first.
    pub places: Vec<Endpoint>,
}

impl Watch {
    /// The name under which they watch the group.
    fn name(&self) -> &str {
        &self.settings.master_name
    }

    fn sentinel(&self, id: &str) -> Result<&Sentinel, String> {
        let found = self.sentinels.iter().find(|sentinel| sentinel.id == id);
        found.ok_or_else(|| format!("{id} has no connection"))
    }
}

impl Master {
    /// Ok if it answers as a master on the connection that reported its run id.
    async fn must_be_master(&self, step: &'static str, deadline: Instant) -> Result<(), ActFailure> {
        // A read: if its answer is missing, nothing is in doubt.
        let replies = self.connection.ask(&Question::new(&[["ROLE"]]), deadline).await;
        let replies = replies.map_err(|failure| precondition(step, format!("{}: {failure}", self.id)))?;
        match replies.first().and_then(Role::parse) {
            Some(Role::Master { .. }) => Ok(()),
            Some(Role::Replica { .. }) | None => {
                Err(precondition(step, format!("{} does not answer as a master", self.id)))
            }
        }
    }

    fn is_at(&self, place: &Endpoint) -> bool {
        self.places.iter().any(|own| is_same(own, place))
    }
}

/// The same address, in any spelling.
fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    Place::new(&one.host, one.port) == Place::new(&other.host, other.port)
}

fn precondition(step: &'static str, why: String) -> ActFailure {
    ActFailure::Precondition { step, why }
}
