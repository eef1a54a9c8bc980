//! One run: the model, the operators, the schedule and the checks, on one virtual clock.

mod inject;
mod pods;
mod reports;
mod watched;
mod whole;

use crate::checks::{Account, Breach, Checks};
use crate::hostile::Hostile;
use crate::lies::{Liar, Lie};
use crate::network::World;
use crate::operator::{Operator, Sent, Stored};
use crate::pods::Pod;
use crate::schedule::{BootRule, Fault, Schedule, Target};
use pods::PodStep;
use redis_model::Server;
use redis_model::live::{Boot, Cluster, Edge, Happened, Peer};
use redis_operator::contract::Verdict;
use redis_operator::policy::PolicyChain;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not have happened.
    pub breaches: Vec<Breach>,
    /// Copies that were lost to a master that its own configuration had started with less.
    pub unpreventable: u64,
    /// Its writes.
    pub account: Account,
    /// How often each reason was given.
    pub reasons: BTreeMap<String, u64>,
    /// How often each check of the guard refused a decision.
    pub refusals: BTreeMap<String, u64>,
    /// Promotions that servers carried out.
    pub promotions: u64,
    /// Steps of the schedule.
    pub faults: u64,
    /// Decisions.
    pub decisions: u64,
    /// Virtual time, in microseconds.
    pub took_us: u64,
    /// The group refused to decide at the end.
    pub refused: Option<String>,
    /// What happened, for people. Empty unless asked for.
    pub timeline: Vec<String>,
}

/// Something that is still to happen.
#[derive(Clone, Debug)]
enum Later {
    Step(Fault),
    Start(Peer),
    Resume(Peer),
    Mend(Vec<Edge>),
    Ease(usize),
    StartOperator,
    Unlead(usize),
    Store(Box<Stored>),
    Publish(usize),
    Pod(usize, PodStep),
    Seen(usize, Box<Pod>),
    FleetAnswers,
    StartHop(usize),
    Tick,
}

/// A run in progress.
struct Run<'a> {
    schedule: &'a Schedule,
    policies: Arc<PolicyChain>,
    hostile: Option<Arc<Hostile>>,
    swaps: usize,
    world: World,
    operators: Vec<Operator>,
    numbers: usize,
    sent: Sent,
    stored: Option<Stored>,
    record_delay_us: u64,
    later: Vec<(u64, Later)>,
    /// The Pods as they are, and as operators know them. Empty: servers are no Pods.
    pods: Vec<Pod>,
    seen: Vec<Pod>,
    /// Pods that came later.
    moves: u64,
    checks: Checks,
    outcome: Outcome,
    is_told: bool,
    /// How many actions were sent.
    actions: u64,
    /// The verdict and reason of the leader's last decision, and when it last changed.
    last: Option<(Verdict, String)>,
}

/// Runs a schedule. Must be called on a runtime whose clock is paused.
pub async fn run(schedule: &Schedule, policies: &Arc<PolicyChain>, is_told: bool) -> Outcome {
    let mut cluster = Cluster::new(schedule.timing);
    for (server, plan) in schedule.servers.iter().enumerate() {
        let priority = plan.priority.to_string();
        cluster.add(Server::new(server + 1), plan.files, &[("replica-priority", &priority)]);
    }
    cluster.start(0, Boot::Master);
    for server in 1..schedule.servers.len() {
        cluster.start(server, Boot::Following(0));
    }
    schedule.hops.iter().for_each(|server| cluster.add_hop(*server, &format!("10.3.0.{}", server + 1)));
    watched::add_sentinels(&mut cluster, schedule);
    let hostile = schedule.is_hostile.then(|| Hostile::new(schedule.seed));
    // A run in which policies lie has a chain of its own: it remembers faults.
    let policies = match &hostile {
        Some(hostile) => Arc::new(PolicyChain::new(Arc::<Hostile>::clone(hostile))),
        None if schedule.has_lies => Arc::new(PolicyChain::new(policies.live())),
        None => Arc::clone(policies),
    };
    let mut run = Run {
        schedule,
        policies,
        hostile,
        swaps: 0,
        world: World::new(cluster),
        operators: vec![],
        numbers: 0,
        sent: Sent::default(),
        stored: None,
        record_delay_us: RECORD_US,
        later: vec![],
        pods: vec![],
        seen: vec![],
        moves: 0,
        checks: Checks::new(schedule),
        outcome: Outcome::default(),
        is_told,
        actions: 0,
        last: None,
    };
    run.whole().await;
    (run.outcome.breaches, run.outcome.unpreventable) = (run.checks.breaches, run.checks.unpreventable);
    run.outcome
}

