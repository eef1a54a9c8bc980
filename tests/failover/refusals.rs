//! Servers that live and refuse: a renamed command, a full memory, a full disk, a pause that was left.

use redis_operator::contract::{Preference, Verdict};
use redis_operator::group::Report;
use redis_operator::local::Signal;
use std::time::{Duration, Instant};
use tests::real::{AS_MASTER, Operator, Servers, Terms, until};

const NO_PROMOTION: [&str; 6] =
    ["--rename-command", "REPLICAOF", "no-replicaof", "--rename-command", "SLAVEOF", "no-slaveof"];

/// A group of three in sync, in which these places cannot be re-pointed by any command.
async fn group_with(refusing: &[usize]) -> Servers {
    let mut servers = Servers::planned(3, &[]);
    start_with(&mut servers, refusing).await;
    servers
}

async fn start_with(servers: &mut Servers, refusing: &[usize]) {
    servers.start(0, &AS_MASTER).await;
    let port = servers.endpoint(0).port.to_string();
    for place in 1..3 {
        if refusing.contains(&place) {
            servers.arguments(place, &NO_PROMOTION);
        }
        servers.start(place, &["--replicaof", "127.0.0.1", &port]).await;
    }
    servers.in_sync(0).await;
    servers.fill(0, "k", 100, 50).await;
}

/// The replica that would take over first: all else is equal, so the smaller id.
fn first_in_line(servers: &Servers) -> (usize, usize) {
    if servers.id(1) < servers.id(2) { (1, 2) } else { (2, 1) }
}

fn failed(operator: &Operator) -> usize {
    let is_failed = |report: &Report| {
        matches!(report, Report::Finished { outcome: redis_operator::group::Outcome::Failed(_), .. })
    };
    operator.reports().iter().filter(|(_, report)| is_failed(report)).count()
}

