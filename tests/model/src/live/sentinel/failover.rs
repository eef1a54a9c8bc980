//! Votes, the election, and the states of a failover.

use super::looking::{INFO_US, PUBLISH_US, SECOND_US};
use super::watched::{Turn, Watched};
use super::{Master, Sentinel};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A failover of this Sentinel's.
#[derive(Clone, Debug)]
pub(super) struct Failover {
    pub state: State,
    pub epoch: u64,
    pub changed_us: u64,
    /// SENTINEL FAILOVER: without an election.
    pub is_forced: bool,
    /// The one that becomes master, by its place among the replicas.
    pub promoted: Option<usize>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    WaitStart,
    Select,
    Send,
    WaitPromotion,
    Reconfigure,
    Update,
}

impl State {
    /// `sentinelFailoverStateStr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WaitStart => "wait_start",
            Self::Select => "select_slave",
            Self::Send => "send_slaveof_noone",
            Self::WaitPromotion => "wait_promotion",
            Self::Reconfigure => "reconf_slaves",
            Self::Update => "update_config",
        }
    }
}

impl Failover {
    /// The promotion was seen.
    pub fn is_promoted(&self) -> bool {
        self.state >= State::Reconfigure
    }

    /// What is left is to name the new master.
    pub fn is_over(&self) -> bool {
        self.state == State::Update
    }

    fn enter(&mut self, state: State, now_us: u64) {
        (self.state, self.changed_us) = (state, now_us);
    }
}

impl Sentinel {
    /// SENTINEL IS-MASTER-DOWN-BY-ADDR. Whether it is down, and the vote.
    pub(super) fn on_asked_down(
        &mut self,
        host: &str,
        port: u16,
        epoch: u64,
        id: Option<&str>,
    ) -> (bool, Option<String>, u64) {
        let Some(mut master) = self.master.take() else { return (false, None, 0) };
        let is_it = master.own.is_at(host, port);
        let is_down = is_it && master.own.is_down && self.tilt_us.is_none();
        let (leader, epoch) = match id.filter(|_| is_it) {
            Some(id) => self.vote(&mut master, epoch, id),
            None => (None, 0),
        };
        self.master = Some(master);
        (is_down, leader, epoch)
    }

