//! One history: a group, its clients, its faults, and what became of the writes.

use super::network::{Edge, OPERATOR, Ours, both, cut, mend, server};
use redis_model::Dice;
use redis_operator::contract::{Action, Preference};
use redis_operator::group::Report;
use redis_operator::local::Signal;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Operator, Servers, Terms, Writers, access_of};

/// What happened, in seconds since the first write.
pub struct History {
    /// Version, files and `prefer`.
    pub title: String,
    /// Files and `prefer`.
    kind: String,
    /// Faults, and what was done about them.
    pub faults: Vec<(f64, String)>,
    /// Who was master by the operator's decisions, from when on. None: nobody.
    pub masters: Vec<(f64, Option<usize>)>,
    /// Times in which no write was acknowledged, of 50 ms and more.
    pub pauses: Vec<(f64, f64)>,
    /// When lost writes were acknowledged, and whether a replica had them.
    pub losses: Vec<(f64, bool)>,
    /// The end.
    pub took: f64,
    classes: [Class; 2],
    silent: usize,
    /// Of a group that is not whole at the end, the last verdict and reason, and the explanation.
    unsettled: Option<(String, String)>,
}

/// Writes that no replica, or at least one replica was known to have.
#[derive(Clone, Copy, Default)]
struct Class {
    acknowledged: usize,
    lost: usize,
    reported: usize,
}

enum Fault {
    Kill(usize),
    KillAll,
    Stop(usize),
    /// A server that is killed loses its files, too.
    Empty(usize),
    /// A server and the operator do not reach each other, or the server's packets are lost.
    CutOperator(usize, bool),
    /// A server is cut off from the operator and all servers; clients that are connected to it are not.
    Isolate(usize),
    CutPeers(usize),
    KillOperator,
    SwitchOver,
}

/// The group while it lives.
struct Scene {
    servers: Servers,
    operator: Option<Operator>,
    begin: Instant,
    /// Reports of operators that were killed.
    before: Vec<(Instant, Report)>,
    later: Vec<(Instant, Repair)>,
    faults: Vec<(f64, String)>,
    prefer: Preference,
}

enum Repair {
    Start(usize),
    Resume(usize),
    Mend(Vec<Edge>),
    StartOperator,
}

impl History {
    /// Makes it happen.
    pub async fn run(program: &Path, dice: &mut Dice) -> Self {
        let files = dice.one_of(["nothing", "snapshots", "append-only files"]);
        let arguments: &[&str] = match files {
            "snapshots" => &["--save", "1 1"],
            "append-only files" => &["--appendonly", "yes"],
            _ => &[],
        };
        let is_consistent = dice.chance(250);
        let prefer = if is_consistent { Preference::Consistency } else { Preference::Availability };
        let name = program.ancestors().nth(1).and_then(Path::file_name).unwrap_or(program.as_os_str());
        let word = if is_consistent { "consistency" } else { "availability" };
        let kind = format!("{files}, prefer {word}");
        let title = format!("{}, {kind}", name.display());
        let hosts = [0, 1, 2].map(|place| server(place).to_string());
        let mut servers = Servers::at(program, &hosts, arguments);
        // Before 7.0 links to others come from the address that a server listens on.
        for (place, host) in hosts.iter().enumerate().filter(|_| !name.to_string_lossy().contains("redis-6"))
        {
            servers.arguments(place, &["--bind-source-addr", host]);
        }
        // Before 7.2 only 127.0.0.1 itself counts as this machine.
        (0..hosts.len()).for_each(|place| servers.arguments(place, &["--protected-mode", "no"]));
        servers.start_all().await;
        servers.attach_all().await;
        let begin = Instant::now();
        let mut scene =
            Scene { servers, operator: None, begin, before: vec![], later: vec![], faults: vec![], prefer };
        scene.start_operator().await;
        scene.settle(SETTLE_MAX).await;
        let (plain, waiting) = (Writers::start(&scene.servers), Writers::waiting(&scene.servers));
        plain.go_on(200).await;
        for _ in 0..1 + dice.index(4) {
            scene.inject(dice).await;
            let until = Instant::now() + Duration::from_millis(dice.one_of([0, 3, 50, 300, 1_000, 2_000]));
            scene.repair_until(until).await;
        }
        while let Some(next) = scene.later.iter().map(|(at, _)| *at).min() {
            scene.repair_until(next).await;
        }
        scene.note("everything works again");
        let master = scene.settle(SETTLE_MAX).await;
        let writes = [plain.stop(), waiting.stop()].concat();
        History { kind, ..scene.conclude(title, writes, master).await }
    }

