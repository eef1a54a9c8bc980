//! One history on each version of Redis and Valkey that is here: planned changes of master, a kill, a hang
//! and two returns, while clients write.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use redis_operator::local::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Operator, Servers, Terms, Writers, versions};

async fn lives_through(name: &str, program: &Path) {
    let begun = Instant::now();
    let mut servers = Servers::of(program, 3, &[]);
    servers.start_all().await;
    servers.attach_all().await;
    let terms = Terms { hang_limit: Duration::from_millis(700), ..Terms::default() };
    let operator = Operator::start(&servers, terms).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::waiting(&servers);
    writers.go_on(50).await;

    for target in [1, 0] {
        operator.handle.switch_over(Some(servers.id(target)));
        servers.in_sync(target).await;
        operator.healthy(&servers.id(target)).await;
        writers.go_on(50).await;
    }
    assert!(operator.sent().iter().all(|sent| !sent.starts_with("Promote")), "{name}: {:?}", operator.sent());

    let killed = servers.kill(0);
    let second = writers.first_elsewhere(0, killed).await.place;
    servers.end(0).await;
    servers.start(0, &[]).await;
    servers.in_sync(second).await;
    operator.healthy(&servers.id(second)).await;

    let stopped = Instant::now();
    servers.signal(second, Signal::Stop);
    let third = writers.first_elsewhere(second, stopped).await.place;
    // A master that goes on before its last replica has left it takes writes that are lost: that is what
    // availability means. No replica is left when the operator only misses the one that hangs.
    operator.content(&servers.id(third)).await;
    servers.signal(second, Signal::Continue);
    servers.in_sync(third).await;
    operator.healthy(&servers.id(third)).await;
    writers.go_on(50).await;

    let writes = writers.stop();
    let replicated: Vec<_> = writes.iter().filter(|write| write.is_replicated).cloned().collect();
    let lost = Acknowledged::lost(&replicated, &servers, third).await;
    let since = |at: Instant| at.duration_since(begun).as_secs_f32();
    let told = lost
        .iter()
        .map(|write| format!("{} of server {} at {:.3} s", write.key, write.place, since(write.at)));
    assert!(
        replicated.len() > 100 && lost.is_empty(),
        "{name}: {} of {} lost: {:?}; killed at {:.3} s, stopped at {:.3} s, then masters {second} and {third}",
        lost.len(),
        replicated.len(),
        told.collect::<Vec<_>>(),
        since(killed),
        since(stopped)
    );
    println!(
        "{name}: {} replicated writes, none lost, in {:.1} s",
        replicated.len(),
        begun.elapsed().as_secs_f32()
    );
}

#[tokio::test]
async fn every_version_lives_through_handovers_a_kill_and_a_hang_and_loses_no_replicated_write() {
    for two in versions().chunks(2) {
        let both = two.iter().map(|(name, program)| lives_through(name, program));
        futures_util::future::join_all(both).await;
    }
}
