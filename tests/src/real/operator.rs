//! The operator of `static`, in this process: the same group, driver, policy and guard, on a thread of its
//! own. It can be killed at any report, which leaves what a crash leaves.

use super::{Sentinels, Servers, until};
use redis_operator::contract::{Group, InstanceKind, Preference, SentinelSettings, Topology, Verdict};
use redis_operator::driver::{Access, Driver, Entry, GroupHandle, StateFile, member};
use redis_operator::group::{Decided, Event, Member, Moment, Report, Settings};
use redis_operator::policy::{Component, PolicyChain, Sandbox, embedded};
use redis_operator::redis::{Credentials, Endpoint};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How an operator is started.
pub struct Terms {
    /// `--down-after`.
    pub hang_limit: Duration,
    /// `--prefer`.
    pub prefer: Preference,
    /// `--self-fence-lag`, with `--prefer consistency`.
    pub self_fence_lag_s: Option<u32>,
    /// `--min-size`.
    pub members_min: Option<u16>,
    /// `--parameters`.
    pub parameters: String,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--interval`.
    pub interval: Duration,
    /// The addresses of `--sentinels`, and how they watch. None: there are none.
    pub sentinels: Option<(Vec<Endpoint>, SentinelSettings)>,
    /// It dies with the first report that this is true of, before anything that follows it happens.
    pub dies_at: Option<fn(&Report) -> bool>,
}

impl Terms {
    /// With these Sentinels, as they watch the group.
    #[must_use]
    pub fn beside(self, sentinels: &Sentinels, settings: SentinelSettings) -> Self {
        let endpoints = (0..sentinels.count()).map(|place| sentinels.id(place).parse().unwrap());
        Self { sentinels: Some((endpoints.collect(), settings)), ..self }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            hang_limit: Duration::from_millis(1000),
            prefer: Preference::Availability,
            self_fence_lag_s: None,
            members_min: None,
            parameters: "{}".into(),
            state: None,
            interval: Duration::from_millis(25),
            sentinels: None,
            dies_at: None,
        }
    }
}

/// A running operator. Dropping it kills it.
pub struct Operator {
    /// The way in.
    pub handle: GroupHandle,
    /// The policy that decides.
    pub chain: Arc<PolicyChain>,
    reports: Arc<Mutex<Vec<(Instant, Report)>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where policies run, for all operators of this process.
pub fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    Arc::clone(SANDBOX.get_or_init(|| Arc::new(Sandbox::new(None).unwrap())))
}

fn policy() -> Arc<Component> {
    static POLICY: OnceLock<Arc<Component>> = OnceLock::new();
    Arc::clone(POLICY.get_or_init(|| Arc::new(embedded(&sandbox()).unwrap())))
}

/// How servers without TLS are reached.
pub fn access_of(terms: &Terms, login: Option<(&str, &str)>) -> Access {
    let credentials = login.map(|(user, password)| Credentials::new(Some(user.into()), password).unwrap());
    Access {
        logins: credentials.into(),
        tls: None,
        sentinels: Entry::default(),
        network: None,
        hang_limit: terms.hang_limit,
    }
}

impl Operator {
    /// Looks after the servers, with the right to act.
    pub async fn start(servers: &Servers, terms: Terms) -> Self {
        let access = access_of(&terms, None);
        Self::with(servers, terms, access).await
    }

    /// The same, reaching them in a way of its own.
    pub async fn with(servers: &Servers, terms: Terms, access: Access) -> Self {
        let endpoints: Vec<Endpoint> =
            (0..servers.count()).map(|place| servers.endpoint(place).clone()).collect();
        Self::at(&endpoints, terms, access).await
    }

    /// The same, at addresses that are not the servers' own.
    pub async fn at(endpoints: &[Endpoint], terms: Terms, access: Access) -> Self {
        let (record_file, record) = StateFile::open(terms.state.clone()).unwrap();
        let settings =
            Settings { records: record.into_iter().collect(), ..settings(endpoints.len(), &terms) };
        let chain = Arc::new(PolicyChain::new(policy()));
        let start = Instant::now();
        let (driver, mut incoming) = Driver::new(settings, access, Arc::clone(&chain), record_file, start);
        let handle = driver.handle();
        let mut members = Vec::new();
        for endpoint in endpoints {
            members.push(member(endpoint).await.unwrap());
        }
        for endpoint in terms.sentinels.iter().flat_map(|(endpoints, _)| endpoints) {
            let sentinel = member(endpoint).await.unwrap();
            members.push(Member { kind: InstanceKind::Sentinel, shard: None, ..sentinel });
        }
        handle.send(Event::Members(members));
        handle.send(Event::Authority { may_act: true, silent_groups_permille: 0 });
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (kept, dies_at) = (Arc::clone(&reports), terms.dies_at);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = async move {
            let driver = driver.run();
            tokio::pin!(driver);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return,
                    Some((at, report)) = incoming.recv() => {
                        let is_last = dies_at.is_some_and(|dies| dies(&report));
                        kept.lock().unwrap().push((moment(start, at), report));
                        if is_last {
                            return;
                        }
                    }
                    () = &mut driver => return,
                }
            }
        };
        // With the runtime go its sockets and whatever was under way.
        let thread = std::thread::spawn(move || runtime.block_on(live));
        Self { handle, chain, reports, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends as by SIGKILL: sockets close, nothing is finished.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have died by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // The last report shows a panic in it.
            let _ = thread.join();
        }
    }

    /// Whether it has died at a report.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// All reports so far.
    pub fn reports(&self) -> Vec<(Instant, Report)> {
        self.reports.lock().unwrap().clone()
    }

    /// Waits for a report, also among the earlier ones, and returns its moment.
    pub async fn until_report(&self, what: &str, is_it: impl Fn(&Report) -> bool) -> Instant {
        until(what, async || {
            self.reports.lock().unwrap().iter().find(|(_, report)| is_it(report)).map(|(at, _)| *at)
        })
        .await
    }

    /// Waits for a decision, also among the earlier ones.
    pub async fn decided(&self, what: &str, is_it: impl Fn(&Decided) -> bool) -> Instant {
        self.until_report(what, |report| matches!(report, Report::Decided(decided) if is_it(decided))).await
    }

    /// Waits until it calls the group healthy with that master, from now on.
    pub async fn healthy(&self, master: &str) {
        let from = self.reports.lock().unwrap().len();
        until(&format!("healthy with {master}"), async || {
            let reports = self.reports.lock().unwrap();
            reports[from..].iter().any(|(_, report)| is_healthy(report, master)).then_some(())
        })
        .await;
    }

    /// Waits until it calls that one a working master, whether or not others are missing.
    pub async fn content(&self, master: &str) {
        let from = self.reports.lock().unwrap().len();
        until(&format!("content with {master}"), async || {
            let reports = self.reports.lock().unwrap();
            reports[from..]
                .iter()
                .any(|(_, report)| is_healthy(report, master) || misses_only_others(report, master))
                .then_some(())
        })
        .await;
    }

    /// Lets it watch for so long, in which nothing may happen. Returns what it sent until then.
    pub async fn sent_within(&self, watch: Duration) -> Vec<String> {
        tokio::time::sleep(watch).await;
        self.sent()
    }

    /// The actions that it sent, in order, by their kind and target.
    pub fn sent(&self) -> Vec<String> {
        let reports = self.reports();
        let sent = reports.iter().filter_map(|(_, report)| {
            if let Report::Sent { action, .. } = report { Some(action) } else { None }
        });
        sent.map(|action| format!("{action:?}").trim_start_matches("Action::").to_owned()).collect()
    }

    fn observations(&self) -> String {
        let reports = self.reports();
        let seen = reports.iter().filter_map(|(_, report)| {
            if let Report::Decided(decided) = report { Some(decided) } else { None }
        });
        let lines = seen
            .filter(|decided| decided.is_news)
            .map(|decided| serde_json::to_string(&*decided.observation).unwrap() + "\n");
        lines.collect()
    }

    /// The last decision, for messages.
    pub fn last(&self) -> String {
        let reports = self.reports();
        let last = reports
            .iter()
            .rev()
            .find_map(|(_, report)| if let Report::Decided(decided) = report { Some(decided) } else { None });
        last.map_or_else(
            || "nothing decided".into(),
            |decided| format!("{}: {}", decided.decision.reason, decided.decision.explanation),
        )
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept: Vec<String> = self.reports().iter().map(|(_, report)| line(report)).collect();
            let mut kept: Vec<&str> =
                kept.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            kept.dedup();
            let name = std::thread::current().name().unwrap_or("failover").replace("::", "-");
            let file = std::env::temp_dir().join(format!("{name}.jsonl"));
            // What was seen, a line each, for `policy decide`. A full disk must not hide the failure itself.
            let _ = std::fs::write(&file, self.observations());
            eprintln!("the reports of the operator:\n{}\nand saw {}", kept.join("\n"), file.display());
        }
        self.end();
    }
}

fn is_healthy(report: &Report, master: &str) -> bool {
    matches!(report, Report::Decided(decided)
        if decided.decision.verdict == Verdict::Healthy && decided.decision.master() == Some(master))
}

fn misses_only_others(report: &Report, master: &str) -> bool {
    matches!(report, Report::Decided(decided)
        if decided.decision.reason == "replica-missing" && decided.decision.master() == Some(master))
}

/// One report, for the reader of a failed test.
fn line(report: &Report) -> String {
    match report {
        Report::Decided(decided) if decided.is_news => {
            format!("decided {}: {}", decided.decision.reason, decided.decision.explanation)
        }
        Report::Decided(_) => String::new(),
        Report::Link { .. }
        | Report::Held
        | Report::Sent { .. }
        | Report::Withheld { .. }
        | Report::Finished { .. } => format!("{report:?}"),
        Report::Fault { fault, .. } => format!("fault: {fault}"),
    }
}

fn settings(members: usize, terms: &Terms) -> Settings {
    let wanted = Group {
        namespace: String::new(),
        name: "real".into(),
        topology: if terms.sentinels.is_some() { Topology::Sentinel } else { Topology::Replication },
        members_desired: members.try_into().unwrap(),
        members_min: terms.members_min,
        prefer: terms.prefer,
        paused: false,
        hang_limit_ms: terms.hang_limit.as_millis().try_into().unwrap(),
        self_fence_lag_s: terms.self_fence_lag_s,
        sentinel: terms.sentinels.as_ref().map(|(_, settings)| settings.clone()),
        cluster: None,
    };
    let interval_us = terms.interval.as_micros().try_into().unwrap();
    Settings { wanted, parameters: terms.parameters.clone(), interval_us, records: vec![] }
}

fn moment(start: Instant, at: Moment) -> Instant {
    start + Duration::from_micros(at.0)
}
