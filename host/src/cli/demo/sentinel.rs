//! `demo sentinel`: two groups that real Sentinels watch, one of them with the operator beside them; the same
//! faults at the same moment, side by side on one screen. The clients go where the first Sentinel that
//! publishes a new master sends them, and elsewhere after a refusal. This file is the script; `beside` is one
//! group.

use super::beside::{Beside, DOWN_AFTER_MS, Event, SENTINELS, Seen};
use super::load::{Acknowledged, Ledger, missing};
use super::screen::{Screen, ms};
use super::{Environment, Exit, interrupted};
use crate::cli::local_group::Interrupts;
use crate::contract::Verdict;
use crate::group::Report;
use crate::local::Scratch;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// See real Sentinels fail over by themselves and with the operator beside them: the same faults, side by
/// side
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  redis-operator demo sentinel\n\nExit codes: 0 both groups ended whole and \
                  every acknowledged write was checked, 1 otherwise."
)]
pub struct Args {
    /// Program of the servers and the Sentinels: redis-server, valkey-server, or a path
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    program: PathBuf,
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    let mut interrupts = Interrupts::open()?;
    let scratch = Scratch::new(&environment.temp_dir)
        .map_err(|error| Exit::Failed(format!("no directory: {error}")))?;
    let mut comparison = tokio::select! {
        open = Comparison::open(args, &scratch, environment) => open?,
        () = interrupts.recv() => return Err(interrupted()),
    };
    let shown = tokio::select! {
        shown = comparison.show() => shown,
        () = interrupts.recv() => Err(interrupted()),
    };
    for group in comparison.groups {
        group.stop().await;
    }
    match shown {
        Ok(()) => Ok(0),
        // The end was not visible to the user.
        Err(Exit::Done) => Ok(1),
        Err(stop) => Err(stop),
    }
}

/// Both groups, and what was seen of them.
struct Comparison {
    screen: Screen,
    groups: [Beside; 2],
    events: UnboundedReceiver<Event>,
    /// The last fault or request, from which times count.
    mark: Instant,
    known: [Known; 2],
    figures: [Figures; 2],
}

/// The state of a group so far.
#[derive(Default)]
struct Known {
    /// The server that acknowledged last.
    writes_to: Option<usize>,
    /// The first acknowledgement of another server since the mark.
    first_write: Option<Instant>,
    /// When the last Sentinel told its clients of a new master since the mark, and how many did.
    told: Option<(Instant, usize)>,
    /// The operator's last decision was healthy.
    is_healthy: bool,
}

/// What the table shows of a group.
#[derive(Default)]
struct Figures {
    write: Duration,
    told: Duration,
    back: Duration,
    /// The planned change: its request, and its first write.
    change: Option<(Instant, Instant)>,
    ledger: Option<Ledger>,
    lost: Vec<Acknowledged>,
}

impl Comparison {
    async fn open(args: &Args, scratch: &Scratch, environment: &Environment) -> Result<Self, Exit> {
        let mut screen = Screen::new(environment);
        screen.title(&format!(
            "Two groups of three servers on loopback, each watched by three real Sentinels (down-after {DOWN_AFTER_MS} \
             ms)"
        ))?;
        let open = |number| Beside::open(number, &args.program, scratch.path());
        let (alone, with_operator) = (open(0).await?, open(1).await?);
        let (sender, events) = unbounded_channel();
        let mut groups = [alone, with_operator];
        groups[WITH_OPERATOR].add_operator(environment).await?;
        for (number, group) in groups.iter_mut().enumerate() {
            group.start_to_write(number, &sender).await?;
        }
        let (known, figures) = Default::default();
        Ok(Self { screen, groups, events, mark: Instant::now(), known, figures })
    }

