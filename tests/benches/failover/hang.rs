//! SIGSTOP of the master, then SIGCONT as soon as a new one took a write: how late after the hang limit the
//! new one is, and for how long two servers take writes.

use crate::Plan;
use crate::peers::WARM_UP;
use crate::sample::{Sample, verdict};
use redis_operator::local::Signal;
use std::time::{Duration, Instant};
use tests::real::{Program, Servers, Writers};

pub async fn run(plan: &Plan) {
    println!("\n== SIGSTOP of the master under load, then SIGCONT");
    for limit_ms in [300, 1000] {
        let (mut late, mut two_masters) = (Sample::default(), Sample::default());
        for _ in 0..plan.runs.div_ceil(2) {
            once(limit_ms, &mut late, &mut two_masters).await;
        }
        late.print(&format!("write after the limit of {limit_ms} ms"), "");
        two_masters.print("two writable masters", "");
        verdict("worst ms beyond the hang limit", late.max(), 50.0);
        verdict("worst ms with two masters", two_masters.max(), 5.0);
    }
}

async fn once(limit_ms: u64, late: &mut Sample, two_masters: &mut Sample) {
    let servers = Servers::group(3, &[]).await;
    let program = Program::look_after(&servers.list(), &["--down-after", &format!("{limit_ms}ms")]);
    program.logged("healthy").await;
    let writers = Writers::start(&servers);
    tokio::time::sleep(WARM_UP).await;
    let stopped = Instant::now();
    servers.signal(0, Signal::Stop);
    let first = writers.first_elsewhere(0, stopped).await;
    // The limit counts from the last question that was answered, so a write may even come before limit and
    // signal.
    late.add((first.at - stopped).saturating_sub(Duration::from_millis(limit_ms)));
    let woken = Instant::now();
    servers.signal(0, Signal::Continue);
    servers.settled().await;
    let by_old = writers
        .stop()
        .into_iter()
        .filter(|write| write.place == 0 && write.at > woken)
        .map(|write| write.at - woken)
        .max();
    two_masters.add(by_old.unwrap_or_default());
}
