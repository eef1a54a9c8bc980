//! What must always hold, judged by the truth of the model. Each breach has a name, a moment and a sentence.

mod sentinels;

use crate::schedule::{BootRule, Schedule};
use redis_model::live::{Cluster, Edge, Happened, Life, Peer, Place, Process, Wait};
use redis_operator::contract::{Action, Loss};
use redis_operator::group::Report;
use sentinels::Elections;
use std::collections::BTreeMap;

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The invariant.
    pub name: &'static str,
    /// When.
    pub at_us: u64,
    /// What.
    pub text: String,
}

/// What one run is judged by.
#[derive(Debug, Default)]
pub struct Checks {
    /// All breaches, in order.
    pub breaches: Vec<Breach>,
    hang_limit_us: u64,
    interval_us: u64,
    /// The policy lies: that it is at fault is what is to be expected.
    is_hostile: bool,
    is_consistent: bool,
    /// Policies lie: their faults are no breach, and what the watchdog must notice takes its time.
    has_lies: bool,
    /// Since when several servers take writes although the leader reaches them.
    several_since_us: Option<u64>,
    /// By server: since when the leader reaches it without a gap, and when it last did while it was a master.
    reached_since_us: BTreeMap<usize, u64>,
    master_seen_us: BTreeMap<usize, u64>,
    /// By server: when each process began, and when the one before was last reached as a master.
    seen_before: BTreeMap<usize, Vec<(u64, u64)>>,
    /// By server: when an operator last changed its master.
    commanded_us: BTreeMap<usize, u64>,
    /// By server: when its promotion was last sent.
    promoted_us: BTreeMap<usize, u64>,
    /// By server: all moments at which an operator changed its master.
    commands_us: BTreeMap<usize, Vec<u64>>,
    /// Servers start as masters by their own configuration: with what data, no operator is asked.
    starts_masters: bool,
    /// By server: when it started so.
    started_us: BTreeMap<usize, u64>,
    /// Copies that were lost to a master that its own configuration had started with less.
    pub unpreventable: u64,
    /// By server: what the last follow said to give up.
    given_up: BTreeMap<usize, Option<u64>>,
    /// Losses that were reported, with their moments. None: unknown.
    reported: Vec<(u64, Option<u64>)>,
    /// The newest decision calls a loss unknown.
    is_unknown: bool,
    /// The loss of the newest decision that plans a promotion.
    loss: Option<Loss>,
    elections: Elections,
    /// Since when the leader, with its number, reaches all Sentinels.
    watches: Option<(usize, u64)>,
    /// By server: when a Sentinel last changed its master.
    repointed_us: BTreeMap<usize, u64>,
    /// For so long Sentinels may be about to change the master by themselves.
    sentinels_us: u64,
    /// By action and server: when it was sent within the last second.
    sent: BTreeMap<(&'static str, String), Vec<u64>>,
}

impl Checks {
    /// For the group of this schedule.
    pub fn new(schedule: &Schedule) -> Self {
        Self {
            hang_limit_us: u64::from(schedule.hang_limit_ms) * 1000,
            interval_us: schedule.interval_us,
            is_hostile: schedule.is_hostile,
            is_consistent: schedule.is_consistent,
            has_lies: schedule.has_lies,
            starts_masters: schedule.boot == BootRule::Master,
            elections: Elections::new(schedule),
            sentinels_us: sentinels::patience_us(schedule),
            ..Self::default()
        }
    }

    fn breach(&mut self, name: &'static str, at_us: u64, text: String) {
        self.breaches.push(Breach { name, at_us, text });
    }

