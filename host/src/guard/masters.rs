//! Which of those that answer as masters are none that counts: back without their data, or never part of the
//! group.

use super::scene::{Instance, Scene};
use failover_core::facts::Relation;

impl Scene<'_> {
    /// Whether this is the very process that was made known as the master.
    pub fn is_published(&self, instance: &Instance<'_>) -> bool {
        self.observation.published().is_some_and(|record| {
            record.master == instance.id && instance.run_id == Some(record.run_id.as_str())
        })
    }

    /// Whether its history is the one on record, or grew out of it. False without a record.
    pub fn knows_record(&self, instance: &Instance<'_>) -> bool {
        let record = self.observation.published();
        record
            .is_some_and(|record| instance.facts.history.is_some_and(|history| history.knows(&record.replid)))
    }

    /// A master that came back without what an answering replica still has.
    pub fn is_amnesic(&self, instance: &Instance<'_>) -> bool {
        if !instance.answers_as_master() {
            return false;
        }
        if self.answering().any(|witness| self.is_wound_back(instance, witness)) {
            return true;
        }
        if self.knows_record(instance) {
            return false;
        }
        // A foreigner with more keys bears no witness while anybody has the history on record, or a copy of
        // this one's.
        let heirs_answer = self.answering().any(|other| self.knows_record(other));
        let keeps_a_copy = |other: &Instance<'_>| {
            other.id != instance.id
                && other.has_keys()
                && other.relation(instance).is_some_and(|relation| relation != Relation::Unrelated)
        };
        let is_on_record = self.observation.published().is_some_and(|record| record.master == instance.id);
        if !(heirs_answer && is_on_record) && self.answering().any(keeps_a_copy) {
            return false;
        }
        let contradicts_record = |witness: &Instance<'_>| match self.observation.published() {
            Some(record) if record.master == instance.id => {
                let would_be_lost = self.knows_record(witness)
                    || self.names(witness, instance.id)
                    || instance.keys == Some(0);
                would_be_lost && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
            }
            Some(_) if heirs_answer => true,
            // No record tells: then it must be younger than the broken link of whom it would wipe.
            Some(_) | None => self.names(witness, instance.id) && is_younger(instance, witness),
        };
        self.answering().any(|witness| {
            witness.is_replica()
                && instance.keys.zip(witness.keys).is_some_and(|(own, theirs)| own < theirs)
                && instance.relation(witness) == Some(Relation::Unrelated)
                && (!heirs_answer || self.knows_record(witness))
                && contradicts_record(witness)
        })
    }

    /// The master on record came back at an earlier place of the history, as from an old snapshot, and took
    /// less since than an answering copy would lose. Within one replication id a larger offset is only
    /// the younger sample.
    fn is_wound_back(&self, instance: &Instance<'_>, witness: &Instance<'_>) -> bool {
        let record = self.observation.published();
        let is_new_run = match record {
            Some(record) => {
                record.master == instance.id
                    && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
                    && self.knows_record(witness)
            }
            None => self.names(witness, instance.id) && is_younger(instance, witness),
        };
        let is_whole =
            witness.is_replica() && witness.has_keys() && !witness.is_loading && !witness.facts.is_syncing;
        is_new_run
            && is_whole
            && match witness.relation(instance) {
                Some(Relation::Ahead(_)) => {
                    witness.history().map(|at| at.replid) != instance.history().map(|at| at.replid)
                }
                Some(Relation::Forked { own, theirs, .. }) => own > theirs,
                Some(Relation::Equal | Relation::Behind(_) | Relation::Unrelated) | None => false,
            }
    }

    /// A master that no record and no history ties to the group, beside `other`. An empty one is a stray
    /// where `other` has something to lose, or where nobody names it; one with data only where nobody
    /// names it and `other` is on record, its heir, one of several that belong together, or the richer
    /// one in a group that has a record.
    pub fn is_stray(&self, instance: &Instance<'_>, other: &Instance<'_>) -> bool {
        let is_named =
            || self.answering().any(|follower| follower.is_replica() && self.names(follower, instance.id));
        // Others with data belong together, and this one to none of them.
        let shares = |one: &Instance<'_>, two: &Instance<'_>| {
            one.relation(two).is_some_and(|relation| relation != Relation::Unrelated)
        };
        let is_tied = || {
            self.observation.published().is_none_or(|record| record.master != instance.id)
                && other.has_keys()
                && self
                    .answering()
                    .any(|third| third.id != other.id && third.is_replica() && shares(third, other))
                && !self.answering().any(|third| third.id != instance.id && shares(third, instance))
        };
        let is_on_record = || {
            other.has_keys() && self.observation.published().is_some_and(|record| record.master == other.id)
        };
        let is_richer = || {
            self.observation.published().is_some()
                && other.keys.zip(instance.keys).is_some_and(|(theirs, own)| theirs > own)
        };
        let is_worth_less = || match instance.keys {
            Some(0) => other.has_keys() || !is_named(),
            Some(_) | None => {
                (self.knows_record(other) || is_on_record() || is_richer() || is_tied()) && !is_named()
            }
        };
        instance.answers_as_master()
            && !self.is_published(instance)
            && !self.knows_record(instance)
            && instance.relation(other) == Some(Relation::Unrelated)
            && is_worth_less()
    }

    /// A former master: neither the record nor any replica knows it, and `other` is of a later generation of
    /// its history.
    pub fn is_former(&self, instance: &Instance<'_>, other: &Instance<'_>) -> bool {
        let is_on_record = self.observation.published().is_some_and(|record| record.master == instance.id);
        let grew_out_of_it = other
            .history()
            .zip(instance.history())
            .is_some_and(|(other, own)| other.former.is_some_and(|(id, _)| id == own.replid));
        let is_named =
            || self.answering().any(|follower| follower.is_replica() && self.names(follower, instance.id));
        !is_on_record && !self.knows_record(instance) && grew_out_of_it && !is_named()
    }
}

/// It started no earlier than the witness's link broke. Both count whole seconds.
fn is_younger(instance: &Instance<'_>, witness: &Instance<'_>) -> bool {
    instance
        .uptime_s
        .zip(witness.facts.link_down_s)
        .is_some_and(|(uptime_s, down_s)| uptime_s <= down_s.saturating_add(2))
}
