//! A thousand groups in one operator: what they cost while nothing happens, and how fast a hundred of them
//! fail over at once. The members are simulated, in a process of their own that speaks the Redis protocol
//! (`tests::members`); the groups are those of `run` without what they keep of the API server.

use crate::footprint::{busy, row_mib};
use crate::sample::{Sample, verdict};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tests::members::Told;

pub fn run() {
    println!(
        "\n== {GROUPS} groups of 3 simulated members under load, then {PERCENT} % of the masters dead at \
         once"
    );
    // A network of its own, so that two runs can stand beside each other.
    let (count, network) = (GROUPS.to_string(), (20 + std::process::id() % 200).to_string());
    let mut members = Spoken::start(env!("CARGO_BIN_EXE_members"), &[&count, &network, PORT, WRITTEN_BYTES]);
    let mut groups = Spoken::start(env!("CARGO_BIN_EXE_groups"), &[&count, &network, PORT]);
    let base_mib = row_mib(groups.child.id(), "VmRSS");
    groups.say("start");
    groups.all_healthy();
    std::thread::sleep(SETTLE);
    members.say("mark");
    let (mut percents, mut sizes_kib, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (began, before) = (Instant::now(), busy(groups.child.id()));
        std::thread::sleep(STEADY);
        percents
            .push((busy(groups.child.id()) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0);
        sizes_kib.push((row_mib(groups.child.id(), "VmRSS") - base_mib) * 1024.0 / f64::from(GROUPS));
    }
    assert_eq!(members.told("told"), Told::default(), "no member was changed");
    for _ in 0..ROUNDS {
        members.say(&format!("kill {PERCENT}"));
        let told = members.until("a promotion in each", |told| told.promoted_us.len() == told.killed);
        assert_eq!(told.killed, usize::try_from(GROUPS * PERCENT / 100).unwrap());
        members.say("revive");
        let told = members.until("all members back", |told| told.back == told.killed);
        groups.all_healthy();
        members.say("mark");
        rounds.push(told);
    }
    print(base_mib, &mut percents, &mut sizes_kib, &rounds);
}

fn print(base_mib: f64, percents: &mut [f64], sizes_kib: &mut [f64], rounds: &[Told]) {
    let mut all = Sample::default();
    rounds.iter().flat_map(|told| &told.promoted_us).for_each(|us| all.add(Duration::from_micros(*us)));
    all.print("death -> promotion", "");
    println!(
        "  resident {base_mib:.1} MiB without a group; medians of {} rounds of {} s",
        percents.len(),
        STEADY.as_secs()
    );
    verdict("% of a core, steady", median(percents), 20.0);
    verdict("KiB a group beyond the base", median(sizes_kib), 25.0);
    let mut slowest: Vec<f64> = rounds.iter().map(|told| percentile_99(&told.promoted_us)).collect();
    verdict("p99 ms to promotion", median(&mut slowest), 500.0);
    verdict("healthy groups touched", rounds.iter().map(|told| told.touched).sum::<usize>() as f64, 0.0);
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Of sorted microseconds, in milliseconds.
fn percentile_99(sorted_us: &[u64]) -> f64 {
    sorted_us[sorted_us.len() * 99 / 100] as f64 / 1000.0
}

/// A program that answers each line with a line.
struct Spoken {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Spoken {
    /// Starts it and waits until it is ready.
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut spoken = Self { child, to, from };
        assert_eq!(spoken.line(), "ready");
        spoken
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        self.line()
    }

    fn told(&mut self, line: &str) -> Told {
        serde_json::from_str(&self.say(line)).unwrap()
    }

    fn until(&mut self, what: &str, is_it: impl Fn(&Told) -> bool) -> Told {
        let deadline = Instant::now() + SOON;
        loop {
            let told = self.told("told");
            if is_it(&told) {
                return told;
            }
            assert!(Instant::now() < deadline, "never: {what}: {told:?}");
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn all_healthy(&mut self) {
        let deadline = Instant::now() + SOON;
        while self.say("healthy") != GROUPS.to_string() {
            assert!(Instant::now() < deadline, "never healthy");
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn line(&mut self) -> String {
        self.from.next().expect("it lives").unwrap()
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const GROUPS: u32 = 1000;
const PERCENT: u32 = 10;
const PORT: &str = "6379";
/// A second, of each master.
const WRITTEN_BYTES: &str = "1000";
const ROUNDS: usize = 3;
/// After the start, which costs more than anything later.
const SETTLE: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(20);
/// Asking costs the asked some of their time.
const ASK_AGAIN: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(120);