    /// Takes in what an operator reports. `server_of`: the server that it calls so.
    pub fn on_report(
        &mut self,
        operator: usize,
        at_us: u64,
        report: &Report,
        server_of: impl Fn(&str) -> Option<usize>,
    ) {
        let second = self.elections.on_report(operator, report);
        self.two_leaders(at_us, second);
        match report {
            Report::Decided(decided) => {
                let loss = decided.decision.shards.first().and_then(|shard| shard.loss);
                self.is_unknown = loss.as_ref().is_some_and(|loss| loss.bytes.is_none());
                if let Some(bytes) = loss.as_ref().map(|loss| loss.bytes).filter(|bytes| *bytes != Some(0)) {
                    self.reported.push((at_us, bytes));
                }
                let mut actions = decided.decision.stages.iter().flat_map(|stage| &stage.actions);
                if actions.any(|action| matches!(action, Action::Promote(_))) {
                    self.loss = loss;
                }
            }
            Report::Sent { action, .. } => {
                self.on_sent(at_us, action);
                match action {
                    Action::Follow(follow) => {
                        if let Some(server) = server_of(&follow.id) {
                            self.given_up.insert(server, follow.discards_bytes);
                        }
                        if follow.discards_bytes != Some(0) {
                            self.reported.push((at_us, follow.discards_bytes));
                        }
                    }
                    Action::Promote(promote) => {
                        if let Some(server) = server_of(&promote.id) {
                            self.promoted_us.insert(server, at_us);
                        }
                    }
                    Action::Handover(_)
                    | Action::Demote(_)
                    | Action::Fence(_)
                    | Action::Unfence(_)
                    | Action::KickClients(_)
                    | Action::Configure(_)
                    | Action::Restart(_)
                    | Action::Sentinel(_)
                    | Action::Cluster(_) => {}
                }
            }
            Report::Fault { title, fault, .. }
                if !self.is_hostile && (!self.has_lies || title.starts_with("default")) =>
            {
                self.breach("fault", at_us, format!("{title}: {fault}"));
            }
            Report::Fault { .. }
            | Report::Link { .. }
            | Report::Held
            | Report::Withheld { .. }
            | Report::Finished { .. } => {}
        }
    }

    /// Nothing is sent to one server again and again: a refusal has a pace.
    fn on_sent(&mut self, at_us: u64, action: &Action) {
        let key = (action.name(), action.target().to_owned());
        let sent = self.sent.entry(key).or_default();
        sent.retain(|sent_us| at_us - sent_us < 1_000_000);
        sent.push(at_us);
        if sent.len() > SENT_A_SECOND_MAX && !self.is_hostile {
            let text = format!("{} {} times within a second", action.name(), sent.len());
            sent.clear();
            self.breach("hammered", at_us, text);
        }
    }

    /// Looks at the servers as they are. `is_known`: operators dial a server where it is.
    pub fn look(
        &mut self,
        cluster: &Cluster,
        leader: Option<usize>,
        recorded: Option<usize>,
        is_known: impl Fn(usize) -> bool,
    ) {
        let now_us = cluster.now_us();
        self.look_at_sentinels(cluster, leader);
        let mut writable = vec![];
        for (server, process) in of_group(cluster) {
            let is_reached = process.life() == Life::Up
                && !process.is_locked()
                && cluster.is_passed_on(server)
                && is_known(server)
                && leader.is_some_and(|leader| {
                    let (operator, server) = (Peer::Operator(leader), Peer::Server(server));
                    let edges: [Edge; 2] = [(operator, server), (server, operator)];
                    edges.iter().all(|edge| !cluster.is_cut(*edge))
                });
            if is_reached {
                self.reached_since_us.entry(server).or_insert(now_us);
                if process.server().role == redis_model::Role::Master {
                    self.master_seen_us.insert(server, now_us);
                }
            } else {
                self.reached_since_us.remove(&server);
            }
            // One that refuses every command that would demote it cannot be stopped.
            if cluster.is_writable(server) && !process.refuses("REPLICAOF") {
                writable.push((server, is_reached));
            }
        }
        // Which of several is the right one, only the record tells.
        let is_known = writable.iter().any(|(server, _)| recorded == Some(*server));
        if writable.len() < 2 || !is_known || writable.iter().any(|(_, is_reached)| !is_reached) {
            self.several_since_us = None;
            return;
        }
        let since_us = *self.several_since_us.get_or_insert(now_us);
        let hang_limits = if self.has_lies { 2 + WATCHDOG_HANG_LIMITS } else { 2 };
        // Servers that start as masters by their own configuration, after all of them ended: which of them
        // may go on, is known when the others were waited for.
        let restart_us = if self.starts_masters { RESTART_WAIT_US } else { 0 };
        let limit_us = hang_limits * self.hang_limit_us + SEVERAL_US + restart_us + self.sentinels_us;
        if now_us.saturating_sub(since_us) > limit_us && since_us > 0 {
            self.several_since_us = Some(u64::MAX);
            let servers: Vec<usize> = writable.iter().map(|(server, _)| server + 1).collect();
            self.breach(
                "several-masters",
                now_us,
                format!("servers {servers:?} take writes since {since_us}"),
            );
        }
    }

