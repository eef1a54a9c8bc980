//! Operators: the product's own driver, and the storage that keeps their records as the API server does.

use crate::network::{Network, World};
use crate::schedule::Schedule;
use crate::watched::SentinelPlan;
use redis_model::id40;
use redis_model::live::{Peer, Sentinel};
use redis_operator::authority::{ACTION_MAX, Authority};
use redis_operator::contract::{Address, Group, InstanceKind, Preference, Topology};
use redis_operator::driver::{Access, Driver, Entry, GroupHandle, Reports};
use redis_operator::group::{Changed, Event, Member, Moment, Record, Request, Settings};
use redis_operator::policy::PolicyChain;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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

/// The name of a server in the group.
pub fn name(server: usize) -> String {
    format!("redis-{}", server + 1)
}

/// The server of that name.
pub fn index(name: &str) -> Option<usize> {
    name.strip_prefix("redis-")?.parse::<usize>().ok()?.checked_sub(1)
}

impl Operator {
    /// Starts a process. It does not act before it leads.
    pub fn start(
        number: usize,
        world: &World,
        schedule: &Schedule,
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
        handle.send(Event::Members(members(world)));
        let task = tokio::spawn(driver.under(&authority).run());
        Self { number, may_act: false, reports, handle, authority, task }
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

    /// The members are at these addresses now.
    pub fn meet(&self, world: &World) {
        self.handle.send(Event::Members(members(world)));
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

fn members(world: &World) -> Vec<Member> {
    let cluster = world.cluster();
    let member = |server: usize| {
        let at = cluster.processes()[server].server();
        Member {
            id: name(server),
            kind: InstanceKind::Redis,
            shard: Some(0),
            address: Address { host: at.host.clone(), port: at.port },
            aliases: vec![],
            pod: None,
            is_former: false,
        }
    };
    let sentinel = |(number, sentinel): (usize, &Sentinel)| {
        let (host, port) = sentinel.place();
        Member {
            id: format!("sentinel-{}", number + 1),
            kind: InstanceKind::Sentinel,
            shard: None,
            address: Address { host: host.into(), port },
            aliases: vec![],
            pod: None,
            is_former: false,
        }
    };
    let sentinels = cluster.sentinels().iter().enumerate().map(sentinel);
    cluster.members().map(member).chain(sentinels).collect()
}
