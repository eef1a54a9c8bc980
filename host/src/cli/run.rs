//! `run`: operates the Redis and RedisFailover resources of a Kubernetes cluster.

use super::{Environment, Exit, PolicyChoice};
use crate::authority::{ACTION_MAX, Authority};
use crate::controller::policy::{DefaultPolicies, Policies, Shadows, Sources};
use crate::controller::{self, Context, Endpoints};
use crate::driver::{ThreadLoad, moment};
use crate::kubernetes::access::Access;
use crate::kubernetes::events::EventWriter;
use crate::kubernetes::lease::{Candidate, campaign, release};
use crate::kubernetes::others::Others;
use crate::kubernetes::record::Term;
use crate::kubernetes::scope::{Scope, WatchedSecrets};
use crate::policy::{COMPONENT_BYTES_MAX, Loaded, embedded};
use crate::registry::{HostRule, Reach, Remote};
use crate::report::{GroupInspector, GroupListen, Health, Listen, Metrics};
use kube::{Client, Config};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};

/// Operate the Redis and RedisFailover resources of a Kubernetes cluster
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  redis-operator run --listen 0.0.0.0:8080 --listen-groups 0.0.0.0:8081\n\n\
                  The cluster is the one that it runs in, or that of KUBECONFIG. Of several \
                  operators, the one that holds the Lease acts."
)]
pub struct Args {
    /// Operate these namespaces only, with commas between [default: all]
    #[arg(long, env = "WATCH_NAMESPACE", value_name = "NAMES", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Watch all Secrets of the namespaces, or each that is named, for rights to Secrets by name
    #[arg(long, env = "WATCH_SECRETS", value_enum, default_value_t = Secrets::All, value_name = "WHICH")]
    watch_secrets: Secrets,
    /// Namespace of this program and of its Lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", value_name = "NAME")]
    namespace: String,
    /// Name of the Lease
    #[arg(long, default_value = "redis-operator", value_name = "NAME")]
    lease: String,
    /// Holder identity for the Lease, unique for each process
    #[arg(long, env = "POD_NAME", value_name = "TEXT")]
    identity: Option<String>,
    /// Serve /metrics, /healthz and /readyz here, to any client [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Serve /groups/NAMESPACE/NAME here, with TLS, to those who may get redis/observation [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_groups: Option<SocketAddr>,
    /// Hosts that a FailoverPolicy may be fetched from: HOST, HOST:PORT or *.DOMAIN [default: any]
    #[arg(long, env = "POLICY_HOSTS", value_name = "HOST,…", value_delimiter = ',')]
    policy_hosts: Vec<HostRule>,
    /// Fetch FailoverPolicies from loopback, private and link-local addresses, too
    #[arg(long, env = "POLICY_ALLOW_PRIVATE")]
    policy_allow_private: bool,
    /// The only directory that a FailoverPolicy of source `file` is read from
    #[arg(long, env = "POLICY_FILES", default_value = "/policies", value_name = "DIR")]
    policy_files: PathBuf,
    /// The operator's own address, at which it serves the Sentinel endpoints of groups [default: it serves
    /// none]
    #[arg(long, env = "POD_IP", value_name = "ADDRESS")]
    sentinel_address: Option<IpAddr>,
    /// Ports for them, one for each group
    #[arg(long, default_value = "27000-28999", value_name = "FIRST-LAST", value_parser = ports)]
    sentinel_ports: RangeInclusive<u16>,
    /// The image of this program, for the Sentinel endpoints of RedisFailover resources
    #[arg(long, env = "OPERATOR_IMAGE", default_value = concat!("redis-operator:", env!("CARGO_PKG_VERSION")), value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    policy: PolicyChoice,
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    let range = range.filter(|range| !range.is_empty() && *range.start() > 0);
    range.ok_or_else(|| "write the first and the last port, as in 27000-28999".into())
}

/// Which Secrets are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Secrets {
    /// One watch for all Secrets: their names and versions.
    All,
    /// One watch for each Secret that a resource names, and for its own: `redis-NAME`, `rfr-NAME`.
    Named,
}