#[tokio::test]
async fn a_replica_that_refuses_its_promotion_is_passed_over_and_shown() {
    let mut servers = Servers::planned(3, &[]);
    let (refusing, other) = first_in_line(&servers);
    start_with(&mut servers, &[refusing]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    let killed = Instant::now();
    servers.end(0).await;
    until("the other one is master", async || servers.masters().await.contains(&other).then_some(())).await;
    println!("after {:?}", killed.elapsed());
    assert_eq!(servers.held(other, "k", 100).await, 100);
    let id = servers.id(refusing);
    operator
        .decided("the refusing one is shown with its reason", |decided| {
            let members = &decided.decision.members;
            members.iter().any(|it| it.id == id && it.ineligible.as_deref() == Some("promotion-refused"))
        })
        .await;
    operator.sent_within(Duration::from_secs(2)).await;
    assert!(failed(&operator) <= 5, "{:?}", operator.sent());
    assert_eq!(servers.masters().await, [other]);
}

#[tokio::test]
async fn where_all_refuse_it_is_said_at_a_pace_and_the_old_master_is_master_again() {
    let mut servers = group_with(&[1, 2]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.say(0, &["SAVE"]).await;
    servers.end(0).await;
    operator
        .decided("the refusal of all", |decided| {
            decided.decision.verdict == Verdict::Refuse
                && decided.decision.reason == "promotion-refused"
                && decided.decision.explanation.contains("unknown command")
        })
        .await;
    let sent = operator.sent_within(Duration::from_secs(4)).await;
    assert!((3..=8).contains(&sent.len()), "{sent:?}");
    let news = operator.reports().iter().filter(|(_, report)| is_news(report)).count();
    assert!(news < 40, "{news}");
    servers.start(0, &AS_MASTER).await;
    operator.content(&servers.id(0)).await;
    assert_eq!(servers.held(0, "k", 100).await.max(servers.held(1, "k", 100).await), 100);
}

fn is_news(report: &Report) -> bool {
    match report {
        Report::Decided(decided) => decided.is_news,
        Report::Sent { is_repeat, .. }
        | Report::Withheld { is_repeat, .. }
        | Report::Finished { is_repeat, .. } => !is_repeat,
        Report::Link { .. } | Report::Fault { .. } | Report::Held => true,
    }
}

#[tokio::test]
async fn a_replica_that_refuses_to_follow_holds_up_nothing() {
    let mut servers = group_with(&[1]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    // It starts again as a replica of no server, and cannot be pointed to the master.
    servers.end(1).await;
    servers.start(1, &[]).await;
    operator.decided("the refusal", |decided| decided.decision.reason == "command-refused").await;
    servers.follow(2, 1).await;
    until("the other one is pointed back", async || {
        let facts = servers.info(2, "replication").await?;
        (facts.row("master_port") == servers.endpoint(0).port.to_string()
            && facts.row("master_link_status") == "up")
            .then_some(())
    })
    .await;
    operator.handle.switch_over(Some(servers.id(2)));
    until("the switchover", async || (servers.masters().await == [2]).then_some(())).await;
    assert!(failed(&operator) <= 10, "{:?}", operator.sent());
}

#[tokio::test]
async fn a_full_master_that_hung_is_demoted() {
    let servers = Servers::group(3, &["--repl-ping-replica-period", "1"]).await;
    servers.fill(0, "k", 500, 100).await;
    servers.say(0, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    servers.say(0, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.signal(0, Signal::Stop);
    let elected = until("another master", async || {
        let facts = [1, 2].map(|place| (place, servers.info(place, "replication")));
        for (place, facts) in facts {
            if facts.await.is_some_and(|facts| facts.row("role") == "master") {
                return Some(place);
            }
        }
        None
    })
    .await;
    servers.signal(0, Signal::Continue);
    until("one master", async || (servers.masters().await == [elected]).then_some(())).await;
    assert!(failed(&operator) == 0, "{:?}", operator.sent());
    assert_eq!(servers.held(elected, "k", 500).await, 500);
}

#[tokio::test]
async fn a_master_that_cannot_write_its_disk_hands_over() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    std::fs::remove_dir_all(servers.dir_of(0)).unwrap();
    servers.say(0, &["CONFIG", "SET", "save", "1 1"]).await;
    servers.fill_until(0, "k", 50, 10, 2).await;
    let elected = until("another master", async || match servers.masters().await[..] {
        [master] if master != 0 => Some(master),
        _ => None,
    })
    .await;
    operator.decided("the reason", |decided| decided.decision.reason == "master-cannot-write").await;
    servers.in_sync(elected).await;
    assert_eq!(servers.held(elected, "k", 50).await, 50);
    // Since 7.0 a replica that cannot write its disk ends itself at the next write
    // (`replica-ignore-disk-write-errors`), so only the other one counts.
    servers.fill_until(elected, "more", 10, 10, 1).await;
}

#[tokio::test]
async fn where_no_disk_works_the_group_is_not_called_healthy() {
    let servers = Servers::group(2, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    for place in 0..2 {
        std::fs::remove_dir_all(servers.dir_of(place)).unwrap();
        servers.say(place, &["CONFIG", "SET", "save", "1 1"]).await;
    }
    servers.fill_until(0, "k", 50, 10, 1).await;
    operator.decided("the verdict", |decided| decided.decision.reason == "writes-stopped").await;
}

#[tokio::test]
async fn a_pause_that_an_interrupted_handover_left_is_put_back() {
    let servers = Servers::group(2, &[]).await;
    servers.say(0, &["CONFIG", "SET", "min-replicas-to-write", "1000000"]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    until("writes are taken", async || servers.ask::<()>(0, &["SET", "a", "1"]).await.ok()).await;
    operator.healthy(&servers.id(0)).await;
    let value: Vec<String> = servers.ask(0, &["CONFIG", "GET", "min-replicas-to-write"]).await.unwrap();
    assert_eq!(value[1], "0");
}

#[tokio::test]
async fn below_redis_7_consistency_says_what_it_does_not_cover() {
    let servers = Servers::group(3, &[]).await;
    let version = servers.info(0, "server").await.unwrap();
    let version = version.row("redis_version").split('.').next().unwrap().parse::<u32>().unwrap();
    let terms = Terms { prefer: Preference::Consistency, self_fence_lag_s: Some(2), ..Terms::default() };
    let operator = Operator::start(&servers, terms).await;
    operator.healthy(&servers.id(0)).await;
    let is_said = operator.last().starts_with("scripts-unfenced");
    assert_eq!(is_said, version < 7, "{}", operator.last());
}
