//! A planned change of master: votes before the pause, hello after it.

use super::rig::{Rig, in_time, soon};
use redis_operator::redis::act::sentinel::{Votes, elect, tell};
use redis_operator::redis::act::{self, ActFailure, HandoverTerms, follow};
use std::time::Duration;
use tests::real::{Acknowledged, Watching, Writers};

fn terms(rig: &Rig, to: usize) -> HandoverTerms {
    let pause_max = Duration::from_secs(1);
    HandoverTerms { target: rig.servers.endpoint(to).clone(), pause_max, deadline: soon() }
}

#[tokio::test]
async fn under_load_nothing_is_lost_and_the_sentinels_do_not_overturn_it() {
    let rig = Rig::new(Watching { down_after_ms: 1_500, ..Watching::default() }).await;
    let writers = Writers::start(&rig.servers);
    writers.go_on(300).await;
    let mut elected = None;
    let permission = async {
        elected = Some(elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await?);
        Ok(())
    };
    let report = act::handover_with(rig.member(0), rig.member(1), &terms(&rig, 1), permission).await.unwrap();
    let told = tell(&rig.watch, &elected.unwrap(), &rig.master(1), soon()).await;
    follow(rig.member(2), rig.servers.endpoint(1), soon()).await.unwrap();
    println!("paused {} us, {told:?}", report.pause_us);
    assert!(told.untold.is_empty(), "{told:?}");
    writers.go_on(300).await;
    rig.servers.in_sync(1).await;
    // Of a switch that they are not told, Sentinels make another one after 20 s, two INFO periods, and
    // down-after-milliseconds.
    tokio::time::sleep(Duration::from_secs(watch_s())).await;
    let writes = writers.stop();
    assert!(Acknowledged::lost(&writes, &rig.servers, 1).await.is_empty());
    assert_eq!(rig.servers.masters().await, [1]);
    assert_eq!(rig.sentinels.heard("+switch-master").len(), 3, "{}", rig.sentinels.story());
    assert_eq!(rig.own_failovers(), 0, "{}", rig.sentinels.story());
}

#[tokio::test]
async fn without_a_majority_writes_are_not_paused() {
    let mut rig = Rig::new(Watching::default()).await;
    rig.sentinels.end(0);
    rig.sentinels.end(1);
    let permission = async { elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await.map(drop) };
    let outcome = act::handover_with(rig.member(0), rig.member(1), &terms(&rig, 1), permission).await;
    assert!(matches!(&outcome, Err(ActFailure::Precondition { why, .. }) if why.contains("2 must")));
    assert_eq!(rig.servers.masters().await, [0]);
    rig.servers.in_sync(0).await;
}

/// How long it is watched: `SENTINEL_WATCH_S`, or half a minute.
fn watch_s() -> u64 {
    std::env::var("SENTINEL_WATCH_S").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}