impl Run<'_> {
    async fn whole(&mut self) {
        // All copies are made, all replicas are in sync, nothing was written.
        let settled_us =
            SETTLE_US + 2 * self.schedule.timing.copy_delay_us + self.schedule.timing.transfer_us;
        self.until(settled_us, |_| false).await;
        if self.schedule.sentinels.is_some() {
            self.until(settled_us + MEETING_US, |run| watched::are_whole(&run.world.cluster())).await;
        }
        let settled_us = self.world.now_us();
        self.begin_pods();
        self.start_operator();
        let is_published = self.until(settled_us + 10 * SECOND_US, |run| run.stored.is_some()).await;
        if !is_published {
            return self.checks.never("never-published", self.world.now_us(), "no record within 10 s".into());
        }
        for (pace_us, wait) in &self.schedule.clients {
            self.world.cluster().add_client(*pace_us, *wait);
        }
        let begin_us = self.world.now_us();
        for step in &self.schedule.steps {
            self.later.push((begin_us + step.at_us, Later::Step(step.fault.clone())));
        }
        let last_us = self.schedule.steps.last().map_or(0, |step| step.at_us);
        let (now_us, rest_us) = (begin_us + last_us, self.rest_us());
        self.until(now_us + FAULTS_US.max(rest_us), Self::is_quiet).await;
        self.until(now_us + rest_us, |_| false).await;
        self.heal();
        self.converge().await;
        self.outcome.took_us = self.world.now_us() - begin_us;
    }

    /// Nothing is to happen any more.
    fn is_quiet(&self) -> bool {
        self.later.iter().all(|(_, later)| matches!(later, Later::Tick))
    }

    /// Everything works again: what is down starts, what stands still goes on, what is cut is mended.
    fn heal(&mut self) {
        // Pods that are being deleted come back.
        self.later.retain(|(_, later)| match later {
            Later::Store(_) | Later::Publish(_) | Later::Pod(..) | Later::Seen(..) | Later::Tick => true,
            Later::Step(_)
            | Later::Start(_)
            | Later::Resume(_)
            | Later::Mend(_)
            | Later::Ease(_)
            | Later::StartOperator
            | Later::Unlead(_)
            | Later::FleetAnswers
            | Later::StartHop(_) => false,
        });
        self.operators.iter().for_each(|operator| operator.fleet(0));
        self.record_delay_us = RECORD_US;
        self.hostile.iter().for_each(|hostile| hostile.become_honest());
        if self.schedule.has_lies {
            self.swap(Lie::None);
        }
        self.world.cluster().mend_all();
        let servers = 0..self.world.cluster().processes().len();
        for server in servers {
            self.world.cluster().ease(server);
            self.world.cluster().start_hop(server);
            self.world.cluster().resume(server);
            self.start_server(server);
        }
        self.heal_sentinels();
        while self.operators.len() > 1 || self.leader().is_none() && !self.operators.is_empty() {
            let former = self.operators.remove(0);
            former.kill(&self.world);
        }
        if self.operators.is_empty() {
            self.start_operator();
        }
        self.tell(|| "everything works again".into());
    }

    /// Waits until the group is whole and at rest, or refuses for good: that a person is asked may be right,
    /// and one in eight is watched to the end for what might come of it.
    async fn converge(&mut self) {
        let (mut begin_us, until_us) = (self.world.now_us(), self.world.now_us() + CONVERGE_US);
        let (mut refused, mut refused_us) = (None, begin_us);
        let is_watched = self.schedule.seed.is_multiple_of(8);
        while self.world.now_us() < until_us {
            let now_us = self.world.now_us();
            self.until(now_us + REST_US / 4, |_| false).await;
            if !self.is_whole() {
                begin_us = self.world.now_us();
            }
            let standing = self.last.clone().filter(|(verdict, _)| *verdict == Verdict::Refuse);
            let standing = standing.map(|(_, reason)| (reason, self.actions));
            if standing.is_none() || standing != refused {
                (refused, refused_us) = (standing, self.world.now_us());
            }
            let is_refused = self.world.now_us() - refused_us >= REFUSED_US && !is_watched;
            if self.world.now_us() - begin_us >= REST_US || is_refused {
                break;
            }
        }
        let now_us = self.world.now_us();
        let cluster = self.world.cluster();
        let masters: Vec<usize> = cluster.members().filter(|server| cluster.is_writable(*server)).collect();
        // Where a person is asked first, the story has not ended.
        let is_refused = matches!(self.last, Some((Verdict::Refuse, _)));
        if let [master] = masters[..] {
            self.checks.at_end(&cluster, master, is_refused, &mut self.outcome.account);
        }
        drop(cluster);
        if !self.is_whole() {
            let state = self.state();
            match &self.last {
                Some((Verdict::Refuse, reason)) => {
                    self.outcome.refused = Some(reason.clone());
                    // No server with data may be master; or a person is asked first: that is what the user
                    // set.
                    let is_wanted = reason == "nobody-eligible" && self.one_is_excluded()
                        // Sentinels made a server of another group master of this one.
                        || reason == "external-master" && self.has_stranger()
                        || reason == "unrelated-data" && self.schedule.is_consistent
                        // Several start as masters by their own configuration.
                        || reason == "unrelated-masters" && self.schedule.boot == BootRule::Master;
                    if masters.len() != 1 && !is_wanted {
                        self.checks.never("refused-without-master", now_us, format!("{reason}: {state}"));
                    }
                }
                last => {
                    let text =
                        format!("{last:?} {} s after the last fault: {state}", CONVERGE_US / SECOND_US);
                    let are_whole = self.are_servers_whole();
                    let name = if are_whole { "sentinels-disagree" } else { "never-settled" };
                    self.checks.never(name, now_us, text);
                }
            }
        }
    }

    /// Lets time pass. True: it stopped because `is_over`.
    async fn until(&mut self, until_us: u64, is_over: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.step();
            let now_us = self.world.now_us();
            if is_over(self) {
                return true;
            }
            if now_us >= until_us {
                return false;
            }
            let due_us = self.later.iter().map(|(at_us, _)| *at_us).min();
            let next_us = [self.world.cluster().next_us(), due_us].into_iter().flatten().min();
            let next = self.world.at(next_us.unwrap_or(until_us).min(until_us).max(now_us));
            tokio::select! {
                biased;
                () = self.world.news.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Everything that is due now.
    fn step(&mut self) {
        let now_us = self.world.now_us();
        self.read_reports();
        self.read_records();
        self.judge();
        loop {
            let due = self.later.iter().enumerate().filter(|(_, (at_us, _))| *at_us <= now_us);
            let Some((place, _)) = due.min_by_key(|(place, (at_us, _))| (*at_us, *place)) else { break };
            let (_, later) = self.later.remove(place);
            self.take(now_us, later);
            self.judge();
        }
    }

    fn judge(&mut self) {
        let (happened, leader) = (self.world.cluster().take_happened(), self.leader());
        let recorded = self.recorded();
        let cluster = self.world.cluster();
        for (at_us, happened) in happened {
            self.outcome.promotions += u64::from(matches!(happened, Happened::Promoted { .. }));
            self.checks.on_happened(&cluster, at_us, &happened);
            let named = watched::named(&cluster, &happened);
            self.later.extend(named.map(|master| (at_us + SERVICE_US, Later::Publish(master))));
            if self.is_told {
                self.outcome.timeline.push(format!("{:>10.3} ms  {happened:?}", at_us as f64 / 1000.0));
            }
        }
        let leader_process = self.operators.iter().find(|operator| Some(operator.number) == leader);
        let is_known = |server: usize| leader_process.is_none_or(|leader| leader.dials(&cluster, server));
        self.checks.look(&cluster, leader, recorded, is_known);
    }

    fn leader(&self) -> Option<usize> {
        self.operators.iter().rfind(|operator| operator.may_act).map(|operator| operator.number)
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.is_told {
            let now_ms = self.world.now_us() as f64 / 1000.0;
            self.outcome.timeline.push(format!("{now_ms:>10.3} ms  {}", text()));
        }
    }

    fn start_operator(&mut self) {
        let stored = self.stored.clone();
        let mut operator = Operator::start(
            self.numbers,
            &self.world,
            self.schedule,
            &self.seen,
            &self.policies,
            stored.as_ref(),
            &self.sent,
        );
        operator.settle(&self.world, stored.as_ref());
        operator.lead(true, stored.as_ref(), self.world.now_us());
        self.numbers += 1;
        self.operators.push(operator);
    }

    /// Another policy decides from now on. A lie that was put into quarantine is not the one that comes next.
    fn swap(&mut self, lie: Lie) {
        self.swaps += 1;
        let digest = format!("{lie:?}-{}", self.swaps);
        // The embedded policy is the last of every chain.
        let Some(honest) = self.policies.policies().pop() else { return };
        // It is not in quarantine: its digest is new.
        drop(self.policies.swap(Arc::new(Liar { honest, lie, digest })));
        for operator in &self.operators {
            operator.decide_anew(&self.policies);
        }
    }

    fn recorded(&self) -> Option<usize> {
        self.stored.as_ref().and_then(|stored| stored.master(&self.world.cluster()))
    }

    /// The server that something happens to.
    fn target(&self, target: Target) -> usize {
        let number = self.number(target);
        self.world.cluster().member(number)
    }

    /// Its number in the group.
    fn number(&self, target: Target) -> usize {
        let count = self.schedule.servers.len();
        let recorded = self.recorded();
        let master = recorded.and_then(|server| self.world.cluster().number_in_group(server)).unwrap_or(0);
        match target {
            Target::Master => master,
            Target::Replica(place) | Target::Sentinel(place) => {
                (master + 1 + place % (count - 1).max(1)) % count
            }
        }
    }

    fn start_server(&mut self, server: usize) {
        if !self.may_restart(server) {
            return;
        }
        let boot = self.schedule.boot.boot(server, self.recorded());
        self.world.cluster().start(server, boot);
        self.container_restarted(self.world.now_us(), server);
        self.world.news.notify_one();
    }

    fn take(&mut self, now_us: u64, later: Later) {
        match later {
            Later::Step(fault) => {
                self.outcome.faults += 1;
                self.tell(|| format!("--- {fault:?}"));
                self.inject(now_us, fault);
            }
            Later::Start(Peer::Sentinel(sentinel)) => self.world.cluster().start_sentinel(sentinel),
            Later::Resume(Peer::Sentinel(sentinel)) => self.world.cluster().resume_sentinel(sentinel),
            Later::Start(peer) => server_of(peer).into_iter().for_each(|server| self.start_server(server)),
            Later::Resume(peer) => {
                server_of(peer).into_iter().for_each(|server| self.world.cluster().resume(server));
            }
            Later::Mend(edges) => {
                let mut cluster = self.world.cluster();
                edges.into_iter().for_each(|edge| cluster.mend(edge));
            }
            Later::Ease(server) => self.world.cluster().ease(server),
            Later::StartOperator => self.start_operator(),
            Later::Unlead(number) => {
                let stored = self.stored.clone();
                for operator in self.operators.iter_mut().filter(|operator| operator.number == number) {
                    operator.lead(false, stored.as_ref(), now_us);
                }
            }
            Later::Store(stored) => {
                // The product's storage keeps the newer change of master, too.
                let epoch = |stored: &Stored| stored.record.published.epoch;
                if self.stored.as_ref().is_none_or(|known| epoch(known) <= epoch(&stored)) {
                    let master = stored.master(&self.world.cluster());
                    self.later.extend(master.map(|master| (now_us + SERVICE_US, Later::Publish(master))));
                    self.stored = Some(*stored);
                    // All operators watch it.
                    for operator in &self.operators {
                        operator.learn(self.stored.as_ref(), now_us);
                    }
                    self.settle_all();
                }
            }
            Later::Publish(master) => self.world.cluster().set_service(Some(master)),
            Later::Pod(server, step) => self.on_pod(now_us, server, step),
            Later::Seen(server, pod) => self.on_seen(server, *pod),
            Later::Tick => {
                self.settle_all();
                self.later.push((now_us + TICK_US, Later::Tick));
            }
            Later::FleetAnswers => self.operators.iter().for_each(|operator| operator.fleet(0)),
            Later::StartHop(server) => self.world.cluster().start_hop(server),
        }
        self.world.news.notify_one();
    }
}

fn server_of(peer: Peer) -> Option<usize> {
    match peer {
        Peer::Server(server) => Some(server),
        Peer::Operator(_) | Peer::Client(_) | Peer::Sentinel(_) => None,
    }
}

/// Used by the shrinker: the names of the breaches.
pub fn names(outcome: &Outcome) -> BTreeSet<&'static str> {
    outcome.breaches.iter().map(|breach| breach.name).collect()
}

const SECOND_US: u64 = 1_000_000;
/// Until the replicas of a new group are in sync.
const SETTLE_US: u64 = 5 * SECOND_US;
/// Sentinels ask a master for its replicas every ten seconds.
const MEETING_US: u64 = 15 * SECOND_US;
/// At most so long after the last fault, everything works again.
const FAULTS_US: u64 = 8 * SECOND_US;
/// A group in which everything works comes to rest within this.
const CONVERGE_US: u64 = 120 * SECOND_US;
/// Beyond every delay of the operator's but the wait for the restart of many, which is no refusal.
const REFUSED_US: u64 = 15 * SECOND_US;
/// It is at rest after so long.
const REST_US: u64 = SECOND_US;
/// The controller looks so often at how long a Pod is gone.
const TICK_US: u64 = 10 * SECOND_US;
/// A record is stored within this.
const RECORD_US: u64 = 8_000;
/// New connections of clients reach the published master within this.
const SERVICE_US: u64 = 4_000;