    /// Judges what happened.
    pub fn on_happened(&mut self, cluster: &Cluster, at_us: u64, happened: &Happened) {
        match happened {
            Happened::Overwritten { server, master, before, .. } => {
                self.on_overwritten(cluster, at_us, *server, *master, *before);
            }
            Happened::Promoted { server, data } => self.on_promoted(cluster, at_us, *server, *data),
            Happened::Booted { server, .. } => {
                self.given_up.remove(server);
                let seen_us = self.master_seen_us.get(server).copied().unwrap_or(0);
                self.seen_before.entry(*server).or_default().push((at_us, seen_us));
                if self.starts_masters && at_us > 0 {
                    self.started_us.insert(*server, at_us);
                }
            }
            Happened::Repointed { server, command, .. } => {
                self.on_taken(cluster, at_us, *server, command);
                self.repointed_us.insert(*server, at_us);
            }
            Happened::Sentinel { sentinel, channel, text } => {
                let second = self.elections.on_event(*sentinel, channel, text);
                self.two_leaders(at_us, second);
            }
            Happened::Commanded { server, command, .. } => {
                self.on_taken(cluster, at_us, *server, command);
                if command.starts_with("REPLICAOF") {
                    self.commanded_us.insert(*server, at_us);
                    self.commands_us.entry(*server).or_default().push(at_us);
                    // A follow that arrives late: what it costs was called unknown until then.
                    if self.is_unknown {
                        self.reported.push((at_us, None));
                    }
                }
            }
        }
    }

    /// When the server that took a write was next told whom to follow.
    fn demoted_us(&self, write: &redis_model::live::Write) -> Option<u64> {
        self.commands_us.get(&write.server)?.iter().copied().find(|at_us| *at_us >= write.done_us)
    }

    /// No data is overwritten unless it is contained elsewhere or was reported.
    fn on_overwritten(&mut self, cluster: &Cluster, at_us: u64, server: usize, master: usize, before: Place) {
        // What a second master takes between the last look and its demotion, is not known.
        let margin_us = (4 * self.interval_us).max(MARGIN_US);
        // Its replicas have it, too.
        let is_unseen = |write: &redis_model::live::Write| {
            self.demoted_us(write).is_some_and(|demoted_us| write.done_us + margin_us >= demoted_us)
        };
        let others: Vec<Place> = cluster
            .members()
            .filter(|other| *other != server)
            .filter_map(|other| cluster.kept(other))
            .collect();
        let is_last = |write: &&redis_model::live::Write| {
            write.acknowledged.is_some()
                && cluster.tree().has(before, write.at)
                && !others.iter().any(|other| cluster.tree().has(*other, write.at))
                && !is_unseen(write)
        };
        let count = cluster.writes().iter().filter(is_last).count();
        if count == 0 {
            return;
        }
        let newest_us = cluster.writes().iter().filter(is_last).map(|write| write.done_us).max().unwrap_or(0);
        let (id, to) = (server + 1, master + 1);
        if self.is_consistent && self.given_up.get(&server) == Some(&None) {
            let text =
                format!("redis-{id} copied redis-{to}: the only copy of {count} writes, without asking");
            self.breach("unasked-overwrite", at_us, text);
        }
        if self.reported.iter().any(|(at_us, _)| *at_us >= newest_us) {
            return;
        }
        // Its replicas find it again before anybody can ask; Sentinels ask nobody.
        let commanded_us = self.commanded_us.get(&server);
        if self.started_us.get(&master) > commanded_us || self.repointed_us.get(&server) > commanded_us {
            self.unpreventable += 1;
            return;
        }
        match self.given_up.get(&server) {
            None => {
                let text =
                    format!("redis-{id} copied redis-{to} on its own: the only copy of {count} writes");
                self.breach("unguarded-overwrite", at_us, text);
            }
            Some(Some(0)) => {
                let text =
                    format!("redis-{id} copied redis-{to}: the only copy of {count} writes, reported 0");
                self.breach("silent-overwrite", at_us, text);
            }
            Some(_) => {}
        }
    }

    /// The promoted server has all that any other one that is reached has, of what replicas acknowledged.
    fn on_promoted(&mut self, cluster: &Cluster, at_us: u64, server: usize, data: Place) {
        let is_theirs = self.repointed_us.get(&server) == Some(&at_us);
        let is_reported = self.loss.as_ref().is_some_and(|loss| loss.bytes != Some(0));
        if is_reported || is_theirs || self.unpreventable > 0 {
            return;
        }
        // One that arrives late was the right one when it was sent, and is a second master now.
        let sent_us = self.promoted_us.get(&server).copied();
        if sent_us.is_some_and(|sent_us| at_us > sent_us + self.hang_limit_us) {
            return;
        }
        for other in cluster.members() {
            let process = &cluster.processes()[other];
            let is_steady = self
                .reached_since_us
                .get(&other)
                .is_some_and(|since_us| at_us.saturating_sub(*since_us) > 2 * self.hang_limit_us);
            if other == server || !process.is_serving() || !is_steady {
                continue;
            }
            let is_missed = |write: &&redis_model::live::Write| {
                write.acknowledged.is_some_and(|(known_us, replicas)| known_us < at_us && replicas > 0)
                    && cluster.tree().has(cluster.data(other), write.at)
                    && !cluster.tree().has(data, write.at)
            };
            let count = cluster.writes().iter().filter(is_missed).count();
            if count > 0 && process.directive("replica-priority") != Some("0") {
                let text = format!(
                    "redis-{} was promoted, redis-{} has {count} acknowledged writes more",
                    server + 1,
                    other + 1
                );
                self.breach("better-copy-passed-over", at_us, text);
            }
        }
    }

