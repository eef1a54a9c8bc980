//! Which of those that answer as masters are none that counts: back without their data, or never part of the group.

use super::scene::{Scene, Seat};
use failover_core::facts::Relation;

impl Scene<'_> {
    /// Whether this is the very process that was made known as the master.
    pub fn is_published(&self, seat: &Seat<'_>) -> bool {
        self.observation.published.as_ref().is_some_and(|record| record.master == seat.id && seat.run_id == Some(record.run_id.as_str()))
    }

    /// Whether its history is the one on record, or grew out of it. False without a record.
    pub fn knows_record(&self, seat: &Seat<'_>) -> bool {
        let record = self.observation.published.as_ref();
        record.is_some_and(|record| seat.facts.history.is_some_and(|history| history.knows(&record.replid)))
    }

    /// A master that came back without what an answering replica still has.
    pub fn is_amnesic(&self, seat: &Seat<'_>) -> bool {
        if !seat.answers_as_master() || self.knows_record(seat) {
            return false;
        }
        // A foreigner with more keys bears no witness while anybody has the history on record.
        let heirs_answer = self.answering().any(|other| self.knows_record(other));
        let contradicts_record = |witness: &Seat<'_>| match &self.observation.published {
            Some(record) if record.master == seat.id => seat.run_id.is_some_and(|run_id| run_id != record.run_id),
            Some(_) if heirs_answer => true,
            // No record tells: then it must be younger than the broken link of whom it would wipe. Both count whole seconds.
            Some(_) | None => seat.uptime_s.zip(witness.facts.link_down_s).is_some_and(|(uptime, down)| uptime <= down.saturating_add(2)),
        };
        self.answering().any(|witness| {
            witness.is_replica()
                && seat.keys.zip(witness.keys).is_some_and(|(own, theirs)| own < theirs)
                && seat.relation(witness) == Some(Relation::Unrelated)
                && (!heirs_answer || self.knows_record(witness))
                && contradicts_record(witness)
        })
    }

    /// A master that no record and no history ties to the group, beside `other`. An empty one is a stray where `other` has
    /// something to lose, or where nobody names it; one with data only where nobody names it and `other` is the heir on record.
    pub fn is_stray(&self, seat: &Seat<'_>, other: &Seat<'_>) -> bool {
        let is_named = || self.answering().any(|follower| follower.is_replica() && self.names(follower, seat.id));
        let is_worth_less = || match seat.keys {
            Some(0) => other.has_keys() || !is_named(),
            Some(_) | None => self.knows_record(other) && !is_named(),
        };
        seat.answers_as_master()
            && !self.is_published(seat)
            && !self.knows_record(seat)
            && seat.relation(other) == Some(Relation::Unrelated)
            && is_worth_less()
    }
}
