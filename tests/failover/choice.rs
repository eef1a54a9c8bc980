//! The choice of the new master: data decides which replica bridges, priority which one ends as master; a
//! user's switchover is a request.

use redis_operator::local::Signal;
use std::time::Duration;
use tests::real::{Acknowledged, Operator, Servers, Terms, Writers};

async fn priority(servers: &Servers, place: usize, priority: &str) {
    // Before the operator starts, so that its first round shows it.
    servers.say(place, &["CONFIG", "SET", "replica-priority", priority]).await;
}

#[tokio::test]
async fn the_better_priority_ends_as_master_and_the_most_advanced_bridges() {
    let mut servers = Servers::group(3, &["--repl-timeout", "60"]).await;
    priority(&servers, 2, "10").await;
    servers.fill(0, "early", 100, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    // The preferred replica does not receive the last writes.
    servers.signal(2, Signal::Stop);
    servers.fill_until(0, "late", 100, 50, 1).await;
    servers.end(0).await;
    // Its buffered stream would make it as advanced as the other: what it has not read by now is gone with
    // its connection.
    servers.signal(2, Signal::Continue);
    servers.in_sync(2).await;
    operator.content(&servers.id(2)).await;
    assert_eq!((servers.held(2, "early", 100).await, servers.held(2, "late", 100).await), (100, 100));
    assert_eq!(servers.masters().await, [2]);
}

#[tokio::test]
async fn among_equals_the_better_priority_takes_over_at_once() {
    let mut servers = Servers::group(3, &[]).await;
    priority(&servers, 2, "10").await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(0).await;
    servers.in_sync(2).await;
    let promotions = operator.sent().iter().filter(|sent| sent.starts_with("Promote")).count();
    assert_eq!(promotions, 1, "{:?}", operator.sent());
}

#[tokio::test]
async fn priority_zero_never_takes_over() {
    let mut servers = Servers::group(3, &[]).await;
    priority(&servers, 1, "0").await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(0).await;
    servers.in_sync(2).await;
    operator.content(&servers.id(2)).await;
    servers.end(2).await;
    operator.sent_within(Duration::from_millis(1000)).await;
    assert_eq!(servers.masters().await, [] as [usize; 0], "{}", operator.last());
}

#[tokio::test]
async fn a_switchover_under_load_loses_nothing() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    for target in [1, 2, 0] {
        operator.handle.switch_over(Some(servers.id(target)));
        servers.in_sync(target).await;
        operator.healthy(&servers.id(target)).await;
        writers.go_on(50).await;
    }
    let writes = writers.stop();
    assert!(Acknowledged::lost(&writes, &servers, 0).await.is_empty());
    assert!(
        operator.sent().iter().all(|sent| !sent.starts_with("Promote")),
        "handovers only: {:?}",
        operator.sent()
    );
}

#[tokio::test]
async fn a_switchover_to_priority_zero_is_refused_and_nothing_changes() {
    let servers = Servers::group(3, &[]).await;
    priority(&servers, 1, "0").await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    operator.handle.switch_over(Some(servers.id(1)));
    operator.decided("the refusal", |decided| decided.decision.reason == "switchover-refused").await;
    operator.healthy(&servers.id(0)).await;
    assert_eq!((servers.settled().await, operator.sent()), (0, vec![]));
}

#[tokio::test]
async fn a_replica_promoted_by_hand_becomes_a_replica_again() {
    let servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 500, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.say(1, &["REPLICAOF", "NO", "ONE"]).await;
    operator
        .decided("two masters", |decided| decided.decision.verdict == redis_operator::contract::Verdict::Act)
        .await;
    servers.in_sync(0).await;
    operator.healthy(&servers.id(0)).await;
    assert_eq!(servers.held(1, "k", 500).await, 500);
}

#[tokio::test]
async fn a_replica_pointed_elsewhere_by_hand_is_pointed_back() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    // A chain, and a dead address.
    servers.follow(2, 1).await;
    servers.in_sync(0).await;
    servers.say(1, &["REPLICAOF", "127.0.0.1", "1"]).await;
    servers.in_sync(0).await;
    operator.healthy(&servers.id(0)).await;
}
