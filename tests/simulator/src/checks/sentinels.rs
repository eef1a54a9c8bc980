//! At most one leader an epoch, among Sentinels and operators; and what Sentinels may do by themselves.

use super::Checks;
use crate::schedule::{Fault, Schedule, Target};
use redis_model::live::{Cluster, Life, Peer};
use redis_operator::group::{Outcome, Report};
use std::collections::BTreeMap;

/// Who was elected.
#[derive(Debug, Default)]
pub(super) struct Elections {
    sentinels: u64,
    /// A Sentinel that lost its file may vote twice in one epoch.
    is_forgetful: bool,
    leaders: BTreeMap<u64, String>,
}

/// Two leaders of one epoch, in words.
pub(super) type Second = Option<String>;

impl Elections {
    pub fn new(schedule: &Schedule) -> Self {
        let is_forgetful = schedule.steps.iter().any(|step| match &step.fault {
            Fault::Kill { target: Target::Sentinel(_), empty, .. } | Fault::KillSentinels { empty, .. } => {
                *empty
            }
            _ => false,
        });
        let sentinels = schedule.sentinels.as_ref().map_or(0, |plan| plan.count as u64);
        Self { sentinels, is_forgetful, leaders: BTreeMap::new() }
    }

    /// A Sentinel published an event.
    pub fn on_event(&mut self, sentinel: usize, channel: &str, text: &str) -> Second {
        // Of a forced one the message is another: there is no election.
        let epoch = text.parse().ok().filter(|_| channel == "+elected-leader")?;
        self.elected(epoch, format!("sentinel-{}", sentinel + 1))
    }

    /// An operator ended an action with the votes of a majority.
    pub fn on_report(&mut self, operator: usize, report: &Report) -> Second {
        let Report::Finished { outcome: Outcome::Done { note, .. }, .. } = report else { return None };
        let (_, votes) = note.split_once("elected by ")?;
        let (votes, rest) = votes.split_once(" of ")?;
        let (_, epoch) = rest.split_once(" in epoch ")?;
        let votes: u64 = votes.parse().ok()?;
        let epoch = epoch.parse().ok().filter(|_| votes * 2 > self.sentinels)?;
        self.elected(epoch, format!("operator {operator}"))
    }

    fn elected(&mut self, epoch: u64, leader: String) -> Second {
        let first = self.leaders.entry(epoch).or_insert_with(|| leader.clone());
        let is_second = *first != leader && !self.is_forgetful;
        is_second.then(|| format!("{first} and {leader} were elected in epoch {epoch}"))
    }
}

impl Checks {
    /// The leader reaches all Sentinels and the group has a master, of which alone they can be told; or not.
    pub(super) fn look_at_sentinels(&mut self, cluster: &Cluster, leader: Option<usize>) {
        let reaches = |sentinel: usize, leader: usize| {
            let (operator, sentinel) = (Peer::Operator(leader), Peer::Sentinel(sentinel));
            ![(operator, sentinel), (sentinel, operator)].iter().any(|edge| cluster.is_cut(*edge))
        };
        let mut sentinels = cluster.sentinels().iter().enumerate();
        let has_master = cluster.members().any(|server| cluster.is_writable(server));
        let reaches_all = leader.filter(|_| has_master).is_some_and(|leader| {
            sentinels.all(|(number, sentinel)| sentinel.life() == Life::Up && reaches(number, leader))
        });
        match (reaches_all.then_some(leader).flatten(), self.watches) {
            (Some(leader), Some((known, _))) if known == leader => {}
            (leader, _) => self.watches = leader.map(|leader| (leader, cluster.now_us())),
        }
    }

    /// A server of another group keeps its role and its data, whatever address it has: a Sentinel that
    /// knows it as a replica of the group makes it one after eight seconds.
    pub(super) fn on_taken(&mut self, cluster: &Cluster, at_us: u64, server: usize, command: &str) {
        let is_known = self.watches.is_some_and(|(_, since_us)| at_us >= since_us + GHOST_US);
        if cluster.number_in_group(server).is_none() && is_known {
            self.breach("stranger-taken", at_us, format!("a server of another group was sent {command}"));
        }
    }

    pub(super) fn two_leaders(&mut self, at_us: u64, second: Second) {
        if let Some(text) = second {
            self.breach("two-leaders", at_us, text);
        }
    }
}

/// A Sentinel that promotes says so when the others follow, and is believed by all within three seconds:
/// until then the operator leaves both masters to it.
pub(super) fn patience_us(schedule: &Schedule) -> u64 {
    let plan = schedule.sentinels.as_ref();
    plan.map_or(0, |plan| u64::from(plan.failover_timeout_ms) * 1_000 + SETTLED_US)
}

const SETTLED_US: u64 = 3_000_000;
/// `sentinel_publish_period`, four times: before that no Sentinel takes a master for a replica.
const GHOST_US: u64 = 8_000_000;
