//! A master dies: votes, promotion, hello.

use super::rig::{Rig, in_time, soon};
use redis_operator::redis::act::sentinel::{Votes, elect, tell};
use redis_operator::redis::act::{ActFailure, promote};
use std::time::{Duration, Instant};
use tests::real::{Watching, Writers, until, versions};

#[tokio::test]
async fn on_each_version_the_sentinels_vote_and_switch_once() {
    for (name, program) in versions() {
        let mut rig = Rig::of(&program, Watching::default()).await;
        let before = rig.sentinels.field(0, "config-epoch").parse::<u64>().unwrap();
        let writers = Writers::start(&rig.servers);
        writers.go_on(50).await;
        let killed = rig.servers.kill(0);
        let (elected, told) = rig.fail_over(1, &[2]).await.unwrap();
        let first = writers.first_elsewhere(0, killed).await;
        let all_told = rig.sentinels.all_told(&rig.servers.id(1), killed).await;
        println!("{name}: write {:?}, all told {:?}", first.at - killed, all_told - killed);
        assert!(elected.epoch > before && elected.votes >= 2 && elected.voters == 3, "{name}: {elected:?}");
        assert_eq!((told.told.len(), told.untold), (3, vec![]), "{name}");
        rig.servers.end(0).await;
        for place in 0..3 {
            assert_eq!(rig.sentinels.named(place), rig.servers.id(1), "{name}");
            assert_eq!(rig.sentinels.field(place, "config-epoch"), elected.epoch.to_string(), "{name}");
            assert_eq!(rig.sentinels.rows(place, "SENTINELS").len(), 2, "{name}: no voter came or went");
            assert_eq!(rig.sentinels.rows(place, "REPLICAS").len(), 2, "{name}: the old master is one");
            assert_eq!(rig.sentinels.field(place, "down-after-milliseconds"), "5000", "{name}");
        }
        // Longer than a Sentinel needs to reach the new master, and to notice that it could not.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(rig.sentinels.heard("+switch-master").len(), 3, "{name}: {}", rig.sentinels.story());
        assert_eq!(rig.own_failovers(), 0, "{name}: {}", rig.sentinels.story());
    }
}

#[tokio::test]
async fn a_hung_sentinel_costs_some_milliseconds_and_is_told_when_it_wakes() {
    let mut rig = Rig::new(Watching::default()).await;
    rig.sentinels.signal(2, "STOP");
    let killed = rig.servers.kill(0);
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await;
    let took = killed.elapsed();
    assert_eq!(elected.as_ref().map(|elected| elected.votes), Ok(2));
    assert!(took < Duration::from_millis(150), "{took:?}");
    promote(rig.member(1), soon()).await.unwrap();
    let in_time = Instant::now() + Duration::from_millis(100);
    let told = tell(&rig.watch, &elected.unwrap(), &rig.master(1), in_time).await;
    assert_eq!(told.told.len(), 2);
    assert!(
        matches!(&told.untold[..], [(id, ActFailure::Precondition { .. } | ActFailure::InDoubt { .. })]
        if *id == rig.sentinels.id(2)),
        "{told:?}"
    );
    rig.sentinels.signal(2, "CONT");
    // Its peers tell it, or what it was sent.
    until("the third names it, too", async || (rig.sentinels.named(2) == rig.servers.id(1)).then_some(()))
        .await;
}

#[tokio::test]
async fn a_candidate_without_a_connection_costs_no_vote() {
    let mut rig = Rig::new(Watching::default()).await;
    rig.servers.kill(1);
    rig.servers.end(1).await;
    until("the end is seen", async || (!rig.member(1).is_open()).then_some(())).await;
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, soon()).await;
    assert!(matches!(elected, Err(ActFailure::Gone { .. })), "{elected:?}");
    // A vote is published before it is answered, so what is asked now comes after.
    rig.sentinels.ask(0, &["PING"]);
    assert!(rig.sentinels.heard("+vote-for-leader").is_empty());
}
