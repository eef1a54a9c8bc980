//! Failover for clients of Sentinel: the fastest that can be done at all, the operator with the votes of
//! Sentinels, the operator with an endpoint in their place (mode Served) beside the same without one (as for
//! kind Redis), and Sentinels by themselves; the same servers, fault and clients, in one run. `cargo bench
//! -p tests --bench sentinels` prints it; `-- --runs N` makes so many runs.
//!
//! - *write*: from right before SIGKILL of the master to the first acknowledged write elsewhere;
//! - *told*: from there to `+switch-master` at the last of three Sentinels;
//! - *pause*: of a planned change of master under load, the longest gap between two acknowledged writes;
//! - *overturned*: what Sentinels do within 60 s of a planned change, with no operator to mend it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark: a failure ends it where it happens"
)]

#[path = "failover/peers.rs"]
mod peers;
#[path = "failover/sample.rs"]
mod sample;

use peers::{Ideal, WARM_UP};
use sample::{Sample, verdict};
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Program, Sentinels, Servers, Watching, Writers, build_program, until};

/// Where an operator answers clients of Sentinel. One at a time.
const ENDPOINT: &str = "127.0.0.1:26990";

/// The numbers of one controller.
#[derive(Default)]
struct Outcome {
    write: Sample,
    told: Sample,
    /// Failovers that the Sentinels began themselves.
    own: usize,
    /// Switches that they published, a Sentinel each.
    switches: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Controller {
    Ideal,
    Assisted,
    /// The operator, with an endpoint.
    Served,
    /// The same without: what a group of kind Redis has.
    Plain,
    Sentinels,
}

/// One thread: the servers die with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = words.iter().position(|word| word == "--runs").and_then(|at| words.get(at + 1)?.parse().ok());
    let runs: usize = given.unwrap_or(10);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("operator: {}, load {}", build_program().display(), load.trim());

    println!("\n== SIGKILL of the master under load");
    let (mut ideal, mut ours, mut theirs) = (Outcome::default(), Outcome::default(), Outcome::default());
    let (mut served, mut plain) = (Outcome::default(), Outcome::default());
    for run in 0..runs {
        // By turns, so that whatever else the machine does meets all alike.
        kill(Controller::Ideal, &mut ideal).await;
        kill(Controller::Assisted, &mut ours).await;
        kill(Controller::Served, &mut served).await;
        kill(Controller::Plain, &mut plain).await;
        if run < runs.div_ceil(3) {
            kill(Controller::Sentinels, &mut theirs).await;
        }
    }
    ideal.write.print("ideal controller: write", "");
    ours.write.print("static --sentinels: write", "");
    ours.told.print("static --sentinels: told", &format!("{} switches", ours.switches));
    served.write.print("static --sentinel-listen: write", "");
    served.told.print("static --sentinel-listen: told", "");
    plain.write.print("static: write", "");
    theirs.write.print("Sentinels, down-after 1 s: write", "");
    theirs.told.print("Sentinels, down-after 1 s: told", &format!("{} switches", theirs.switches));
    verdict("median ms of the operator's write", ours.write.median(), 20.0);
    verdict("Served / kind Redis", served.write.median() / plain.write.median(), 1.1);
    verdict("median ms until all are told", ours.told.median(), 25.0);
    verdict("failovers that the Sentinels began beside it", ours.own as f64, 0.0);
    verdict("switches a Sentinel and kill", ours.switches as f64 / (3 * runs) as f64, 1.0);

    println!("\n== planned switchover under load: the longest gap between two acknowledged writes");
    let (mut pause, mut lost) = (Sample::default(), 0);
    for _ in 0..runs {
        lost += planned(&mut pause).await;
    }
    pause.print("switchover --sentinels", &format!("lost {lost}"));
    verdict("median ms", pause.median(), 4.0);
    verdict("lost", lost as f64, 0.0);
    println!("\n== a planned switchover, and 60 s after it with no operator");
    verdict("overturned by the Sentinels", overturned().await as f64, 0.0);
}