    /// `sentinelVoteLeader`: one vote an epoch, to the first that asks.
    fn vote(&mut self, master: &mut Master, epoch: u64, id: &str) -> (Option<String>, u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.flush(master);
            self.event("+new-epoch", epoch.to_string());
        }
        if master.own.leader_epoch < epoch && self.epoch <= epoch {
            (master.own.leader, master.own.leader_epoch) = (Some(id.into()), self.epoch);
            self.flush(master);
            self.event("+vote-for-leader", format!("{id} {}", self.epoch));
            if id != self.id {
                master.failover_start_us = self.now_us + self.desync_us();
            }
        }
        (master.own.leader.clone(), master.own.leader_epoch)
    }

    fn desync_us(&mut self) -> u64 {
        self.dice.below(SECOND_US / 1_000) * 1_000
    }

    /// `sentinelGetLeader`.
    fn is_leader(&mut self, master: &mut Master, epoch: u64) -> bool {
        let mut votes: BTreeMap<String, u64> = BTreeMap::new();
        for peer in master.peers.iter().filter(|peer| peer.leader_epoch == self.epoch) {
            if let Some(leader) = &peer.leader {
                *votes.entry(leader.clone()).or_default() += 1;
            }
        }
        let most = votes.iter().max_by_key(|(_, count)| **count).map(|(id, _)| id.clone());
        let mine = most.unwrap_or_else(|| self.id.clone());
        if let (Some(voted), of) = self.vote(master, epoch, &mine)
            && of == epoch
        {
            *votes.entry(voted).or_default() += 1;
        }
        let needed = ((master.peers.len() as u64).div_ceil(2) + 1).max(master.settings.quorum);
        let winner = votes.iter().max_by_key(|(_, count)| **count);
        winner.is_some_and(|(id, count)| *id == self.id && *count >= needed)
    }

    /// `sentinelStartFailoverIfNeeded`.
    pub(super) fn starts_failover(&mut self, master: &mut Master) -> bool {
        let wait_us = 2 * master.settings.failover_timeout_ms * 1_000;
        let is_free = master.failover.is_none() && self.now_us >= master.failover_start_us + wait_us;
        let starts = master.own.is_odown && is_free;
        if starts {
            self.start_failover(master, false);
        }
        starts
    }

    pub(super) fn start_failover(&mut self, master: &mut Master, is_forced: bool) {
        self.epoch += 1;
        self.event("+new-epoch", self.epoch.to_string());
        self.event("+try-failover", String::new());
        master.failover_start_us = self.now_us + self.desync_us();
        master.failover = Some(Failover {
            state: State::WaitStart,
            epoch: self.epoch,
            changed_us: self.now_us,
            is_forced,
            promoted: None,
        });
    }

    /// `sentinelSelectSlave`.
    pub(super) fn select(&self, master: &Master) -> Option<usize> {
        let now_us = self.now_us;
        let down_us = if master.own.is_down { now_us - master.own.down_us } else { 0 };
        let link_down_max_ms = down_us / 1_000 + 10 * master.settings.down_after_ms;
        let info_us = if master.own.is_down { 5 * SECOND_US } else { 3 * INFO_US };
        let is_good = |one: &Watched| {
            !one.is_down
                && !one.link.is_disconnected
                && now_us - one.link.good_us <= 5 * SECOND_US
                && one.priority != 0
                && now_us - one.info_us <= info_us
                && one.link_down_ms <= i64::try_from(link_down_max_ms).unwrap_or(i64::MAX)
        };
        let good = master.replicas.iter().enumerate().filter(|(_, one)| is_good(one));
        let key =
            |one: &Watched| (one.priority, Reverse(one.offset), one.run_id.is_none(), one.run_id.clone());
        good.min_by_key(|(_, one)| key(one)).map(|(index, _)| index)
    }

    /// `sentinelFailoverStateMachine`.
    pub(super) fn go_on(&mut self, master: &mut Master) {
        let Some(failover) = &master.failover else { return };
        let (epoch, is_forced, promoted) = (failover.epoch, failover.is_forced, failover.promoted);
        let timeout_us = master.settings.failover_timeout_ms * 1_000;
        let is_late = self.now_us - failover.changed_us > timeout_us;
        match failover.state {
            State::WaitStart => {
                let is_leader = self.is_leader(master, epoch);
                if is_leader || is_forced {
                    let text = if is_leader { epoch.to_string() } else { "forced".into() };
                    self.event("+elected-leader", text);
                    self.enter(master, State::Select);
                } else if self.now_us > master.failover_start_us + timeout_us.min(ELECTION_US) {
                    self.abort(master, "-failover-abort-not-elected");
                }
            }
            State::Select => match self.select(master) {
                None => self.abort(master, "-failover-abort-no-good-slave"),
                Some(index) => {
                    let one = &mut master.replicas[index];
                    one.turn = Turn::Promoted;
                    let text = format!("{}:{}", one.host, one.port);
                    self.event("+selected-slave", text);
                    master.failover.iter_mut().for_each(|failover| failover.promoted = Some(index));
                    self.enter(master, State::Send);
                }
            },
            State::Send => {
                let Some(one) = promoted.map(|index| &master.replicas[index]) else { return };
                if !one.link.is_disconnected {
                    self.send_follow(one, None);
                    self.enter(master, State::WaitPromotion);
                } else if is_late {
                    self.abort(master, "-failover-abort-slave-timeout");
                }
            }
            State::WaitPromotion if is_late => self.abort(master, "-failover-abort-slave-timeout"),
            State::WaitPromotion | State::Update => {}
            State::Reconfigure => self.reconfigure(master, is_late),
        }
    }

    fn enter(&mut self, master: &mut Master, state: State) {
        master.failover.iter_mut().for_each(|failover| failover.enter(state, self.now_us));
    }

    /// `sentinelAbortFailover`.
    fn abort(&mut self, master: &mut Master, why: &'static str) {
        self.event(why, String::new());
        master.failover = None;
        for one in master.replicas.iter_mut().filter(|one| one.is_promoted()) {
            one.turn = Turn::None;
        }
    }

    /// INFO says that the promoted replica is a master. True: that was waited for.
    pub(super) fn has_been_promoted(&mut self, master: &mut Master) -> bool {
        let Some(failover) = master.failover.as_mut().filter(|it| it.state == State::WaitPromotion) else {
            return false;
        };
        failover.enter(State::Reconfigure, self.now_us);
        master.config_epoch = failover.epoch;
        self.flush(master);
        self.event("+promoted-slave", master.config_epoch.to_string());
        let all = std::iter::once(&mut master.own).chain(&mut master.replicas).chain(&mut master.peers);
        for one in all {
            one.published_us = one.published_us.saturating_sub(PUBLISH_US + 1_000);
        }
        true
    }

    /// `sentinelFailoverReconfNextSlave`, and `sentinelFailoverDetectEnd`.
    fn reconfigure(&mut self, master: &mut Master, is_late: bool) {
        let Some(to) = master.failover.as_ref().and_then(|failover| failover.promoted) else { return };
        let (now_us, place) = (self.now_us, master.replicas[to].place());
        let changes = |one: &&Watched| matches!(one.turn, Turn::Sent | Turn::Changing);
        let mut under_way = master.replicas.iter().filter(changes).count() as u64;
        for index in 0..master.replicas.len() {
            if under_way >= master.settings.parallel_syncs {
                break;
            }
            let one = &mut master.replicas[index];
            if one.turn == Turn::Sent && now_us - one.turn_us > RECONF_US {
                one.turn = Turn::Done;
            }
            if one.turn == Turn::None && !one.link.is_disconnected {
                (one.turn, one.turn_us) = (Turn::Sent, now_us);
                under_way += 1;
                self.send_follow(&master.replicas[index], Some(place.clone()));
            }
        }
        if master.replicas[to].is_down {
            return;
        }
        let is_left = |one: &Watched| !matches!(one.turn, Turn::Promoted | Turn::Done) && !one.is_down;
        if is_late || !master.replicas.iter().any(is_left) {
            self.event("+failover-end", String::new());
            self.enter(master, State::Update);
        }
        if is_late {
            for index in 0..master.replicas.len() {
                let one = &mut master.replicas[index];
                if matches!(one.turn, Turn::None | Turn::Changing) && !one.link.is_disconnected {
                    one.turn = Turn::Sent;
                    self.send_follow(&master.replicas[index], Some(place.clone()));
                }
            }
        }
    }

    /// `sentinelFailoverSwitchToPromotedSlave`.
    pub(super) fn switch_to_promoted(&mut self, master: &mut Master) {
        let to = master.named().place();
        self.switch(master, &to);
    }
}

/// `sentinel_election_timeout`.
const ELECTION_US: u64 = 10 * SECOND_US;
/// `sentinel_slave_reconf_timeout`.
const RECONF_US: u64 = 10 * SECOND_US;
