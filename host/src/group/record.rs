//! The memory of one shard, and its record, which survives the operator: the published master, the
//! generations of the data, the last position that replicas were seen to reach, the last change of master.
//! Must not decide when a record is published.

use super::event::{Changed, Moment, Record};
use super::member_state::MemberState;
use crate::contract::{Failover, Generation, Position, Published, Shard};
use failover_core::facts::ReportedRole;
use std::collections::{BTreeMap, BTreeSet};

/// The memory of one shard.
pub struct ShardMemory {
    index: u16,
    published: Option<(Published, Moment)>,
    /// Newest first.
    lineage: Vec<(Generation, Moment)>,
    position: Option<(Position, Moment)>,
    /// The position of the master that replicas have yet to reach.
    target: Option<TargetPosition>,
    last_failover: Option<Changed>,
    no_master: Option<Moment>,
    /// What was published before a promotion that is still to be confirmed.
    before: Option<Before>,
}

/// The published master and the generations up to it.
type Before = ((Published, Moment), Vec<(Generation, Moment)>);

/// A position of the master, and the replicas that have reached it so far.
struct TargetPosition {
    replid: String,
    offset: u64,
    sampled: Moment,
    reached: BTreeSet<String>,
}

impl ShardMemory {
    /// The memory of a shard, from the record of an earlier operator if there is one.
    pub fn new(index: u16, record: Option<Record>, now: Moment) -> Self {
        let (published, lineage, position, last_failover) = match record {
            None => (None, Vec::new(), None, None),
            Some(Record { shard: _, published, lineage, position, last_failover }) => {
                (Some(published), lineage, position, last_failover)
            }
        };
        Self {
            index,
            published: published.map(|published| (published, now)),
            lineage: lineage.into_iter().map(|generation| (generation, now)).collect(),
            position: position.map(|position| (position, now)),
            target: None,
            last_failover,
            no_master: None,
            before: None,
        }
    }

    /// Takes a record in place of what it remembers.
    pub fn adopt(&mut self, now: Moment, record: Record) {
        *self = Self { no_master: self.no_master, ..Self::new(self.index, Some(record), now) };
    }