/// How often Sentinels began a failover, published another switch, or named another master.
async fn overturned() -> usize {
    let servers = Servers::group(3, &[]).await;
    // So short that what they take for wrong they would undo several times in that minute.
    let watching = Watching { down_after_ms: 1_500, failover_timeout_ms: 3_000, ..Watching::default() };
    let sentinels = Sentinels::start(&servers, &watching).await;
    let (redis, list, to) = (servers.list(), sentinels.list(), servers.id(1));
    let writers = Writers::start(&servers);
    let begun = Instant::now();
    let ended = Program::run(&["switchover", "--redis", &redis, "--sentinels", &list, "--to", &to]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    sentinels.all_told(&to, begun).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let others = (0..sentinels.count()).filter(|place| sentinels.named(*place) != to).count();
    let further = sentinels.heard("+switch-master").len() - sentinels.count();
    let masters = servers.masters().await.into_iter().filter(|place| *place != 1).count();
    drop(writers);
    sentinels.heard("+try-failover").len() + others + further + masters
}

/// Waits for the next switch that an endpoint publishes, from now on.
fn listen(endpoint: &str) -> std::thread::JoinHandle<Instant> {
    let client = redis::Client::open(format!("redis://{endpoint}")).unwrap();
    let mut connection = client.get_connection().unwrap();
    let (subscribed, is_subscribed) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut pubsub = connection.as_pubsub();
        pubsub.subscribe("+switch-master").unwrap();
        subscribed.send(()).unwrap();
        pubsub.get_message().unwrap();
        Instant::now()
    });
    is_subscribed.recv().unwrap();
    listener
}

async fn kill(controller: Controller, outcome: &mut Outcome) {
    let mut servers = Servers::group(3, &["--repl-backlog-size", "64mb"]).await;
    let sentinels = match controller {
        Controller::Ideal | Controller::Served | Controller::Plain => None,
        Controller::Assisted => Some(Sentinels::start(&servers, &Watching::default()).await),
        Controller::Sentinels => Some(peers::sentinels(&servers).await),
    };
    let _controller: Box<dyn std::any::Any> = match controller {
        Controller::Ideal => Box::new(Ideal::start(&servers)),
        Controller::Assisted => {
            let list = sentinels.as_ref().unwrap().list();
            let program = Program::look_after(&servers.list(), &["--sentinels", &list]);
            program.logged("healthy").await;
            Box::new(program)
        }
        Controller::Served | Controller::Plain => {
            let endpoint = ["--sentinel-listen", ENDPOINT];
            let further: &[&str] = if controller == Controller::Served { &endpoint } else { &[] };
            let program = Program::look_after(&servers.list(), further);
            program.logged("healthy").await;
            Box::new(program)
        }
        Controller::Sentinels => Box::new(()),
    };
    let listener = (controller == Controller::Served).then(|| listen(ENDPOINT));
    let writers = Writers::start(&servers);
    tokio::time::sleep(WARM_UP).await;
    let killed = servers.kill(0);
    let first = writers.first_elsewhere(0, killed).await;
    outcome.write.add(first.at - killed);
    servers.end(0).await;
    if let Some(listener) = listener {
        outcome.told.add(listener.join().unwrap() - killed);
    }
    let Some(sentinels) = sentinels else { return };
    let told = sentinels.all_told(&servers.id(first.place), killed).await;
    outcome.told.add(told - killed);
    if controller == Controller::Assisted {
        // Longer than they need to take the new master for down.
        let down_after_ms = u64::from(Watching::default().down_after_ms);
        tokio::time::sleep(Duration::from_millis(down_after_ms + 1_500)).await;
        outcome.own += sentinels.heard("+try-failover").len();
    }
    outcome.switches += sentinels.heard("+switch-master").len();
}

/// Adds the pause; returns how many acknowledged writes were lost.
async fn planned(pause: &mut Sample) -> usize {
    let servers = Servers::group(3, &[]).await;
    let sentinels = Sentinels::start(&servers, &Watching::default()).await;
    let writers = Writers::start(&servers);
    writers.go_on(300).await;
    let (redis, list, to) = (servers.list(), sentinels.list(), servers.id(1));
    let begun = Instant::now();
    let ended = Program::run(&["switchover", "--redis", &redis, "--sentinels", &list, "--to", &to]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    until("writes at the new master", async || {
        writers.so_far().iter().any(|write| write.place == 1).then_some(())
    })
    .await;
    sentinels.all_told(&to, begun).await;
    servers.in_sync(1).await;
    writers.go_on(50).await;
    let writes = writers.stop();
    let first = writes.iter().find(|write| write.place == 1).unwrap().at;
    let last = writes.iter().filter(|write| write.place == 0 && write.at < first).map(|write| write.at).max();
    pause.add(first - last.unwrap());
    Acknowledged::lost(&writes, &servers, 1).await.len()
}
