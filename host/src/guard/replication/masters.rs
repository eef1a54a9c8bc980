//! Which instances that report role master do not count as one: those that came back without their data, and
//! those that were never part of the group. Must not judge a replica's end.
//!
//! Why amnesia needs a witness. A master that restarts with an empty or older data set looks like any master:
//! 1. Redis-1, the master without persistence, is restarted by its supervisor within the hang limit.
//! 2. It answers as a master, with a new run id, a new replication id and no keys.
//! 3. Redis-2 reconnects, starts a full sync, and deletes its complete copy.
//!
//! So between steps 2 and 3 a replica that still has the data is the only evidence. It counts as a witness if
//! it has more keys and an unrelated history, or is ahead in the same history; and if the record, the name of
//! its master or its broken link ties it to this instance. Without such a tie a replica of another group,
//! which has more keys too, would unseat a healthy master.

use super::restart::is_from_file;
use crate::contract::Position;
use crate::guard::scene::{Instance, Scene};
use failover_core::facts::Relation;

impl Scene<'_> {
    /// True if this very process (same run id) is the published master.
    pub fn is_published(&self, instance: &Instance<'_>) -> bool {
        self.observation.published().is_some_and(|record| {
            record.master == instance.id && instance.run_id == Some(record.run_id.as_str())
        })
    }

    /// The position on record, if the record saw the instance reach it.
    pub fn position_reached(&self, instance: &Instance<'_>) -> Option<&Position> {
        let position = self.observation.shard()?.position.as_ref();
        position.filter(|position| position.acknowledged_by.iter().any(|id| id == instance.id))
    }

    /// True if its history is the recorded one, or grew out of it. False without a record.
    pub fn has_recorded_history(&self, instance: &Instance<'_>) -> bool {
        let record = self.observation.published();
        record
            .is_some_and(|record| instance.facts.history.is_some_and(|history| history.knows(&record.replid)))
    }

    /// True for a master that came back without data that an answering replica still has.
    ///
    /// 1. It answers as a master.
    /// 2. A complete replica is ahead of it in its own history: it was wound back ([`Self::is_wound_back`]);
    ///    or has the recorded history at the position on record, which nothing shows that this one still has
    ///    ([`Self::is_outlived`]).
    /// 3. Else: it has not the recorded history, and no other data holder shares its history. The latter is
    ///    not required of the recorded master while another instance has the recorded history.
    /// 4. And a replica with an unrelated history has more keys. If any instance has the recorded history,
    ///    this replica must have it.
    /// 5. And something ties the two. For the recorded master: it has a new run id, and the replica has the
    ///    recorded history or names it, or it started empty. For another instance: one with the recorded
    ///    history answers; or the replica names it, and its link broke before the instance started.
    pub fn is_amnesic(&self, instance: &Instance<'_>) -> bool {
        if !instance.answers_as_master() {
            return false;
        }
        let has_the_tail = |witness: &Instance<'_>| {
            self.is_wound_back(instance, witness) || self.is_outlived(instance, witness)
        };
        if self.answering().any(has_the_tail) {
            return true;
        }
        if self.has_recorded_history(instance) {
            return false;
        }
        // A replica of a foreign history is no witness while another instance has the recorded history, or a
        // copy of this one's data.
        let heirs_answer = self.answering().any(|other| self.has_recorded_history(other));
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
                let would_be_lost = self.has_recorded_history(witness)
                    || self.names(witness, instance.id)
                    || instance.keys == Some(0)
                    || instance.loaded_nothing();
                would_be_lost && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
            }
            Some(_) if heirs_answer => true,
            // Without a record, it must have started after the link broke of the replica that it would wipe.
            Some(_) | None => self.names(witness, instance.id) && is_younger(instance, witness),
        };
        // What it read from its own files may be all that is left of them: a copy that restarted, too, counts
        // what has expired since.
        let has_files = instance.has_keys() && !instance.loaded_nothing();
        self.answering().any(|witness| {
            witness.is_replica()
                && !(has_files && is_from_file(self, witness))
                && instance.keys.zip(witness.keys).is_some_and(|(own, theirs)| own < theirs)
                && instance.relation(witness) == Some(Relation::Unrelated)
                && (!heirs_answer || self.has_recorded_history(witness))
                && contradicts_record(witness)
        })
    }

    /// True if the recorded master came back at an earlier position of its history, as from an old snapshot,
    /// and has received less since than an answering copy would lose. Within one replication id a larger
    /// offset is only the younger sample.
    fn is_wound_back(&self, instance: &Instance<'_>, witness: &Instance<'_>) -> bool {
        let record = self.observation.published();
        let is_new_run = match record {
            Some(record) => {
                record.master == instance.id
                    && instance.run_id.is_some_and(|run_id| run_id != record.run_id)
                    && self.has_recorded_history(witness)
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

    /// True if the recorded master came back with a history that nobody knows, as from an append-only file
    /// that may lack its end, while a replica that did not restart has the recorded history at the position
    /// that the record saw it reach, and lost its link when that process ended.
    fn is_outlived(&self, instance: &Instance<'_>, witness: &Instance<'_>) -> bool {
        let Some(record) = self.observation.published() else { return false };
        let is_at_it = self.position_reached(witness).is_some_and(|position| {
            position.replid == record.replid
                && witness
                    .history()
                    .is_some_and(|at| at.knows(&position.replid) && at.offset >= position.offset)
        });
        let is_new_run = instance.run_id.is_some_and(|run_id| run_id != record.run_id);
        let broke_with_it = instance.uptime_s.zip(witness.facts.link_down_s).is_some_and(|(up_s, down_s)| {
            up_s <= down_s.saturating_add(ROUNDING_S) && down_s <= up_s.saturating_add(RESTART_MAX_S)
        });
        record.master == instance.id
            && is_new_run
            && is_at_it
            && broke_with_it
            && witness.answers_as_replica()
            && witness.facts.link_up == Some(false)
            && witness.has_keys()
            && !witness.is_loading
            && !witness.facts.is_syncing
            && instance.relation(witness) == Some(Relation::Unrelated)
            && !is_from_file(self, witness)
    }

    /// True for a master that no record and no history ties to the group, compared with `other`:
    ///
    /// 1. It is not the published process, has not the recorded history, and is unrelated to `other`.
    /// 2. If it is empty: `other` has keys, or no replica names it.
    /// 3. If it has keys: no replica names it, and `other` is the recorded master or has its history, or
    ///    shares a history with a replica while this one shares none, or has more keys in a group that has a
    ///    record.
    pub fn is_stray(&self, instance: &Instance<'_>, other: &Instance<'_>) -> bool {
        let is_named =
            || self.answering().any(|follower| follower.is_replica() && self.names(follower, instance.id));
        // Other data holders share a history, and this one shares none.
        let shares = |one: &Instance<'_>, two: &Instance<'_>| {
            one.relation(two).is_some_and(|relation| relation != Relation::Unrelated)
        };
        let is_tied = || {
            self.observation.published().is_none_or(|record| record.master != instance.id)
                && self.answering().any(|third| {
                    // How many keys a copy has, may be unknown of one of the two.
                    let has_keys = other.has_keys() || other.keys.is_none() && third.has_keys();
                    third.id != other.id && third.is_replica() && shares(third, other) && has_keys
                })
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
                (self.has_recorded_history(other) || is_on_record() || is_richer() || is_tied())
                    && !is_named()
            }
        };
        instance.answers_as_master()
            && !self.is_published(instance)
            && !self.has_recorded_history(instance)
            && instance.relation(other) == Some(Relation::Unrelated)
            && is_worth_less()
    }

    /// True for a former master: neither the record nor a replica names it, and `other` has a later
    /// generation of its history.
    pub fn is_former(&self, instance: &Instance<'_>, other: &Instance<'_>) -> bool {
        let is_on_record = self.observation.published().is_some_and(|record| record.master == instance.id);
        let grew_out_of_it = other
            .history()
            .zip(instance.history())
            .is_some_and(|(other, own)| other.former.is_some_and(|(id, _)| id == own.replid));
        let is_named =
            || self.answering().any(|follower| follower.is_replica() && self.names(follower, instance.id));
        !is_on_record && !self.has_recorded_history(instance) && grew_out_of_it && !is_named()
    }
}

/// Ages are whole seconds, so two of them may be rounding.
const ROUNDING_S: u64 = 2;
/// From the end of a process to the start of the next one, where nobody took over.
const RESTART_MAX_S: u64 = 10;

/// True if the instance started no earlier than the witness's link broke.
fn is_younger(instance: &Instance<'_>, witness: &Instance<'_>) -> bool {
    instance
        .uptime_s
        .zip(witness.facts.link_down_s)
        .is_some_and(|(uptime_s, down_s)| uptime_s <= down_s.saturating_add(ROUNDING_S))
}