    /// Losses weigh most, then pauses.
    pub fn weight(&self) -> f64 {
        let paused: f64 = self.pauses.iter().map(|(from, to)| to - from).sum();
        self.losses.len() as f64 * 1000.0 + paused
    }
}

impl Scene {
    fn note(&mut self, text: &str) {
        self.faults.push((self.begin.elapsed().as_secs_f64(), text.to_owned()));
    }

    async fn start_operator(&mut self) {
        let terms = Terms {
            hang_limit: Duration::from_millis(500),
            prefer: self.prefer,
            self_fence_lag_s: (self.prefer == Preference::Consistency).then_some(2),
            state: Some(self.servers.dir().join("state.json")),
            ..Terms::default()
        };
        let access =
            redis_operator::driver::Access { network: Some(Arc::new(Ours)), ..access_of(&terms, None) };
        self.operator = Some(Operator::with(&self.servers, terms, access).await);
    }

    async fn inject(&mut self, dice: &mut Dice) {
        let master = self.servers.masters().await.first().copied().unwrap_or(0);
        let place = if dice.chance(600) { master } else { dice.index(self.servers.count()) };
        let after = |dice: &mut Dice| {
            Instant::now() + Duration::from_millis(dice.one_of([20, 150, 400, 1_200, 2_500]))
        };
        let fault = match dice.index(14) {
            0..=2 => Fault::Kill(place),
            3 => Fault::Empty(place),
            4 | 5 => Fault::Stop(place),
            6 => Fault::KillAll,
            7 => Fault::KillOperator,
            8 | 9 => Fault::CutOperator(place, dice.chance(500)),
            10 | 11 => Fault::Isolate(place),
            12 => Fault::CutPeers(place),
            _ => Fault::SwitchOver,
        };
        match fault {
            Fault::Kill(place) => {
                self.note(&format!("server {place} is killed"));
                self.servers.end(place).await;
                self.later.push((after(dice), Repair::Start(place)));
            }
            Fault::Empty(place) => {
                self.note(&format!("server {place} is killed, its files are lost"));
                self.servers.end(place).await;
                empty(self.servers.dir_of(place));
                self.later.push((after(dice), Repair::Start(place)));
            }
            Fault::CutOperator(place, is_one_way) => {
                let edges = both(server(place), OPERATOR);
                let edges = if is_one_way { &edges[..1] } else { &edges };
                let way = if is_one_way { "does not reach" } else { "is cut off from" };
                self.cut(&format!("server {place} {way} the operator"), edges, after(dice));
            }
            Fault::Isolate(place) => {
                let others = (0..self.servers.count()).filter(|other| *other != place).map(server);
                let edges: Vec<Edge> =
                    others.chain([OPERATOR]).flat_map(|other| both(server(place), other)).collect();
                self.cut(&format!("server {place} is cut off from all"), &edges, after(dice));
            }
            Fault::CutPeers(place) => {
                let other = (place + 1) % self.servers.count();
                let edges = both(server(place), server(other));
                self.cut(&format!("servers {place} and {other} are cut off"), &edges, after(dice));
            }
            Fault::KillAll => {
                self.note("all servers are killed");
                for place in 0..self.servers.count() {
                    self.servers.end(place).await;
                    self.later.push((after(dice), Repair::Start(place)));
                }
            }
            Fault::Stop(place) => {
                if self.servers.runs(place) {
                    self.note(&format!("server {place} stands still"));
                    self.servers.signal(place, Signal::Stop);
                    self.later.push((after(dice), Repair::Resume(place)));
                }
            }
            Fault::KillOperator => {
                if let Some(operator) = self.operator.take() {
                    self.note("the operator is killed");
                    self.before.extend(operator.reports());
                    operator.kill();
                    self.later.push((after(dice), Repair::StartOperator));
                }
            }
            Fault::SwitchOver => {
                if let Some(operator) = &self.operator {
                    operator.handle.switch_over(None);
                    self.note("a switchover is requested");
                }
            }
        }
    }

