//! Random histories of several faults on real servers, with the accounting of the simulator: which
//! acknowledged writes are lost, and which of them without a report. `make soak MINUTES=60`.
//!
//! Each history is a group of three: its version, its files and `prefer` by the dice, clients on every server
//! (plain ones, and ones that WAIT for a replica), an operator with a state file, one to four faults, then
//! everything works again, and what the master has is compared. All of it lives in a network of its own, in
//! which servers are cut off from the operator and from one another.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: a failure ends it where it happens"
)]

#[path = "soak/history.rs"]
mod history;
#[path = "soak/network.rs"]
mod network;
#[path = "soak/picture.rs"]
mod picture;

use anyhow::Context as _;
use history::{History, Sum};
use redis_model::Dice;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::real::versions;

fn main() -> anyhow::Result<()> {
    tests::cluster::enter(|| Ok(None)).context("a network of its own")?;
    network::prepare()?;
    // One thread: the servers die with the thread that started them.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(soak())
}

async fn soak() -> anyhow::Result<()> {
    let words: Vec<u64> = std::env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("usage: soak MINUTES [SEED]: {error}"))?;
    let minutes = words.first().copied().unwrap_or(1);
    let seed = words.get(1).copied().unwrap_or(0);
    let programs: Vec<PathBuf> = versions().into_iter().map(|(_, program)| program).collect();
    let names: Vec<String> = programs.iter().map(|program| program.display().to_string()).collect();
    println!("{minutes} minutes from seed {seed} on: {}", names.join(", "));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut sum, mut worst, mut number) = (Sum::default(), None::<History>, seed);
    while Instant::now() < until {
        let program = &programs[usize::try_from(number)? % programs.len()];
        let history = History::run(program, &mut Dice::new(number)).await;
        println!("{number}: {history}");
        sum.add(&history);
        if worst.as_ref().is_none_or(|worst| worst.weight() < history.weight()) {
            worst = Some(history);
        }
        number += 1;
    }
    println!("\n{sum}");
    if let Some(worst) = worst {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/soak");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("worst.svg");
        std::fs::write(&file, picture::draw(&worst))?;
        println!("the history with most losses and pauses: {}", file.canonicalize()?.display());
    }
    anyhow::ensure!(
        sum.silent == 0,
        "{} acknowledged and replicated writes are lost without a report",
        sum.silent
    );
    Ok(())
}
