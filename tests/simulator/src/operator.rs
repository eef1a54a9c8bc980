//! Operators: the product's own driver, what its controller makes of Pods, and the storage that keeps their
//! records as the API server does.

use crate::network::{Network, World};
use crate::pods::{Pod, REVISION};
use crate::schedule::Schedule;
use crate::watched::SentinelPlan;
use redis_model::id40;
use redis_model::live::{Cluster, Peer, Sentinel};
use redis_operator::authority::{ACTION_MAX, Authority};
use redis_operator::contract::{Address, Group, InstanceKind, LinkState, Preference, Topology};
use redis_operator::controller::FormerPods;
use redis_operator::driver::{Access, Driver, Entry, GroupHandle, Reports};
use redis_operator::group::{Changed, Event, Member, Moment, Record, Request, Settings};
use redis_operator::kubernetes::kinds::ObservedPod;
use redis_operator::kubernetes::pods;
use redis_operator::policy::PolicyChain;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

/// A process of an operator.
pub struct Operator {
    /// Numbers the processes.
    pub number: usize,
    /// It believes that it leads.
    pub may_act: bool,
    /// Its reports.
    pub reports: Reports,
    handle: GroupHandle,
    authority: Authority,
    task: JoinHandle<()>,
    pods: KnownPods,
    /// The members as it was last told, with their addresses.
    members: Vec<(String, Address)>,
}

/// The Pods as an operator sees them.
#[derive(Debug, Default)]
struct KnownPods {
    present: BTreeMap<String, Arc<k8s_openapi::api::core::v1::Pod>>,
    former: FormerPods,
    /// The master on record.
    master: Option<String>,
}

/// Records on their way to the storage: of which operator, when they were published.
pub type Sent = Arc<Mutex<Vec<(usize, u64, Record)>>>;

/// The record as stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// When it was made.
    pub made_us: u64,
}

impl Stored {
    /// The server of its master: that very process, or the member that has its name now.
    pub fn master(&self, cluster: &Cluster) -> Option<usize> {
        let published = &self.record.published;
        let named = || index(&published.master).map(|number| cluster.member(number));
        cluster.find_run(&published.run_id).or_else(named)
    }

    /// The record with its ages as of now.
    pub fn aged(&self, now_us: u64) -> Record {
        let age_us = now_us.saturating_sub(self.made_us);
        let mut record = self.record.clone();
        record.published.age_us += age_us;
        record.lineage.iter_mut().for_each(|generation| generation.age_us += age_us);
        record.position.iter_mut().for_each(|position| position.age_us += age_us);
        if let Some(Changed { at, age_us, .. }) = &mut record.last_failover {
            (*age_us, *at) = (*age_us + now_us.saturating_sub(at.0), Moment(now_us));
        }
        record
    }
}

/// The name of the member with that number.
pub fn name(number: usize) -> String {
    format!("redis-{}", number + 1)
}

/// The number of the member of that name.
fn index(name: &str) -> Option<usize> {
    name.strip_prefix("redis-")?.parse::<usize>().ok()?.checked_sub(1)
}

impl Operator {
    /// Starts a process. It does not act before it leads.
    pub fn start(
        number: usize,
        world: &World,
        schedule: &Schedule,
        pods: &[Pod],
        policies: &Arc<PolicyChain>,
        stored: Option<&Stored>,
        sent: &Sent,
    ) -> Self {
        let records = stored.map(|stored| stored.aged(world.now_us())).into_iter().collect();
        let settings = Settings {
            wanted: wanted(schedule),
            parameters: "{}".into(),
            interval_us: schedule.interval_us,
            records,
        };
        let access = Access {
            logins: None.into(),
            tls: None,
            // Of its own, as in a process of its own.
            sentinels: Entry { own_id: id40(&format!("operator{number}")).into(), ..Entry::default() },
            hang_limit: Duration::from_millis(schedule.hang_limit_ms.into()),
            network: Some(Arc::new(Network { world: world.clone(), operator: number })),
        };
        let (sent, news) = (Arc::clone(sent), Arc::clone(&world.news));
        let publish = move |now: Moment, record: Record| {
            sent.lock().unwrap_or_else(PoisonError::into_inner).push((number, now.0, record));
            news.notify_one();
        };
        let start = world.at(0).into_std();
        let (driver, reports) = Driver::new(settings, access, Arc::clone(policies), publish, start);
        let (handle, authority) = (driver.handle(), Authority::endless());
        let task = tokio::spawn(driver.under(&authority).run());
        let (pods_known, members) = (KnownPods::default(), vec![]);
        let mut operator =
            Self { number, may_act: false, reports, handle, authority, task, pods: pods_known, members };
        operator.meet(world, pods);
        operator
    }

    /// Gives or withdraws the lead.
    pub fn lead(&mut self, may_act: bool, stored: Option<&Stored>, now_us: u64) {
        if may_act {
            self.learn(stored, now_us);
        }
        self.may_act = may_act;
        self.handle.send(Event::Authority { may_act, silent_groups_permille: 0 });
    }

    /// Shows it the stored record.
    pub fn learn(&self, stored: Option<&Stored>, now_us: u64) {
        if let Some(stored) = stored {
            self.handle.send(Event::Records(vec![stored.aged(now_us)]));
        }
    }