    fn cut(&mut self, text: &str, edges: &[Edge], until: Instant) {
        self.note(text);
        cut(edges).unwrap();
        self.later.push((until, Repair::Mend(edges.to_vec())));
    }

    /// Lets time pass, and repairs what is due.
    async fn repair_until(&mut self, until: Instant) {
        loop {
            let due = self.later.iter().enumerate().min_by_key(|(_, (at, _))| *at);
            let Some((next, at)) = due.map(|(next, (at, _))| (next, *at)).filter(|(_, at)| *at <= until)
            else {
                tokio::time::sleep_until(until.into()).await;
                return;
            };
            tokio::time::sleep_until(at.into()).await;
            match self.later.remove(next).1 {
                Repair::Start(place) => {
                    // It was killed twice, and started in between.
                    if !self.servers.runs(place) {
                        self.note(&format!("server {place} starts"));
                        self.servers.start(place, &[]).await;
                    }
                }
                Repair::Resume(place) => {
                    if self.servers.runs(place) {
                        self.note(&format!("server {place} goes on"));
                        self.servers.signal(place, Signal::Continue);
                    }
                }
                Repair::Mend(edges) => {
                    self.note(&format!("{} reaches others", edges[0].0));
                    mend(&edges).unwrap();
                }
                Repair::StartOperator => {
                    if self.operator.is_none() {
                        self.note("an operator starts");
                        self.start_operator().await;
                    }
                }
            }
        }
    }

    /// The master once all are in sync with it. None: that does not come about in time.
    async fn settle(&self, patience: Duration) -> Option<usize> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(master) = self.servers.settled_now().await {
                return Some(master);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    async fn conclude(mut self, title: String, writes: Vec<Acknowledged>, master: Option<usize>) -> History {
        let reports = self.operator.as_ref().map(Operator::reports).unwrap_or_default();
        self.before.extend(reports);
        let since = |at: Instant| at.saturating_duration_since(self.begin).as_secs_f64();
        let reported: Vec<Instant> =
            self.before.iter().filter(|(_, report)| tells_of_a_loss(report)).map(|(at, _)| *at).collect();
        let lost: Vec<Acknowledged> = match master {
            Some(master) => Acknowledged::lost(&writes, &self.servers, master).await,
            None => vec![],
        };
        let (mut classes, mut silent) = ([Class::default(); 2], 0);
        writes.iter().for_each(|write| classes[usize::from(write.is_replicated)].acknowledged += 1);
        for write in &lost {
            let is_reported = reported.iter().any(|at| *at >= write.at);
            let class = &mut classes[usize::from(write.is_replicated)];
            (class.lost, class.reported) = (class.lost + 1, class.reported + usize::from(is_reported));
            silent += usize::from(write.is_replicated && !is_reported);
        }
        let mut times: Vec<f64> = writes.iter().map(|write| since(write.at)).collect();
        times.sort_by(f64::total_cmp);
        let pauses = times.windows(2).filter(|pair| pair[1] - pair[0] >= 0.05).map(|pair| (pair[0], pair[1]));
        let mut masters: Vec<(f64, Option<usize>)> = vec![];
        for (at, report) in &self.before {
            let Report::Decided(decided) = report else { continue };
            let id = decided.decision.shard().and_then(|shard| shard.master.clone());
            let place =
                id.and_then(|id| (0..self.servers.count()).find(|place| self.servers.id(*place) == id));
            if masters.last().is_none_or(|(_, known)| *known != place) {
                masters.push((since(*at), place));
            }
        }
        History {
            title,
            kind: String::new(),
            pauses: pauses.collect(),
            masters,
            losses: lost.iter().map(|write| (since(write.at), write.is_replicated)).collect(),
            took: self.begin.elapsed().as_secs_f64(),
            classes,
            silent,
            unsettled: master.is_none().then(|| last_decision(&self.before)),
            faults: self.faults,
        }
    }
}

fn last_decision(reports: &[(Instant, Report)]) -> (String, String) {
    let decided = reports.iter().rev().find_map(|(_, report)| match report {
        Report::Decided(decided) => Some(&decided.decision),
        _ => None,
    });
    decided.map_or(("undecided".into(), String::new()), |decision| {
        (format!("{:?} {}", decision.verdict, decision.reason), decision.explanation.clone())
    })
}

/// A new volume in place of the former.
fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
}