impl Args {
    fn scope(&self) -> Scope {
        let names = self.watch_namespace.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let secrets = match self.watch_secrets {
            Secrets::All => WatchedSecrets::All,
            Secrets::Named => WatchedSecrets::Named,
        };
        Scope { namespaces: names.map(str::to_owned).collect(), secrets }
    }
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let sandbox = args.policy.sandbox(environment)?;
    let embedded = embedded(&sandbox).map_err(|error| Exit::Failed(format!("embedded policy: {error}")))?;
    let embedded = Arc::new(Loaded::Embedded(embedded));
    let own = Arc::new(args.policy.load_proven(&sandbox)?);
    let reach = Reach::within(args.policy_hosts.clone(), args.policy_allow_private);
    let remote = Remote::new(environment.logins.clone(), reach, COMPONENT_BYTES_MAX)
        .map_err(|error| Exit::Failed(error.to_string()))?;
    let sources = Sources { remote, files: args.policy_files.clone() };
    let shadows =
        Shadows::start().map_err(|error| Exit::Failed(format!("cannot start a thread: {error}")))?;
    let (client, watches) = clients()
        .await
        .map_err(|error| Exit::Input(format!("no cluster: {error}: set KUBECONFIG, or run in a Pod")))?;
    let start = Instant::now();
    let (metrics, health, inspector) = (
        Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))),
        Arc::new(Health::new(STALE_US)),
        Arc::new(GroupInspector::default()),
    );
    if let Some(address) = args.listen {
        let listen = Listen::bind(address, Arc::clone(&metrics), Arc::clone(&health), start)
            .await
            .map_err(|error| Exit::Input(error.to_string()))?;
        tokio::spawn(listen.run());
    }
    if let Some(address) = args.listen_groups {
        let access = Arc::new(Access::new(client.clone()));
        let listen = GroupListen::bind(address, Arc::clone(&inspector), access, start)
            .await
            .map_err(|error| Exit::Input(error.to_string()))?;
        tokio::spawn(listen.run());
    }
    let identity =
        args.identity.clone().unwrap_or_else(|| format!("{}-{}", std::process::id(), start_of_process()));
    let endpoints = args.sentinel_address.map(|address| {
        Endpoints::start(address, args.sentinel_ports.clone(), identity.clone(), start).map(Arc::new)
    });
    let endpoints = endpoints.transpose().map_err(|error| Exit::Failed(error.to_string()))?;
    let events = EventWriter::start(client.clone(), identity.clone(), Arc::clone(&metrics));
    let candidate = Candidate { namespace: args.namespace.clone(), lease: args.lease.clone(), identity };
    let (holder, may_act) = tokio::sync::watch::channel(false);
    let authority = Authority::of_a_lease();
    let groups = Groups::start()?;
    let lease = health.dependency(format!("the Lease {}/{}", args.namespace, args.lease), LEASE_US);
    let held: Arc<Mutex<Option<Term>>> = Arc::default();
    let answered = {
        let held = Arc::clone(&held);
        move |term: Option<Term>| {
            lease.answered(moment(start, Instant::now()));
            if term.is_some() {
                *held.lock().unwrap_or_else(PoisonError::into_inner) = term;
            }
        }
    };
    let defaults = DefaultPolicies { embedded, own };
    let policies =
        Policies::new(client.clone(), watches.clone(), sandbox, defaults, sources, Arc::clone(&metrics));
    let policies = Arc::new(policies);
    let scope = args.scope();
    let (groups_of, thread_load, of_groups, shown) =
        (groups.handle.clone(), ThreadLoad::default(), Arc::clone(&policies), Arc::clone(&metrics));
    let context = Context {
        client: client.clone(),
        watches,
        policies: of_groups,
        shadows,
        census: Arc::default(),
        groups: groups_of,
        thread_load,
        turns: Semaphore::new(APPLIED_AT_ONCE),
        metrics,
        health,
        inspector,
        events,
        authority: authority.clone(),
        held,
        endpoints: endpoints.clone(),
        others: Others::default(),
        image: args.image.clone(),
        namespace: args.namespace.clone(),
        start,
    };
    let failed = |error: std::io::Error| Exit::Failed(format!("cannot handle signals: {error}"));
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let ending = authority.clone();
    // What is in progress comes to its end, and into the record, before anything stops.
    let stopped = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        let withdrawn = async {
            if let Some(endpoints) = &endpoints {
                drop(tokio::time::timeout(WITHDRAW, endpoints.withdraw(&client)).await);
            }
        };
        let (is_settled, ()) = tokio::join!(ending.end(ACTION_MAX), withdrawn);
        if !is_settled {
            tracing::warn!("stopped with an action in progress: the next operator sees what became of it");
        }
    };
    tokio::select! {
        () = campaign(client.clone(), candidate.clone(), authority, holder, answered) => {}
        () = policies.run(&scope, may_act.clone()) => {}
        () = controller::run(context, &scope, may_act.clone()) => {}
        () = show_authority(shown, may_act) => {}
        () = stopped => {}
    }
    // No action may be in progress when another operator acquires the Lease.
    groups.end();
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), release(client, &candidate)).await {
        tracing::warn!(%error, "lease not released");
    }
    Ok(0)
}

/// Updates the metric, for as long as the campaign runs.
async fn show_authority(metrics: Arc<Metrics>, mut authority: tokio::sync::watch::Receiver<bool>) {
    loop {
        metrics.may_act(*authority.borrow_and_update());
        if authority.changed().await.is_err() {
            return;
        }
    }
}

/// One client for calls, which succeed or fail soon and are repeated by their callers, and one for watches,
/// which are silent for minutes.
async fn clients() -> Result<(Client, Client), Box<dyn std::error::Error>> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    let watches = Client::try_from(config.clone())?;
    (config.connect_timeout, config.read_timeout, config.write_timeout) =
        (Some(CALL_LIMIT), Some(CALL_LIMIT), Some(CALL_LIMIT));
    Ok((Client::try_from(config)?, watches))
}

/// The groups run on a thread of their own, so that the API server can never delay a failover.
struct Groups {
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Groups {
    fn start() -> Result<Self, Exit> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::Failed(format!("cannot start a runtime: {error}")))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new()
            .name("groups".into())
            .spawn(drive)
            .map_err(|error| Exit::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { handle, stop, thread })
    }

    /// Ends the runtime, with its tasks and their connections.
    fn end(self) {
        drop(self.stop);
        drop(self.thread.join());
    }
}

/// Distinguishes two processes with the same process id.
fn start_of_process() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_millis())
}

/// Objects of all resources that are applied at the same time.
const APPLIED_AT_ONCE: usize = 16;
/// For the slices that lead clients of Sentinel endpoints here.
const WITHDRAW: Duration = Duration::from_secs(2);
/// A longer call counts as failed.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// As long as a Lease lasts: without an answer for longer, its holder is unknown.
const LEASE_US: u64 = 15_000_000;
/// A group without a report for ten times this is stuck.
const STALE_US: u64 = 10_000_000;