    /// Epoch of the published master.
    pub fn epoch(&self) -> Option<u64> {
        self.published.as_ref().map(|(published, _)| published.epoch)
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    /// The shard of an Observation, with ages as of `now`.
    pub fn shard(&self, now: Moment) -> Shard {
        Shard {
            index: self.index,
            published: self.published_at(now),
            lineage: self.generations(now),
            position: self.position_at(now),
            last_failover: self.last_failover.as_ref().map(|changed| changed.failover(now)),
            no_master_age_us: self.no_master.map_or(0, |since| since.age_us(now)),
        }
    }

    /// The record to publish. None: no master was published yet.
    pub fn record(&self, now: Moment) -> Option<Record> {
        Some(Record {
            shard: self.index,
            published: self.published_at(now)?,
            lineage: self.generations(now),
            position: self.position_at(now),
            last_failover: self.last_failover.clone(),
        })
    }

    fn published_at(&self, now: Moment) -> Option<Published> {
        self.published.as_ref().map(|(published, at)| Published {
            age_us: published.age_us.saturating_add(at.age_us(now)),
            ..published.clone()
        })
    }

    fn generations(&self, now: Moment) -> Vec<Generation> {
        let aged = |(generation, at): &(Generation, Moment)| Generation {
            age_us: generation.age_us.saturating_add(at.age_us(now)),
            ..generation.clone()
        };
        self.lineage.iter().map(aged).collect()
    }

    fn position_at(&self, now: Moment) -> Option<Position> {
        self.position.as_ref().map(|(position, at)| Position {
            age_us: position.age_us.saturating_add(at.age_us(now)),
            ..position.clone()
        })
    }

    /// Notes whether a decision names a master of this shard.
    pub fn note_master(&mut self, now: Moment, has_master: bool) {
        if has_master {
            self.no_master = None;
        } else {
            self.no_master.get_or_insert(now);
        }
    }

    /// Notes a change of master.
    pub fn note_change(&mut self, changed: Changed) {
        self.last_failover = Some(changed);
    }

    /// True if `master` is published with its present run id and history. Then only its offset is new; it is
    /// noted, because losses are counted from it.
    pub fn confirm(&mut self, now: Moment, id: &str, master: &MemberState) -> bool {
        let Some((published, at)) = &mut self.published else { return false };
        let Some(facts) = master.replication() else { return false };
        let Some(history) = facts.history else { return false };
        let is_same = published.master == id
            && master.run_id() == Some(&published.run_id)
            && published.replid == history.replid;
        if is_same {
            (published.offset, published.age_us, *at) = (history.offset, 0, now);
            self.before = None;
        }
        is_same
    }

    /// Publishes a member whose promotion is sent now: clients are led there a round trip earlier.
    pub fn publish_ahead(&mut self, now: Moment, id: &str, member: &MemberState) -> bool {
        let before = self.published.clone().zip(Some(self.lineage.clone()));
        let before = self.before.take().or(before);
        let is_published = self.publish(now, id, member);
        self.before = before;
        is_published
    }

    /// The promotion was not carried out: what was published before holds again, as a later change. Losses
    /// are counted from it: of a master that never was one, nothing can be lost. True: the record changed.
    pub fn take_back(&mut self) -> bool {
        let Some(((mut published, at), lineage)) = self.before.take() else { return false };
        published.epoch = self.epoch().map_or(published.epoch, |epoch| epoch.saturating_add(1));
        (self.published, self.lineage) = (Some((published, at)), lineage);
        true
    }

    /// Makes this member the published master. False: its replies lack role, run id or history.
    pub fn publish(&mut self, now: Moment, id: &str, master: &MemberState) -> bool {
        let Some(facts) = master.replication().filter(|facts| facts.role != ReportedRole::Unknown) else {
            return false;
        };
        let (Some(run_id), Some(history)) = (master.run_id(), facts.history) else { return false };
        let before = self.published.as_ref().map(|(published, _)| published);
        let epoch = before.map_or(1, |before| before.epoch.saturating_add(u64::from(before.master != id)));
        let published = Published {
            master: id.to_owned(),
            run_id: run_id.to_owned(),
            replid: history.replid.to_owned(),
            offset: history.offset,
            epoch,
            age_us: 0,
            node: None,
        };
        (self.published, self.before) = (Some((published, now)), None);
        self.note_generation(now, id, history.replid, history.former);
        true
    }

    /// Adds a generation when the master shows a new replication id. A replica that was just promoted still
    /// shows the id of the former master, so its own generation begins with a later reply.
    fn note_generation(&mut self, now: Moment, master: &str, replid: &str, former: Option<(&str, u64)>) {
        if let Some((newest, _)) = self.lineage.first_mut() {
            if newest.replid == replid {
                return;
            }
            if let Some((_, end)) = former.filter(|(former, _)| *former == newest.replid) {
                newest.end_offset = Some(end);
            }
        }
        let generation =
            Generation { replid: replid.to_owned(), master: master.to_owned(), end_offset: None, age_us: 0 };
        self.lineage.insert(0, (generation, now));
        self.lineage.truncate(GENERATIONS_MAX);
    }

    /// Follows one position of the master's stream to its replicas:
    ///
    /// 1. Every `every_us` the master's offset becomes the target position, if it has moved.
    /// 2. A replica with the same history that shows that offset within a second has reached it.
    /// 3. When all have, or the second is over, the position is complete: returns true, and the position
    ///    lists the replicas that reached it.
    pub fn follow_position(
        &mut self,
        now: Moment,
        every_us: u64,
        members: &BTreeMap<String, Box<MemberState>>,
    ) -> bool {
        let Some((published, _)) = &self.published else { return false };
        let Some(goal) = &mut self.target else {
            let is_due = self.position.as_ref().is_none_or(|(_, at)| at.age_us(now) >= every_us);
            let master = members.get(&published.master).filter(|_| is_due);
            let Some((offset, sampled)) = master.and_then(|master| master.offset()) else { return false };
            let is_news = self
                .position
                .as_ref()
                .is_none_or(|(position, _)| position.offset != offset || position.replid != published.replid);
            let is_master = || {
                master.is_some_and(|master| {
                    let replid =
                        master.replication().and_then(|facts| facts.history).map(|history| history.replid);
                    master.answers_as_master() && replid == Some(&published.replid)
                })
            };
            if is_news && is_master() {
                let (replid, reached) = (published.replid.clone(), BTreeSet::new());
                self.target = Some(TargetPosition { replid, offset, sampled, reached });
            }
            return false;
        };
        let others = || members.iter().filter(|(id, it)| **id != published.master && it.is_server());
        for (id, member) in others() {
            let is_in_time = |(offset, at): (u64, Moment)| {
                offset >= goal.offset && at >= goal.sampled && at.0 - goal.sampled.0 <= REACHED_WITHIN_US
            };
            if !goal.reached.contains(id) && member.offset().is_some_and(is_in_time) {
                let replid =
                    member.replication().and_then(|facts| facts.history).map(|history| history.replid);
                if replid == Some(&goal.replid) {
                    goal.reached.insert(id.clone());
                }
            }
        }
        let is_over = goal.sampled.age_us(now) > REACHED_WITHIN_US || goal.reached.len() == others().count();
        let Some(TargetPosition { replid, offset, sampled, reached }) = self.target.take_if(|_| is_over)
        else {
            return false;
        };
        let acknowledged_by = reached.into_iter().collect();
        self.position = Some((Position { replid, offset, acknowledged_by, age_us: 0 }, sampled));
        true
    }
}

impl Changed {
    fn failover(&self, now: Moment) -> Failover {
        let Self { at, age_us, source, target, meant_for, evidence } = self.clone();
        Failover { age_us: age_us.saturating_add(at.age_us(now)), source, target, meant_for, evidence }
    }
}

/// More role changes within the life of one copy than in any history that was reported.
const GENERATIONS_MAX: usize = 32;
/// A replica sends REPLCONF ACK once a second.
const REACHED_WITHIN_US: u64 = 1_000_000;