    async fn show(&mut self) -> Result<(), Exit> {
        self.row("Sentinels alone", "with the operator")?;
        self.until("the groups did not take writes", |known, place| {
            known.first_write.is_some() && (known.is_healthy || place == ALONE)
        })
        .await?;
        self.pass(Duration::from_secs(1)).await?;

        self.screen.title("SIGKILL of both masters, under load")?;
        let masters = [self.master(ALONE), self.master(WITH_OPERATOR)];
        self.begin();
        for (group, master) in self.groups.iter().zip(masters) {
            group.kill(master).await?;
        }
        self.until("no other master took over", |known, _| known.is_changed()).await?;
        let mark = self.mark;
        for (figures, known) in self.figures.iter_mut().zip(&self.known) {
            figures.write = known.first_write.map_or(Duration::ZERO, |at| at - mark);
            figures.told = known.told.map_or(Duration::ZERO, |(at, _)| at - mark);
        }

        self.screen.title("The killed servers come back, empty and as masters")?;
        self.begin();
        for (group, master) in self.groups.iter().zip(masters) {
            group.revive(master);
        }
        self.whole().await?;

        self.screen.title(
            "A planned change of master, under load: SENTINEL FAILOVER, and the operator's handover",
        )?;
        self.begin();
        for group in &self.groups {
            group.change().await?;
        }
        self.until("no other master took over", |known, _| known.is_changed()).await?;
        for (figures, known) in self.figures.iter_mut().zip(&self.known) {
            figures.change = known.first_write.map(|first| (self.mark, first));
        }
        self.begin();
        self.whole().await?;

        self.screen.title("Every acknowledged write is checked")?;
        self.check().await?;
        self.screen.block(&table(&self.figures))
    }

    /// Waits until all servers of both groups follow their master again.
    async fn whole(&mut self) -> Result<(), Exit> {
        let mut is_whole = [false; 2];
        while is_whole != [true; 2] {
            self.pass(LOOK_EVERY).await?;
            for place in [ALONE, WITH_OPERATOR] {
                if is_whole[place] || !self.groups[place].is_whole(self.master(place)).await {
                    continue;
                }
                is_whole[place] = true;
                if self.figures[place].back.is_zero() {
                    self.figures[place].back = self.mark.elapsed();
                }
                self.seen(place, Instant::now(), "both other servers are its replicas")?;
            }
            if self.mark.elapsed() > WAIT_MAX {
                let who = NAMES[usize::from(is_whole[ALONE])];
                let limit_s = WAIT_MAX.as_secs();
                return Err(Exit::Failed(format!(
                    "{who}: a server does not follow the master after {limit_s} s"
                )));
            }
        }
        Ok(())
    }

    /// Stops writing, and asks each master for every acknowledged key.
    async fn check(&mut self) -> Result<(), Exit> {
        for (place, figures) in self.figures.iter_mut().enumerate() {
            let group = &mut self.groups[place];
            let master = self.known[place].writes_to.unwrap_or_default();
            let load = group.take_load().ok_or_else(|| Exit::Failed("nothing was written".into()))?;
            let ledger = load
                .finish()
                .ok_or_else(|| Exit::Failed("a client panicked, and its writes cannot be counted".into()))?;
            figures.lost = missing(&group.servers[master], &ledger.acknowledged)
                .map_err(|error| Exit::Failed(format!("the count is incomplete: {error}")))?;
            figures.ledger = Some(ledger);
        }
        Ok(())
    }

    /// The server that acknowledged last.
    fn master(&self, place: usize) -> usize {
        self.known[place].writes_to.unwrap_or_default()
    }

    fn begin(&mut self) {
        self.mark = Instant::now();
        for known in &mut self.known {
            (known.first_write, known.told) = (None, None);
        }
    }

