//! What `run` makes of each Redis resource but for its objects, for so many groups of simulated members:
//! driver, links, policies, reporter, on the threads that `run` has. A line of input starts it; prints how
//! many groups are healthy. For measuring from outside.

use anyhow::{Context, Result, bail};
use futures_channel::mpsc::unbounded;
use futures_util::StreamExt;
use redis_operator::contract::{Address, Group, InstanceKind, Preference, Topology, Verdict};
use redis_operator::driver::{Access, Driver, Entry, ThreadLoad, moment};
use redis_operator::group::{Event, Member, Record, Report, Settings};
use redis_operator::policy::{Component, Policy, PolicyChain, Sandbox, embedded};
use redis_operator::report::{DecisionRef, GroupInspector, GroupNames, Health, Metrics, Reporter};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::members::{MEMBERS, place};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::unbounded_channel;

/// The default of the resource.
const HANG_LIMIT_MS: u32 = 1500;
const USAGE: &str = "usage: groups GROUPS NETWORK PORT; then lines: start, healthy";

/// What the groups of one process share.
struct Common {
    policy: Arc<Component>,
    groups: Handle,
    crowd: ThreadLoad,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    inspector: Arc<GroupInspector>,
    start: Instant,
    healthy: Arc<Mutex<BTreeSet<usize>>>,
}

fn main() -> Result<()> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>().context(USAGE)?;
    let [count, network, port] = numbers[..] else { bail!(USAGE) };
    let (network, port) = (network.try_into()?, port.try_into()?);
    let sandbox = Arc::new(Sandbox::new(None)?);
    let groups = Builder::new_current_thread().enable_all().build()?;
    let common = Common {
        policy: Arc::new(embedded(&sandbox)?),
        groups: groups.handle().clone(),
        crowd: ThreadLoad::default(),
        metrics: Arc::new(Metrics::new("bench")),
        health: Arc::new(Health::new(10_000_000)),
        inspector: Arc::default(),
        start: Instant::now(),
        healthy: Arc::default(),
    };
    std::thread::Builder::new()
        .name("groups".into())
        .spawn(move || groups.block_on(std::future::pending::<()>()))?;
    let (lines_in, mut lines) = unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines_in.send(line))
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        println!("ready");
        while let Some(line) = lines.recv().await {
            match line.as_str() {
                "start" => (0..count).for_each(|number| {
                    look_after(&common, number, |member| place(network, port, number, member))
                }),
                "healthy" => {}
                _ => bail!(USAGE),
            }
            println!("{}", common.healthy.lock().map_or(0, |healthy| healthy.len()));
        }
        Ok(())
    })
}

/// As `run` does it.
fn look_after(common: &Common, number: usize, place: impl Fn(usize) -> SocketAddrV4) {
    let wanted = Group {
        namespace: "bench".into(),
        name: format!("group-{number}"),
        topology: Topology::Replication,
        members_desired: 3,
        members_min: None,
        prefer: Preference::Availability,
        paused: false,
        hang_limit_ms: HANG_LIMIT_MS,
        self_fence_lag_s: None,
        sentinel: None,
        cluster: None,
    };
    let names = GroupNames {
        namespace: wanted.namespace.clone(),
        name: wanted.name.clone(),
        topology: wanted.topology,
    };
    let policy: Arc<dyn Policy> = common.policy.clone();
    let chain = Arc::new(PolicyChain::new(policy));
    let access = Access {
        logins: None.into(),
        tls: None,
        sentinels: Entry::default(),
        network: None,
        hang_limit: Duration::from_millis(HANG_LIMIT_MS.into()),
    };
    let settings = Settings { wanted, parameters: "{}".into(), interval_us: 25_000, records: vec![] };
    let (records_in, mut records) = unbounded();
    let publish = move |_, record: Record| drop(records_in.unbounded_send(record));
    let (driver, mut reports) = Driver::new(settings, access, chain, publish, common.start);
    let mut reporter = Reporter::new(names.clone(), Arc::clone(&common.metrics), None);
    let handle = driver.handle();
    let pulse = common
        .health
        .group(format!("{}/{}", names.namespace, names.name), moment(common.start, Instant::now()));
    common.groups.spawn(driver.with_heartbeat(pulse).among(&common.crowd).run());
    handle.send(Event::Members((0..MEMBERS).map(|index| member(number, index, place(index))).collect()));
    handle.send(Event::Authority { may_act: true, silent_groups_permille: 0 });
    let (healthy, window) =
        (Arc::clone(&common.healthy), common.inspector.open(&names.namespace, &names.name));
    tokio::spawn(async move {
        loop {
            let (now, report) = tokio::select! {
                biased;
                Some(_) = records.next() => continue,
                Some(report) = reports.recv() => report,
                else => return,
            };
            // What became of a change is for the charge's events.
            let _ = reporter.take(now, &report);
            if let Report::Decided(decided) = report
                && let Ok(mut healthy) = healthy.lock()
            {
                match decided.decision.verdict {
                    Verdict::Healthy => healthy.insert(number),
                    Verdict::Act | Verdict::Wait | Verdict::Refuse => healthy.remove(&number),
                };
                let handle = handle.clone();
                let ruling = DecisionRef { decision: decided.decision, digest: decided.digest };
                window.show(now, Arc::new(ruling), Arc::new(move |asking| handle.look(asking)));
            }
        }
    });
}

fn member(group: usize, index: usize, at: SocketAddrV4) -> Member {
    let address = Address { host: at.ip().to_string(), port: at.port() };
    Member {
        id: format!("redis-group-{group}-{index}"),
        kind: InstanceKind::Redis,
        shard: Some(0),
        address,
        aliases: Vec::new(),
        pod: None,
        is_former: false,
    }
}
