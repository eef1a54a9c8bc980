//! Components that lie, in front of the embedded policy, on real servers: none keeps a group without a master
//! or moves its record.

use redis_operator::group::Report;
use redis_operator::policy::{Component, PolicyFault};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::policies::hostile;
use tests::real::{AS_MASTER, Operator, Servers, Terms, sandbox, until};

/// A group of three, looked after by a liar that no proof has kept out.
async fn under(behaviour: &str) -> (Servers, Operator) {
    let servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    operator.chain.swap(Arc::new(Component::load(&sandbox(), &hostile(behaviour)).unwrap())).unwrap();
    (servers, operator)
}

fn faults(operator: &Operator, is_it: impl Fn(&PolicyFault) -> bool) -> usize {
    let reports = operator.reports();
    reports.iter().filter(|(_, report)| matches!(report, Report::Fault { fault, .. } if is_it(fault))).count()
}

/// From the master's death to a master.
async fn replaced(servers: &mut Servers) -> Duration {
    let killed = Instant::now();
    servers.end(0).await;
    let master = servers.settled().await;
    assert_eq!(servers.held(master, "k", 100).await, 100);
    killed.elapsed()
}

#[tokio::test]
async fn one_that_always_says_healthy_is_at_fault_at_once() {
    let (mut servers, operator) = under("always-healthy").await;
    let elapsed = replaced(&mut servers).await;
    println!("after {elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    let is_breach = |fault: &PolicyFault| matches!(fault, PolicyFault::Breach(texts) if texts.iter().any(|text| text.starts_with("named-master")));
    assert!(faults(&operator, is_breach) > 0, "{}", operator.last());
}

#[tokio::test]
async fn ones_that_wait_for_ever_or_find_no_member_eligible_have_five_hang_limits() {
    for behaviour in ["waits-for-ever", "nobody-eligible"] {
        let (mut servers, operator) = under(behaviour).await;
        let elapsed = replaced(&mut servers).await;
        println!("{behaviour}: after {elapsed:?}");
        assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&elapsed), "{elapsed:?}");
        assert!(faults(&operator, |fault| matches!(fault, PolicyFault::Idle { .. })) > 0);
    }
}

#[tokio::test]
async fn one_that_names_a_stale_second_master_moves_no_record_and_costs_no_write() {
    let (mut servers, operator) = under("rewrites-the-record").await;
    // A replica comes back as a master, with a key of another life.
    servers.end(2).await;
    servers.start(2, &AS_MASTER).await;
    servers.say(2, &["SET", "stale", "1"]).await;
    until("the liar is in quarantine, or the second master is none any more", async || {
        let is_asked = operator.chain.policies().iter().any(|policy| policy.title().starts_with("hostile"));
        (!is_asked || servers.masters().await == [0]).then_some(())
    })
    .await;
    let moved = operator.reports().into_iter().any(|(_, report)| {
        matches!(report, Report::Decided(decided)
            if decided.observation.published().is_some_and(|record| record.master == servers.id(2)))
    });
    assert!(!moved, "the record is the first master's");
    until("one master", async || (servers.masters().await == [0]).then_some(())).await;
    assert_eq!(servers.held(0, "k", 100).await, 100);
    assert!(faults(&operator, |fault| matches!(fault, PolicyFault::Breach(_))) > 0);
}
