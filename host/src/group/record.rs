//! What a group remembers of one shard, and what survives the operator: the published master, the generations of the
//! data, the last position that was seen replicated, the last change of master. Must not decide when any of it is
//! published.

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
    /// A position that replicas have yet to reach.
    sample: Option<Sample>,
    last_failover: Option<Changed>,
    no_master: Option<Moment>,
}

/// A position of the master, and the replicas that have reached it so far.
struct Sample {
    replid: String,
    offset: u64,
    taken: Moment,
    reached: BTreeSet<String>,
}

impl ShardMemory {
    /// Of a shard whose record a predecessor left, or left none.
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
            sample: None,
            last_failover,
            no_master: None,
        }
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    /// As the contract has it, with ages that count back from `now`.
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

    /// What survives the operator. None: no master was published yet.
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

    /// A decision names a master of this shard, or none.
    pub fn note_master(&mut self, now: Moment, has_master: bool) {
        if has_master {
            self.no_master = None;
        } else {
            self.no_master.get_or_insert(now);
        }
    }

    /// The role changed hands.
    pub fn note_change(&mut self, changed: Changed) {
        self.last_failover = Some(changed);
    }

    /// Whether `master` was published as it is now. Then only its offset is news, which losses are counted from,
    /// and it is noted.
    pub fn confirm(&mut self, now: Moment, id: &str, master: &MemberState) -> bool {
        let Some((published, at)) = &mut self.published else { return false };
        let Some(facts) = master.replication() else { return false };
        let Some(history) = facts.history else { return false };
        let is_same = published.master == id
            && master.run_id() == Some(&published.run_id)
            && published.replid == history.replid;
        if is_same {
            (published.offset, published.age_us, *at) = (history.offset, 0, now);
        }
        is_same
    }

    /// Makes this member the published master, as it is now. False: it shows too little of itself.
    pub fn publish(&mut self, now: Moment, id: &str, master: &MemberState) -> bool {
        let Some(facts) = master.replication().filter(|facts| facts.role != ReportedRole::Unknown) else {
            return false;
        };
        let (Some(run_id), Some(history)) = (master.run_id(), facts.history) else { return false };
        let before = self.published.as_ref().map(|(published, _)| published);
        let epoch = before.map_or(1, |before| before.epoch + u64::from(before.master != id));
        let published = Published {
            master: id.to_owned(),
            run_id: run_id.to_owned(),
            replid: history.replid.to_owned(),
            offset: history.offset,
            epoch,
            age_us: 0,
            node: None,
        };
        self.published = Some((published, now));
        self.note_generation(now, id, history.replid, history.former);
        true
    }

    /// A replica that was only just sent its promotion still shows the replication id of the master before: its own
    /// generation begins when it shows another.
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

    /// Follows the stream from a position of the master to its replicas. True: a position is known anew, with the
    /// replicas that had it within a second.
    pub fn follow_position(
        &mut self,
        now: Moment,
        every_us: u64,
        members: &BTreeMap<String, Box<MemberState>>,
    ) -> bool {
        let Some((published, _)) = &self.published else { return false };
        let Some(sample) = &mut self.sample else {
            let is_due = self.position.as_ref().is_none_or(|(_, at)| at.age_us(now) >= every_us);
            let master = members.get(&published.master).filter(|_| is_due);
            let Some((offset, taken)) = master.and_then(|master| master.offset()) else { return false };
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
                self.sample = Some(Sample { replid, offset, taken, reached });
            }
            return false;
        };
        let others = || members.iter().filter(|(id, _)| **id != published.master);
        for (id, member) in others() {
            let is_in_time = |(offset, at): (u64, Moment)| {
                offset >= sample.offset && at >= sample.taken && at.0 - sample.taken.0 <= REACHED_WITHIN_US
            };
            if !sample.reached.contains(id) && member.offset().is_some_and(is_in_time) {
                let replid =
                    member.replication().and_then(|facts| facts.history).map(|history| history.replid);
                if replid == Some(&sample.replid) {
                    sample.reached.insert(id.clone());
                }
            }
        }
        let is_over =
            sample.taken.age_us(now) > REACHED_WITHIN_US || sample.reached.len() == others().count();
        let Some(Sample { replid, offset, taken, reached }) = self.sample.take_if(|_| is_over) else {
            return false;
        };
        let acknowledged_by = reached.into_iter().collect();
        self.position = Some((Position { replid, offset, acknowledged_by, age_us: 0 }, taken));
        true
    }
}

impl Changed {
    fn failover(&self, now: Moment) -> Failover {
        let Self { at, age_us, source, target, meant_for, evidence } = self.clone();
        Failover { age_us: age_us.saturating_add(at.age_us(now)), source, target, meant_for, evidence }
    }
}

/// 32 role changes within the life of one copy are more than any history that was reported.
const GENERATIONS_MAX: usize = 32;
/// What a replica has within a second, it acknowledges with its next REPLCONF ACK.
const REACHED_WITHIN_US: u64 = 1_000_000;