/// A decision or an action that says that something is lost, or that this is not known.
fn tells_of_a_loss(report: &Report) -> bool {
    match report {
        Report::Decided(decided) => {
            let loss = decided.decision.shard().and_then(|shard| shard.loss.as_ref());
            loss.is_some_and(|loss| loss.bytes != Some(0))
        }
        Report::Sent { action: Action::Follow(follow), .. } => follow.discards_bytes != Some(0),
        _ => false,
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let faults: Vec<&str> = self.faults.iter().map(|(_, text)| text.as_str()).collect();
        let [plain, replicated] = self.classes;
        let settled =
            self.unsettled.as_ref().map(|(_, why)| format!("; NOT WHOLE: {why}")).unwrap_or_default();
        let (lost, of) = (plain.lost + replicated.lost, plain.acknowledged + replicated.acknowledged);
        write!(f, "{}: {}; lost {lost} of {of}{settled}", self.title, faults.join(", "))
    }
}

/// The sum of all histories.
#[derive(Default)]
pub struct Sum {
    histories: usize,
    faults: usize,
    classes: BTreeMap<String, [Class; 2]>,
    unsettled: BTreeMap<String, usize>,
    longest: f64,
    /// Acknowledged and replicated writes that are lost without a report.
    pub silent: usize,
}

impl Sum {
    /// Adds one.
    pub fn add(&mut self, history: &History) {
        self.histories += 1;
        self.faults += history.faults.len();
        self.silent += history.silent;
        let classes = self.classes.entry(history.kind.clone()).or_default();
        for (sum, class) in classes.iter_mut().zip(history.classes) {
            sum.acknowledged += class.acknowledged;
            sum.lost += class.lost;
            sum.reported += class.reported;
        }
        if let Some((last, _)) = &history.unsettled {
            *self.unsettled.entry(format!("{last} ({})", history.kind)).or_default() += 1;
        }
        let longest = history.pauses.iter().map(|(from, to)| to - from).fold(0.0, f64::max);
        self.longest = self.longest.max(longest);
    }
}

impl Display for Sum {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{} histories, {} faults and repairs, longest pause of writes {:.1} s, {} silent losses",
            self.histories, self.faults, self.longest, self.silent
        )?;
        writeln!(
            f,
            "\n| files | writes | acknowledged | lost | of these after a report |\n|--|--|--|--|--|"
        )?;
        for (kind, classes) in &self.classes {
            for (name, class) in
                ["no replica known to have it", "WAIT 1 answered 1 or more"].iter().zip(classes)
            {
                let Class { acknowledged, lost, reported } = class;
                writeln!(f, "| {kind} | {name} | {acknowledged} | {lost} | {reported} |")?;
            }
        }
        self.unsettled
            .iter()
            .try_for_each(|(last, count)| writeln!(f, "not whole at the end: {count}, {last}"))
    }
}

/// The restart of many waits for up to 60 s.
const SETTLE_MAX: Duration = Duration::from_secs(90);