    /// At the end: each write that is lost was reported, if the operator could know of it.
    pub fn at_end(&mut self, cluster: &Cluster, master: usize, is_refused: bool, account: &mut Account) {
        let (data, margin_us) = (cluster.data(master), (4 * self.interval_us).max(MARGIN_US));
        let (mut silent, mut first) = (0, None);
        let mut replicated = 0;
        for write in cluster.writes() {
            let Some((_, replicas)) = write.acknowledged else { continue };
            let class = account.classes.entry((write.wait, replicas)).or_default();
            class.acknowledged += 1;
            if cluster.tree().has(data, write.at) {
                continue;
            }
            class.lost += 1;
            let is_reported = self.reported.iter().any(|(at_us, _)| *at_us >= write.done_us);
            class.reported += u64::from(is_reported);
            // A member that waits for a person keeps it.
            let is_kept = cluster
                .members()
                .any(|server| cluster.kept(server).is_some_and(|kept| cluster.tree().has(kept, write.at)));
            // Of the process that took the write: a later one says nothing of it.
            let ends = self.seen_before.get(&write.server);
            let end = ends.and_then(|ends| ends.iter().find(|(began_us, _)| *began_us > write.done_us));
            let seen_us = end.map(|(_, seen_us)| *seen_us);
            let seen_us = seen_us.or_else(|| self.master_seen_us.get(&write.server).copied()).unwrap_or(0);
            // What a master takes between the last look and its demotion, is not known.
            let seen_us = seen_us.min(self.demoted_us(write).unwrap_or(u64::MAX));
            if !is_reported && !is_kept && (replicas > 0 || write.done_us + margin_us < seen_us) {
                silent += 1;
                first = first.or(Some((write.server + 1, write.done_us)));
                replicated += usize::from(replicas > 0);
            }
        }
        // Of a master that its own configuration started with less, its replicas copied that.
        if silent > 0 && self.unpreventable == 0 && !is_refused {
            let (server, done_us) = first.unwrap_or_default();
            let text = format!(
                "{silent} acknowledged writes are lost, {replicated} of them replicated; the first one redis-{server} \
                 took at {:.3} ms",
                done_us as f64 / 1000.0
            );
            self.breach("silent-loss", cluster.now_us(), text);
        }
    }

    /// A breach of what is to come about in time.
    pub fn never(&mut self, name: &'static str, at_us: u64, text: String) {
        self.breach(name, at_us, text);
    }
}

/// The servers that are or were members.
fn of_group(cluster: &Cluster) -> impl Iterator<Item = (usize, &Process)> {
    let all = cluster.processes().iter().enumerate();
    all.filter(|(server, _)| cluster.number_in_group(*server).is_some())
}

/// Writes by what their clients waited for and how many replicas had acknowledged them.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By class.
    pub classes: BTreeMap<(Wait, usize), Class>,
}

impl Class {
    /// Adds others of the class.
    pub fn add(&mut self, more: Self) {
        self.acknowledged += more.acknowledged;
        self.lost += more.lost;
        self.reported += more.reported;
    }
}

/// The writes of one class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Class {
    /// Clients know of them.
    pub acknowledged: u64,
    /// The master has them no more.
    pub lost: u64,
    /// A loss was reported since.
    pub reported: u64,
}

/// A server that flaps needs the same a few times.
const SENT_A_SECOND_MAX: usize = 20;
/// After so many hang limits the host asks the next policy in line.
const WATCHDOG_HANG_LIMITS: u64 = 5;
/// Several masters are fenced within this, beside twice the hang limit.
const SEVERAL_US: u64 = 1_500_000;
/// The default of `restart_wait_s`.
const RESTART_WAIT_US: u64 = 60_000_000;
/// A master's offset is known with this delay.
const MARGIN_US: u64 = 400_000;
