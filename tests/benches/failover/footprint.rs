//! What the operator costs while nothing happens: its memory, and its share of a core.

use crate::sample::verdict;
use std::time::{Duration, Instant};
use tests::real::{Program, Servers};

pub async fn run() {
    println!("\n== the operator at rest, one healthy group of three");
    let servers = Servers::group(3, &[]).await;
    let program = Program::look_after(&servers.list(), &[]);
    program.logged("healthy").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, busy) = (Instant::now(), busy(program.pid()));
    tokio::time::sleep(Duration::from_secs(8)).await;
    let percent = (self::busy(program.pid()) - busy).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let row = |name| row_mib(program.pid(), name);
    println!(
        "  resident {:.1} MiB, of it {:.1} MiB of files (program, compiled policy) and {:.1} MiB of its own",
        row("VmRSS"),
        row("RssFile"),
        row("RssAnon")
    );
    verdict("MiB beyond program and compiled policy", row("RssAnon"), 30.0);
    verdict("idle % of a core", percent, 1.0);
}

/// A row of what the kernel says of a process' memory.
pub fn row_mib(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    row.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Processor time so far, of all threads.
pub fn busy(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = threads.map(|thread| {
        // Nanoseconds on a processor come first. A thread that has just ended has used next to nothing.
        let schedstat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
        schedstat.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanoseconds.sum())
}
