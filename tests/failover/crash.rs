//! Operators that die between two effects, and two operators of one group.

use redis_operator::contract::Action;
use redis_operator::group::{Outcome, Report};
use std::time::Duration;
use tests::real::{AS_MASTER, Acknowledged, Operator, Servers, Terms, Writers, until};

fn dying(dies_at: fn(&Report) -> bool) -> Terms {
    Terms { dies_at: Some(dies_at), ..Terms::default() }
}

/// A group whose master is killed under an operator that dies at a report; a new operator then makes it
/// whole.
async fn killed_under_a_dying_operator(dies_at: fn(&Report) -> bool) {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, dying(dies_at)).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(0).await;
    until("the operator dies", async || operator.is_dead().then_some(())).await;
    drop(operator);
    let successor = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    successor.content(&servers.id(master)).await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
    for place in 0..3 {
        until("all keys everywhere", async || (servers.held(place, "k", 1000).await == 1000).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_crash_before_the_promotion_is_repaired() {
    killed_under_a_dying_operator(|report| matches!(report, Report::Sent { action: Action::Promote(_), .. }))
        .await;
}

#[tokio::test]
async fn a_crash_between_promotion_and_follow_is_repaired() {
    killed_under_a_dying_operator(|report| {
        matches!(report, Report::Finished { action: Action::Promote(_), outcome: Outcome::Done { .. }, .. })
    })
    .await;
}

#[tokio::test]
async fn a_crash_before_the_follow_is_repaired() {
    killed_under_a_dying_operator(|report| matches!(report, Report::Sent { action: Action::Follow(_), .. }))
        .await;
}

#[tokio::test]
async fn a_crash_after_the_follow_is_repaired() {
    killed_under_a_dying_operator(|report| {
        matches!(report, Report::Finished { action: Action::Follow(_), .. })
    })
    .await;
}

#[tokio::test]
async fn a_crash_while_an_empty_second_master_becomes_a_replica_is_repaired() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.in_sync(0).await;
    servers.end(2).await;
    servers.start(2, &AS_MASTER).await;
    let operator = Operator::start(
        &servers,
        dying(|report| matches!(report, Report::Sent { action: Action::Follow(_) | Action::Fence(_), .. })),
    )
    .await;
    until("the operator dies", async || operator.is_dead().then_some(())).await;
    drop(operator);
    let successor = Operator::start(&servers, Terms::default()).await;
    servers.in_sync(0).await;
    successor.healthy(&servers.id(0)).await;
    assert_eq!(servers.held(2, "k", 1000).await, 1000);
}

#[tokio::test]
async fn a_crash_at_any_moment_of_a_handover_is_repaired() {
    let servers = Servers::group(3, &[]).await;
    let writers = Writers::start(&servers);
    writers.go_on(50).await;
    let mut master = 0;
    // From before its first command to after its last; how far it got by then is up to the machine.
    for after_us in [0, 300, 700, 1200, 2000, 3000, 5000] {
        let operator = Operator::start(&servers, Terms::default()).await;
        operator.healthy(&servers.id(master)).await;
        operator.handle.switch_over(Some(servers.id((master + 1) % 3)));
        operator
            .until_report("the handover is in flight", |report| {
                matches!(report, Report::Sent { action: Action::Handover(_), .. })
            })
            .await;
        // The moment of the crash is what is under test.
        tokio::time::sleep(Duration::from_micros(after_us)).await;
        operator.kill();
        let successor = Operator::start(&servers, Terms::default()).await;
        master = servers.settled().await;
        successor.healthy(&servers.id(master)).await;
    }
    writers.go_on(50).await;
    let lost = Acknowledged::lost(&writers.stop(), &servers, master).await;
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
}

#[tokio::test]
async fn what_a_handover_leaves_after_its_demotion_gets_a_master_again() {
    let servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.in_sync(0).await;
    // Between demotion and promotion: the former master follows an address without a server.
    servers.say(0, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
    operator.kill();
    // A ring, as another kind of handover leaves it: all links up, no master.
    let other = (master + 1) % 3;
    servers.follow(master, other).await;
    until("a ring", async || servers.masters().await.is_empty().then_some(())).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
    for place in 0..3 {
        until("all keys everywhere", async || (servers.held(place, "k", 1000).await == 1000).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn two_operators_by_mistake_end_with_one_master_and_no_loss() {
    let mut servers = Servers::group(3, &[]).await;
    let one = Operator::start(&servers, Terms::default()).await;
    let other = Operator::start(&servers, Terms::default()).await;
    one.healthy(&servers.id(0)).await;
    other.healthy(&servers.id(0)).await;
    let writers = Writers::waiting(&servers);
    writers.go_on(100).await;
    let mut master = 0;
    for _ in 0..3 {
        let killed = servers.kill(master);
        writers.first_elsewhere(master, killed).await;
        servers.end(master).await;
        let new = servers.settled().await;
        servers.start(master, &[]).await;
        servers.in_sync(new).await;
        writers.go_on(50).await;
        master = new;
    }
    one.healthy(&servers.id(master)).await;
    other.healthy(&servers.id(master)).await;
    let replicated: Vec<_> = writers.stop().into_iter().filter(|write| write.is_replicated).collect();
    assert!(!replicated.is_empty());
    let lost = Acknowledged::lost(&replicated, &servers, master).await;
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), replicated.len(), lost.first());
}

#[tokio::test]
async fn two_operators_that_switch_over_against_each_other_lose_nothing() {
    let servers = Servers::group(3, &[]).await;
    let one = Operator::start(&servers, Terms::default()).await;
    let other = Operator::start(&servers, Terms::default()).await;
    one.healthy(&servers.id(0)).await;
    other.healthy(&servers.id(0)).await;
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    one.handle.switch_over(Some(servers.id(1)));
    other.handle.switch_over(Some(servers.id(2)));
    let handed = |report: &Report| matches!(report, Report::Finished { action: Action::Handover(_), .. });
    until("a handover ends", async || {
        [&one, &other].iter().any(|it| it.reports().iter().any(|(_, report)| handed(report))).then_some(())
    })
    .await;
    let master = servers.settled().await;
    writers.go_on(100).await;
    let writes = writers.stop();
    let master = if servers.masters().await == [master] { master } else { servers.settled().await };
    let lost = Acknowledged::lost(&writes, &servers, master).await;
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
}