    /// The members are at these addresses now; those that are Pods, as the API has them.
    pub fn meet(&mut self, world: &World, pods: &[Pod]) {
        let present = pods.iter().filter(|pod| pod.is_there).map(|pod| (pod.name.clone(), pod.object()));
        let before = std::mem::replace(&mut self.pods.present, present.collect());
        // As the controller's snapshot does with each Pod.
        let is_gone = |pod: &&Arc<k8s_openapi::api::core::v1::Pod>| {
            let name = pod.metadata.name.as_ref();
            let now = name.and_then(|name| self.pods.present.get(name));
            name == self.pods.master.as_ref() && now.is_none_or(|now| now.metadata.uid != pod.metadata.uid)
        };
        let now = world.at(world.now_us()).into_std();
        for pod in before.values().filter(is_gone) {
            self.pods.former.observe_gone(pod, now);
        }
        self.pods.settle(world);
        self.tell_members(world);
    }

    /// Takes in which master is on record, and what time it is.
    pub fn settle(&mut self, world: &World, stored: Option<&Stored>) {
        self.pods.master = stored.map(|stored| stored.record.published.master.clone());
        if self.pods.settle(world) {
            self.tell_members(world);
        }
    }

    /// Takes in how its connection to a member is.
    pub fn see_link(&mut self, world: &World, member: &str, state: LinkState) {
        if self.pods.former.observe_link(member, state) {
            self.tell_members(world);
        }
    }

    fn tell_members(&mut self, world: &World) {
        let members = members(world, &self.pods);
        self.members = members.iter().map(|member| (member.id.clone(), member.address.clone())).collect();
        self.handle.send(Event::Members(members));
    }

    /// The server that it calls so.
    pub fn server_of(&self, world: &World, id: &str) -> Option<usize> {
        let (_, at) = self.members.iter().find(|(known, _)| known == id)?;
        match world.cluster().find_dialled(&at.host, at.port)?.0 {
            Peer::Server(server) => Some(server),
            Peer::Operator(_) | Peer::Client(_) | Peer::Sentinel(_) => None,
        }
    }

    /// Whether it dials a server where that is.
    pub fn dials(&self, cluster: &Cluster, server: usize) -> bool {
        let host = cluster.dialled_host(server);
        self.members.iter().any(|(_, at)| at.host == host)
    }

    /// So many of its other groups are silent.
    pub fn fleet(&self, silent_groups_permille: u16) {
        self.handle.send(Event::Authority { may_act: self.may_act, silent_groups_permille });
    }

    /// A person asks for another master.
    pub fn switch_over(&self, target: Option<usize>) {
        self.handle.send(Event::Request(Request::Switchover(target.map(name))));
    }

    /// Asks the process to stop: nothing begins any more, and what is in progress comes to its end.
    pub fn stop(self, world: &World) {
        let world = world.clone();
        tokio::spawn(async move {
            self.authority.end(ACTION_MAX).await;
            self.kill(&world);
        });
    }

    /// The policies changed.
    pub fn decide_anew(&self, policies: &Arc<PolicyChain>) {
        self.handle.set_policies(Arc::clone(policies));
    }

    /// Ends the process: what it sent arrives, nothing later does.
    pub fn kill(self, world: &World) {
        self.task.abort();
        world.cluster().end_peer(Peer::Operator(self.number));
    }
}

fn wanted(schedule: &Schedule) -> Group {
    Group {
        namespace: "shop".into(),
        name: "cart".into(),
        topology: if schedule.sentinels.is_some() { Topology::Sentinel } else { Topology::Replication },
        members_desired: u16::try_from(schedule.servers.len()).unwrap_or(u16::MAX),
        members_min: None,
        prefer: if schedule.is_consistent { Preference::Consistency } else { Preference::Availability },
        paused: false,
        hang_limit_ms: schedule.hang_limit_ms,
        self_fence_lag_s: schedule.is_consistent.then_some(2),
        sentinel: schedule.sentinels.as_ref().map(SentinelPlan::settings),
        cluster: None,
    }
}

impl KnownPods {
    /// True: a former Pod lost its name, or is not dialled any more.
    fn settle(&mut self, world: &World) -> bool {
        let now = world.at(world.now_us()).into_std();
        self.former.settle(self.master.as_deref(), self.present.values(), now)
    }

    /// The members that are Pods, as the controller of kind Redis makes them.
    fn members(&self, now_us: u64) -> Vec<Member> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now_us);
        let as_members = |pods: &[ObservedPod<'_>]| -> Vec<Member> {
            pods.iter().filter_map(|pod| pods::member(pod, PORT, now)).collect()
        };
        let present = self.present.iter().filter(|(name, _)| !self.former.keeps_name(name));
        let present: Vec<ObservedPod<'_>> =
            present.map(|(_, pod)| ObservedPod { pod, revision: REVISION, place: None }).collect();
        let mut all = as_members(&present);
        all.extend(self.former.members(as_members));
        all
    }
}

fn members(world: &World, pods: &KnownPods) -> Vec<Member> {
    let cluster = world.cluster();
    let sentinel = |(number, sentinel): (usize, &Sentinel)| {
        let (host, port) = sentinel.place();
        member(
            format!("sentinel-{}", number + 1),
            InstanceKind::Sentinel,
            Address { host: host.into(), port },
        )
    };
    let sentinels = cluster.sentinels().iter().enumerate().map(sentinel);
    let process = |(number, server): (usize, usize)| {
        let (host, port) = (cluster.dialled_host(server).into(), cluster.processes()[server].server().port);
        member(name(number), InstanceKind::Redis, Address { host, port })
    };
    let pods = pods.members(cluster.now_us());
    let processes = cluster.members().enumerate().filter(|_| pods.is_empty()).map(process);
    processes.chain(sentinels).chain(pods.iter().cloned()).collect()
}

fn member(id: String, kind: InstanceKind, address: Address) -> Member {
    let shard = (kind == InstanceKind::Redis).then_some(0);
    Member { id, kind, shard, address, aliases: vec![], pod: None, is_former: false }
}

/// Of every server of the model.
const PORT: u16 = 6379;