    async fn pass(&mut self, time: Duration) -> Result<(), Exit> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.next(end).await?;
        }
        Ok(())
    }

    async fn until(&mut self, otherwise: &str, is_done: impl Fn(&Known, usize) -> bool) -> Result<(), Exit> {
        let deadline = Instant::now() + WAIT_MAX;
        while let Some(place) = (0..2).find(|place| !is_done(&self.known[*place], *place)) {
            if Instant::now() >= deadline {
                let limit_s = WAIT_MAX.as_secs();
                return Err(Exit::Failed(format!("{}: {otherwise} within {limit_s} s", NAMES[place])));
            }
            self.next(deadline).await?;
        }
        Ok(())
    }

    /// Waits for an event and prints it.
    async fn next(&mut self, deadline: Instant) -> Result<(), Exit> {
        let reports = self.groups[WITH_OPERATOR].session.as_mut().map(|session| &mut session.reports);
        let reported = async {
            match reports {
                Some(reports) => reports.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some((place, at, seen)) = self.events.recv() => self.take(place, at, seen),
            Some((_, report)) = reported => {
                if let Report::Decided(decided) = report {
                    self.known[WITH_OPERATOR].is_healthy = decided.decision.verdict == Verdict::Healthy;
                }
                Ok(())
            }
            () = tokio::time::sleep_until(deadline.into()) => Ok(()),
        }
    }

    fn take(&mut self, place: usize, at: Instant, seen: Seen) -> Result<(), Exit> {
        let known = &mut self.known[place];
        match seen {
            // Another client found it, too.
            Seen::Moved(to) if known.writes_to == Some(to) => Ok(()),
            Seen::Moved(to) => {
                known.writes_to = Some(to);
                known.first_write = Some(at);
                let text = format!("first write at {}", self.groups[place].servers[to]);
                self.seen(place, at, &text)
            }
            Seen::Switched(to) => {
                let count = known.told.map_or(0, |(_, count)| count) + 1;
                known.told = Some((at, count));
                if count == 1 {
                    self.groups[place].tell(&to);
                }
                let whom = if count == SENTINELS { "the last Sentinel" } else { "a Sentinel" };
                self.seen(place, at, &format!("{whom} names {to}"))
            }
        }
    }

    fn seen(&mut self, place: usize, at: Instant, text: &str) -> Result<(), Exit> {
        let after = at.checked_duration_since(self.mark).unwrap_or_default();
        let text = format!("+{} ms  {text}", ms(after));
        if place == ALONE { self.row(&text, "") } else { self.row("", &text) }
    }

    fn row(&mut self, alone: &str, with_operator: &str) -> Result<(), Exit> {
        self.screen.block(&format!("  {alone:<WIDTH$}  {with_operator}\n").replace(" \n", "\n"))
    }
}

impl Known {
    /// Writes are taken elsewhere, and all Sentinels have told their clients.
    fn is_changed(&self) -> bool {
        self.first_write.is_some() && self.told.is_some_and(|(_, count)| count >= SENTINELS)
    }
}

impl Figures {
    /// How long no write was acknowledged in the planned change, as the clients measured it.
    fn gap(&self) -> Option<Duration> {
        let (_, first) = self.change?;
        let writes = &self.ledger.as_ref()?.acknowledged;
        let last = writes.iter().map(|write| write.at).filter(|at| *at < first).max()?;
        Some(first - last)
    }

    /// Lost writes that were acknowledged before the planned change, and from it on.
    fn lost(&self) -> (usize, usize) {
        let is_before = |write: &&Acknowledged| self.change.is_none_or(|(mark, _)| write.at < mark);
        let before = self.lost.iter().filter(is_before).count();
        (before, self.lost.len() - before)
    }
}

fn table(figures: &[Figures; 2]) -> String {
    let row = |name: &str, of: &dyn Fn(&Figures) -> String| {
        let [alone, with_operator] = [of(&figures[ALONE]), of(&figures[WITH_OPERATOR])];
        format!("  {name:<52} {alone:>16} {with_operator:>18}\n")
    };
    let count = |figures: &Figures| figures.ledger.as_ref().map_or(0, |ledger| ledger.acknowledged.len());
    [
        format!("\n  {:<52} {:>16} {:>18}\n", "milliseconds", NAMES[ALONE], NAMES[WITH_OPERATOR]),
        row("SIGKILL: first write at another server", &|of| ms(of.write)),
        row("SIGKILL: all Sentinels have told their clients", &|of| ms(of.told)),
        row("back: all servers follow one master again", &|of| ms(of.back)),
        row("planned: longest time without a write", &|of| of.gap().map_or_else(|| "-".into(), ms)),
        "\n".into(),
        row("acknowledged writes", &|of| count(of).to_string()),
        row("of them lost by the SIGKILL", &|of| of.lost().0.to_string()),
        row("of them lost by the planned change", &|of| of.lost().1.to_string()),
        "\n".into(),
    ]
    .concat()
}

const ALONE: usize = 0;
const WITH_OPERATOR: usize = 1;
const NAMES: [&str; 2] = ["Sentinels alone", "with the operator"];
/// Of the left column.
const WIDTH: usize = 52;
/// Sentinels ask a server that came back for its role every ten seconds.
const WAIT_MAX: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(5);
