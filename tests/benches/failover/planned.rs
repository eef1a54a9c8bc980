//! A planned change of master under load: how long no server accepts writes. The operator's handover beside
//! Redis' own FAILOVER.

use crate::Plan;
use crate::sample::{Sample, verdict};
use std::time::Duration;
use tests::real::{Acknowledged, Operator, Program, Servers, Terms, Writers};

pub async fn run(plan: &Plan) {
    println!("\n== planned switchover under load: the longest gap between two acknowledged writes");
    let (mut ours, mut redis, mut lost) = (Sample::default(), Sample::default(), 0);
    for _ in 0..plan.runs {
        lost += once(&mut ours, async |servers| {
            let (list, to) = (servers.list(), servers.id(1));
            let ended = Program::run(&["switchover", "--redis", &list, "--to", &to]).await;
            assert_eq!(ended.code, Some(0), "{ended:?}");
        })
        .await;
    }
    let mut lost_by_redis = 0;
    for _ in 0..plan.sentinel_runs {
        lost_by_redis += once(&mut redis, async |servers| {
            servers.say(0, &["FAILOVER", "TO", "127.0.0.1", &servers.endpoint(1).port.to_string()]).await
        })
        .await;
    }
    ours.print("redis-operator switchover", &format!("lost {lost}"));
    redis.print("FAILOVER of Redis", &format!("lost {lost_by_redis}"));
    verdict("median ms", ours.median(), 5.0);
    verdict("lost", lost as f64, 0.0);
}

/// Hands over from place 0 to place 1. Adds the pause; returns how many acknowledged writes were lost.
async fn once(pause: &mut Sample, hand_over: impl AsyncFn(&Servers)) -> usize {
    let servers = Servers::group(3, &[]).await;
    let writers = Writers::start(&servers);
    writers.go_on(300).await;
    hand_over(&servers).await;
    tests::real::until("writes at the new master", async || {
        writers.so_far().iter().any(|write| write.place == 1).then_some(())
    })
    .await;
    // FAILOVER leaves the third one to others; an operator makes it whole.
    let _operator = Operator::start(&servers, Terms::default()).await;
    servers.in_sync(1).await;
    writers.go_on(50).await;
    let writes = writers.stop();
    let first = writes.iter().find(|write| write.place == 1).unwrap().at;
    let last = writes
        .iter()
        .filter(|write| write.place == 0 && write.at < first)
        .map(|write| write.at)
        .max()
        .unwrap();
    pause.add((first - last).max(Duration::ZERO));
    Acknowledged::lost(&writes, &servers, 1).await.len()
}
