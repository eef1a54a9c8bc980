//! The part of Sentinels in an action: from the order's numbers to connections, and the telling after it.
//! Must not choose.

use super::links::Links;
use crate::contract::{SentinelAction, SentinelChange};
use crate::group;
use crate::redis::act::ActFailure;
use crate::redis::act::sentinel::{
    ELECTION_MAX, Elected, Master, Sentinel, Votes, Watch, announce, elect, rewrite, set_option, tell,
};
use crate::redis::{Endpoint, now};
use std::time::{Duration, Instant};

/// The Sentinels of an order, with their connections.
pub(super) struct Sentinels {
    watch: Watch,
    /// The member that they are to name. None: of none, or its connection has ended.
    master: Option<Master>,
}

impl Sentinels {
    /// Those of the order whose connections are still open.
    pub(super) fn of(links: &Links, order: group::Watch) -> Self {
        let sentinel = |(id, number, address): (String, u64, _)| {
            Some(Sentinel { connection: links.connection(&id, number)?, id, place: Endpoint::from(&address) })
        };
        let sentinels = order.sentinels.into_iter().filter_map(sentinel).collect();
        let master = order.master.and_then(|to_name| {
            let connection = links.connection(&to_name.id, to_name.link)?;
            let places = to_name.places.iter().map(Endpoint::from).collect();
            Some(Master { id: to_name.id, connection, places })
        });
        let (login, own_id) = (links.login_of_sentinels(), links.own_id());
        Self { watch: Watch { settings: order.settings, sentinels, login, own_id }, master }
    }

    /// Asks for the right to make the member of the order a master.
    ///
    /// # Errors
    /// As [`elect`].
    pub(super) async fn elect(&self, needed: Votes) -> Result<Elected, ActFailure> {
        let candidate = self.master.as_ref().ok_or(ActFailure::Gone { step: "votes" })?;
        elect(&self.watch, candidate, needed, now() + ELECTION_MAX).await
    }

    /// Tells all of them of the master that they voted for. Those that are not told now are told by a later
    /// decision, since they show another master.
    pub(super) async fn tell(self, elected: Elected) {
        let Some(master) = self.master else { return };
        let began = now();
        let told = tell(&self.watch, &elected, &master, began + TELL_MAX).await;
        let elapsed_ms = now().saturating_duration_since(began).as_millis();
        tracing::info!(
            group = self.watch.settings.master_name,
            master = master.id,
            epoch = elected.epoch,
            told = told.told.len(),
            of = self.watch.sentinels.len(),
            elapsed_ms,
            "sentinels told"
        );
        for (instance, failure) in told.untold {
            tracing::warn!(instance, error = %failure, "sentinel not told, will retry");
        }
    }

    /// Carries out what only a Sentinel does. Returns the result in words.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub(super) async fn change(
        &self,
        action: &SentinelAction,
        deadline: Instant,
    ) -> Result<String, ActFailure> {
        let (watch, id) = (&self.watch, action.id.as_str());
        let master = || self.master.as_ref().ok_or(ActFailure::Gone { step: "sentinel" });
        match &action.change {
            SentinelChange::Announce(terms) => {
                let master = master()?;
                announce(watch, id, master, terms.config_epoch, deadline).await?;
                Ok(format!("now names {} in config epoch {}", master.id, terms.config_epoch))
            }
            SentinelChange::Rewrite(_) => {
                let master = master()?;
                let rewritten = rewrite(watch, id, master, deadline).await?;
                Ok(format!("now names {} and was taught {} peers", master.id, rewritten.peers))
            }
            SentinelChange::SetOption(terms) => {
                set_option(watch, id, &terms.name, &terms.to, deadline).await?;
                Ok(format!("{} set to {}", terms.name, terms.to))
            }
        }
    }
}

/// The votes of a promotion, for its note.
pub(super) fn votes(elected: &Elected) -> String {
    format!(", elected by {} of {} Sentinels in epoch {}", elected.votes, elected.voters, elected.epoch)
}

/// Beside the plan: a slow disk delays a Sentinel, and nothing else.
const TELL_MAX: Duration = Duration::from_secs(1);
